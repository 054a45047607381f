//! Requests of one connection: who asks, and whether there is a place to work on them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use axum::response::{IntoResponse as _, Response};
use axum::{BoxError, Router};
use sealcast_objects::problem::{Kind, Problem};
use tokio::sync::Semaphore;
use tower::Service;

use super::super::accept::{Cut, Source};
use super::super::error::ApiError;
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let under_way = UnderWay::begin(Arc::clone(&self.watch));
        let register = Arc::clone(&self.register);
        // A request takes its place until its answer begins; links and downloads would keep it for long.
        let place = Arc::clone(&self.places).try_acquire_owned();
        let Ok(place) = place else {
            return Box::pin(async move {
                let busy = ApiError(busy()).into_response();
                register.counters().answered(busy.status().as_u16());
                Ok(busy.map(|body| under_way.answer(body)))
            });
        };
        request.extensions_mut().insert(self.peer.clone());
        request.extensions_mut().insert(self.source);
        request.extensions_mut().insert(self.cut.clone());
        let answer = self.router.call(request.map(Body::new));
        Box::pin(async move {
            let answer = answer.await?;
            drop(place);
            register.counters().answered(answer.status().as_u16());
            Ok(answer.map(|body| under_way.answer(body)))
        })
    }
}

fn busy() -> Problem {
    let detail = "too many requests are under way here; nothing was done; try again";
    Problem::new(Kind::Unavailable, detail)
}
