//! Accepts connections: TLS with a bound on time, who the peer is, HTTP/1.1 or 2 by ALPN, drain at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connections::{Class, Counted, End, Limits, Register, Served, Ticket, Why};
use crate::ca::Peer;

/// A silent HTTP/2 peer is asked whether it is there this often.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Connections that the system takes in before they are accepted: all devices may come at once.
const BACKLOG: u32 = 4096;
/// Where there is no place for another connection, it is looked for again after this.
const PAUSE: Duration = Duration::from_millis(20);
/// A connection that is told to end has this long to say good-bye.
const GOOD_BYE: Duration = Duration::from_secs(1);

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

    async fn wait(&self) {
        self.0.notified().await;
    }
}

/// Listening sockets.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Vec<TcpListener>,
}

fn listen(addr: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

impl Acceptor {
    /// Binds to these addresses (port 0 lets the kernel choose). Inside a tokio runtime only.
    ///
    /// # Errors
    /// Which address cannot be bound, and why.
    pub fn bind(addrs: &[SocketAddr]) -> std::io::Result<Self> {
        let listening = addrs.iter().map(|addr| {
            listen(*addr).map_err(|error| {
                std::io::Error::new(
                    error.kind(),
                    format!("cannot listen at {addr}: {error}; is another program there, or is it no address of this host?"),
                )
            })
        });
        Ok(Self {
            listeners: listening.collect::<Result<_, _>>()?,
        })
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
pub(crate) async fn serve(
    acceptor: Acceptor,
    tls: ServerConfig,
    router: Router,
    register: Arc<Register>,
    stop: watch::Receiver<bool>,
) {
    let tls = TlsAcceptor::from(Arc::new(tls));
    let mut serving = JoinSet::new();
    for listener in acceptor.listeners {
        let welcome = Welcome {
            tls: tls.clone(),
            router: router.clone(),
            limits: register.limits().clone(),
        };
        serving.spawn(accept(
            listener,
            welcome,
            Arc::clone(&register),
            stop.clone(),
        ));
    }
    register.keep(stop).await;
    while serving.join_next().await.is_some() {}
}

async fn accept(
    listener: TcpListener,
    welcome: Welcome,
    register: Arc<Register>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (tcp, source, ticket) = next(&listener, &register) => {
                connections.spawn(welcome.clone().serve(tcp, source, ticket));
            }
            _ = stop.wait_for(|stop| *stop) => break,
        }
        // Not while the next one is waited for: it may have come, and wait for a place.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let end = async { while connections.join_next().await.is_some() {} };
    // What is still there then ends with the set.
    let _ = timeout(welcome.limits.drain, end).await;
}

/// The next connection for which there is a place. While all places are taken by handshakes that are under way the others wait with the
/// system: these are done soon, or late and then make room.
async fn next(listener: &TcpListener, register: &Arc<Register>) -> (TcpStream, Source, Ticket) {
    let (tcp, source) = loop {
        match listener.accept().await {
            Ok(accepted) => break accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors, for one.
                register.relieve();
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    loop {
        match register.enter(Class::Handshaking, source.ip()) {
            Some(ticket) => return (tcp, Source(source), ticket),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// What each connection is served with.
#[derive(Clone)]
struct Welcome {
    tls: TlsAcceptor,
    router: Router,
    limits: Limits,
}

impl Welcome {
    async fn serve(self, tcp: TcpStream, source: Source, mut ticket: Ticket) {
        let _ = tcp.set_nodelay(true);
        let Source(from) = source;
        let register = Arc::clone(ticket.register());
        let watch = ticket.watch();
        let handshake = async {
            // Not when it is said to be readable: that may be wrong.
            tcp.peek(&mut [0]).await?;
            // It says something: until now it was there for nothing.
            watch.begin_request();
            self.tls.accept(tcp).await
        };
        let handshake = tokio::select! {
            handshake = timeout(self.limits.handshake, handshake) => handshake,
            _ = ticket.ended() => return,
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return tracing::debug!(source = %from, %error, "a TLS handshake failed");
            }
            Err(_) => {
                register.note(Why::Handshake);
                return tracing::debug!(source = %from, "a TLS handshake took too long");
            }
        };
        let (_, session) = stream.get_ref();
        let peer = session
            .peer_certificates()
            .and_then(|chain| Peer::of(chain.first()?));
        let class = match peer {
            Some(_) => Class::Authenticated,
            None => Class::Anonymous,
        };
        let Some(entered) = register.enter(class, from.ip()) else {
            register.note(Why::Full);
            return tracing::debug!(source = %from, ?class, "no place for a connection");
        };
        drop(ticket);
        let served = Served::new(self.router, peer, source, &entered);
        let cut = served.cut();
        tokio::select! {
            () = serve_http(stream, served, entered, (source, &self.limits)) => {}
            () = cut.wait() => tracing::debug!(source = %from, "nobody takes what is sent: the connection is ended"),
        }
    }
}

async fn serve_http(
    stream: TlsStream<TcpStream>,
    served: Served,
    mut ticket: Ticket,
    (Source(source), limits): (Source, &Limits),
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(64);
    let stream = TokioIo::new(Counted::new(stream, ticket.watch()));
    let connection = builder.serve_connection(stream, TowerToHyperService::new(served));
    tokio::pin!(connection);
    let end = tokio::select! {
        served = &mut connection => {
            if let Err(error) = served {
                tracing::debug!(%source, %error, "a connection ended badly");
                // It waited for a request, or for all of its headers, for as long as HTTP/1 allows.
                if ticket.idle_for() >= Some(limits.handshake) {
                    ticket.register().note(Why::Idle);
                }
            }
            return;
        }
        end = ticket.ended() => end,
    };
    tracing::debug!(%source, ?end, "a connection is ended");
    if end == End::Gently {
        connection.as_mut().graceful_shutdown();
        // One that idles has nothing under way; when the server stops, others may have.
        let time = match ticket.idle_for() {
            Some(_) => GOOD_BYE,
            None => limits.drain,
        };
        let _ = timeout(time, connection).await;
    }
}
