//! The key server as a whole: what is opened in which order, what is done from time to time, how it ends.

mod billing;
mod housekeeping;
pub(crate) mod tickets;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_domain::accounts::{self, Floor};
use sealcast_domain::sales::Lives;
use sealcast_domain::{catalogue, channels, keys, nodes, slaves};
use sealcast_net::shard::Placement;
use sealcast_objects::api::{Lead, NewCode, Standing, Status};
use sealcast_objects::problem::Problem;
use sealcast_objects::time::Timestamp;
use sealcast_proto::authority::{Config, SlaveQuorum};
use sealcast_proto::door::{Tickets, Update};
use sealcast_proto::ids::{ChannelId, SlaveId};
use sealcast_proto::limits::{START_WAIT, TICKET_PERIOD};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use crate::authority::BlockStatus;
use crate::authority::{Driver, Handle, LoadError};
use crate::ca::{Ca, CaError, SERVER_LIFE};
use crate::canary::{Canary, Measured};
use crate::cards::{self, Cards, CardsConfig, CardsStats};
use crate::content::{ContentsConfig, ContentsError};
use crate::door::{DoorStats, Doors};
use crate::feed::Publisher;
use crate::http::{
    Acceptor, App, Contents, HttpStats, InteropConfig, KeysError, Limits, Parts, Register, Staff,
    authority_keys, configs, new_authority_key, now, roster, serve,
};
use crate::oidc::{Oidc, OidcConfig};
use crate::signers::Signers;
use crate::store::{Location, OpenError, Store, WriteStats};
use crate::tls::{self, ServerCertificate};
use crate::usage::{self, Metering, Spool, UsageMonitor, UsageStats};
use crate::vault::{NotOurs, Vault, VaultError};
use crate::webhooks::{self, EventsConfig, WebhookStats, Webhooks};
use billing::Billing;
use housekeeping::Housekeeping;
use tickets::open_tickets;

/// How often the canary measures, unless a setting says otherwise.
pub const CANARY: Duration = Duration::from_secs(60);
/// Settings of a key server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Folder of the server: its store, unless that is elsewhere, and what is not counted yet.
    pub data: PathBuf,
    /// Which database is the store.
    pub store: Location,
    /// File of the master key.
    pub master_key: PathBuf,
    /// Where HTTPS and the node link listen.
    pub listen: Vec<SocketAddr>,
    /// Where the key doors listen.
    pub door: Vec<SocketAddr>,
    /// What devices are told instead of `door`, where it is behind a translation of addresses.
    pub advertise: Vec<SocketAddr>,
    /// Names and addresses that the server's certificate holds for.
    pub names: Vec<String>,
    /// One key door per entry, pinned where a core is named.
    pub placements: Vec<Placement>,
    /// How long a starting master collects reports.
    pub start_wait: Duration,
    /// How long a ticket key seals.
    pub ticket_period: Duration,
    /// How long a lost device's others can object before another one takes its place.
    pub recovery_delay: Duration,
    /// How many slaves must hold a key before it is announced; `None`: more than half.
    pub slaves_needed: Option<usize>,
    /// How often the canary measures; zero: never.
    pub canary: Duration,
    /// The identity provider of persons, if there is one.
    pub oidc: Option<OidcConfig>,
    /// Who takes payments by card, if somebody does.
    pub cards: Option<CardsConfig>,
    /// Doors for packagers of other software.
    pub interop: InteropConfig,
    /// How often what key doors gave is written and counted.
    pub usage_interval: Duration,
    /// Where usage files are kept when they were counted; nowhere: they are removed.
    pub usage_archive: Option<PathBuf>,
    /// Files of contents.
    pub contents: ContentsConfig,
    /// Webhooks, and readers of events.
    pub events: EventsConfig,
    /// Bounds on connections and requests of the HTTP API.
    pub limits: Limits,
    /// How long the steps of a sale may take.
    pub sales: Lives,
}

impl ServerConfig {
    /// The defaults for a folder.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        Self {
            master_key: data.join("master.key"),
            data,
            store: Location::default(),
            listen: Vec::new(),
            door: Vec::new(),
            advertise: Vec::new(),
            names: Vec::new(),
            placements: vec![Placement::default()],
            start_wait: START_WAIT,
            ticket_period: TICKET_PERIOD,
            recovery_delay: sealcast_domain::recovery::DELAY,
            slaves_needed: None,
            canary: CANARY,
            oidc: None,
            cards: None,
            interop: InteropConfig::default(),
            usage_interval: usage::INTERVAL,
            usage_archive: None,
            contents: ContentsConfig::default(),
            events: EventsConfig::default(),
            limits: Limits::default(),
            sales: Lives::default(),
        }
    }
}

