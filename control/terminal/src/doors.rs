//! The driver of a device's session: one UDP socket, HTTPS where needed, the identity's file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_objects::api::{SessionReply, SessionRequest};
use sealcast_proto::ids::Time;
use sealcast_proto::limits::CONTROL_MAX;
use sealcast_proto::wire::door::Wanted;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::enrol;
use crate::https::{Client, RequestError};
use crate::identity::Identity;
use crate::keeper::{Event, Keeper, Output};

/// Requests by HTTPS at once.
const HTTPS_AT_ONCE: usize = 8;

/// What a device's key client runs on.
#[derive(Debug)]
pub struct DoorClient {
    /// Who it is.
    pub identity: Identity,
    /// Its file: session and renewed certificates are kept there.
    pub file: PathBuf,
    /// Channels that it receives, read at each new session; empty: all that it may have.
    pub channels: Arc<Mutex<Vec<u16>>>,
    /// Says that `channels` has changed.
    pub changed: Arc<Notify>,
    /// Requests of all channels.
    pub requests: mpsc::Receiver<Wanted>,
}

enum Came {
    Session(Result<Box<SessionReply>, RequestError>),
    Identity(Box<Identity>),
    Https(Vec<u8>),
}

/// One socket per address family, made when a door of that family is known.
#[derive(Default)]
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    async fn to(&mut self, door: SocketAddr) -> std::io::Result<&UdpSocket> {
        let (slot, any): (_, IpAddr) = if door.is_ipv4() {
            (&mut self.v4, Ipv4Addr::UNSPECIFIED.into())
        } else {
            (&mut self.v6, Ipv6Addr::UNSPECIFIED.into())
        };
        if slot.is_none() {
            *slot = Some(UdpSocket::bind((any, 0)).await?);
        }
        slot.as_ref()
            .ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }

    /// Waits for a datagram on either socket.
    async fn recv(&self, v4: &mut [u8], v6: &mut [u8]) -> (bool, usize) {
        let one = async |socket: &Option<UdpSocket>, buffer: &mut [u8]| match socket {
            Some(socket) => loop {
                // What an ICMP error leaves on the socket is no datagram.
                if let Ok((len, _)) = socket.recv_from(buffer).await {
                    return len;
                }
                tokio::task::yield_now().await;
            },
            None => std::future::pending().await,
        };
        tokio::select! {
            len = one(&self.v4, v4) => (true, len),
            len = one(&self.v6, v6) => (false, len),
        }
    }
}

impl DoorClient {
    /// Runs until the senders of requests are gone; keeps the session in the identity's file at the end. `clock` is the boot
    /// clock; `tell` hears what channels should know.
    pub async fn run(mut self, clock: impl Fn() -> Time, mut tell: impl FnMut(Event)) {
        let mut rng = StdRng::try_from_rng(&mut rand::rngs::SysRng)
            .expect("the operating system gives randomness");
        let mut keeper = Keeper::new(clock());
        if let Some(kept) = &self.identity.session
            && let Err(error) = keeper.resume(clock(), kept, &mut rng)
        {
            tracing::warn!(%error, "the kept session is not used");
        }
        let (came_in, mut came) = mpsc::channel(64);
        let at_once = Arc::new(Semaphore::new(HTTPS_AT_ONCE));
        let mut sockets = Sockets::default();
        let (mut v4, mut v6) = (vec![0; CONTROL_MAX + 1], vec![0; CONTROL_MAX + 1]);
        let mut told_failure = false;
        loop {
            let now = clock();
            keeper.poll(now);
            while let Some(output) = keeper.poll_output() {
                match output {
                    Output::Event(event) => tell(event),
                    Output::Open => self.open(came_in.clone()),
                    Output::Https(datagram) => {
                        self.by_https(datagram, &at_once, came_in.clone());
                    }
                    Output::Udp(door, datagram) => {
                        let sent = match sockets.to(door).await {
                            Ok(socket) => socket.send_to(&datagram, door).await,
                            Err(error) => Err(error),
                        };
                        if let Err(error) = sent {
                            tracing::debug!(%door, %error, "a request could not be sent");
                        }
                    }
                }
            }
            let due = keeper.next_timeout().map(|due| due.since(now));
            let timer = sleep_until(Instant::now() + due.unwrap_or(Duration::from_secs(3600)));
            tokio::select! {
                wanted = self.requests.recv() => match wanted {
                    Some(wanted) => keeper.wanted(clock(), &wanted, &mut rng),
                    None => break,
                },
                () = self.changed.notified() => keeper.renew(clock()),
                (is_v4, len) = sockets.recv(&mut v4, &mut v6) => {
                    let buffer = if is_v4 { &v4 } else { &v6 };
                    if let Err(cause) = keeper.datagram(clock(), &buffer[..len], true, &mut rng) {
                        tracing::trace!(cause = cause.name(), "a datagram that nobody asked for");
                    }
                }
                arrived = came.recv() => match arrived {
                    Some(Came::Session(result)) => {
                        self.take_session(result, &mut keeper, clock(), &mut rng, &mut told_failure);
                    }
                    Some(Came::Identity(identity)) => {
                        let session = self.identity.session.take();
                        self.identity = *identity;
                        self.identity.session = session;
                        self.save();
                    }
                    Some(Came::Https(reply)) => {
                        let _ = keeper.datagram(clock(), &reply, false, &mut rng);
                    }
                    None => break,
                },
                () = timer => {}
            }
        }
        if let (Some(grant), Some(session)) = (keeper.grant(), &mut self.identity.session) {
            session.grant = grant;
            self.save();
        }
    }

