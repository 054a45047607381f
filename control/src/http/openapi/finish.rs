//! What all operations have in common: how they refuse, what they are called, how askers prove who they are.

use aide::openapi::OpenApi;
use serde_json::{Map, Value, json};

/// What each refusal is for.
const REFUSALS: &[(&str, &str)] = &[
    (
        "400",
        "The request cannot be: something of it is missing, wrong or out of range.",
    ),
    (
        "401",
        "Nobody is known to ask: no certificate or token, or one that counts no more.",
    ),
    ("403", "It is not the asker's to do."),
    ("404", "There is no such thing."),
    ("405", "This path does not take this method."),
    ("408", "The body did not come in time."),
    (
        "409",
        "It is there already, or its state does not allow this.",
    ),
    ("411", "An upload says how long it is."),
    ("412", "It is not as `If-Match` says any more."),
    ("413", "The body is too long."),
    ("415", "The body is of another media type."),
    ("416", "There are no such bytes."),
    (
        "422",
        "The body is not what it should be, or the Idempotency-Key was used for another request.",
    ),
    ("429", "Too many requests: try again later."),
    ("500", "The server failed; its log says how."),
    (
        "503",
        "The server cannot do it now; nothing was changed: try again later.",
    ),
];

/// Any operation may refuse so.
const ALWAYS: [&str; 3] = ["429", "500", "503"];
/// So may those that change something: what they speak of is not there, or its state does not allow it.
const CHANGING: [&str; 2] = ["404", "409"];

/// Completes the document; as JSON.
pub(super) fn finish(document: &OpenApi) -> String {
    let mut document = serde_json::to_value(document).expect("the description is JSON");
    document["info"] = json!({
        "title": "sealcast key server",
        "version": "1",
        "description": DESCRIPTION,
        "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
    });
    document["servers"] = json!([{
        "url": "https://{server}",
        "description": "A key server; its certificate is of its own authority.",
        "variables": {"server": {"default": "localhost:8443"}},
    }]);
    document["security"] = json!([]);
    document["tags"] = tags();
    let paths = document["paths"].as_object_mut().expect("there are paths");
    for (path, operations) in paths.iter_mut() {
        let operations = operations.as_object_mut().expect("there are operations");
        for (method, operation) in operations {
            complete(path, method, operation);
        }
    }
    document["components"]["responses"] = refusals();
    document["components"]["securitySchemes"] = schemes();
    name_enumerations(&mut document);
    drop_unused(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("it is JSON");
    text.push('\n');
    text
}

const DESCRIPTION: &str = "Who asks is known by the client certificate of the TLS connection (operators, devices, servers) or by a bearer token \
(persons, machines). Whatever makes something each time it is asked for needs an `Idempotency-Key`: a retry with the same gets the first answer. \
Errors are problem details (RFC 9457). Durations are milliseconds, instants RFC 3339 UTC, bytes base64url, money integer minor units.";

/// What operations are about.
const TAGS: &[(&str, &str)] = &[
    (
        "Accounts",
        "Accounts, their devices and rights, and who stands behind them.",
    ),
    ("Approvals", "What needs a second person."),
    ("Audit", "Who did what: entries, the signed head, exports."),
    (
        "Billing",
        "Tariffs, what accounts are charged for a month, what they have paid and owe.",
    ),
    ("Catalogue", "Providers, contents and their files."),
    (
        "Devices",
        "What devices ask for, and how one takes the place of another.",
    ),
    (
        "Enrolment",
        "Certificates and tokens: how everybody proves who he is.",
    ),
    (
        "Events",
        "The audit log, sent to others or read as it grows.",
    ),
    ("Ledger", "Books and transfers: money, grants, bytes."),
    (
        "Licences",
        "Who may use which channel or content, whatever it came from.",
    ),
    ("Operators", "Who administrates, and in which role."),
    ("Packagers", "Keys for packagers of other software."),
    ("Persons", "What the person of an account sees and does."),
    (
        "Plant",
        "Channels, delivery servers, slaves, keys of the authority.",
    ),
    (
        "Sales",
        "What is sold, what was bought, and licences for it.",
    ),
    ("Usage", "What was counted."),
];

fn tags() -> Value {
    let tag =
        |(name, description): &(&str, &str)| json!({"name": name, "description": description});
    TAGS.iter().map(tag).collect()
}

/// One of several words is an enumeration, whose words are described together: what generates clients knows these.
fn name_enumerations(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(name_enumerations),
        Value::Object(fields) => {
            if let Some((words, described)) = fields.get("oneOf").and_then(words) {
                fields.remove("oneOf");
                let before = fields.get("description").and_then(Value::as_str);
                let described = format!("{}\n\n{described}", before.unwrap_or_default());
                fields.insert("description".to_owned(), described.trim().into());
                fields.insert("type".to_owned(), "string".into());
                fields.insert("enum".to_owned(), words.into());
            }
            fields.values_mut().for_each(name_enumerations);
        }
        _ => {}
    }
}

