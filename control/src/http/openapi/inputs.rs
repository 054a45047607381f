//! What the types say that a handler takes.

use aide::generate::GenContext;
use aide::openapi::{Operation, ReferenceOr, RequestBody, Response};
use aide::operation::OperationInput;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use sealcast_domain::approvals::{CASE_MAX, REASON_MAX};
use sealcast_objects::api::OperatorRole;
use sealcast_objects::id::{Id, Text};
use sealcast_objects::month::Month;
use sealcast_objects::problem::{CASE, IDEMPOTENCY_KEY, REASON};
use serde_json::{Value, json};

use super::outputs::media;
use super::routes::Who;
use crate::http::act::{Asker as Asking, KEY_MAX, OnceBy, Operator};
use crate::http::bearer::Person;
use crate::http::contents::Asker;
use crate::http::device::OfDevice;
use crate::http::error::{ApiError, Form, Json, Path, Query, Whole};
use crate::http::pages::{Limit, Pages};
use crate::http::permits::Needed;
use crate::http::revision::{IfMatch, IfSame};
use crate::http::usage::Bringer;

/// Refusals with these statuses.
fn refusals(statuses: &[u16]) -> Vec<(Option<u16>, Response)> {
    let refusal = |status: &u16| (Some(*status), Response::default());
    statuses.iter().map(refusal).collect()
}

/// Puts a parameter down, unless there is one like it.
fn parameter(
    operation: &mut Operation,
    place: &str,
    (name, required): (&str, bool),
    description: &str,
    schema: impl Into<Value>,
) {
    let mut parameter = json!({
        "in": place, "name": name, "required": required, "schema": schema.into()
    });
    if !description.is_empty() {
        parameter["description"] = description.into();
    }
    let parameter = serde_json::from_value(parameter).expect("a parameter as OpenAPI has them");
    let parameter = ReferenceOr::Item(parameter);
    if !operation.parameters.contains(&parameter) {
        operation.parameters.push(parameter);
    }
}

/// A schema without null: what a query leaves out is not there.
fn without_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(of)) = schema.get_mut("anyOf") {
        of.retain(|one| one.get("type").is_none_or(|one| one != "null"));
        if let [only] = of.as_slice() {
            return only.clone();
        }
    }
    schema
}

/// Each field of a `T` is a parameter of the query.
fn query_of<T: JsonSchema>(context: &mut GenContext, operation: &mut Operation) {
    let schema = context.schema.subschema_for::<T>();
    let schema = context.resolve_schema(&schema).clone();
    let required = schema.get("required").and_then(Value::as_array).cloned();
    let fields = schema.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        let needed = required
            .as_ref()
            .is_some_and(|needed| needed.contains(&json!(name)));
        let described = field.get("description").and_then(Value::as_str);
        let mut field = without_null(field.clone());
        if let Value::Object(field) = &mut field {
            field.remove("description");
            if field.get("default").is_some_and(Value::is_null) {
                field.remove("default");
            }
        }
        let described = described.unwrap_or_default();
        parameter(operation, "query", (name, needed), described, field);
    }
}

impl<P: Needed> OperationInput for Operator<P> {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        Who::Operator.tell(operation);
        let may = |role: &OperatorRole| P::PERMIT.is_none_or(|permit| role.may(permit));
        let roles = OperatorRole::ALL.into_iter().filter(may);
        let roles: Vec<_> = roles.map(|role| format!("`{}`", role.name())).collect();
        operation.description = Some(format!("Roles that may: {}.", roles.join(", ")));
        for (name, what, most) in [
            (REASON, "Why, for the audit log (UTF-8).", REASON_MAX),
            (
                CASE,
                "The case that it belongs to, for the audit log.",
                CASE_MAX,
            ),
        ] {
            let text = json!({"type": "string", "maxLength": most});
            parameter(operation, "header", (name, false), what, text);
        }
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[400, 401, 403])
    }
}

impl OperationInput for OfDevice {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        Who::Device.tell(operation);
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[401, 403])
    }
}

impl OperationInput for Person {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        Who::Person.tell(operation);
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[401, 403])
    }
}

impl<A: Asking + OperationInput> OperationInput for OnceBy<A> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        A::operation_input(context, operation);
        let key = json!({"type": "string", "pattern": format!("^[!-~]{{1,{KEY_MAX}}}$")});
        let what = "Names the request: the same for a retry, a new one for each other request.";
        parameter(operation, "header", (IDEMPOTENCY_KEY, true), what, key);
    }

    fn inferred_early_responses(
        context: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        let mut refusals = refusals(&[400, 422]);
        refusals.extend(A::inferred_early_responses(context, operation));
        refusals
    }
}

