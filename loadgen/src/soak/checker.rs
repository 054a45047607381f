//! Whether payloads are those of a generated TS, byte by byte.

use sealcast_dataplane::ts::generate::TsGenerator;

/// Payloads that may be missing before one is held for corrupt. Those are counted by the receiver.
const AHEAD: usize = 20_000;

/// Generates the same TS again.
#[derive(Debug)]
pub(super) struct Checker {
    generator: TsGenerator,
    expected: Vec<u8>,
}

impl Checker {
    pub(super) fn new(rate: u64, seed: u64) -> Self {
        Self {
            generator: TsGenerator::new(rate, seed),
            expected: Vec::new(),
        }
    }

    /// Whether `payload` is one that comes after the one before; what lies between is passed over.
    pub(super) fn is_expected(&mut self, payload: &[u8]) -> bool {
        let mut ahead = self.generator.clone();
        for _ in 0..AHEAD {
            self.expected.clear();
            ahead.next_payload(&mut self.expected);
            if self.expected == payload {
                self.generator = ahead;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_passed_over_and_changes_are_not() {
        let mut generator = TsGenerator::new(4_000_000, 7);
        let mut checker = Checker::new(4_000_000, 7);
        let mut next = || {
            let mut payload = Vec::new();
            generator.next_payload(&mut payload);
            payload
        };
        assert!(checker.is_expected(&next()));
        let lost = next();
        let mut after = next();
        assert!(checker.is_expected(&after));
        assert!(!checker.is_expected(&lost), "out of order");
        assert!(!checker.is_expected(&after), "twice");
        after = next();
        after[700] ^= 1;
        assert!(!checker.is_expected(&after));
        assert!(checker.is_expected(&next()));
        let other = Checker::new(4_000_000, 8).is_expected(&next());
        assert!(!other, "another stream");
    }
}