/// Why a key server cannot start: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The master key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Certificates.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// What the authority must not forget.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The authority's keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] NotOurs),
    /// Files of contents.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A query.
    #[error(transparent)]
    Query(#[from] sealcast_domain::Error),
    /// Sockets and threads.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A running key server.
#[derive(Debug)]
pub struct KeyServer {
    app: App,
    listen: Vec<SocketAddr>,
    door: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    keeping: JoinHandle<()>,
    deciding: JoinHandle<()>,
    canary: Canary,
    measuring: Option<JoinHandle<()>>,
    telling: [JoinHandle<()>; 2],
    charging: Option<JoinHandle<()>>,
    doors: Doors,
    metering: usage::Running,
    metered: UsageMonitor,
    register: Arc<Register>,
    store: Arc<Store>,
}

/// What is shown of a server.
#[derive(Clone, Debug)]
pub struct Health {
    /// Where the authority stands; `None` while it cannot answer.
    pub status: Option<Status>,
    /// Keys cannot be made durable: an alarm.
    pub store_fails: bool,
    /// The store was an old copy when it was opened: an alarm.
    pub old_copy: bool,
    /// Alarms raised so far.
    pub alarms: u64,
    /// Totals of the key doors.
    pub doors: DoorStats,
    /// Totals of the store's writer.
    pub writes: WriteStats,
    /// How soon slaves knew of a revocation.
    pub canary: BTreeMap<SlaveId, Measured>,
    /// Totals of the meter.
    pub usage: UsageStats,
    /// Totals of webhooks.
    pub webhooks: WebhookStats,
    /// Payments by card; nothing where none are taken.
    pub cards: Option<CardsStats>,
    /// Connections of the HTTP API.
    pub http: HttpStats,
    /// Key blocks, of channels that have some.
    pub blocks: BTreeMap<ChannelId, BlockStatus>,
}

impl Health {
    /// Whether it works, or waits for a store that cannot be written; a server that does neither is to be restarted.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.status.is_some() || self.store_fails
    }

    /// Why it is not ready; `None` when it is.
    #[must_use]
    pub fn not_ready(&self) -> Option<&'static str> {
        match &self.status {
            None => Some("the authority does not answer"),
            _ if self.store_fails => Some("the store cannot be written"),
            Some(status) => match status.lead {
                Lead::Leading { .. } => None,
                Lead::Starting => Some("starting: it collects reports of delivery servers"),
                Lead::Deposed => Some("another master was seen: this one hands out nothing"),
            },
        }
    }
}

