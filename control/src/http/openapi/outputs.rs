//! What the types say that a handler answers.

use aide::generate::GenContext;
use aide::openapi::{MediaType, Operation, ReferenceOr, Response, SchemaObject};
use aide::operation::OperationOutput;
use schemars::JsonSchema;
use sealcast_objects::api::Approval;
use sealcast_objects::problem::REPLAYED;
use serde_json::{Value, json};

use crate::http::act::Answered;
use crate::http::billing::Kept;
use crate::http::error::{ApiError, Json};
use crate::http::grants::Given;
use crate::http::pages::Paged;
use crate::http::revision::{Revised, Tagged};

type Responses = Vec<(Option<u16>, Response)>;

/// A `T` as this media type.
pub(super) fn media<T: JsonSchema>(
    context: &mut GenContext,
    media_type: &str,
) -> (String, MediaType) {
    let schema = SchemaObject {
        json_schema: context.schema.subschema_for::<T>(),
        example: None,
        external_docs: None,
    };
    let media = MediaType {
        schema: Some(schema),
        ..MediaType::default()
    };
    (media_type.to_owned(), media)
}

/// An answer that is a `T`.
pub(super) fn json_of<T: JsonSchema>(context: &mut GenContext) -> Response {
    let (media_type, media) = media::<T>(context, "application/json");
    let schema = context.schema.subschema_for::<T>();
    let described = context.resolve_schema(&schema).get("description");
    let described = described.and_then(Value::as_str).unwrap_or("The answer.");
    Response {
        description: described.to_owned(),
        content: [(media_type, media)].into_iter().collect(),
        ..Response::default()
    }
}

fn with_header(mut response: Response, name: &str, description: &str, schema: Value) -> Response {
    let header = json!({"description": description, "schema": schema});
    let header = serde_json::from_value(header).expect("a header as OpenAPI has them");
    let header = ReferenceOr::Item(header);
    response.headers.insert(name.to_owned(), header);
    response
}

fn text() -> Value {
    json!({"type": "string"})
}

/// What all operations may answer is told of all of them together.
impl OperationOutput for ApiError {
    type Inner = Self;
}

impl<T: JsonSchema> OperationOutput for Json<T> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Responses {
        vec![(Some(200), json_of::<T>(context))]
    }
}

impl<T: JsonSchema> OperationOutput for Kept<T> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Responses {
        vec![(Some(200), json_of::<T>(context))]
    }
}

impl<T: JsonSchema, const STATUS: u16> OperationOutput for Answered<T, STATUS> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Responses {
        let what = "`true`: this request was made before, and this is the answer to it.";
        let schema = json!({"type": "string", "enum": ["true"]});
        let response = with_header(json_of::<T>(context), REPLAYED, what, schema);
        vec![(Some(STATUS), response)]
    }
}

fn with_tag<T: JsonSchema>(context: &mut GenContext) -> Responses {
    let what = "For `If-Match`: as it is now.";
    vec![(
        Some(200),
        with_header(json_of::<T>(context), "etag", what, text()),
    )]
}

impl<T: JsonSchema> OperationOutput for Revised<T> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Responses {
        with_tag::<T>(context)
    }
}

impl<T: JsonSchema> OperationOutput for Tagged<T> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Responses {
        with_tag::<T>(context)
    }
}

impl<T: JsonSchema> OperationOutput for Paged<T> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Responses {
        let what = "The next page (`rel=\"next\"`), if there may be one.";
        vec![(
            Some(200),
            with_header(json_of::<T>(context), "link", what, text()),
        )]
    }
}

impl<T: JsonSchema> OperationOutput for Given<T> {
    type Inner = T;

    fn inferred_responses(context: &mut GenContext, _: &mut Operation) -> Responses {
        vec![
            (Some(200), json_of::<T>(context)),
            (Some(202), json_of::<Approval>(context)),
        ]
    }
}
