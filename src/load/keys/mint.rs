//! `sealcast load keys mint`: sessions into a file.

use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};
use sealcast_control::offline;
use sealcast_loadgen::devices::mint::Mint;
use sealcast_proto::ids::ChannelId;

use crate::Failure;
use crate::daemon;
use crate::load::make::count;
use crate::serve::{ServeArgs, ServePlan};

/// Flags of `sealcast load keys mint`.
#[derive(Debug, clap::Args)]
pub struct MintArgs {
    /// Folder of the key server's store; the server may be running [default: ./sealcast-data]
    #[arg(long, env = "SEALCAST_DATA", value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Configuration file of the key server, in place of --store and --master-key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File of the master key [default: master.key in the store's folder]
    #[arg(long, env = "SEALCAST_MASTER_KEY", value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// How many, each with a session of its own
    #[arg(long, value_name = "N", value_parser = count)]
    devices: u32,
    /// A channel that each session may have; repeatable [default: the first channel of the store]
    #[arg(long, value_name = "NUMBER")]
    channel: Vec<u16>,
    /// The file to write (mode 0600); it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Makes them.
pub fn run(args: &MintArgs) -> Result<(), Failure> {
    let serve = ServeArgs::of_store(
        args.config.clone(),
        args.store.clone(),
        args.master_key.clone(),
    );
    let plan = ServePlan::resolve(&serve).map_err(Failure::Configuration)?;
    daemon::protect_memory();
    let ((data, location), (master_key, period)) = (plan.store(), plan.secrets());
    let material = offline::material(data, location, master_key, period)
        .map_err(|error| Failure::CannotOpen(error.into()))?;
    let channels = channels(&args.channel, &material.channels).map_err(Failure::Configuration)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mint = Mint {
        tickets: material.tickets,
        authority: material.authority,
        channels,
        made: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0)),
    };
    mint.check(args.devices)
        .map_err(|error| Failure::Configuration(error.into()))?;
    let unwritten = |error: std::io::Error| {
        Failure::CannotOpen(anyhow!("cannot write {}: {error}", args.out.display()))
    };
    let mut rng = StdRng::try_from_rng(&mut SysRng)
        .map_err(|error| Failure::CannotOpen(anyhow!("no randomness: {error}")))?;
    let file = create(args).map_err(unwritten)?;
    mint.write(args.devices, &mut rng, BufWriter::new(file))
        .map_err(unwritten)?;
    println!(
        "{}: sessions of {} devices, until {}; the file is secret: who has it gets keys",
        args.out.display(),
        args.devices,
        material.until
    );
    Ok(())
}

/// Nobody else may read it, from its first byte on.
fn create(args: &MintArgs) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
}

/// What sessions may have: what is asked for, if the store has it.
fn channels(asked: &[u16], known: &[ChannelId]) -> anyhow::Result<Vec<ChannelId>> {
    if let Some(unknown) = asked.iter().find(|id| !known.contains(&ChannelId(**id))) {
        return Err(anyhow!(
            "channel {unknown} is not in the store: `sealcast admin channel add {unknown}` adds it"
        ));
    }
    match (asked, known) {
        ([], []) => Err(anyhow!(
            "the store has no channel: `sealcast admin channel add 1` adds one"
        )),
        ([], [first, ..]) => Ok(vec![*first]),
        _ => Ok(asked.iter().map(|&id| ChannelId(id)).collect()),
    }
}
