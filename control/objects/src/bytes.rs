//! Bytes in JSON: base64url without padding (RFC 4648 5); in CBOR: bytes. For `#[serde(with = "...")]`.

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize as _, Deserializer, Serializer};

/// Writes bytes.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    if to.is_human_readable() {
        to.serialize_str(&BASE64URL_NOPAD.encode(bytes))
    } else {
        to.serialize_bytes(bytes)
    }
}

/// Reads bytes.
///
/// # Errors
/// When it is no base64url.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    if !from.is_human_readable() {
        return from.deserialize_byte_buf(Whole);
    }
    let text = String::deserialize(from)?;
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|error| D::Error::custom(format!("no base64url: {error}")))
}

/// Takes bytes as they are.
struct Whole;

impl Visitor<'_> for Whole {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
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
