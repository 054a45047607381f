//! Requests of one connection: who asks, how often, and whether there is a place to work on them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{BoxError, Router};
use sealcast_objects::problem::{Kind, Problem};
use tokio::sync::Semaphore;
use tower::Service;

use super::super::accept::{Cut, Source};
use super::super::error::ApiError;
use super::super::request_id::RequestId;
use super::bodies::UnderWay;
use super::register::{Register, Ticket, Watch};
use crate::ca::Peer;

/// What serves the requests of a connection.
#[derive(Clone)]
pub(crate) struct Served {
    router: Router,
    peer: Option<Peer>,
    source: Source,
    cut: Cut,
    register: Arc<Register>,
    watch: Arc<Watch>,
    places: Arc<Semaphore>,
}

impl Served {
    pub(crate) fn new(router: Router, peer: Option<Peer>, source: Source, ticket: &Ticket) -> Self {
        let register = Arc::clone(ticket.register());
        Self {
            router,
            peer,
            source,
            cut: Cut::default(),
            watch: ticket.watch(),
            places: register.requests(ticket.class()),
            register,
        }
    }

    /// With which requests of the connection end it.
    pub(crate) fn cut(&self) -> Cut {
        self.cut.clone()
    }
}

impl<B> Service<Request<B>> for Served
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let under_way = UnderWay::begin(Arc::clone(&self.watch));
        let register = Arc::clone(&self.register);
        let Source(source) = self.source;
        let (mut parts, body) = request.into_parts();
        let id = RequestId::of(&parts.headers, register.request_id());
        let counted = register
            .callers()
            .count(self.peer.as_ref(), source.ip(), &parts);
        let known = self.peer.is_some();
        let admitted = match counted.refusal() {
            Some(problem) => Err(problem),
            // A request takes its place until its answer begins; links and downloads would keep it for long.
            None => Arc::clone(&self.places)
                .try_acquire_owned()
                .map_err(|_| busy()),
        };
        let answer = admitted.map(|place| {
            parts.extensions.insert(self.peer.clone());
            parts.extensions.insert(self.source);
            parts.extensions.insert(self.cut.clone());
            let request = Request::from_parts(parts, Body::new(body));
            (self.router.call(request), place)
        });
        Box::pin(id.work(async move {
            let mut answer = match answer {
                Ok((answer, _place)) => answer.await?,
                Err(refused) => refused.into_response(),
            };
            if !known && answer.status() == StatusCode::UNAUTHORIZED {
                register.callers().refused(source.ip());
            }
            register.counters().answered(answer.status().as_u16());
            id.tell(answer.headers_mut());
            counted.tell(answer.headers_mut());
            Ok(answer.map(|body| under_way.answer(body)))
        }))
    }
}

fn busy() -> ApiError {
    let detail = "too many requests are under way here; nothing was done; try again";
    Problem::new(Kind::Unavailable, detail).into()
}
