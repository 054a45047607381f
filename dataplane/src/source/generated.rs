//! A TS made here.

use super::{Due, PayloadSource, SourceError};
use crate::ts::generate::TsGenerator;

#[derive(Debug)]
pub(super) struct Generated {
    generator: TsGenerator,
    end: u64,
}

impl Generated {
    pub(super) fn new(rate: u64, seconds: Option<u64>, seed: u64) -> Self {
        Self {
            generator: TsGenerator::new(rate, seed),
            end: seconds.map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000_000_000)),
        }
    }
}

impl PayloadSource for Generated {
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Due>, SourceError> {
        let due = self.generator.due();
        if due >= self.end {
            return Ok(None);
        }
        self.generator.next_payload(out);
        Ok(Some(Due::At(due)))
    }
}
