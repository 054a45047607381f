//! `sealcast slave`: a slave key server. It answers devices from memory, by what it hears from the master or another slave.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::ClientConfig;
use sealcast_control::door::ADDRS_MAX;
use sealcast_control::feed::SlaveHealth;
use sealcast_control::http::Limits;
use sealcast_control::slave::{SlaveMonitor, SlaveServer, SlaveServerConfig};
use sealcast_control::tls::ServerCertificate;
use sealcast_net::shard::Placement;
use sealcast_objects::api::Role;
use sealcast_proto::feed::WithoutLease;
use sealcast_terminal::enrol;
use sealcast_terminal::identity::Identity;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::config::{ExecutorArgs, ExecutorSetting, as_text, opt_duration, read};
use crate::daemon::{self, first};
use crate::identities::{EnrolArgs, enrol_as};
use crate::live::{counter, gauge};
use crate::ops::{Ops, Report, Reporter, Sample};
use crate::serve::metrics::{doors, http, metering, plain};
use crate::signals::Signals;
use crate::upstream::ToParent;

/// How often the certificate's age is looked at.
const RENEWAL: Duration = Duration::from_secs(3600);

/// Commands of a slave.
#[derive(Debug, clap::Subcommand)]
pub enum SlaveCommand {
    /// Makes a key, enrols it with a one-time code (`sealcast admin slave add`), writes the identity file
    Enrol(EnrolArgs),
    /// Runs a slave
    Serve(SlaveArgs),
}

/// What a slave does while it has no contact with the master.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutLeaseSetting {
    /// Answers nothing: two seconds after a right was taken away nobody gets a key by it
    Strict,
    /// Goes on with the epochs that were announced to it: devices are served while the master is away, those whose right was
    /// taken away meanwhile among them
    #[default]
    Announced,
}

impl From<WithoutLeaseSetting> for WithoutLease {
    fn from(setting: WithoutLeaseSetting) -> Self {
        match setting {
            WithoutLeaseSetting::Strict => Self::Strict,
            WithoutLeaseSetting::Announced => Self::Announced,
        }
    }
}

/// Flags of `sealcast slave serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SlaveArgs {
    /// Configuration file (TOML); flags go before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Identity of this slave (`sealcast slave enrol`)
    #[arg(long, env = "SEALCAST_SLAVE", value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Folder of what it keeps over a restart, sealed [default: ./sealcast-slave]
    #[arg(long, env = "SEALCAST_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// File of the key that this is sealed under [default: systemd credential "cache-key", else cache.key in the data folder]
    #[arg(long, value_name = "FILE")]
    cache_key: Option<PathBuf>,
    /// The master or a slave that feeds it; repeatable, tried in this order [default: the server that it enrolled with]
    #[arg(long, value_name = "URL")]
    parent: Vec<String>,
    /// Where HTTPS and the feed for other slaves listen; repeatable [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Where the key doors listen (UDP); repeatable [default: 127.0.0.1:8444]
    #[arg(long, value_name = "ADDR:PORT")]
    door: Vec<SocketAddr>,
    /// What devices are told instead of --door, behind a translation of addresses; repeatable
    #[arg(long, value_name = "ADDR:PORT")]
    advertise: Vec<SocketAddr>,
    /// What it does without contact with the master [default: announced]
    #[arg(long, value_enum)]
    without_lease: Option<WithoutLeaseSetting>,
    /// Serve Prometheus metrics, /livez and /readyz at this address
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Pin a key door to each of these cores [default: one, not pinned]
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    cores: Option<Vec<usize>>,
    /// How often what the key doors gave is written and carried to the parent [default: 60s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    usage_interval: Option<Duration>,
    #[command(flatten)]
    executor: ExecutorArgs,
    /// Check flags and configuration, open nothing
    #[arg(long)]
    check: bool,
}

