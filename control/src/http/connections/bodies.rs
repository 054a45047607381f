//! Bodies: those of requests must come, those of answers must be taken.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::Limits;
use super::register::Watch;

/// Bytes per second that a body comes with at least, once its first time is over.
const RATE: u32 = 4096;

/// A body came too slowly.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "the body of the request came too slowly: it must begin within {0:?} and come at {RATE} bytes/s"
)]
pub(crate) struct TooSlow(Duration);

type Map<F> = tower::util::MapRequestLayer<F>;

/// A layer under which bodies come in time, or fail with [`TooSlow`]. Not for streams, which may be silent.
pub(crate) fn paced(limits: &Limits) -> Map<impl Fn(Request) -> Request + Clone + use<>> {
    let first = limits.body;
    Map::new(move |request: Request| {
        request.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::new(Paced {
                body,
                first,
                timer: Box::pin(sleep(first)),
            })
        })
    })
}

struct Paced {
    body: Body,
    first: Duration,
    timer: Pin<Box<Sleep>>,
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Error::new(TooSlow(self.first)))));
        };
        if let Some(Ok(frame)) = &frame
            && !self.body.is_end_stream()
        {
            let came = frame.data_ref().map_or(0, Bytes::len);
            let more = Duration::from_secs(came as u64) / RATE;
            let deadline = self.timer.deadline().max(Instant::now()) + more;
            self.timer.as_mut().reset(deadline);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is under way until its answer was given to its end.
pub(super) struct UnderWay(Arc<Watch>);

impl UnderWay {
    pub(super) fn begin(watch: Arc<Watch>) -> Self {
        watch.begin_request();
        Self(watch)
    }

    /// The body of its answer.
    pub(super) fn answer(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        // There is something to be taken, or it is found out at the first look.
        self.0.set_wanting(true);
        Body::new(Answer {
            body,
            wanting: true,
            request: self,
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// The body of an answer. Between giving a piece and being asked for the next it waits for the peer; while it has none, the
/// peer waits for us.
struct Answer {
    body: Body,
    wanting: bool,
    request: UnderWay,
}

impl Answer {
    fn set_wanting(&mut self, wanting: bool) {
        if wanting != self.wanting {
            self.wanting = wanting;
            self.request.0.set_wanting(wanting);
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.set_wanting(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.set_wanting(false);
    }
}
