//! The command line of the crypto bench.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::{Effort, KeyBits, SIZES};

/// AES-GCM over packets: sealcast's implementations beside other libraries, in one run.
#[derive(Clone, Debug, Parser)]
#[command(name = "crypto", max_term_width = 110)]
pub struct Options {
    /// Lengths of payloads, in bytes
    #[arg(long, value_delimiter = ',', default_values_t = SIZES, value_parser = size)]
    pub sizes: Vec<usize>,
    /// Lengths of keys, in bits
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [KeyBits::Aes256, KeyBits::Aes128])]
    pub key_bits: Vec<KeyBits>,
    /// Rounds of a run; everybody has a turn in each
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// Whole runs; medians are those of their medians, and their spread is shown
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Only whether it works: few short rounds, rough numbers
    #[arg(long)]
    pub quick: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
    /// Draw GB/s over packet lengths into this SVG file
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Run on this core [default: the last one allowed]
    #[arg(long)]
    pub core: Option<usize>,
    /// Take OpenSSL's libcrypto from this file
    #[arg(long, value_name = "FILE")]
    pub libcrypto: Option<PathBuf>,
}

impl Options {
    /// How long is measured.
    #[must_use]
    pub fn effort(&self) -> Effort {
        Effort {
            runs: self.runs.into(),
            rounds: if self.quick { 3 } else { self.rounds.into() },
            slice: Duration::from_micros(if self.quick { 500 } else { 4000 }),
        }
    }
}

/// A payload that fits into memory many times.
fn size(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 24;
    let size = text
        .parse()
        .map_err(|_| "not a number of bytes".to_owned())?;
    if (1..=MOST).contains(&size) {
        Ok(size)
    } else {
        Err(format!("from 1 to {MOST} bytes"))
    }
}
