//! `sealcast backup`: a copy of a store at one moment, also while the key server runs.

use std::path::PathBuf;

use crate::Failure;

/// Flags of `sealcast backup`. A store in PostgreSQL is copied with that database's own tools.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// Folder of the store
    #[arg(
        long,
        env = "SEALCAST_DATA",
        default_value = "sealcast-data",
        value_name = "FOLDER"
    )]
    data: PathBuf,
    /// File to write (mode 0600); it must not exist. To restore: stop the server, and put it in the place of store.db
    to: PathBuf,
}

/// Copies.
pub fn run(args: &BackupArgs) -> Result<(), Failure> {
    sealcast_control::store::backup(&args.data, &args.to)
        .map_err(|error| Failure::CannotOpen(error.into()))?;
    println!(
        "the store is copied to {}; its secrets open only with the master key, which is not in it",
        args.to.display()
    );
    Ok(())
}
