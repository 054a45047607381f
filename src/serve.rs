//! `sealcast serve`: the key server.

pub(crate) mod metrics;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sealcast_control::door::ADDRS_MAX;
use sealcast_control::http::Limits;
use sealcast_control::server::{CANARY, KeyServer, ServerConfig, StartError};
use sealcast_control::store::Location;
use sealcast_control::webhooks::{EventsConfig, IpNet};
use sealcast_net::shard::Placement;
use sealcast_objects::api::Role;
use sealcast_terminal::enrol;
use sealcast_terminal::identity::Identity;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::config::{
    self, CardsFile, CardsPlan, ContentsFile, ContentsPlan, ExecutorArgs, ExecutorSetting,
    InteropFile, InteropPlan, OidcArgs, OidcFile, OidcPlan, PostgresArgs, PostgresFile, RatesArgs,
    RatesFile, RatesPlan, SalesFile, SalesPlan, StorePlan, as_text, opt_duration, read,
};
use crate::daemon::{self, first};
use crate::ops::Ops;
use crate::signals::Signals;

/// The first operator's identity, in the data folder.
const ADMIN: &str = "admin.json";
/// The operator of that name.
const ADMIN_NAME: &str = "local";

/// How long a server that another one has taken over from may take to stop.
const END: Duration = Duration::from_secs(3);

/// Flags of `sealcast serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Configuration file (TOML); flags go before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the store [default: ./sealcast-data]
    #[arg(long, env = "SEALCAST_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
    #[command(flatten)]
    postgres: PostgresArgs,
    /// File of the master key [default: systemd credential "master-key", else master.key in the data folder]
    #[arg(long, env = "SEALCAST_MASTER_KEY", value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// Where HTTPS and the node link listen; repeatable [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,
    /// Where the key doors listen (UDP); repeatable [default: 127.0.0.1:8444]
    #[arg(long, value_name = "ADDR:PORT")]
    door: Vec<SocketAddr>,
    /// What devices are told instead of --door, behind a translation of addresses; repeatable
    #[arg(long, value_name = "ADDR:PORT")]
    advertise: Vec<SocketAddr>,
    /// Name or address that clients connect to, for the server's certificate; repeatable
    /// [default: localhost, this host's name, the addresses of --listen]
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Serve Prometheus metrics, /livez and /readyz at this address
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Pin a key door to each of these cores [default: one, not pinned]
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    cores: Option<Vec<usize>>,
    #[command(flatten)]
    executor: ExecutorArgs,
    /// How long a starting server collects reports of delivery servers [default: 2s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    start_wait: Option<Duration>,
    /// How long a ticket key seals sessions; they last up to twice as long [default: 1h]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    ticket_period: Option<Duration>,
    /// How long a lost device's others can object before another one takes its place [default: 24h]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    recovery_delay: Option<Duration>,
    /// Slaves that must hold a key before it is announced [default: more than half of those that there are]
    #[arg(long, value_name = "COUNT")]
    slaves_needed: Option<usize>,
    /// How often it is measured how soon slaves know of a revocation; 0s: never [default: 60s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    canary: Option<Duration>,
    /// How often what the key doors gave is written and counted [default: 60s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    usage_interval: Option<Duration>,
    /// Keeps usage files here that were counted, so that bills can be counted anew from them [default: they are removed]
    #[arg(long, value_name = "FOLDER")]
    usage_archive: Option<PathBuf>,
    /// Network that webhooks may reach besides public addresses, also without TLS, for example 10.1.0.0/16; repeatable
    #[arg(
        long = "webhook-network",
        env = "SEALCAST_WEBHOOK_NETWORKS",
        value_delimiter = ',',
        value_name = "NETWORK"
    )]
    webhook_networks: Vec<IpNet>,
    #[command(flatten)]
    oidc: OidcArgs,
    #[command(flatten)]
    rates: RatesArgs,
    /// Check flags and configuration, open nothing
    #[arg(long)]
    check: bool,
}

impl ServeArgs {
    /// Nothing but a configuration file.
    #[must_use]
    pub fn of_file(config: Option<PathBuf>) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// What says where a server keeps its store, for those who read it.
    #[must_use]
    pub fn of_store(
        config: Option<PathBuf>,
        data: Option<PathBuf>,
        master_key: Option<PathBuf>,
    ) -> Self {
        Self {
            config,
            data,
            master_key,
            ..Self::default()
        }
    }
}

