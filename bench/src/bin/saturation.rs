//! The saturation bench; see `sealcast_bench::saturation`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line speaks to people")]

use clap::Parser as _;
use sealcast_bench::saturation::{Options, run};

fn main() -> anyhow::Result<()> {
    print!("{}", run(&Options::parse())?);
    Ok(())
}
