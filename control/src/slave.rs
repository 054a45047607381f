//! A slave key server as a whole: key doors, the link to its parent, and what it serves to slaves behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use sealcast_net::shard::Placement;
use sealcast_proto::feed::{SlaveConfig, WithoutLease};
use sealcast_proto::ids::SlaveId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ca::CaError;
use crate::door::{DoorCounters, DoorStats, Doors};
use crate::feed::{Cache, Parents, SlaveHandle, SlaveHealth, SlaveTask, WrongUrl};
use crate::http::{Acceptor, HttpStats, Limits, Register, serve, slave_router};
use crate::tls::{self, ServerCertificate};
use crate::usage::{self, Carrier, Metering, Undelivered, UsageMonitor, UsageStats};
use crate::vault::VaultError;

/// Settings of a slave key server.
#[derive(Clone, Debug)]
pub struct SlaveServerConfig {
    /// Which slave.
    pub slave: u32,
    /// Folder of what it keeps.
    pub data: PathBuf,
    /// File of the key that this is sealed under.
    pub key: PathBuf,
    /// Where HTTPS and the feed for slaves behind this one listen.
    pub listen: Vec<SocketAddr>,
    /// Where the key doors listen.
    pub door: Vec<SocketAddr>,
    /// What devices are told instead of `door`.
    pub advertise: Vec<SocketAddr>,
    /// Where the feed comes from, in the order of preference.
    pub parents: Vec<String>,
    /// One key door per entry.
    pub placements: Vec<Placement>,
    /// What it does without a lease.
    pub without_lease: WithoutLease,
    /// How often what its key doors gave is written and carried to the parent.
    pub usage_interval: Duration,
    /// Bounds on connections and requests of what it serves over HTTPS.
    pub limits: Limits,
}

/// Takes usage files to the parent that feeds a slave.
pub trait Upstream: Send + Sync + 'static {
    /// `POST /v1/usage` at `parent` (https://HOST:PORT).
    ///
    /// # Errors
    /// [`Undelivered`].
    fn bring(
        &self,
        parent: &str,
        file: Vec<u8>,
    ) -> impl Future<Output = Result<(), Undelivered>> + Send;
}

struct ToParent<U> {
    slave: SlaveHandle,
    upstream: U,
}

impl<U: Upstream> Carrier for ToParent<U> {
    async fn carry(&self, file: Vec<u8>) -> Result<(), Undelivered> {
        let health = self.slave.health().await;
        // A leased slave's parents lead to the master: files never go in a circle.
        let parent = health
            .filter(|slave| slave.leased)
            .and_then(|slave| slave.parent);
        let Some(parent) = parent else {
            return Err(Undelivered::Later("no contact with the master".to_owned()));
        };
        self.upstream.bring(&parent, file).await
    }
}

