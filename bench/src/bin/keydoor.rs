//! The bench of key doors; see `sealcast_bench::keydoor`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command line speaks to people")]

use clap::Parser as _;
use sealcast_bench::keydoor::{Options, run};

fn main() -> anyhow::Result<()> {
    print!("{}", run(&Options::parse())?);
    Ok(())
}