impl KeyServer {
    /// Opens the store and starts everything. Inside a tokio runtime only.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        // Whoever asks while the store is opened waits; but nobody shall wait at the door of a server that stands by for another one.
        let early = match config.store {
            Location::Folder => Some(Acceptor::bind(&config.listen)?),
            Location::Postgres(_) => None,
        };
        let settings = config.clone();
        let opened = tokio::task::spawn_blocking(move || Opened::open(&settings))
            .await
            .map_err(io::Error::other)??;
        let acceptor = match early {
            Some(acceptor) => acceptor,
            None => Acceptor::bind(&config.listen)?,
        };
        let listen = acceptor.addrs()?;
        let Opened {
            store,
            vault,
            ca,
            doors,
            metering,
            publisher,
            signers,
            staff,
            tickets,
            contents,
            driver,
            handle,
            mut rng,
        } = opened;
        let deciding = tokio::spawn(driver.run());
        let certificate = ca.server(&config.names, now(), SERVER_LIFE, &mut rng)?;
        let certificate = ServerCertificate::new(certificate);
        let tls = tls::config(ca.certificate(), Arc::clone(&certificate))?;
        let advertised = if config.advertise.is_empty() {
            doors.addrs().to_vec()
        } else {
            config.advertise.clone()
        };
        let (stop, stopped) = watch::channel(false);
        let (heads, of_heads) = watch::channel(0);
        let cards = config.cards.map(Cards::new).map(Arc::new);
        let app = App::new(Parts {
            store: Arc::clone(&store),
            vault,
            ca,
            authority: handle,
            publisher,
            https_door: doors.https(),
            door_counters: doors.stats(),
            door_addrs: advertised,
            signers,
            staff,
            tickets,
            ticket_period: config.ticket_period,
            recovery_delay: config.recovery_delay,
            slaves_needed: config.slaves_needed,
            oidc: config.oidc.map(Oidc::new),
            cards: cards.clone(),
            interop: config.interop,
            contents,
            webhooks: Webhooks::new(&config.events.networks),
            events: config.events,
            heads: of_heads.clone(),
            stopped: stopped.clone(),
            limits: config.limits.clone(),
            lives: config.sales,
            usage_archive: archive(config.usage_archive.as_deref())?,
            rng: StdRng::from_rng(&mut rng),
        });
        let register = Register::new(config.limits);
        let serving = tokio::spawn(serve(
            acceptor,
            tls,
            app.router(),
            Arc::clone(&register),
            stopped.clone(),
        ));
        let canary = Canary::default();
        let measuring = (config.canary > Duration::ZERO).then(|| {
            let run = canary
                .clone()
                .run(app.clone(), config.canary, stopped.clone());
            tokio::spawn(run)
        });
        let keeping = Housekeeping {
            app: app.clone(),
            certificate,
            certified: now(),
            names: config.names,
            forgot: now(),
            removing: None,
            billing: Billing::default(),
        };
        let keeping = tokio::spawn(keeping.run(stopped.clone()));
        let charging =
            cards.map(|cards| tokio::spawn(cards::run(app.clone(), cards, stopped.clone())));
        let telling = [
            tokio::spawn(webhooks::follow(app.clone(), heads, stopped.clone())),
            tokio::spawn(webhooks::run(app.clone(), of_heads, stopped)),
        ];
        let metered = metering.monitor();
        let metering = metering.run(app.clone());
        Ok(Self {
            app,
            listen,
            door: doors.addrs().to_vec(),
            stop,
            serving,
            keeping,
            measuring,
            telling,
            charging,
            canary,
            deciding,
            doors,
            metering,
            metered,
            register,
            store,
        })
    }

    /// Where HTTPS and the node link listen.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Where the key doors listen.
    #[must_use]
    pub fn door(&self) -> &[SocketAddr] {
        &self.door
    }

    /// A code with which an operator enrols.
    ///
    /// # Errors
    /// The store's.
    pub async fn operator_code(&self, name: &str, life: Duration) -> Result<NewCode, Problem> {
        self.app.operator_code(name, life).await
    }

    /// What reads the health of the server, from anywhere.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor {
            app: self.app.clone(),
            store: Arc::clone(&self.store),
            canary: self.canary.clone(),
            metered: self.metered.clone(),
            register: Arc::clone(&self.register),
        }
    }

    /// Returns when another server has taken over the store: this one is to be stopped.
    pub async fn taken_over(&self) {
        self.store.taken_over().await;
    }

    /// Stops: what is under way ends, nothing new begins, everything acknowledged is durable.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        // Links would go on for ever; without them connections end by themselves.
        let _ = self.app.authority().set_nodes(Vec::new()).await;
        self.app.publisher().cut_all();
        let _ = self.serving.await;
        let _ = self.keeping.await;
        if let Some(measuring) = self.measuring {
            let _ = measuring.await;
        }
        for one in self.telling.into_iter().chain(self.charging) {
            let _ = one.await;
        }
        // What the doors gave last is counted while there is a store.
        let doors = self.doors;
        let _ = tokio::task::spawn_blocking(move || drop(doors)).await;
        self.metering.stop().await;
        drop(self.app);
        // Links hold the way to the authority a moment longer; what it decides until then is durable, too.
        if tokio::time::timeout(Duration::from_secs(2), self.deciding)
            .await
            .is_err()
        {
            tracing::debug!("the authority was stopped before its last link had ended");
        }
        drop(self.store);
    }
}

/// What is opened before anything is served; may block.
struct Opened {
    store: Arc<Store>,
    vault: Arc<Vault>,
    ca: Ca,
    doors: Doors,
    metering: Metering,
    publisher: Publisher,
    signers: Signers,
    staff: Staff,
    tickets: (Tickets, Timestamp),
    contents: Contents,
    driver: Driver,
    handle: Handle,
    rng: StdRng,
}