impl SlaveArgs {
    /// Nothing but a configuration file.
    #[must_use]
    pub fn of_file(config: Option<PathBuf>) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }
}

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    identity: Option<PathBuf>,
    data: Option<PathBuf>,
    cache_key: Option<PathBuf>,
    parents: Vec<String>,
    listen: Vec<SocketAddr>,
    door: Vec<SocketAddr>,
    advertise: Vec<SocketAddr>,
    without_lease: Option<WithoutLeaseSetting>,
    metrics: Option<SocketAddr>,
    cores: Option<Vec<usize>>,
    executor: Option<ExecutorSetting>,
    #[serde(deserialize_with = "opt_duration")]
    usage_interval: Option<Duration>,
}

/// Flags, environment, file and defaults, resolved.
#[derive(Clone, Debug, Serialize)]
pub struct SlavePlan {
    identity: PathBuf,
    data: PathBuf,
    cache_key: PathBuf,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parents: Vec<String>,
    listen: Vec<SocketAddr>,
    door: Vec<SocketAddr>,
    advertise: Vec<SocketAddr>,
    without_lease: WithoutLeaseSetting,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cores: Vec<usize>,
    executor: ExecutorSetting,
    #[serde(serialize_with = "as_text")]
    usage_interval: Duration,
}

impl SlavePlan {
    /// Resolves flags and, if named, the configuration file.
    ///
    /// # Errors
    /// Says which setting is wrong, why, and what to do.
    pub fn resolve(args: &SlaveArgs) -> Result<Self> {
        let file: File = args
            .config
            .as_deref()
            .map(read)
            .transpose()?
            .unwrap_or_default();
        let local = |port| vec![SocketAddr::from(([127, 0, 0, 1], port))];
        let door = first(&args.door, file.door, || local(8444));
        let advertise = first(&args.advertise, file.advertise, Vec::new);
        daemon::check_doors(&door, &advertise, ADDRS_MAX)?;
        let data = args
            .data
            .clone()
            .or(file.data)
            .unwrap_or_else(|| PathBuf::from("sealcast-slave"));
        let identity = args.identity.clone().or(file.identity);
        Ok(Self {
            identity: identity.context(
                "a slave needs its identity: --identity FILE, made by `sealcast slave enrol` with a code of `sealcast admin slave add`",
            )?,
            cache_key: args
                .cache_key
                .clone()
                .or(file.cache_key)
                .or_else(|| daemon::credential("cache-key"))
                .unwrap_or_else(|| data.join("cache.key")),
            data,
            parents: first(&args.parent, file.parents, Vec::new),
            listen: first(&args.listen, file.listen, || local(8443)),
            door,
            advertise,
            without_lease: args
                .without_lease
                .or(file.without_lease)
                .unwrap_or_default(),
            metrics: args.metrics.or(file.metrics),
            cores: args.cores.clone().or(file.cores).unwrap_or_default(),
            executor: args.executor.or(file.executor),
            usage_interval: daemon::usage_interval(args.usage_interval.or(file.usage_interval))?,
        })
    }

    fn server(&self, identity: &Identity) -> Result<SlaveServerConfig> {
        let slave = identity.subject.parse();
        Ok(SlaveServerConfig {
            slave: slave.with_context(|| format!("{} names no slave", self.identity.display()))?,
            data: self.data.clone(),
            key: self.cache_key.clone(),
            listen: self.listen.clone(),
            door: self.door.clone(),
            advertise: self.advertise.clone(),
            parents: if self.parents.is_empty() {
                vec![identity.server.clone()]
            } else {
                self.parents.clone()
            },
            placements: Placement::each(&self.cores, self.executor.into()),
            without_lease: self.without_lease.into(),
            usage_interval: self.usage_interval,
            limits: Limits::for_files(daemon::open_files()),
        })
    }
}

/// Runs one command.
pub fn run(command: &SlaveCommand) -> Result<(), Failure> {
    let args = match command {
        SlaveCommand::Enrol(args) => return enrol_as(args, Role::Slave),
        SlaveCommand::Serve(args) => args,
    };
    let plan = SlavePlan::resolve(args).map_err(Failure::Configuration)?;
    if args.check {
        return Ok(());
    }
    daemon::protect_memory();
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::CannotOpen(error.into()))?;
    runtime
        .block_on(serve(&plan, &signals))
        .map_err(Failure::CannotOpen)
}

