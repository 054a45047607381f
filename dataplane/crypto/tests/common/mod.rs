//! Reading of the fixtures.

use std::path::Path;

use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, de};

/// Bytes that stand in a fixture as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    /// The bytes, if there are `N`.
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0
            .as_slice()
            .try_into()
            .expect("the fixture has a value of another length")
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return Err(D::Error::invalid_value(
                de::Unexpected::Str(&text),
                &"pairs of hexadecimal digits",
            ));
        }
        let byte =
            |index| u8::from_str_radix(&text[index..index + 2], 16).map_err(D::Error::custom);
        (0..text.len())
            .step_by(2)
            .map(byte)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// The test cases of `tests/fixtures/<name>`; the number is checked so that a truncated file cannot pass.
pub(crate) fn load<T: DeserializeOwned>(name: &str, expected: usize) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<T> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(cases.len(), expected, "{name}");
    cases
}