fn if_match(operation: &mut Operation, tag: &str) {
    let what = "Only if it is still as this ETag says.";
    let tag = json!({"type": "string", "pattern": format!(r#"^("{tag}"|\*)$"#)});
    parameter(operation, "header", ("if-match", false), what, tag);
}

impl OperationInput for IfSame {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        if_match(operation, "[A-Za-z0-9_-]{22}");
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[400, 412])
    }
}

impl OperationInput for IfMatch {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        if_match(operation, "[0-9]{1,19}");
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[400, 412])
    }
}

impl<T: JsonSchema> OperationInput for Query<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        query_of::<T>(context, operation);
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[400])
    }
}

impl<K, F: JsonSchema> OperationInput for Pages<K, F> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        query_of::<F>(context, operation);
        let cursor = json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"});
        let what = "`next` of the page before this one.";
        parameter(operation, "query", ("after", false), what, cursor);
        let limit = context.schema.subschema_for::<Limit>();
        let what = "How many, at most.";
        parameter(operation, "query", ("limit", false), what, limit);
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[400])
    }
}

impl OperationInput for Whole {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        let content = json!({"application/octet-stream": {"schema": {}}});
        let body = json!({"content": content, "required": true});
        let body = serde_json::from_value(body).expect("a body as OpenAPI has them");
        operation.request_body = Some(ReferenceOr::Item(body));
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[400, 408, 413])
    }
}

/// Where a handler looks at what went wrong itself.
impl OperationInput for ApiError {}

/// Whoever is one of several.
macro_rules! one_of {
    ($($type:ty: $($who:ident)*),*) => {$(
        impl OperationInput for $type {
            fn operation_input(_: &mut GenContext, operation: &mut Operation) {
                $(Who::$who.tell(operation);)*
            }

            fn inferred_early_responses(
                _: &mut GenContext,
                _: &mut Operation,
            ) -> Vec<(Option<u16>, Response)> {
                refusals(&[400, 401, 403])
            }
        }
    )*};
}
one_of!(Asker: Operator Device, Bringer: Operator Server);

/// What a part of a path is. The path says its name.
pub(in crate::http) trait PathPart {
    /// The schemas of the parts.
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema>;
}

macro_rules! path_part {
    ($($type:ty),*) => {$(
        impl PathPart for $type {
            fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema> {
                vec![generator.subschema_for::<Self>()]
            }
        }
    )*};
}
path_part!(String, u16, u32, u64, Month);

impl<I: Id> PathPart for Text<I> {
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema> {
        vec![generator.subschema_for::<Self>()]
    }
}

impl<A: PathPart, B: PathPart> PathPart for (A, B) {
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema> {
        let mut schemas = A::schemas(generator);
        schemas.extend(B::schemas(generator));
        schemas
    }
}

impl<T: PathPart> OperationInput for Path<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        for (index, schema) in T::schemas(&mut context.schema).into_iter().enumerate() {
            // The path's own name for it is given when all paths are known.
            let place = index.to_string();
            parameter(operation, "path", (&place, true), "", schema);
        }
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&[400, 404])
    }
}

pub(super) fn body<T: JsonSchema>(
    context: &mut GenContext,
    operation: &mut Operation,
    media_type: &str,
) {
    let body = RequestBody {
        content: [media::<T>(context, media_type)].into_iter().collect(),
        required: true,
        ..RequestBody::default()
    };
    operation.request_body = Some(ReferenceOr::Item(body));
}

/// Too slow, too large, of another type, not what it should be.
const BODY_REFUSALS: [u16; 5] = [400, 408, 413, 415, 422];

impl<T: JsonSchema> OperationInput for Json<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        body::<T>(context, operation, "application/json");
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&BODY_REFUSALS)
    }
}

impl<T: JsonSchema> OperationInput for Form<T> {
    fn operation_input(context: &mut GenContext, operation: &mut Operation) {
        body::<T>(context, operation, "application/x-www-form-urlencoded");
    }

    fn inferred_early_responses(
        _: &mut GenContext,
        _: &mut Operation,
    ) -> Vec<(Option<u16>, Response)> {
        refusals(&BODY_REFUSALS)
    }
}