/// The words that these schemas are, and what each is; nothing where one is something else.
fn words(schemas: &Value) -> Option<(Vec<Value>, String)> {
    let (mut words, mut lines) = (Vec::new(), Vec::new());
    for schema in schemas.as_array()? {
        let word = schema.get("const").filter(|word| word.is_string());
        let several = schema.get("enum").and_then(Value::as_array);
        let is = schema.get("description").and_then(Value::as_str);
        let several = several.into_iter().flatten();
        for word in word.into_iter().chain(several) {
            let line = is.map(|is| format!("- `{}`: {is}", word.as_str().unwrap_or_default()));
            lines.extend(line);
            words.push(word.clone());
        }
    }
    let whole = schemas.as_array()?.iter().all(|schema| {
        schema.get("const").is_some_and(Value::is_string) || schema.get("enum").is_some()
    });
    (whole && !words.is_empty()).then(|| (words, lines.join("\n")))
}

/// Parts that nothing refers to: shapes of queries, whose fields stand with the operations.
fn drop_unused(document: &mut Value) {
    loop {
        let text = document.to_string();
        let is_used = |kind: &str, name: &str| {
            text.contains(&format!("\"$ref\":\"#/components/{kind}/{name}\""))
        };
        let mut dropped = 0;
        for kind in ["schemas", "responses"] {
            let parts = document["components"][kind].as_object_mut();
            let parts = parts.expect("there are such parts");
            let before = parts.len();
            parts.retain(|name, _| is_used(kind, name));
            dropped += before - parts.len();
        }
        if dropped == 0 {
            return;
        }
    }
}

fn complete(path: &str, method: &str, operation: &mut Value) {
    operation["operationId"] = operation_id(path, method).into();
    name_parts(path, operation);
    let tag = operation["tags"][0].as_str();
    let described = TAGS.iter().any(|(name, _)| Some(*name) == tag);
    assert!(described, "{tag:?} is not described");
    let responses = &mut operation["responses"];
    if responses.is_null() {
        *responses = json!({});
    }
    let changing = if method == "get" { &[][..] } else { &CHANGING };
    for status in ALWAYS.iter().chain(changing) {
        responses[*status] = Value::Null;
    }
    let responses = responses.as_object_mut().expect("there are answers");
    for (status, response) in responses.iter_mut() {
        if REFUSALS.iter().any(|(refusal, _)| refusal == status) {
            *response = json!({"$ref": format!("#/components/responses/Problem{status}")});
        }
    }
    responses.sort_keys();
}

/// `get_accounts_by_id`: the method, and what is on the way.
fn operation_id(path: &str, method: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "v1"));
    let names = parts.map(|part| match parameter(part) {
        Some(name) => format!("by_{name}"),
        None => part.replace(['-', '.'], "_"),
    });
    [method.to_owned()]
        .into_iter()
        .chain(names)
        .collect::<Vec<_>>()
        .join("_")
}

fn parameter(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

/// Parameters of the path are in its order until here: they get its names.
fn name_parts(path: &str, operation: &mut Value) {
    let mut names = path.split('/').filter_map(parameter);
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    let parameters = parameters.into_iter().flatten();
    for described in parameters.filter(|described| described["in"] == "path") {
        let name = names
            .next()
            .expect("the path has as many parts as its handler");
        described["name"] = name.into();
    }
    assert_eq!(
        names.next(),
        None,
        "{path} has more parts than its handler takes"
    );
}

fn refusals() -> Value {
    let schema = json!({"$ref": format!("{}Problem", super::SCHEMAS)});
    let refusal = |(status, description): &(&str, &str)| {
        let mut refusal = json!({
            "description": description,
            "content": {"application/problem+json": {"schema": schema}},
        });
        if matches!(*status, "429" | "503") {
            let seconds = json!({"type": "integer", "minimum": 0});
            let header =
                json!({"description": "Seconds after which to try again.", "schema": seconds});
            refusal["headers"] = json!({"retry-after": header});
        }
        (format!("Problem{status}"), refusal)
    };
    REFUSALS.iter().map(refusal).collect::<Map<_, _>>().into()
}

fn schemes() -> Value {
    let certificate = |whose: &str| json!({"type": "mutualTLS", "description": format!("The certificate that {whose} got by enrolment.")});
    let token = |what: &str| json!({"type": "http", "scheme": "bearer", "description": what});
    json!({
        "operatorCertificate": certificate("an operator"),
        "deviceCertificate": certificate("a device"),
        "serverCertificate": certificate("a delivery server or a slave"),
        "machineToken": token("Of `POST /v1/token` (private_key_jwt): for shops and insurers."),
        "personToken": token("Of `POST /v1/login`."),
        "packagerToken": token("Of `POST /v1/packagers`."),
    })
}
