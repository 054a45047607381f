//! The name of a request: the answer tells it, so does the server's log where something failed, and it is the caller's own trace where he has
//! one (W3C Trace Context, `traceparent`).

use std::fmt::{self, Display};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// Header of each answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The name of a request; never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RequestId(u128);

impl Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl RequestId {
    /// The trace that the request belongs to, or a name of its own.
    pub(super) fn of(headers: &HeaderMap, own: u128) -> Self {
        let trace = headers
            .get(TRACE_PARENT)
            .and_then(|value| trace(value.as_bytes()));
        Self(trace.unwrap_or_else(|| own.max(1)))
    }

    /// That of the request which this task works on.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(|id| *id).ok()
    }

    /// Works on the request.
    pub(super) async fn work<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    pub(super) fn tell(self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.to_string()) {
            headers.insert(REQUEST_ID, value);
        }
    }
}

/// The trace of a `traceparent`: `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`, and more in versions to come.
fn trace(value: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let part = parts.next().filter(|part| part.len() == length)?;
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        part.bytes().all(is_hex).then_some(part)
    };
    let (version, trace) = (hex(2)?, hex(32)?);
    let (parent, _flags) = (hex(16)?, hex(2)?);
    let goes_on = parts.next().is_some();
    if version == "ff" || (version == "00" && goes_on) || parent.bytes().all(|byte| byte == b'0') {
        return None;
    }
    u128::from_str_radix(trace, 16)
        .ok()
        .filter(|trace| *trace > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_trace_is_the_name_or_it_has_one_of_its_own() {
        let id = |value: &'static str| {
            let headers = [(
                HeaderName::from_static(TRACE_PARENT),
                HeaderValue::from_static(value),
            )];
            RequestId::of(&headers.into_iter().collect(), 7).to_string()
        };
        let trace = "0af7651916cd43dd8448eb211c80319c";
        for good in [
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later",
        ] {
            assert_eq!(id(good), trace, "{good}");
        }
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(id(bad), format!("{:032x}", 7), "{bad}");
        }
        assert_eq!(RequestId::of(&HeaderMap::new(), 0), RequestId(1));
    }
}