/// The configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    data: Option<PathBuf>,
    #[serde(default)]
    postgres: PostgresFile,
    #[serde(default)]
    master_key: Option<PathBuf>,
    #[serde(default)]
    listen: Vec<SocketAddr>,
    #[serde(default)]
    door: Vec<SocketAddr>,
    #[serde(default)]
    advertise: Vec<SocketAddr>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    metrics: Option<SocketAddr>,
    #[serde(default)]
    cores: Option<Vec<usize>>,
    #[serde(default)]
    executor: Option<ExecutorSetting>,
    #[serde(default, deserialize_with = "opt_duration")]
    start_wait: Option<Duration>,
    #[serde(default, deserialize_with = "opt_duration")]
    ticket_period: Option<Duration>,
    #[serde(default, deserialize_with = "opt_duration")]
    recovery_delay: Option<Duration>,
    #[serde(default)]
    slaves_needed: Option<usize>,
    #[serde(default, deserialize_with = "opt_duration")]
    canary: Option<Duration>,
    #[serde(default)]
    oidc: OidcFile,
    cards: Option<CardsFile>,
    #[serde(default)]
    rates: RatesFile,
    #[serde(default)]
    interop: InteropFile,
    #[serde(default)]
    sales: SalesFile,
    #[serde(default)]
    contents: ContentsFile,
    #[serde(default, deserialize_with = "opt_duration")]
    usage_interval: Option<Duration>,
    usage_archive: Option<PathBuf>,
    #[serde(default)]
    webhook_networks: Vec<IpNet>,
}

/// Flags, environment, file and defaults, resolved.
#[derive(Clone, Debug, Serialize)]
pub struct ServePlan {
    data: PathBuf,
    master_key: PathBuf,
    listen: Vec<SocketAddr>,
    door: Vec<SocketAddr>,
    advertise: Vec<SocketAddr>,
    names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cores: Vec<usize>,
    executor: ExecutorSetting,
    #[serde(serialize_with = "as_text")]
    start_wait: Duration,
    #[serde(serialize_with = "as_text")]
    ticket_period: Duration,
    #[serde(serialize_with = "as_text")]
    recovery_delay: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    slaves_needed: Option<usize>,
    #[serde(serialize_with = "as_text")]
    canary: Duration,
    #[serde(serialize_with = "as_text")]
    usage_interval: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_archive: Option<PathBuf>,
    webhook_networks: Vec<IpNet>,
    #[serde(rename = "postgres", skip_serializing_if = "StorePlan::is_folder")]
    store: StorePlan,
    #[serde(skip_serializing_if = "OidcPlan::is_none")]
    oidc: OidcPlan,
    #[serde(skip_serializing_if = "CardsPlan::is_none")]
    cards: CardsPlan,
    rates: RatesPlan,
    interop: InteropPlan,
    sales: SalesPlan,
    contents: ContentsPlan,
}

impl ServePlan {
    /// Resolves flags and, if named, the configuration file.
    ///
    /// # Errors
    /// Says which setting is wrong, why, and what to do.
    pub fn resolve(args: &ServeArgs) -> Result<Self> {
        let file: File = args
            .config
            .as_deref()
            .map(read)
            .transpose()?
            .unwrap_or_default();
        let local = |port| vec![SocketAddr::from(([127, 0, 0, 1], port))];
        let listen = first(&args.listen, file.listen, || local(8443));
        let door = first(&args.door, file.door, || local(8444));
        let advertise = first(&args.advertise, file.advertise, Vec::new);
        daemon::check_doors(&door, &advertise, ADDRS_MAX)?;
        let data = args
            .data
            .clone()
            .or(file.data)
            .unwrap_or_else(|| PathBuf::from("sealcast-data"));
        let ticket_period = args
            .ticket_period
            .or(file.ticket_period)
            .unwrap_or(sealcast_proto::limits::TICKET_PERIOD);
        ensure!(
            ticket_period >= Duration::from_secs(1),
            "ticket_period = {ticket_period:?}: at least 1s"
        );
        Ok(Self {
            master_key: args
                .master_key
                .clone()
                .or(file.master_key)
                .or_else(|| daemon::credential("master-key"))
                .unwrap_or_else(|| data.join("master.key")),
            names: first(&args.name, file.names, || default_names(&listen)),
            store: args.postgres.resolve(file.postgres)?,
            data,
            listen,
            door,
            advertise,
            metrics: args.metrics.or(file.metrics),
            cores: args.cores.clone().or(file.cores).unwrap_or_default(),
            executor: args.executor.or(file.executor),
            start_wait: args
                .start_wait
                .or(file.start_wait)
                .unwrap_or(sealcast_proto::limits::START_WAIT),
            ticket_period,
            recovery_delay: args
                .recovery_delay
                .or(file.recovery_delay)
                .unwrap_or(sealcast_control::http::RECOVERY_DELAY),
            slaves_needed: args.slaves_needed.or(file.slaves_needed),
            canary: args.canary.or(file.canary).unwrap_or(CANARY),
            usage_interval: daemon::usage_interval(args.usage_interval.or(file.usage_interval))?,
            usage_archive: args.usage_archive.clone().or(file.usage_archive),
            webhook_networks: first(&args.webhook_networks, file.webhook_networks, Vec::new),
            oidc: args.oidc.resolve(file.oidc)?,
            cards: config::cards::resolve(file.cards)?,
            rates: args.rates.resolve(&file.rates),
            interop: file.interop.resolve()?,
            sales: file.sales.resolve()?,
            contents: file.contents.resolve()?,
        })
    }

