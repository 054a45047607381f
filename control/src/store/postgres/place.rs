//! Where the database is and how it is reached.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::postgres::config::{Host, SslMode, TargetSessionAttrs};
use ::postgres::{Client, Config, NoTls};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use sealcast_domain::StoreError;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::OpenError;
use crate::causes::causes;

/// How long a server leads after it was last heard, unless a setting says otherwise.
const LEASE: Duration = Duration::from_secs(10);
/// How long one attempt to connect may take, unless the URL says otherwise.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the network may be silent under a statement before the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(10);

/// Why there is no such database: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No URL of PostgreSQL.
    #[error("the store's URL is none of PostgreSQL ({0}): postgres://USER@HOST:PORT/DATABASE")]
    Url(String),
    /// A file cannot be read.
    #[error("cannot read {}: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// Keys and rights would cross the network in clear.
    #[error(
        "the database {0} is on another host, and nothing says how to know it: name the file of the certificate authority that it has \
         its certificate from (postgres_ca); or, on a network that is yours alone, put sslmode=disable into the URL"
    )]
    Clear(String),
    /// A lease that cannot be kept.
    #[error("a lease of {0:?} is too short for a database: at least 1s")]
    Lease(Duration),
}

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    config: Box<Config>,
    tls: Option<MakeRustlsConnect>,
    lease: Duration,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.place()).finish()
    }
}

fn read(file: &Path) -> Result<Vec<u8>, PostgresError> {
    std::fs::read(file).map_err(|error| PostgresError::File {
        file: file.to_path_buf(),
        why: error.to_string(),
    })
}

/// TLS to a server that has a certificate of the authority in `file` (PEM).
fn tls(file: &Path) -> Result<MakeRustlsConnect, PostgresError> {
    let bad = |why: String| PostgresError::File {
        file: file.to_path_buf(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read(file)?) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Whether what is sent there stays on this host.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

impl Postgres {
    /// The database at `url` (`postgres://USER@HOST:PORT/DATABASE?OPTIONS`, or `host=... user=...`). Its password stands in the URL or alone
    /// in a file; a server on another host must have a certificate of the authority in the file `ca`.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub fn new(
        url: &str,
        password: Option<&Path>,
        ca: Option<&Path>,
        lease: Option<Duration>,
    ) -> Result<Self, PostgresError> {
        let mut config: Config = url
            .parse()
            .map_err(|error| PostgresError::Url(causes(&error)))?;
        if let Some(file) = password {
            config.password(read(file)?.trim_ascii_end());
        }
        let tls = ca.map(tls).transpose()?;
        let lease = lease.unwrap_or(LEASE);
        if lease < Duration::from_secs(1) {
            return Err(PostgresError::Lease(lease));
        }
        let at = Self {
            config: Box::new(config),
            tls,
            lease,
        };
        let clear = at.config.get_ssl_mode() == SslMode::Disable;
        if at.tls.is_none() && !clear && !at.config.get_hosts().iter().all(is_local) {
            return Err(PostgresError::Clear(at.place()));
        }
        Ok(at.tuned())
    }

    /// What every connection wants: to be told soon of a network or a server that is gone, and commits that are durable.
    fn tuned(mut self) -> Self {
        if self.config.get_connect_timeout().is_none() {
            self.config.connect_timeout(CONNECT);
        }
        let mode = if self.tls.is_some() {
            SslMode::Require
        } else {
            SslMode::Disable
        };
        // A session that is stuck in a transaction holds the row that says who leads: it is ended before another one may lead.
        let options = format!(
            "{} -c idle_in_transaction_session_timeout={} -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 \
             -c tcp_keepalives_count=3 -c standard_conforming_strings=on",
            self.config.get_options().unwrap_or_default(),
            self.lease.as_millis()
        );
        self.config
            .ssl_mode(mode)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .keepalives_idle(Duration::from_secs(5))
            .tcp_user_timeout(SILENCE)
            .application_name("sealcast")
            .options(options.trim_start());
        self
    }

    /// How it is named to people: without its password.
    #[must_use]
    pub fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<_> = hosts.collect();
        let ports: Vec<_> = self.config.get_ports().iter().map(u16::to_string).collect();
        let user = self.config.get_user().unwrap_or_default();
        let database = self.config.get_dbname().unwrap_or(user);
        let colon = if ports.is_empty() { "" } else { ":" };
        format!(
            "postgres://{user}@{}{colon}{}/{database}",
            hosts.join(","),
            ports.join(",")
        )
    }

    /// How long a server leads after it was last heard.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }

    pub(super) fn connect(&self) -> Result<Client, ::postgres::Error> {
        match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        }
    }

    pub(super) fn away(&self, error: &StoreError) -> OpenError {
        OpenError::Away {
            place: self.place(),
            why: match error {
                StoreError::Away(why) | StoreError::Failed(why) => why.clone(),
                error => error.to_string(),
            },
        }
    }
}
