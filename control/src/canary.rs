//! A canary: every so often the master makes up a session, takes its rights away, and asks every slave as a device would until it says
//! so. What it measures is the bound that is promised, in operation (SEC-11).
//!
//! The session has no channels, so no key leaves; its account is in no store.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_net::clock;
use sealcast_proto::door::{Answer, Session, Update};
use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, SlaveId, Time};
use sealcast_proto::limits::CONTROL_MAX;
use sealcast_proto::wire::door::{Reason, Wanted};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::{App, Holder, new_session};

/// Within this a revocation reaches every slave in contact; more is an alarm.
pub const BOUND: Duration = Duration::from_secs(1);
/// A slave that has not said it by then is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two questions: the resolution of what is measured.
const PAUSE: Duration = Duration::from_millis(20);
/// An answer that takes longer is lost.
const ANSWER: Duration = Duration::from_millis(250);

/// What was measured at one slave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Measured {
    /// From the last revocation to the first answer that knew of it.
    pub last: Duration,
    /// The longest that it took.
    pub worst: Duration,
    /// Revocations that were measured.
    pub count: u64,
    /// Revocations of which nothing could be measured: its door did not answer.
    pub unanswered: u64,
    /// Revocations that took longer than [`BOUND`]: alarms.
    pub late: u64,
}

/// What was measured, by slave.
#[derive(Clone, Debug, Default)]
pub struct Canary(Arc<Mutex<BTreeMap<SlaveId, Measured>>>);

impl Canary {
    /// What was measured so far.
    #[must_use]
    pub fn measured(&self) -> BTreeMap<SlaveId, Measured> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Measures every `interval` until `stop` says so.
    pub(crate) async fn run(self, app: App, interval: Duration, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = sleep(interval) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                () = self.round(&app) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// One revocation, at all slaves with a lease.
    pub(crate) async fn round(&self, app: &App) {
        let slaves = app.publisher().slaves().into_iter();
        let leased = slaves.filter_map(|(slave, state)| {
            let door = state.doors.first().filter(|_| state.leased)?;
            Some((slave, *door))
        });
        let mut rng = app.fork_rng();
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let (account, mut asking) = (AccountId(id), JoinSet::new());
        let (revoke, revoked) = watch::channel(None);
        for (slave, door) in leased {
            let holder = Holder {
                account,
                device: DeviceId(id),
                rights_version: 1,
                channels: Vec::new(),
            };
            let (tickets, ..) = app.tickets();
            let Some(session) = Session::new(new_session(&tickets, holder, &mut rng)) else {
                return;
            };
            let prober = Prober {
                session,
                door,
                rng: rand::SeedableRng::from_rng(&mut rng),
            };
            let revoked = revoked.clone();
            asking.spawn(async move { (slave, prober.measure(revoked).await) });
        }
        if asking.is_empty() {
            return;
        }
        // By then every slave has been asked once.
        sleep(2 * ANSWER).await;
        app.publisher().tell(Update::RightsFloor {
            account,
            version: 2,
        });
        let _ = revoke.send(Some(Instant::now()));
        while let Some(done) = asking.join_next().await {
            if let Ok((slave, took)) = done {
                self.note(slave, took);
            }
        }
    }

    fn note(&self, slave: SlaveId, took: Option<Duration>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let measured = all.entry(slave).or_default();
        let Some(took) = took else {
            measured.unanswered += 1;
            return tracing::warn!(
                slave = slave.0,
                "the canary got no answer of this slave's door; can the master reach it by UDP?"
            );
        };
        measured.count += 1;
        measured.last = took;
        measured.worst = measured.worst.max(took);
        if took > BOUND {
            measured.late += 1;
            tracing::warn!(
                slave = slave.0,
                took_ms = took.as_millis(),
                "ALARM: a revocation took longer than a second to reach this slave"
            );
        }
    }
}

/// A device that asks one door again and again.
struct Prober {
    session: Session,
    door: SocketAddr,
    rng: StdRng,
}

impl Prober {
    /// How long it took from the revocation to the first answer that knew of it; `None` when the door does not answer.
    async fn measure(mut self, revoked: watch::Receiver<Option<Instant>>) -> Option<Duration> {
        let any: IpAddr = if self.door.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0)).await.ok()?;
        socket.connect(self.door).await.ok()?;
        let (mut number, mut heard, begun) = (0, false, Instant::now());
        while begun.elapsed() < PATIENCE {
            number += 1;
            match self.ask(&socket, number).await {
                Some(Reason::RightsChanged) => {
                    let at = *revoked.borrow();
                    return at.map(|at| at.elapsed());
                }
                Some(_) => heard = true,
                None => {}
            }
            sleep(PAUSE).await;
        }
        heard.then_some(PATIENCE)
    }

    async fn ask(&mut self, socket: &UdpSocket, number: u64) -> Option<Reason> {
        let wanted = Wanted {
            number,
            channel: ChannelId(0),
            epoch: None,
            cookies: 0,
        };
        let asked = Time(clock::boottime());
        let request = self.session.request(asked, &wanted, &mut self.rng);
        socket.send(&request).await.ok()?;
        let mut buffer = [0; CONTROL_MAX];
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await.ok()?;
                if let Ok(answer) = self.session.handle(&buffer[..length]) {
                    return Some(answer);
                }
            }
        };
        match timeout(ANSWER, answer).await.ok()?? {
            Answer::Refused(refused) => Some(refused.reason),
            Answer::Granted { .. } | Answer::CookieUnknown => None,
        }
    }
}
