//! Keeps a device's session with the key doors: when to open one over TLS, which cookie and which way a request takes, what an
//! answer means. Sans-IO: time, randomness and input are arguments.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::VerifyingKey;
use sealcast_objects::api::SessionReply;
use sealcast_proto::discard::Discard;
use sealcast_proto::door::{Answer, Route, Session, SessionGrant};
use sealcast_proto::ids::{ChannelId, Time};
use sealcast_proto::key_block::Path;
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::door::{Granted, Reason, Refused, Wanted};

/// First and longest pause after a session could not be opened because the server is away or busy; doubled in between.
const AWAY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(8)];
/// The same after a refusal.
const REFUSED: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// However often somebody hints at it, a session is renewed at most once in this (half of it, and a random half more).
const RENEWAL_MIN: Duration = Duration::from_secs(30);
/// When rights change, devices of an account renew within this.
const RIGHTS_SPREAD: Duration = Duration::from_secs(1);
/// A session lives for so long at least when rights change again and again; doubled each time, up to [`RENEWAL_MIN`].
const RIGHTS_GAP: Duration = Duration::from_secs(1);
/// Requests that wait for a session; the oldest goes first.
const WAITING: usize = 64;

/// What the driver must do.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram to that door.
    Udp(SocketAddr, Vec<u8>),
    /// Send the same bytes by HTTPS.
    Https(Vec<u8>),
    /// Open a session over TLS, and say how it went by [`Keeper::opened`] or [`Keeper::failed`].
    Open,
    /// Tell the channels.
    Event(Event),
}

/// What channels are told.
#[derive(Clone, Debug)]
pub enum Event {
    /// Whether a door answers.
    Reachable(bool),
    /// The session is a new one; the authority key and its successor.
    Renewed(VerifyingKey, Option<VerifyingKey>),
    /// What opens the key blocks of a channel; the session brought it.
    Path(ChannelId, Box<Path>),
    /// Keys, and when the request left that they answer.
    Granted(Box<Granted>, Time),
    /// No keys.
    Refused(Refused),
}

/// The keeper of a session.
#[derive(Debug, Default)]
pub struct Keeper {
    session: Option<Session>,
    doors: Vec<SocketAddr>,
    route: Route,
    /// A session is being opened.
    opening: bool,
    /// Channels have changed since: the one that is being opened is not the last.
    again: bool,
    /// When one is to be opened.
    open_at: Option<Time>,
    /// When the last one was opened.
    opened_at: Option<Time>,
    /// So long it lives at least, though rights change.
    gap: Duration,
    /// The last pause after a failure; `None` after a success.
    pause: Option<Duration>,
    reachable: bool,
    waiting: VecDeque<Wanted>,
    out: VecDeque<Output>,
}

/// The server's answer is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server's session cannot be read: is it of another version?")]
pub struct Unreadable;

fn below(limit: Duration, rng: &mut dyn CryptoRng) -> Duration {
    let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).max(1);
    Duration::from_nanos(rng.next_u64() % nanos)
}

fn key(bytes: &[u8]) -> Result<VerifyingKey, Unreadable> {
    bytes
        .try_into()
        .map(VerifyingKey::from_bytes)
        .map_err(|_| Unreadable)
}