async fn serve(plan: &SlavePlan, signals: &Signals) -> Result<()> {
    let identity = Identity::load(&plan.identity, Role::Slave)?;
    let unusable = || format!("{} cannot be used", plan.identity.display());
    let (certified, ca) = identity.serving().with_context(unusable)?;
    let tls = Arc::new(Mutex::new(Arc::new(identity.tls().with_context(unusable)?)));
    let current = Arc::clone(&tls);
    let current = move || Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
    let upstream = ToParent(current.clone());
    let config = plan.server(&identity)?;
    let number = config.slave;
    let server = SlaveServer::start(config, Arc::new(certified), &ca, current, upstream).await?;
    let _ops = plan
        .metrics
        .map(|at| Ops::start(at, server.monitor()))
        .transpose()?;
    let renewal = keep_renewed(identity, plan.identity.clone(), server.certificate(), tls);
    let renewal = tokio::spawn(renewal);
    tracing::info!(
        slave = number,
        listen = ?server.listen(),
        doors = ?server.door(),
        data = %plan.data.display(),
        "the slave runs"
    );
    let monitor = server.monitor();
    daemon::run(signals, async || monitor.health().await.0.is_some()).await;
    tracing::info!("stopping; devices ask other key servers");
    renewal.abort();
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Renews the certificate in time, and uses and keeps the new one.
async fn keep_renewed(
    mut identity: Identity,
    file: PathBuf,
    serving: Arc<ServerCertificate>,
    tls: Arc<Mutex<Arc<ClientConfig>>>,
) {
    loop {
        if enrol::is_due(&identity) {
            match renew(&mut identity, &file, &serving, &tls).await {
                Ok(()) => tracing::info!(until = %identity.until, "certificate renewed"),
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the certificate could not be renewed; trying again"
                    );
                }
            }
        }
        tokio::time::sleep(RENEWAL).await;
    }
}

async fn renew(
    identity: &mut Identity,
    file: &Path,
    serving: &ServerCertificate,
    tls: &Mutex<Arc<ClientConfig>>,
) -> Result<()> {
    enrol::renew(identity).await?;
    let (certified, _) = identity.serving()?;
    let config = identity.tls()?;
    serving.replace(Arc::new(certified));
    *tls.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    identity
        .save(file)
        .context("the renewed certificate is not kept")
}

impl Reporter for SlaveMonitor {
    async fn report(&self) -> Report {
        let (slave, stats) = self.health().await;
        let not_ready = match &slave {
            None => Some("the slave does not answer"),
            Some(slave) if !slave.serves => {
                Some("it answers no device: no contact with the master")
            }
            Some(_) => None,
        };
        let mut samples = doors(&stats);
        samples.extend(slave.iter().flat_map(samples_of));
        samples.extend(metering(&self.usage()));
        samples.extend(http(&self.http()));
        Report {
            not_ready: not_ready.map(str::to_owned),
            samples,
        }
    }
}

fn samples_of(slave: &SlaveHealth) -> Vec<Sample> {
    let stale = slave.staleness.map_or(u64::MAX, |stale| {
        u64::try_from(stale.as_millis()).unwrap_or(u64::MAX)
    });
    let (term, change) = slave.at.map_or((0, 0), |at| (at.term.number, at.seq.0));
    vec![
        plain(gauge(
            "slave_linked",
            "Whether a parent is linked",
            slave.parent.is_some().into(),
        )),
        plain(gauge(
            "slave_leased",
            "Whether it holds a lease",
            slave.leased.into(),
        )),
        plain(gauge(
            "slave_serves",
            "Whether it answers devices",
            slave.serves.into(),
        )),
        plain(gauge(
            "slave_stale_ms",
            "How old what it knows may be, by its last lease",
            stale,
        )),
        plain(gauge("term", "Number of the term that it follows", term)),
        plain(gauge(
            "slave_change",
            "The last change of that term that it knows",
            change,
        )),
        plain(gauge(
            "slave_channels",
            "Channels that it knows",
            slave.channels as u64,
        )),
        plain(gauge(
            "slave_behind",
            "Slaves behind it",
            slave.behind.len() as u64,
        )),
        plain(counter(
            "slave_unkept",
            "Times that what it knows could not be kept on disk",
            slave.unkept,
        )),
    ]
}
