//! `sealcast keys`: the authority for separate processes.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_crypto::SigningKey;
use sealcast_proto::authority::{AuthorityEvent, ChannelConfig, Config};
use sealcast_proto::ids::ServerId;
use sealcast_proto::limits::START_WAIT;

use crate::Failure;
use crate::config::{KeysAt, KeysPlan, ModeSetting, TimingArgs};
use crate::keys::{KeyServer, KeyServerConfig};
use crate::signals::Signals;

/// Flags of `sealcast keys`.
#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    /// Where to listen: unix:PATH (mode 0600)
    #[arg(long, value_name = "unix:PATH")]
    listen: Option<KeysAt>,
    /// Configuration file (TOML): `[[channel]]` tables with id, mode, timing
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check flags and configuration, open nothing
    #[arg(long)]
    check: bool,
    /// Channel number; repeatable
    #[arg(long)]
    channel: Vec<u16>,
    /// Who generates keys
    #[arg(long, value_enum, default_value_t)]
    mode: ModeSetting,
    #[command(flatten)]
    timing: TimingArgs,
    /// The authority key: 32 bytes in hex; made (mode 0600) if the file does not exist. Without it every start has a new key
    #[arg(long, value_name = "FILE")]
    authority_key: Option<PathBuf>,
    /// Delivery servers that a starting authority waits for, at most 2 s; repeatable
    #[arg(long, value_name = "NUMBER")]
    known_server: Vec<u32>,
}

/// Runs until INT or TERM.
pub fn run(args: &KeysArgs) -> Result<(), Failure> {
    let plan = KeysPlan::resolve(
        args.listen.clone(),
        args.config.as_deref(),
        &args.channel,
        args.mode,
        args.timing,
    )
    .map_err(Failure::Configuration)?;
    if args.check {
        return Ok(());
    }
    let key = authority_key(args.authority_key.as_deref()).map_err(Failure::CannotOpen)?;
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let channels = plan
        .channels
        .iter()
        .map(|&(channel, mode, timing)| ChannelConfig {
            channel,
            mode,
            timing,
        })
        .collect();
    let server = KeyServer::start(KeyServerConfig {
        path: plan.listen.0,
        authority: Config {
            key,
            successor: None,
            channels,
            start_wait: START_WAIT,
            known_servers: args.known_server.iter().copied().map(ServerId).collect(),
        },
        rng: Box::new(rng()),
        on_event: Box::new(|event| log(&event)),
    })
    .map_err(Failure::CannotOpen)?;
    tracing::info!(path = %server.path().display(), channels = plan.channels.len(), "keys are served; state lives in memory only");
    while !signals.stop() {
        std::thread::sleep(Duration::from_millis(100));
    }
    tracing::info!("stopped; delivery servers go on by the hold rule");
    Ok(())
}

/// A generator seeded by the operating system.
pub fn rng() -> StdRng {
    StdRng::try_from_rng(&mut rand::rngs::SysRng).expect("the operating system gives randomness")
}

/// The authority key from its file, made if it does not exist.
fn authority_key(path: Option<&Path>) -> anyhow::Result<SigningKey> {
    let Some(path) = path else {
        let mut seed = [0; 32];
        rng().fill_bytes(&mut seed);
        return Ok(SigningKey::from_seed(&seed));
    };
    if !path.exists() {
        let mut seed = [0; 32];
        rng().fill_bytes(&mut seed);
        let hex = seed
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let made = std::fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(path);
        made.and_then(|mut file| writeln!(file, "{hex}"))
            .with_context(|| format!("cannot make the authority key {}", path.display()))?;
    }
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the authority key {}", path.display()))?;
    let text = text.trim();
    ensure!(
        text.len() == 64 && text.is_ascii(),
        "{} holds no authority key: 64 hex digits are expected",
        path.display()
    );
    let mut seed = [0; 32];
    for (index, byte) in seed.iter_mut().enumerate() {
        let digits = &text[2 * index..2 * index + 2];
        *byte = u8::from_str_radix(digits, 16)
            .with_context(|| format!("{} holds no authority key", path.display()))?;
    }
    Ok(SigningKey::from_seed(&seed))
}

/// Alarms are warnings, the rest is information.
pub fn log(event: &AuthorityEvent) {
    match event {
        AuthorityEvent::Announced {
            channel,
            epoch,
            missing,
        } if missing.is_empty() => {
            tracing::info!(channel = channel.0, epoch = epoch.0, "announced");
        }
        AuthorityEvent::TermStarted { .. }
        | AuthorityEvent::Adopted { .. }
        | AuthorityEvent::Opened { .. }
        | AuthorityEvent::Prepared { .. }
        | AuthorityEvent::Switched { .. }
        | AuthorityEvent::EndsEarly { .. }
        | AuthorityEvent::Silent { .. } => tracing::info!(?event, "keys"),
        AuthorityEvent::Announced { .. }
        | AuthorityEvent::Deposed { .. }
        | AuthorityEvent::Waiting
        | AuthorityEvent::Relinked { .. }
        | AuthorityEvent::NobodyAcknowledged { .. }
        | AuthorityEvent::LanesExhausted { .. }
        | AuthorityEvent::RunsExhausted { .. }
        | AuthorityEvent::Conflict { .. }
        | AuthorityEvent::DepositDiffers { .. }
        | AuthorityEvent::Ignored { .. } => tracing::warn!(?event, "keys"),
    }
}
