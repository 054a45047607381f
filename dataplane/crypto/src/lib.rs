//! Cryptography of sealcast. Nothing here knows the protocol, reads a clock, or draws randomness by itself.
//!
//! | file | what | source |
//! |---|---|---|
//! | `aead` | packet AEAD in batches: [`SealKey`], [`OpenKey`] | RFC 9605 suite 0x0005 (AES-256-GCM, SP 800-38D) |
//! | `backend`, `portable` | which implementation a key uses | |
//! | `kdf` | [`EpochRoot`] to [`LaneSecret`] and [`Commitment`] | RFC 9605 4.4.2, RFC 5869 |
//! | `sign` | Ed25519 | RFC 8032 |
//! | `siv` | AES-256-GCM-SIV of the key door | RFC 8452 |
//! | `wrap` | HPKE key wrap to devices | RFC 9180 |
//!
//! Absent: a cipher half from which nothing could be opened. AES is symmetric; what separates cipher and decipher half is
//! that a lane's key reveals neither the root nor another lane (MD-03), and signatures (SEC-05).

#![warn(missing_docs)]

mod aead;
mod backend;
mod kdf;
mod portable;
mod sign;
mod siv;
mod wrap;

pub use aead::{BATCH_MAX, Frame, NONCE_LEN, OpenKey, SealKey, Span, TAG_LEN, Verdicts};
pub use backend::Backend;
pub use kdf::{Commitment, EpochRoot, LaneSecret, Prk};
pub use sign::{BadSignature, Signature, SigningKey, VerifyingKey};
pub use siv::{SivKey, SivNonce};
pub use wrap::{WrapKeyPair, WrapPublicKey, Wrapped};

/// Bytes that did not open: altered, or sealed under another key or context.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message does not open under this key")]
pub struct OpenError;
