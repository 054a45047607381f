//! x
use crate::Failure;
#[derive(Debug, clap::Args)]
pub struct DemoArgs {}
pub fn run(_: &DemoArgs) -> Result<(), Failure> {
    Ok(())
}
