//! Bytes in JSON: base64url without padding (RFC 4648 5). For `#[serde(with = "...")]`.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// Writes bytes.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64URL_NOPAD.encode(bytes))
}

/// Reads bytes.
///
/// # Errors
/// When it is no base64url.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|error| D::Error::custom(format!("no base64url: {error}")))
}

/// How these bytes are described to others. For `#[schemars(with = "...")]`.
#[derive(Debug)]
pub struct Base64Url;

impl JsonSchema for Base64Url {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Base64Url".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_-]*$"})
    }
}
