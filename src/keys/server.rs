//! The authority behind a Unix socket: one thread decides, two threads per connection read and write.
//!
//! State lives in memory only: a restarted server starts a new term from the reports of the delivery servers.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use rand_core::CryptoRng;
use sealcast_net::clock;
use sealcast_net::mailbox::{self, mailbox};
use sealcast_proto::authority::{Authority, AuthorityEvent, Config, ConnId, Output, Stored};
use sealcast_proto::ids::Time;
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};

use super::frame;

/// Messages that may wait for one connection; one that does not keep up is closed.
const OUTBOX: usize = 1024;
/// The thread looks at the clock at least this often.
const TICK: Duration = Duration::from_millis(200);

/// What `sealcast keys` runs on.
pub struct KeyServerConfig {
    /// Where to listen.
    pub path: PathBuf,
    /// The authority's settings.
    pub authority: Config,
    /// Randomness.
    pub rng: Box<dyn CryptoRng + Send>,
    /// Gets what should be told to people.
    pub on_event: Box<dyn FnMut(AuthorityEvent) + Send>,
}

impl std::fmt::Debug for KeyServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyServerConfig")
            .field("path", &self.path)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

enum Event {
    Connected(ConnId, mailbox::Sender<Frame<FromAuthority>>, UnixStream),
    Message(ConnId, ToAuthority),
    Disconnected(ConnId),
    Stop,
}

/// A running authority.
#[derive(Debug)]
pub struct KeyServer {
    events: mpsc::Sender<Event>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl KeyServer {
    /// Starts listening and deciding.
    ///
    /// # Errors
    /// When the socket cannot be made; the message says what to do.
    pub fn start(config: KeyServerConfig) -> anyhow::Result<Self> {
        let KeyServerConfig {
            path,
            authority,
            rng,
            on_event,
        } = config;
        let listener = listen(&path)?;
        let (events, inbox) = mpsc::channel();
        let accepting = events.clone();
        thread::Builder::new()
            .name("key-accept".into())
            .spawn(move || accept(&listener, &accepting))?;
        let authority = Authority::start(authority, Stored::default(), now());
        let decider = Decider {
            authority,
            rng,
            on_event,
            outboxes: BTreeMap::new(),
        };
        let thread = thread::Builder::new()
            .name("authority".into())
            .spawn(move || decider.run(&inbox))?;
        Ok(Self {
            events,
            path,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
        let _ = std::fs::remove_file(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn now() -> Time {
    Time(clock::boottime())
}

/// Binds with mode 0600 before anybody can connect. A socket file that nobody listens on any more is replaced.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if path.exists() {
        anyhow::ensure!(
            UnixStream::connect(path).is_err(),
            "{} is in use by another key server: stop it or choose another path",
            path.display()
        );
        std::fs::remove_file(path)
            .with_context(|| format!("removing the stale socket {}", path.display()))?;
    }
    let bind = || -> io::Result<UnixListener> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        socket.listen(128)?;
        Ok(UnixListener::from(OwnedFd::from(socket)))
    };
    bind().with_context(|| {
        format!(
            "listening on {}: does its folder exist, and may you write to it?",
            path.display()
        )
    })
}

fn accept(listener: &UnixListener, events: &mpsc::Sender<Event>) {
    for (number, stream) in (1..).zip(listener.incoming()) {
        let Ok(stream) = stream else { continue };
        if serve(ConnId(number), stream, events).is_err() {
            return;
        }
    }
}

/// Starts the two threads of a connection. Fails when the authority is gone.
fn serve(conn: ConnId, stream: UnixStream, events: &mpsc::Sender<Event>) -> Result<(), ()> {
    let (outbox, mut outgoing) = mailbox::<Frame<FromAuthority>>(OUTBOX);
    let (Ok(mut writing), Ok(closing), mut reading) =
        (stream.try_clone(), stream.try_clone(), stream)
    else {
        return Ok(());
    };
    events
        .send(Event::Connected(conn, outbox, closing))
        .map_err(|_| ())?;
    let write = move || {
        while let Some(message) = outgoing.recv_blocking() {
            if frame::write(&mut writing, &message).is_err() {
                break;
            }
        }
        let _ = writing.shutdown(Shutdown::Both);
    };
    let events = events.clone();
    let read = move || {
        while let Ok(Some(Frame { message, .. })) = frame::read::<Frame<ToAuthority>>(&mut reading)
        {
            if events.send(Event::Message(conn, message)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Disconnected(conn));
    };
    let name = |direction| thread::Builder::new().name(format!("key-{direction}-{}", conn.0));
    let _ = name("out").spawn(write);
    let _ = name("in").spawn(read);
    Ok(())
}

/// The one thread that owns the authority.
struct Decider {
    authority: Authority,
    rng: Box<dyn CryptoRng + Send>,
    on_event: Box<dyn FnMut(AuthorityEvent) + Send>,
    outboxes: BTreeMap<ConnId, (mailbox::Sender<Frame<FromAuthority>>, UnixStream)>,
}

impl Decider {
    fn run(mut self, inbox: &mpsc::Receiver<Event>) {
        let mut out = Vec::new();
        loop {
            let wait = self
                .authority
                .next_timeout()
                .map_or(TICK, |due| due.since(now()).min(TICK));
            match inbox.recv_timeout(wait) {
                Ok(Event::Connected(conn, outbox, stream)) => {
                    self.outboxes.insert(conn, (outbox, stream));
                }
                Ok(Event::Message(conn, message)) => {
                    self.authority
                        .handle(now(), conn, message, self.rng.as_mut(), &mut out)
                }
                Ok(Event::Disconnected(conn)) => {
                    self.authority.disconnected(conn);
                    self.outboxes.remove(&conn);
                }
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.authority.poll(now(), self.rng.as_mut(), &mut out);
            for output in out.drain(..) {
                self.carry_out(output);
            }
        }
        for (_, stream) in self.outboxes.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            // Nothing is kept on disk here: the state is as durable as this process.
            Output::Store => {}
            Output::Event(event) => (self.on_event)(event),
            Output::Send(conn, message) => {
                if let Some((outbox, stream)) = self.outboxes.get(&conn)
                    && outbox
                        .try_send(Frame {
                            sent: now(),
                            message,
                        })
                        .is_err()
                {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        }
    }
}
