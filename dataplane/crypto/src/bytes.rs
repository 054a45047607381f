//! Public values of a fixed length: byte strings with a name, shown in hexadecimal.

use std::fmt;

/// Gives the tuple struct `$name([u8; $len])` its constructor, its accessor and its `Debug`.
macro_rules! public_bytes {
    ($name:ident, $len:expr) => {
        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name))
                    .field(&$crate::bytes::Hex(&self.0))
                    .finish()
            }
        }
    };
}
pub(crate) use public_bytes;

/// Shows bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::kdf::Commitment;

    #[test]
    fn debug_is_hexadecimal() {
        let mut bytes = [0; 32];
        (bytes[1], bytes[31]) = (0x0a, 0xff);
        let value = Commitment::from_bytes(bytes);
        assert_eq!(value.as_bytes(), &bytes);
        assert_eq!(
            format!("{value:?}"),
            format!("Commitment(000a{}ff)", "00".repeat(29))
        );
    }
}
