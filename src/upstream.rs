//! Usage files on their way to a key server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use rustls::ClientConfig;
use sealcast_control::slave::Upstream;
use sealcast_control::usage::{Carrier, Courier, Spool, Undelivered};
use sealcast_objects::api::Role;
use sealcast_objects::problem::Kind;
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;
use tokio::sync::watch;

use crate::Failure;

/// A slave's way to the parent that feeds it.
pub(crate) struct ToParent<F>(pub(crate) F);

impl<F: Fn() -> Arc<ClientConfig> + Send + Sync + 'static> Upstream for ToParent<F> {
    async fn bring(&self, parent: &str, file: Vec<u8>) -> Result<(), Undelivered> {
        // Made anew, since certificates are renewed; a file comes once a minute.
        let tls = ClientConfig::clone(&(self.0)());
        bring(Client::at(parent, tls), file).await
    }
}

/// A delivery server's way to the key server that it enrolled with.
struct ToKeyServer(PathBuf);

impl Carrier for ToKeyServer {
    async fn carry(&self, file: Vec<u8>) -> Result<(), Undelivered> {
        let identity = Identity::load(&self.0, Role::Node)
            .map_err(|error| Undelivered::Later(error.to_string()))?;
        bring(Client::new(&identity), file).await
    }
}

async fn bring(client: Result<Client, RequestError>, file: Vec<u8>) -> Result<(), Undelivered> {
    let later = |error: RequestError| Undelivered::Later(error.to_string());
    match client.map_err(later)?.usage(file).await {
        Ok(_) => Ok(()),
        Err(RequestError::Refused(problem))
            if matches!(problem.kind, Kind::Conflict | Kind::Invalid) =>
        {
            Err(Undelivered::Never(problem.detail))
        }
        Err(error) => Err(later(error)),
    }
}

/// Carries the usage files of a delivery server to its key server, on a thread of its own.
#[derive(Debug)]
pub(crate) struct Shipping {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Shipping {
    /// Files of `source` from `folder`, with the identity in this file.
    ///
    /// # Errors
    /// When the folder cannot be used or the thread cannot be started.
    pub(crate) fn start(folder: &Path, source: &str, identity: &Path) -> Result<Self, Failure> {
        let cannot = || format!("usage cannot be shipped from {}", folder.display());
        let spool = Spool::open(folder).with_context(cannot);
        let courier = Courier::new(spool.map_err(Failure::CannotOpen)?.of(source));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .with_context(cannot)
            .map_err(Failure::CannotOpen)?;
        let (stop, stopped) = watch::channel(false);
        let carrier = ToKeyServer(identity.to_owned());
        let thread = std::thread::Builder::new()
            .name("usage-courier".into())
            .spawn(move || runtime.block_on(courier.run(carrier, stopped)))
            .with_context(cannot);
        let thread = thread.map_err(Failure::CannotOpen)?;
        Ok(Self { stop, thread })
    }

    /// Ends, after some seconds for what was written last. What could not be carried stays in the folder.
    pub(crate) fn finish(self) {
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the courier of usage files ended badly; they stay in their folder");
        }
    }
}
