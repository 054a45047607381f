//! Payloads of a TS that lie in memory before anything is timed, and come again and again; and whoever checks what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sealcast_dataplane::source::{Due, PayloadSource, SourceError};
use sealcast_dataplane::ts::generate::TsGenerator;

/// Bytes of a payload: seven TS packets.
pub(super) const PAYLOAD: usize = 1316;
/// How many: half a megabyte, more than the first-level cache and less than the second has. A prime, so that what is lost in
/// batches shows.
const COUNT: usize = 383;

/// The payloads, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Content(Arc<[u8]>);

impl Content {
    pub(super) fn new() -> Self {
        let mut generator = TsGenerator::new(100_000_000, 1);
        let mut bytes = Vec::new();
        for _ in 0..COUNT {
            generator.next_payload(&mut bytes);
        }
        Self(bytes.into())
    }

    pub(super) fn payload(&self, index: usize) -> &[u8] {
        let start = index % COUNT * PAYLOAD;
        &self.0[start..start + PAYLOAD]
    }
}

/// Gives all payloads as fast as they are taken.
#[derive(Debug)]
pub(super) struct Source {
    content: Content,
    next: usize,
    /// How many have been given.
    given: Arc<AtomicU64>,
}

impl Source {
    pub(super) fn new(content: Content, given: Arc<AtomicU64>) -> Self {
        Self {
            content,
            next: 0,
            given,
        }
    }
}

impl PayloadSource for Source {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError> {
        out.extend_from_slice(self.content.payload(self.next));
        self.next += 1;
        self.given.store(self.next as u64, Ordering::Relaxed);
        Ok(Some(Due::At(0)))
    }
}

/// Whether payloads arrive as they were, and which do not.
#[derive(Debug)]
pub(super) struct Checker {
    content: Content,
    next: Option<usize>,
}

/// What a payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrived {
    /// The next.
    Next,
    /// A later one: so many are missing, or a multiple of [`COUNT`] more.
    Later(usize),
    /// None that was sent.
    Wrong,
}

impl Checker {
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            next: None,
        }
    }

    pub(super) fn saw(&mut self, payload: &[u8]) -> Arrived {
        let next = self.next.unwrap_or(0);
        let ahead = (0..COUNT).find(|ahead| self.content.payload(next + ahead) == payload);
        let Some(ahead) = ahead else {
            return Arrived::Wrong;
        };
        let first = self.next.is_none();
        self.next = Some((next + ahead + 1) % COUNT);
        match ahead {
            0 => Arrived::Next,
            _ if first => Arrived::Next,
            _ => Arrived::Later(ahead),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_again_and_what_is_missing_or_wrong_is_seen() {
        let given = Arc::new(AtomicU64::new(0));
        let content = Content::new();
        let mut source = Source::new(content.clone(), Arc::clone(&given));
        let mut checker = Checker::new(content);
        let mut next = || {
            let mut payload = Vec::new();
            assert_eq!(source.next(&mut payload).unwrap(), Some(Due::At(0)));
            payload
        };
        for _ in 0..5 {
            next();
        }
        for _ in 0..2 * COUNT {
            assert_eq!(checker.saw(&next()), Arrived::Next);
        }
        for _ in 0..48 {
            next();
        }
        assert_eq!(checker.saw(&next()), Arrived::Later(48));
        let mut payload = next();
        payload[900] ^= 1;
        assert_eq!(checker.saw(&payload), Arrived::Wrong);
        assert_eq!(checker.saw(&next()), Arrived::Later(1));
        assert_eq!(given.load(Ordering::Relaxed), 5 + 2 * 383 + 49 + 2);
    }
}
