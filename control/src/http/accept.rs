//! Accepts connections: TLS with a bound on time, who the peer is, HTTP/1.1 or 2 by ALPN, drain at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::ca::Peer;

/// A handshake, and the headers of a request, must be there within this.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A silent HTTP/2 peer is asked whether it is there this often.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Connections at once; more wait.
const CONNECTIONS: usize = 8192;
/// What is under way at the end gets this long.
const DRAIN: Duration = Duration::from_secs(5);

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source(pub(super) SocketAddr);

/// Ends the connection that a request came over, where nobody takes what is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Cut(Arc<Notify>);

impl Cut {
    pub(super) fn now(&self) {
        self.0.notify_one();
    }
}

/// Listening sockets.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<TcpListener>,
}

impl Acceptor {
    /// Binds to these addresses (port 0 lets the kernel choose).
    ///
    /// # Errors
    /// Which address cannot be bound, and why.
    pub async fn bind(addrs: &[SocketAddr]) -> std::io::Result<Self> {
        let mut listeners = Vec::new();
        for addr in addrs {
            let listener = TcpListener::bind(addr).await.map_err(|error| {
                std::io::Error::new(
                    error.kind(),
                    format!("cannot listen at {addr}: {error}; is another program there, or is it no address of this host?"),
                )
            })?;
            listeners.push(listener);
        }
        Ok(Self { listeners })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn addrs(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }
}

/// Serves until `stop` says so, then lets what is under way end.
pub async fn serve(
    acceptor: Acceptor,
    tls: ServerConfig,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let tls = TlsAcceptor::from(Arc::new(tls));
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut serving = Vec::new();
    for listener in acceptor.listeners {
        let (tls, router, slots, stop) = (
            tls.clone(),
            router.clone(),
            Arc::clone(&slots),
            stop.clone(),
        );
        serving.push(tokio::spawn(accept(listener, tls, router, slots, stop)));
    }
    for one in serving {
        let _ = one.await;
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    slots: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let graceful = Arc::new(GracefulShutdown::new());
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((tcp, source)) => {
                let connection = Connection {
                    tls: tls.clone(),
                    router: router.clone(),
                    graceful: Arc::clone(&graceful),
                };
                let stop = stop.clone();
                tokio::spawn(connection.serve(tcp, source, slot, stop));
            }
            Err(error) => {
                // Out of file descriptors, for one: others will close.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if let Ok(graceful) = Arc::try_unwrap(graceful) {
        let _ = timeout(DRAIN, graceful.shutdown()).await;
    } else {
        // Handshakes are under way; connections watch `stop` themselves.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

struct Connection {
    tls: TlsAcceptor,
    router: Router,
    graceful: Arc<GracefulShutdown>,
}

impl Connection {
    async fn serve(
        self,
        tcp: TcpStream,
        source: SocketAddr,
        slot: OwnedSemaphorePermit,
        mut stop: watch::Receiver<bool>,
    ) {
        let _ = tcp.set_nodelay(true);
        let stream = match timeout(HANDSHAKE, self.tls.accept(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%source, %error, "a TLS handshake failed"),
            Err(_) => return tracing::debug!(%source, "a TLS handshake took too long"),
        };
        let (_, session) = stream.get_ref();
        let peer = session
            .peer_certificates()
            .and_then(|chain| Peer::of(chain.first()?));
        let cut = Cut::default();
        let service = self
            .router
            .layer(Extension(peer))
            .layer(Extension(cut.clone()))
            .layer(Extension(Source(source)));
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HANDSHAKE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .max_concurrent_streams(64);
        let connection = builder
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        let connection = self.graceful.watch(connection);
        drop(self.graceful);
        tokio::pin!(connection);
        let stopped = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = &mut connection => if let Err(error) = served {
                tracing::debug!(%source, %error, "a connection ended badly");
            },
            () = stopped => {}
            () = cut.0.notified() => tracing::debug!(%source, "nobody takes what is sent: the connection is ended"),
        }
        drop(slot);
    }
}