impl Opened {
    fn open(config: &ServerConfig) -> Result<Self, StartError> {
        let mut rng = crate::rng();
        let store = Arc::new(Store::open(&config.data, &config.store)?);
        let vault = Arc::new(Vault::open(&store, &config.master_key, &mut rng)?);
        if let Some(written) = store.written_before() {
            tracing::info!(%written, "the store was last written at {written}");
        }
        let ca = Ca::open(&store, &vault, now(), &mut rng)?;
        let keys = first_keys(&store, &vault, &mut rng)?;
        let signers = Signers::open(&store, &vault, &mut rng)?;
        let tickets = open_tickets(&store, &vault, config.ticket_period, &mut rng)?;
        let known = store.read_blocking(|store| {
            Ok((
                channels::list(store)?,
                nodes::list(store)?,
                accounts::floors(store, now().before(2 * config.ticket_period))?,
                slaves::roster(store)?,
                Staff::read(store)?,
            ))
        })?;
        let (channels, nodes, floors, slaves, staff) = known;
        let contents = Contents::open(&config.contents, &config.data)?;
        // Uploads that were under way ended with the server before.
        store.write_blocking(|tx| catalogue::files::abandon_all(tx))?;
        let metering = Metering::start(&config.data, 0, config.usage_interval)?;
        let doors = Doors::start(&config.door, &config.placements, Some(metering.tap()))?;
        let publisher = Publisher::new(doors.teller());
        publisher.tell(Update::Tickets(tickets.0.clone()));
        publisher.tell(Update::Roster(roster(&slaves)));
        for Floor { account, version } in floors {
            publisher.tell(Update::RightsFloor { account, version });
        }
        let active = nodes
            .iter()
            .filter(|node| node.standing == Standing::Active);
        tracing::info!(
            channels = channels.len(),
            delivery_servers = active.count(),
            slaves = slaves.len(),
            "starting"
        );
        let authority = Config {
            keys,
            channels: configs(&channels),
            start_wait: config.start_wait,
            // Those that have sent are stored with their channels; one that never did keeps nobody waiting.
            known_servers: Vec::new(),
            slaves: SlaveQuorum {
                known: slaves.iter().map(|(slave, _)| SlaveId(*slave)).collect(),
                needed: config.slaves_needed,
            },
        };
        let (driver, handle) = Driver::load(
            authority,
            Arc::clone(&store),
            Arc::clone(&vault),
            publisher.clone(),
            Box::new(StdRng::from_rng(&mut rng)),
        )?;
        Ok(Self {
            store,
            vault,
            ca,
            doors,
            metering,
            publisher,
            signers,
            staff,
            tickets,
            contents,
            driver,
            handle,
            rng,
        })
    }
}

/// Reads the health of a server.
#[derive(Clone, Debug)]
pub struct Monitor {
    app: App,
    store: Arc<Store>,
    canary: Canary,
    metered: UsageMonitor,
    register: Arc<Register>,
}

impl Monitor {
    /// How the server is.
    pub async fn health(&self) -> Health {
        use std::sync::atomic::Ordering::Relaxed;
        let status = tokio::time::timeout(Duration::from_millis(500), self.app.status()).await;
        let health = self.app.authority().health();
        Health {
            status: status.ok().and_then(Result::ok),
            store_fails: health.store_fails.load(Relaxed) || self.store.fails(),
            old_copy: health.old_copy.load(Relaxed),
            alarms: health.alarms.load(Relaxed),
            doors: self.app.door_counters().read(),
            writes: self.store.stats(),
            canary: self.canary.measured(),
            usage: self.metered.stats(),
            webhooks: self.app.webhooks().stats(),
            cards: self.app.cards_stats().await,
            http: self.register.stats(),
            blocks: health.blocks(),
        }
    }
}

/// The authority's keys; made at the first start.
fn first_keys(
    store: &Store,
    vault: &Vault,
    rng: &mut StdRng,
) -> Result<sealcast_proto::authority::Keys, StartError> {
    let read = |store: &Store| store.read_blocking(|store| keys::authority_keys(store));
    let mut rows = read(store)?;
    if rows.is_empty() {
        let (public_key, sealed) = new_authority_key(vault, rng);
        store.write_blocking(move |tx| keys::add_authority_key(tx, now(), &public_key, &sealed))?;
        rows = read(store)?;
    }
    Ok(authority_keys(&rows, vault)?)
}

/// The folder in which usage files are kept that were counted.
fn archive(folder: Option<&Path>) -> io::Result<Option<Spool>> {
    let open = |folder: &Path| {
        Spool::open(folder).map_err(|error| {
            let text = format!(
                "usage files cannot be kept in {}: {error}",
                folder.display()
            );
            io::Error::new(error.kind(), text)
        })
    };
    folder.map(open).transpose()
}