    fn save(&self) {
        if let Err(error) = self.identity.save(&self.file) {
            tracing::warn!(%error, "a restart will need a new session");
        }
    }

    fn take_session(
        &mut self,
        result: Result<Box<SessionReply>, RequestError>,
        keeper: &mut Keeper,
        now: Time,
        rng: &mut StdRng,
        told: &mut bool,
    ) {
        match result {
            Ok(reply) => {
                *told = false;
                match keeper.opened(now, &reply, rng) {
                    Ok(()) => {
                        tracing::info!(channels = ?reply.channels, doors = ?reply.doors, "session opened");
                        for refused in &reply.refused {
                            tracing::warn!(
                                channel = refused.channel,
                                why = refused.why,
                                "a channel is refused"
                            );
                        }
                        for notice in &reply.notices {
                            tracing::warn!("{notice}");
                        }
                        self.identity.session = Some(*reply);
                        self.save();
                    }
                    Err(error) => tracing::error!(%error),
                }
            }
            Err(error) => {
                keeper.failed(now, error.is_passing(), rng);
                if !std::mem::replace(told, true) {
                    tracing::warn!(%error, "no session; keys held stay in use; trying again");
                }
            }
        }
    }

    /// Opens a session, renewing the certificate before if that is due.
    fn open(&self, came: mpsc::Sender<Came>) {
        let mut identity = self.identity.clone();
        let channels = self
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        tokio::spawn(async move {
            if enrol::is_due(&identity) {
                match enrol::renew(&mut identity).await {
                    Ok(()) => {
                        tracing::info!(until = %identity.until, "certificate renewed");
                        let _ = came.send(Came::Identity(Box::new(identity.clone()))).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the certificate could not be renewed; trying again")
                    }
                }
            }
            let session = async {
                let client = Client::new(&identity)?;
                let request = SessionRequest { channels };
                client.post::<SessionReply>("/v1/session", &request).await
            };
            let _ = came.send(Came::Session(session.await.map(Box::new))).await;
        });
    }

    fn by_https(&self, datagram: Vec<u8>, at_once: &Arc<Semaphore>, came: mpsc::Sender<Came>) {
        // More than that at once are not worth their wait: the requester asks again.
        let Ok(slot) = Arc::clone(at_once).try_acquire_owned() else {
            return;
        };
        let identity = self.identity.clone();
        tokio::spawn(async move {
            let reply = match Client::new(&identity) {
                Ok(client) => client.door(datagram).await,
                Err(error) => Err(error),
            };
            drop(slot);
            match reply {
                Ok(reply) if !reply.is_empty() => drop(came.send(Came::Https(reply)).await),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "no answer by HTTPS either"),
            }
        });
    }
}