    /// Where the store is.
    #[must_use]
    pub fn store(&self) -> (&Path, &Location) {
        (&self.data, &self.store.location)
    }

    /// Which key opens the store, and how long a ticket key seals.
    #[must_use]
    pub fn secrets(&self) -> (&Path, Duration) {
        (&self.master_key, self.ticket_period)
    }

    fn server(&self) -> ServerConfig {
        ServerConfig {
            store: self.store.location.clone(),
            master_key: self.master_key.clone(),
            listen: self.listen.clone(),
            door: self.door.clone(),
            advertise: self.advertise.clone(),
            names: self.names.clone(),
            placements: Placement::each(&self.cores, self.executor.into()),
            start_wait: self.start_wait,
            ticket_period: self.ticket_period,
            recovery_delay: self.recovery_delay,
            slaves_needed: self.slaves_needed,
            canary: self.canary,
            oidc: self.oidc.config(),
            cards: self.cards.config(),
            interop: self.interop.into(),
            sales: self.sales.into(),
            contents: self.contents.0.clone(),
            usage_interval: self.usage_interval,
            usage_archive: self.usage_archive.clone(),
            events: EventsConfig {
                networks: self.webhook_networks.clone(),
                ..EventsConfig::default()
            },
            limits: self.rates.with(Limits::for_files(daemon::open_files())),
            ..ServerConfig::new(self.data.clone())
        }
    }
}

fn default_names(listen: &[SocketAddr]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let host = rustix::system::uname();
    names.extend(host.nodename().to_str().ok().map(str::to_owned));
    let specific = listen
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified());
    names.extend(specific.map(|ip| ip.to_string()));
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// Runs until INT or TERM.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    let plan = ServePlan::resolve(args).map_err(Failure::Configuration)?;
    if args.check {
        return Ok(());
    }
    daemon::protect_memory();
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::CannotOpen(error.into()))?;
    let ended = runtime.block_on(async {
        tokio::select! {
            server = KeyServer::start(plan.server()) => {
                let open = |error: StartError| Failure::CannotOpen(error.into());
                serve(&plan, &signals, server.map_err(open)?).await
            }
            // While it stands by for another one.
            () = daemon::stopped(&signals) => Ok(()),
        }
    });
    runtime.shutdown_background();
    ended
}

async fn serve(plan: &ServePlan, signals: &Signals, server: KeyServer) -> Result<(), Failure> {
    let _ops = plan
        .metrics
        .map(|at| Ops::start(at, server.monitor()))
        .transpose()
        .map_err(Failure::CannotOpen)?;
    let url = local_url(server.listen());
    first_operator(&server, &plan.data, &url)
        .await
        .map_err(Failure::CannotOpen)?;
    tracing::info!(
        listen = ?server.listen(),
        doors = ?server.door(),
        data = %plan.data.display(),
        "the key server runs"
    );
    let monitor = server.monitor();
    tokio::select! {
        () = daemon::run(signals, async || monitor.health().await.is_alive()) => {}
        () = server.taken_over() => {
            // What it still says of keys is no more than any slave may say, but it shall not say it for long.
            let _ = tokio::time::timeout(END, server.stop()).await;
            return Err(Failure::TakenOver);
        }
    }
    tracing::info!("stopping; delivery servers go on by the hold rule");
    server.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// How this host reaches the server.
fn local_url(listen: &[SocketAddr]) -> String {
    let at = listen
        .first()
        .copied()
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    format!("https://{}", SocketAddr::new(ip, at.port()))
}

/// Makes the first operator's identity in the data folder, if it is not there; whoever may read the folder may administrate.
async fn first_operator(server: &KeyServer, data: &Path, url: &str) -> Result<()> {
    let file = data.join(ADMIN);
    if let Ok(mut known) = Identity::load(&file, Role::Admin)
        && !enrol::is_due(&known)
    {
        // The port may be another than last time.
        if known.server != url {
            known.server = url.to_owned();
            known.save(&file)?;
        }
        return Ok(());
    }
    let code = server
        .operator_code(ADMIN_NAME, Duration::from_secs(60))
        .await?;
    let code = code.code.parse().context("our own code")?;
    let identity = enrol::enrol(url, &code, &enrol::new_key()?, Role::Admin)
        .await
        .context("making the first operator's identity")?;
    identity.save(&file)?;
    tracing::info!(file = %file.display(), "made the identity of operator \"{ADMIN_NAME}\"");
    Ok(())
}