impl Keeper {
    /// A keeper without a session: it opens one at once.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            open_at: Some(now),
            ..Self::default()
        }
    }

    /// A session of a former run: used until a new one is opened, which is soon.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn resume(
        &mut self,
        now: Time,
        kept: &SessionReply,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Unreadable> {
        self.take(kept)?;
        self.open_at = Some(now.after(below(RENEWAL_MIN / 3, rng)));
        Ok(())
    }

    fn take(&mut self, reply: &SessionReply) -> Result<(), Unreadable> {
        let grant = SessionGrant::decode_all(&reply.grant).map_err(|_| Unreadable)?;
        let session = Session::new(grant).ok_or(Unreadable)?;
        let authority = key(&reply.authority)?;
        let successor = reply.successor.as_deref().map(key).transpose()?;
        let paths = reply.paths.iter().map(|given| {
            let path = Path::decode_all(&given.path).map_err(|_| Unreadable)?;
            Ok(Event::Path(ChannelId(given.channel), Box::new(path)))
        });
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        self.session = Some(session);
        self.doors.clone_from(&reply.doors);
        self.route.renewed();
        self.out
            .push_back(Output::Event(Event::Renewed(authority, successor)));
        self.out.extend(paths.into_iter().map(Output::Event));
        Ok(())
    }

    /// A session was opened.
    ///
    /// # Errors
    /// [`Unreadable`]; then it counts as failed.
    pub fn opened(
        &mut self,
        now: Time,
        reply: &SessionReply,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Unreadable> {
        if let Err(error) = self.take(reply) {
            self.failed(now, false, rng);
            return Err(error);
        }
        self.opening = false;
        let last = self.opened_at.replace(now);
        let is_soon = last.is_some_and(|last| now.since(last) < RENEWAL_MIN);
        self.gap = match is_soon {
            true => (2 * self.gap).clamp(RIGHTS_GAP, RENEWAL_MIN),
            false => Duration::ZERO,
        };
        self.pause = None;
        let life = Duration::from_millis(reply.renew_after_ms);
        self.open_at = Some(if self.again { now } else { now.after(life) });
        for wanted in std::mem::take(&mut self.waiting) {
            self.ask(now, &wanted, rng);
        }
        Ok(())
    }

    /// A session could not be opened: tried again after a pause that grows. `passing`: the server was away or busy, it did not
    /// refuse.
    pub fn failed(&mut self, now: Time, passing: bool, rng: &mut dyn CryptoRng) {
        self.opening = false;
        let [first, longest] = if passing { AWAY } else { REFUSED };
        let pause = self.pause.map_or(first, |pause| (pause * 2).min(longest));
        self.pause = Some(pause);
        self.open_at = Some(now.after(pause + below(pause / 2, rng)));
        if self.session.is_none() {
            self.set_reachable(false);
        }
    }

    /// A channel wants keys.
    pub fn wanted(&mut self, now: Time, wanted: &Wanted, rng: &mut dyn CryptoRng) {
        if self.session.is_some() {
            return self.ask(now, wanted, rng);
        }
        // A retry takes the place of its first try.
        self.waiting.retain(|known| known.number != wanted.number);
        if self.waiting.len() == WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(wanted.clone());
    }

    fn ask(&mut self, now: Time, wanted: &Wanted, rng: &mut dyn CryptoRng) {
        let Some(session) = &mut self.session else {
            return;
        };
        let datagram = session.request(now, wanted, rng);
        let way = self.route.ask(now, self.doors.len());
        if way.https {
            self.out.push_back(Output::Https(datagram.clone()));
        }
        if let Some(&door) = self.doors.get(way.door) {
            self.out.push_back(Output::Udp(door, datagram));
        }
        if way.silent {
            self.set_reachable(false);
        }
    }

    fn set_reachable(&mut self, reachable: bool) {
        if std::mem::replace(&mut self.reachable, reachable) != reachable {
            self.out
                .push_back(Output::Event(Event::Reachable(reachable)));
        }
    }

    /// Takes what a door sent, by UDP or HTTPS.
    ///
    /// # Errors
    /// Why it is no answer to anything that was asked.
    pub fn datagram(
        &mut self,
        now: Time,
        datagram: &[u8],
        by_udp: bool,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Discard> {
        let session = self.session.as_mut().ok_or(Discard::Unexpected)?;
        let answer = session.handle(datagram)?;
        self.route.answered(&answer, by_udp);
        match answer {
            Answer::Granted { granted, asked } => {
                self.set_reachable(true);
                let event = Event::Granted(Box::new(granted), asked);
                self.out.push_back(Output::Event(event));
            }
            Answer::Refused(refused) => {
                self.set_reachable(true);
                match refused.reason {
                    // Sealed, so it is the server's word; the account's other devices must not lose a packet by it.
                    Reason::RightsChanged => self.renew_after(self.gap, now, RIGHTS_SPREAD, rng),
                    Reason::NotEntitled => self.hinted(now, RENEWAL_MIN, rng),
                    Reason::Busy
                    | Reason::EpochUnavailable
                    | Reason::ChannelUnknown
                    | Reason::CookieUnknown => {}
                }
                self.out.push_back(Output::Event(Event::Refused(refused)));
            }
            // A hint only: whoever can read the request could have sent it.
            Answer::CookieUnknown => self.hinted(now, RIGHTS_SPREAD, rng),
        }
        Ok(())
    }

    /// The channels of this device have changed: a new session is opened at once.
    pub fn renew(&mut self, now: Time) {
        self.again = self.opening;
        self.open_at = Some(now);
    }

    /// A new session is opened within `spread`, but not oftener than once in [`RENEWAL_MIN`].
    fn hinted(&mut self, now: Time, spread: Duration, rng: &mut dyn CryptoRng) {
        let gap = RENEWAL_MIN / 2 + below(RENEWAL_MIN / 2, rng);
        self.renew_after(gap, now, spread, rng);
    }

    /// A new session is opened within `spread`, when the last one is that old.
    fn renew_after(&mut self, gap: Duration, now: Time, spread: Duration, rng: &mut dyn CryptoRng) {
        if self.pause.is_some() {
            // The server grants none just now: it is tried again when the pause is over, whatever doors say.
            return;
        }
        let earliest = self.opened_at.map_or(now, |opened| opened.after(gap));
        let at = earliest.max(now.after(below(spread, rng)));
        self.open_at = Some(self.open_at.map_or(at, |open_at| open_at.min(at)));
    }

    /// Lets time pass.
    pub fn poll(&mut self, now: Time) {
        if !self.opening && self.open_at.is_some_and(|at| at <= now) {
            (self.opening, self.open_at, self.again) = (true, None, false);
            self.out.push_back(Output::Open);
        }
    }

    /// When [`Keeper::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.open_at.filter(|_| !self.opening)
    }

    /// What the driver must do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The session as it stands, to be kept over a restart.
    #[must_use]
    pub fn grant(&self) -> Option<Vec<u8>> {
        let grant = self.session.as_ref()?.grant();
        let mut bytes = Vec::new();
        grant.encode(&mut bytes);
        Some(bytes)
    }
}
