//! The API described, as OpenAPI 3.1: what handlers take and answer is told by their types, so that it cannot be another than what they do.
//!
//! | file | what |
//! |---|---|
//! | `routes.rs` | paths, methods, handlers, and what each is for |
//! | `inputs.rs` | what the types say that a handler takes |
//! | `outputs.rs` | what the types say that it answers |
//! | `finish.rs` | what all operations have in common |

mod finish;
mod inputs;
mod outputs;
mod routes;

use std::sync::LazyLock;

use aide::axum::ApiRouter;
use aide::generate::in_context;
use aide::openapi::OpenApi;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use sealcast_objects::problem::Problem;

pub(super) use routes::{Routes, Who, about};

/// Where schemas are in the document.
const SCHEMAS: &str = "#/components/schemas/";

/// The document, as its text: JSON, with a line break at the end.
///
/// # Panics
/// When two operations contradict each other, which each test of it would show.
#[must_use]
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        in_context(|context| {
            // OpenAPI 3.1 has schemas of this draft.
            let settings = SchemaSettings::draft2020_12()
                .with(|settings| settings.definitions_path = SCHEMAS.into());
            context.schema = SchemaGenerator::new(settings);
            context.schema.subschema_for::<Problem>();
        });
        let mut document = OpenApi::default();
        let door: ApiRouter<_> = super::door::routes().into();
        let api = super::api();
        let contents: ApiRouter<_> = super::contents::routes().into();
        let _ = api.merge(contents).finish_api(&mut document);
        let _ = door.finish_api(&mut document);
        finish::finish(&document)
    });
    &DOCUMENT
}

/// `GET /openapi.json`.
pub(super) async fn served() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, document()).into_response()
}
