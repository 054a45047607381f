//! MPEG transport stream (ISO/IEC 13818-1): packets, continuity, pacing by PCR, a generator.

pub mod check;
pub mod generate;
pub mod jitter;
pub mod pace;
pub mod packet;
