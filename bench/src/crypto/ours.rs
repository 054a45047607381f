//! sealcast's packet AEAD, on every implementation that this processor can run.

use std::slice;

use sealcast_crypto::{Backend, OpenKey, SealKey, Span};

use super::{Aead, Calls, Contender, Key, Vectors};

struct Ours {
    seal: SealKey,
    open: OpenKey,
    calls: Calls,
}

impl Aead for Ours {
    fn seal(&mut self, buf: &mut [u8], spans: &[Span]) {
        match self.calls {
            Calls::Batch => self.seal.seal(buf, spans),
            Calls::Single => {
                for span in spans {
                    self.seal.seal(buf, slice::from_ref(span));
                }
            }
        }
    }

    fn open(&mut self, buf: &mut [u8], spans: &[Span]) -> usize {
        match self.calls {
            Calls::Batch => self.open.open(buf, spans).count_ok(),
            Calls::Single => spans
                .iter()
                .map(|span| self.open.open(buf, slice::from_ref(span)).count_ok())
                .sum(),
        }
    }
}

/// Each available implementation, for batches and for single packets. Suite 0x0005, AES-256, is all that sealcast speaks;
/// AES-128 is there for the sake of comparison.
pub(crate) fn contenders(key: &Key) -> Vec<Contender> {
    let aes = key.aes();
    let contender = |backend: Backend, calls| Contender {
        name: format!("sealcast {}", backend.name()),
        ours: true,
        calls,
        vectors: Vectors::of_name(backend.name()),
        aead: Box::new(Ours {
            seal: SealKey::from_parts(&aes, &key.salt, backend),
            open: OpenKey::from_parts(&aes, &key.salt, backend),
            calls,
        }),
    };
    Backend::available()
        .iter()
        .flat_map(|&backend| [Calls::Batch, Calls::Single].map(|calls| contender(backend, calls)))
        .collect()
}
