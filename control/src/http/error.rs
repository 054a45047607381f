//! Errors as problems (RFC 9457), whoever made them.

use std::error::Error as StdError;
use std::fmt::Display;

use axum::body::Bytes;
use axum::extract::rejection::{
    BytesRejection, FormRejection, JsonRejection, PathRejection, QueryRejection,
};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sealcast_domain::{Error, StoreError};
use sealcast_objects::object::Body;
use sealcast_objects::problem::{CONTENT_TYPE, Kind, Problem};

use serde::de::DeserializeOwned;

use super::connections::TooSlow;
use super::request_id::RequestId;

/// Seconds after which to try again, where that may help.
const RETRY_AFTER: &str = "1";

/// The API's error.
#[derive(Debug)]
pub(super) struct ApiError(pub(super) Problem);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self(mut problem) = self;
        let status = StatusCode::from_u16(problem.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        problem.request_id = request();
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let headers = [
            (header::CONTENT_TYPE, CONTENT_TYPE),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let later = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        let retry = later
            .contains(&status)
            .then_some([(header::RETRY_AFTER, RETRY_AFTER)]);
        (status, headers, retry, body).into_response()
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// What of a request was not taken, and why.
fn rejected(rejection: &(dyn StdError + 'static), status: StatusCode, why: String) -> Problem {
    let mut cause = Some(rejection);
    while let Some(error) = cause {
        if let Some(slow) = error.downcast_ref::<TooSlow>() {
            return Problem::new(Kind::Timeout, slow.to_string());
        }
        cause = error.source();
    }
    let mut problem = Problem::new(Kind::Invalid, why);
    problem.status = status.as_u16();
    problem
}

macro_rules! from_rejection {
    ($($rejection:ty),*) => {$(
        impl From<$rejection> for ApiError {
            fn from(rejection: $rejection) -> Self {
                Self(rejected(&rejection, rejection.status(), rejection.body_text()))
            }
        }
    )*};
}
from_rejection!(
    JsonRejection,
    PathRejection,
    QueryRejection,
    BytesRejection,
    FormRejection
);

/// A JSON body or answer; errors are problems.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let axum::Json(Body(read)) = axum::Json::from_request(request, state).await?;
        Ok(Self(read))
    }
}

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // Keys, codes and rights: nothing of it is for a cache.
        ([(header::CACHE_CONTROL, "no-store")], axum::Json(self.0)).into_response()
    }
}

/// A JSON answer, or a problem.
pub(super) type Reply<T> = Result<Json<T>, ApiError>;

/// Parts of the path; errors are problems.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(super) struct Path<T>(pub(super) T);

/// A body, whatever it is; errors are problems.
pub(super) struct Whole(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(Bytes::from_request(request, state).await?))
    }
}

/// A body as forms of the web send it; errors are problems.
#[derive(FromRequest)]
#[from_request(via(axum::extract::Form), rejection(ApiError))]
pub(super) struct Form<T>(pub(super) T);

/// The query; errors are problems.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(super) struct Query<T>(pub(super) T);

/// The store's and the business's errors.
pub(crate) fn problem(error: Error) -> Problem {
    match error {
        Error::Refused(problem) => problem,
        Error::Store(StoreError::Away(why)) => {
            tracing::warn!(why, "the database of the store does not answer");
            let detail =
                "the database of the store does not answer; nothing was changed; try again";
            Problem::new(Kind::Unavailable, detail)
        }
        Error::Store(error @ StoreError::NoText) => Problem::new(Kind::Invalid, error.to_string()),
        Error::Store(
            error @ (StoreError::Full
            | StoreError::Busy
            | StoreError::Closed
            | StoreError::Unknown
            | StoreError::TakenOver),
        ) => Problem::new(Kind::Unavailable, error.to_string()),
        Error::Store(error) => {
            tracing::error!(%error, request = request(), "the store failed");
            Problem::new(
                Kind::Internal,
                "the store failed; nothing was changed; the server's log says how",
            )
        }
    }
}

/// The request that this task works on, for the log.
fn request() -> Option<String> {
    RequestId::current().map(|id| id.to_string())
}

/// What went wrong here is not the asker's business.
pub(crate) fn internal(error: impl Display) -> Problem {
    tracing::error!(%error, request = request(), "a request failed");
    Problem::new(Kind::Internal, "the server failed; its log says how")
}

pub(super) async fn not_found() -> ApiError {
    Problem::new(Kind::NotFound, "there is nothing at this path").into()
}

pub(super) async fn method_not_allowed() -> ApiError {
    let mut problem = Problem::new(Kind::Invalid, "this path does not take this method");
    problem.status = 405;
    problem.into()
}
