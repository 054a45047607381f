//! The cryptography of sealcast: what turns bytes into sealed packets, epoch roots into lane keys, statements into
//! signed statements. It knows no protocol message, no socket, no clock; randomness is an argument.
//!
//! | file | what it holds | source |
//! |---|---|---|
//! | `aead.rs` | [`SealKey`], [`OpenKey`], [`AesKey`]: AES-GCM over batches of packets | RFC 9605 4.4.3, 4.4.4 (suite 0x0005), NIST SP 800-38D |
//! | `batch.rs` | [`Span`], [`Frame`], [`Verdicts`]: the shapes of a batch | |
//! | `segment.rs` | [`SegmentSealer`], [`SegmentOpener`]: content at rest and downloads, in segments of 64 KiB | Hoang et al. 2015 (STREAM) |
//! | `backend.rs` | [`Backend`]: the implementations of AES-GCM, chosen once per key | |
//! | `portable.rs` | the implementation that runs everywhere | NIST SP 800-38D |
//! | `x86/` | those of x86-64; unsafe code stands only here | NIST SP 800-38D |
//! | `x86/key.rs` | what they share: round keys, powers of the hash key, first rounds of counters | FIPS 197, RFC 8452 appendix A, eprint 2025/2171, Bernstein and Schwabe 2008 |
//! | `x86/vaes512/` | 512-bit vectors, four packets at a time | |
//! | `x86/narrow.rs`, `x86/narrow_quad.rs` | the common parts of `x86/vaes256.rs` and `x86/aesni.rs`: one packet, four packets | |
//! | `kdf.rs` | [`EpochRoot`], [`Prk`], [`LaneSecret`], [`Commitment`] | RFC 5869, RFC 9605 4.4.2 |
//! | `tree.rs` | [`TreeTop`], [`NodeKey`]: roots sealed for all under a node of a channel's key tree | RFC 5869 |
//! | `cenc.rs` | [`CencKey`], [`RequestSigner`]: keys for packagers of Common Encryption, signatures of their requests | ISO/IEC 23001-7, Widevine common encryption API |
//! | `sign.rs` | [`SigningKey`], [`VerifyingKey`], [`Signature`]: Ed25519 | RFC 8032 |
//! | `siv.rs` | [`SivKey`]: AES-256-GCM-SIV for cookies and key replies | RFC 8452 |
//! | `wrap.rs` | [`WrapKeyPair`], [`wrap()`]: keys wrapped to one device | RFC 9180, X-Wing |
//! | `digest.rs` | [`sha256`], [`Sha256`]: chains of records, files | FIPS 180-4 |
//! | `packet_digest.rs` | [`PacketDigest`], [`PacketHasher`]: digests of whole packets, for manifests | BLAKE3 |
//! | `manifest_key.rs` | [`ManifestKey`]: MACs of manifests | RFC 5869, BLAKE3 |
//! | `x86/blake3.rs` | sixteen packets at a time | BLAKE3 paper, 2 |
//! | `bytes.rs` | public values of a fixed length | |
//!
//! Rules that hold here:
//! - `SealKey` and `OpenKey` are different types and neither can be copied: who only holds one cannot do the other's work
//!   by mistake (MD-03). AES is symmetric all the same; what separates senders from receivers is that a lane secret
//!   reveals neither the epoch root nor the secret of another lane, and signatures (SEC-05).
//! - Secrets are wiped when dropped and never shown by `Debug`. They are compared in constant time.
//! - The packet path neither allocates, locks nor reads a clock.
//! - A program calls [`Backend::from_env`] when it starts, so that a wrong `SEALCAST_CRYPTO_BACKEND` (`vaes512`, `vaes256`,
//!   `aesni`, `portable`) is told there; without the variable, the fastest implementation is taken.
//! - Bytes from outside end in an error or a [`Verdicts`] bit. What panics is a batch that our own code laid out wrongly.
//!
//! Absent on purpose: choosing nonces (packet numbers are the protocol's; a number used twice under one key breaks
//! AES-GCM), replay windows, key rotation, any cipher suite of lanes but 0x0005, and a post-quantum key wrap.

#![warn(missing_docs)]

mod aead;
mod backend;
mod batch;
mod bytes;
mod cenc;
mod digest;
mod kdf;
mod manifest_key;
mod packet_digest;
mod portable;
mod segment;
mod sign;
mod siv;
mod tree;
mod wrap;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86;

pub use aead::{AesKey, KEY_LEN, OpenKey, SALT_LEN, SealKey, TAG_LEN};
pub use backend::{Backend, BackendError};
pub use batch::{BATCH_MAX, Frame, HEADER_MAX, PAYLOAD_MAX, Span, Verdicts};
pub use cenc::{CENC_KEY_LEN, CencKey, NoSigningKey, RequestSigner, SIGNER_IV_LEN};
pub use digest::{DIGEST_LEN, Sha256, sha256};
pub use kdf::{Commitment, EpochRoot, LaneSecret, Prk, SUITE};
pub use manifest_key::{MANIFEST_MAC_LEN, ManifestKey};
pub use packet_digest::{PACKET_DIGEST_LEN, PacketDigest, PacketHasher};
pub use segment::{
    BadSegment, PREFIX_LEN, SEALED_SEGMENT_LEN, SEGMENT_LEN, SegmentOpener, SegmentSealer,
};
pub use sign::{BadSignature, Signature, SigningKey, VerifyingKey};
pub use siv::{OpenError, SivKey};
pub use tree::{NodeKey, RootOf, SealedRoot, TreeTop};
pub use wrap::{
    NoWrapKey, UnwrapError, WRAP_PUBLIC_LEN, WrapKeyPair, WrapPublicKey, Wrapped, wrap,
};
