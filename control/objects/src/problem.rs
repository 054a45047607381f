//! Errors of the HTTP API: RFC 9457 problem details. `type` is stable and for programs, `detail` says what happened, why, and
//! what to do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Header that names a request: the same for a retry, a new one for each other request (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header of an answer that was given before.
pub const REPLAYED: &str = "idempotent-replayed";

/// Header of a request that says why it is made (UTF-8); it stands in the audit log.
pub const REASON: &str = "sealcast-reason";
/// Header of a request with the number of the case that it belongs to.
pub const CASE: &str = "sealcast-case";

/// A problem.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable name of the kind of problem.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The HTTP status.
    pub status: u16,
    /// What happened, why, and what to do.
    pub detail: String,
    /// The name of the request, as `X-Request-Id` has it: where the server failed, its log has that, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        match &self.request_id {
            Some(request) if self.kind == Kind::Internal => write!(f, " (request {request})"),
            _ => Ok(()),
        }
    }
}

/// Kinds of problem. Programs act on these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The request cannot be: a field is missing, wrong or out of range.
    Invalid,
    /// No certificate, or one that counts no more.
    Unauthenticated,
    /// The certificate is good, the act is not its owner's to do.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The request did not come in time: send it again.
    Timeout,
    /// It exists already, or its state does not allow this.
    Conflict,
    /// The Idempotency-Key was used for another request.
    KeyReused,
    /// The enrolment code is unknown, used or expired.
    CodeRefused,
    /// The device or account is suspended or revoked.
    Suspended,
    /// Too many requests: try again later.
    TooMany,
    /// The server is starting, draining, or cannot write: try again later.
    Unavailable,
    /// The server failed; its log says how.
    Internal,
}

impl Kind {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden | Self::CodeRefused | Self::Suspended => 403,
            Self::NotFound => 404,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::KeyReused => 422,
            Self::TooMany => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            status: kind.status(),
            detail: detail.into(),
            request_id: None,
        }
    }

    /// `what` is not as the asker saw it any more (`If-Match`, RFC 9110 13.1.1).
    #[must_use]
    pub fn changed(what: &str) -> Self {
        let detail = format!("{what} was changed meanwhile: get it again, and decide anew");
        Self {
            status: 412,
            ..Self::new(Kind::Conflict, detail)
        }
    }
}
