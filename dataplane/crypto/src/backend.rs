//! The implementations of the packet AEAD. One is chosen when a key is made; a batch is dispatched once, not a packet.
//!
//! A further implementation is a file of its own like `portable.rs`, a variant here, and a line in
//! [`Backend::available`]; the tests run every available one against the others' results.

use crate::aead::KEY_LEN;
use crate::batch::{Packet, Verdicts};
use crate::portable;

/// An implementation of the packet AEAD. All of them compute the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Runs everywhere; uses the AES and carry-less multiplication instructions that the processor has.
    Portable,
}

impl Backend {
    /// The fastest one that this processor can run.
    #[must_use]
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// All that this processor can run, the fastest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        &[Self::Portable]
    }

    /// Its name in logs and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
        }
    }
}

/// An expanded key of the chosen implementation.
pub(crate) enum Kernel {
    Portable(portable::Gcm),
}

impl Kernel {
    pub(crate) fn new(key: &[u8; KEY_LEN], backend: Backend) -> Self {
        match backend {
            Backend::Portable => Self::Portable(portable::Gcm::new(key)),
        }
    }

    pub(crate) const fn backend(&self) -> Backend {
        match self {
            Self::Portable(_) => Backend::Portable,
        }
    }

    /// Encrypts the payloads and writes the tags.
    pub(crate) fn seal<'a>(&self, packets: impl Iterator<Item = Packet<'a>>) {
        match self {
            Self::Portable(gcm) => packets.for_each(|packet| gcm.seal(packet)),
        }
    }

    /// Checks the tags and decrypts the payloads; zeroes the payloads of forged packets.
    pub(crate) fn open<'a>(&self, packets: impl Iterator<Item = Packet<'a>>) -> Verdicts {
        match self {
            Self::Portable(gcm) => Verdicts::collect(packets.map(|packet| gcm.open(packet))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_runs_it() {
        for &backend in Backend::available() {
            assert_eq!(Kernel::new(&[1; KEY_LEN], backend).backend(), backend);
            assert!(!backend.name().is_empty());
        }
        assert!(Backend::available().contains(&Backend::Portable));
    }
}