/// Why a slave cannot start: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum SlaveError {
    /// What it keeps.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Its certificate.
    #[error(transparent)]
    Certificate(#[from] CaError),
    /// A parent.
    #[error(transparent)]
    Parent(#[from] WrongUrl),
    /// Sockets and threads.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A running slave.
#[derive(Debug)]
pub struct SlaveServer {
    listen: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    following: JoinHandle<()>,
    slave: SlaveHandle,
    certificate: Arc<ServerCertificate>,
    doors: Doors,
    metering: usage::Running,
    metered: UsageMonitor,
    register: Arc<Register>,
}

impl SlaveServer {
    /// Starts with the certificate that it enrolled for and that of its CA; `tls` makes the configuration of links to parents,
    /// anew each time; `upstream` takes usage files to them. Inside a tokio runtime only.
    ///
    /// # Errors
    /// [`SlaveError`]; nothing runs then.
    pub async fn start(
        config: SlaveServerConfig,
        certified: Arc<CertifiedKey>,
        ca: &CertificateDer<'static>,
        tls: impl Fn() -> Arc<ClientConfig> + Send + 'static,
        upstream: impl Upstream,
    ) -> Result<Self, SlaveError> {
        let parents = Parents::new(&config.parents)?;
        let acceptor = Acceptor::bind(&config.listen)?;
        let listen = acceptor.addrs()?;
        let opening = config.clone();
        let open = move || -> Result<_, SlaveError> {
            let cache = Cache::open(&opening.data, &opening.key, &mut crate::rng())?;
            let metering = Metering::start(&opening.data, opening.slave, opening.usage_interval)?;
            let doors = Doors::start(&opening.door, &opening.placements, Some(metering.tap()))?;
            Ok((cache, metering, doors))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let (cache, metering, doors) = opened.map_err(std::io::Error::other)??;
        let advertised = if config.advertise.is_empty() {
            doors.addrs().to_vec()
        } else {
            config.advertise
        };
        let slave = SlaveConfig {
            slave: SlaveId(config.slave),
            doors: advertised,
            without_lease: config.without_lease,
        };
        let certificate = ServerCertificate::new(certified);
        let server_tls = tls::config(ca, Arc::clone(&certificate))?;
        let (task, slave) = SlaveTask::start(slave, cache, doors.teller(), parents, tls);
        let (stop, stopped) = watch::channel(false);
        let router = slave_router(
            doors.https(),
            slave.clone(),
            metering.spool().clone(),
            &config.limits,
        );
        let register = Register::new(config.limits);
        let serving = serve(acceptor, server_tls, router, Arc::clone(&register), stopped);
        let metered = metering.monitor();
        let carrier = ToParent {
            slave: slave.clone(),
            upstream,
        };
        Ok(Self {
            listen,
            stop,
            serving: tokio::spawn(serving),
            following: tokio::spawn(task.run()),
            slave,
            certificate,
            doors,
            metering: metering.run(carrier),
            metered,
            register,
        })
    }

    /// Where HTTPS and the feed listen.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Where the key doors listen.
    #[must_use]
    pub fn door(&self) -> &[SocketAddr] {
        self.doors.addrs()
    }

    /// New connections get this certificate.
    #[must_use]
    pub fn certificate(&self) -> Arc<ServerCertificate> {
        Arc::clone(&self.certificate)
    }

    /// What reads the health of the slave, from anywhere.
    #[must_use]
    pub fn monitor(&self) -> SlaveMonitor {
        SlaveMonitor {
            slave: self.slave.clone(),
            doors: self.doors.stats(),
            metered: self.metered.clone(),
            register: Arc::clone(&self.register),
        }
    }

    /// Stops; what it knows is kept.
    pub async fn stop(self) {
        let doors = self.doors;
        let _ = tokio::task::spawn_blocking(move || drop(doors)).await;
        // What they gave last is carried away while there is a parent.
        self.metering.stop().await;
        let _ = self.stop.send(true);
        // Slaves behind it look for another parent when their links end, which they do with the task.
        self.slave.stop().await;
        let _ = self.following.await;
        let _ = self.serving.await;
    }
}

/// Reads the health of a slave.
#[derive(Clone, Debug)]
pub struct SlaveMonitor {
    slave: SlaveHandle,
    doors: DoorCounters,
    metered: UsageMonitor,
    register: Arc<Register>,
}

impl SlaveMonitor {
    /// Totals of its meter.
    #[must_use]
    pub fn usage(&self) -> UsageStats {
        self.metered.stats()
    }

    /// Connections of what it serves over HTTPS.
    #[must_use]
    pub fn http(&self) -> HttpStats {
        self.register.stats()
    }

    /// How the slave is, and the totals of its key doors; `None` while it does not answer.
    pub async fn health(&self) -> (Option<SlaveHealth>, DoorStats) {
        let asked = tokio::time::timeout(Duration::from_millis(500), self.slave.health());
        (asked.await.ok().flatten(), self.doors.read())
    }
}
