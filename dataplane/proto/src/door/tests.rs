//! A door and the sessions of a few devices.

mod answers;
mod cookies;
mod hostile;
mod meter;

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, SigningKey};

use super::*;
use crate::discard::Discard;
use crate::ids::{DeviceId, Epoch, SessionId};
use crate::timing::Timing;
use crate::wire::door::{Cookie, KeyReply, KeyRequest, Sealed};

const CHANNEL: ChannelId = ChannelId(7);
const ACCOUNT: AccountId = AccountId([0xAC; 16]);
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3));
/// What must never be shown, as a byte that nothing else here has.
const SECRET: u8 = 0xA7;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ticket_key(period: u32) -> TicketKey {
    let mut key = [SECRET; 32];
    key[..4].copy_from_slice(&period.to_be_bytes());
    TicketKey::new(period, key)
}

fn tickets(period: u32) -> Tickets {
    Tickets::new(ticket_key(period), period.checked_sub(1).map(ticket_key))
}

fn root(epoch: u64) -> EpochRoot {
    let mut bytes = [SECRET; 32];
    bytes[..8].copy_from_slice(&epoch.to_be_bytes());
    EpochRoot::from_bytes(bytes)
}

fn served_key(epoch: u64, end: Time) -> ServedKey {
    ServedKey {
        epoch: Epoch(epoch),
        root: root(epoch),
        end,
    }
}

/// `CHANNEL` as in operation: 4 in use, 5 announced, 3 still in use somewhere.
fn served(now: Time) -> Served {
    Served {
        channel: CHANNEL,
        timing: Timing::default(),
        authority: SigningKey::from_seed(&[1; 32]).verifying_key(),
        successor: Some(SigningKey::from_seed(&[2; 32]).verifying_key()),
        in_use: Some(served_key(4, now.after(ms(8_000)))),
        next: Some(served_key(5, now.after(ms(68_000)))),
        prepared: None,
        others: vec![served_key(3, now)],
        expected: vec![Epoch(4), Epoch(5)],
    }
}

fn wanted(number: u64, epoch: Option<u64>) -> Wanted {
    Wanted {
        number,
        channel: CHANNEL,
        epoch: epoch.map(Epoch),
        cookies: 0,
    }
}

/// One door, and what it takes to make sessions.
struct Bench {
    door: Door,
    rng: ChaCha8Rng,
    now: Time,
}

impl Bench {
    /// A door that leads in ticket period 1, and serves [`CHANNEL`].
    fn new() -> Self {
        let mut bench = Self::starting();
        bench.door.update(Update::Tickets(tickets(1)));
        let served = Box::new(served(bench.now));
        bench.door.update(Update::Channel(served));
        bench.door.update(Update::Leads(true));
        bench
    }

    /// A door that knows nothing yet.
    fn starting() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        Self {
            door: Door::new(&mut rng),
            rng,
            now: Time(1_000_000_000_000),
        }
    }

    fn ticket(id: u8, rights_version: u64, period: u32, channels: Vec<ChannelId>) -> Ticket {
        Ticket {
            session: SessionId([id; 16]),
            request_key: SessionKey::from_bytes([SECRET; 32]),
            reply_key: SessionKey::from_bytes([SECRET ^ 1; 32]),
            account: ACCOUNT,
            device: DeviceId([id; 16]),
            rights_version,
            period,
            channels,
        }
    }

    fn grant(&mut self, ticket: &Ticket, cookies: usize) -> SessionGrant {
        let tickets = tickets(ticket.period);
        let sealed = std::iter::from_fn(|| tickets.seal(ticket, &mut self.rng));
        SessionGrant {
            session: ticket.session,
            request_key: ticket.request_key.clone(),
            reply_key: ticket.reply_key.clone(),
            cookies: sealed.take(cookies).collect(),
        }
    }

    fn session_of(&mut self, ticket: &Ticket, cookies: usize) -> Session {
        Session::new(self.grant(ticket, cookies)).unwrap()
    }

    /// A session that may have [`CHANNEL`], with rights version 1.
    fn session(&mut self, id: u8) -> Session {
        self.session_of(&Self::ticket(id, 1, 1, vec![CHANNEL]), COOKIES_MAX)
    }

    /// What the door answers to a datagram of one source.
    fn knock_from(&mut self, source: IpAddr, datagram: &[u8]) -> (Outcome, Vec<u8>) {
        let mut reply = vec![1; 3];
        let outcome = self
            .door
            .answer(self.now, source, datagram, &mut self.rng, &mut reply);
        assert!(reply.len() <= datagram.len(), "an answer is never longer");
        (outcome, reply)
    }

    fn knock(&mut self, datagram: &[u8]) -> (Outcome, Vec<u8>) {
        self.knock_from(SOURCE, datagram)
    }

    /// One question and its answer.
    fn ask(&mut self, session: &mut Session, wanted: &Wanted) -> Answer {
        let datagram = session.request(self.now, wanted, &mut self.rng);
        let (_, reply) = self.knock(&datagram);
        session.handle(&reply).unwrap()
    }

    fn refused(&mut self, session: &mut Session, wanted: &Wanted) -> Refused {
        match self.ask(session, wanted) {
            Answer::Refused(refused) => refused,
            other => unreachable!("{other:?}"),
        }
    }

    fn granted(&mut self, session: &mut Session, wanted: &Wanted) -> Granted {
        match self.ask(session, wanted) {
            Answer::Granted { granted, .. } => granted,
            other => unreachable!("{other:?}"),
        }
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.door.outcomes().of(outcome)
    }
}

fn epochs(granted: &Granted) -> (u64, Option<u64>) {
    let next = granted.next.as_ref();
    (granted.current.epoch.0, next.map(|next| next.epoch.0))
}

/// The parts of the request that a datagram holds.
fn parts(datagram: &[u8]) -> KeyRequest {
    KeyRequest::from_datagram(datagram).unwrap()
}
