//! The crypto bench; see `sealcast_bench::crypto`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line speaks to people")]

use clap::Parser as _;
use sealcast_bench::crypto::{Options, run};

fn main() -> anyhow::Result<()> {
    print!("{}", run(&Options::parse())?);
    Ok(())
}
