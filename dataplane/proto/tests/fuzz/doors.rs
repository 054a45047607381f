//! A key door among hostile devices, and a device's session among hostile doors.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_proto::door::{
    Answer, Door, Outcome, Served, ServedKey, Session, SessionGrant, SessionKey, Ticket, TicketKey,
    Tickets, Update,
};
use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, Epoch, SessionId, Time};
use sealcast_proto::limits::{CONTROL_MAX, COOKIES_MAX};
use sealcast_proto::wire::door::{Granted, Wanted};

use super::{root, steps, timing};

const ACCOUNT: AccountId = AccountId([1; 16]);
/// Channels below it are the session's.
const ENTITLED: u32 = 3;

fn tickets(period: u32) -> Tickets {
    let of = |period: u32| {
        let mut bytes = [3; 32];
        bytes[..4].copy_from_slice(&period.to_be_bytes());
        TicketKey::new(period, bytes)
    };
    Tickets::new(of(period), period.checked_sub(1).map(of))
}

/// Both sides, and what is true of them.
struct Doors {
    door: Door,
    session: Session,
    rng: ChaCha8Rng,
    now: Time,
    leads: bool,
    period: u32,
    /// Sessions below this rights version are over; this one has version 5.
    floor: u64,
    served: BTreeSet<(ChannelId, Epoch)>,
    /// What the session sent, and what it was answered.
    requests: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    granted: usize,
}

impl Doors {
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let ticket = Ticket {
            session: SessionId([4; 16]),
            request_key: SessionKey::from_bytes([5; 32]),
            reply_key: SessionKey::from_bytes([6; 32]),
            account: ACCOUNT,
            device: DeviceId([2; 16]),
            rights_version: 5,
            period: 1,
            channels: (0..ENTITLED).map(channel).collect(),
        };
        let cookies = std::iter::from_fn(|| tickets(1).seal(&ticket, &mut rng));
        let grant = SessionGrant {
            session: ticket.session,
            request_key: ticket.request_key.clone(),
            reply_key: ticket.reply_key.clone(),
            cookies: cookies.take(2).collect(),
        };
        let mut doors = Self {
            door: Door::new(&mut rng),
            session: Session::new(grant).expect("two cookies"),
            rng,
            now: Time(0),
            leads: true,
            period: 1,
            floor: 0,
            served: BTreeSet::new(),
            requests: Vec::new(),
            answers: Vec::new(),
            granted: 0,
        };
        doors.door.update(Update::Tickets(tickets(1)));
        doors.door.update(Update::Leads(true));
        doors.serve(1, 1, 2);
        doors
    }

    /// What the door answers, if anything. `genuine`: it was sealed by the session like this.
    fn knock(&mut self, from: u8, datagram: &[u8], genuine: bool) -> Option<Vec<u8>> {
        let source = IpAddr::from([10, 0, from, 1]);
        let mut reply = Vec::new();
        let outcome = self
            .door
            .answer(self.now, source, datagram, &mut self.rng, &mut reply);
        assert!(reply.len() <= datagram.len(), "an answer is no longer");
        if outcome == Outcome::Granted {
            let valid = self.period <= 2 && self.floor <= 5;
            assert!(genuine && self.leads && valid, "given to nobody else");
        }
        assert!(
            genuine
                || matches!(
                    outcome,
                    Outcome::Malformed
                        | Outcome::CookieUnknown
                        | Outcome::CookieUnknownSilent
                        | Outcome::Forged
                ),
            "{outcome:?} for what nobody sealed"
        );
        (!reply.is_empty()).then_some(reply)
    }

    fn ask(&mut self, from: u8, wanted: &Wanted) {
        let datagram = self.session.request(self.now, wanted, &mut self.rng);
        assert!(datagram.len() <= CONTROL_MAX);
        let answer = self.knock(from, &datagram, true);
        self.requests.push(datagram);
        self.answers.extend(answer);
    }

    /// `genuine`: a door answered like this.
    fn hear(&mut self, datagram: &[u8], genuine: bool) {
        let before = self.session.cookies();
        match self.session.handle(datagram) {
            Ok(Answer::Granted { granted, .. }) => {
                assert!(genuine, "no door said this");
                self.check(&granted);
                self.granted += 1;
            }
            Ok(Answer::Refused(_)) => assert!(genuine, "no door said this"),
            Ok(Answer::CookieUnknown) | Err(_) => assert_eq!(self.session.cookies(), before),
        }
        assert!((1..=COOKIES_MAX).contains(&self.session.cookies()));
    }

    fn check(&self, granted: &Granted) {
        assert!(granted.channel < channel(ENTITLED));
        for half in [Some(&granted.current), granted.next.as_ref()]
            .into_iter()
            .flatten()
        {
            assert!(self.served.contains(&(granted.channel, half.epoch)));
            assert_eq!(half.root, root_of(half.epoch));
        }
    }

    fn serve(&mut self, id: u8, current: u8, next: u8) {
        let key = |epoch: u8| ServedKey {
            epoch: Epoch(epoch.into()),
            root: root(epoch),
            end: self.now.after(Duration::from_secs(60)),
        };
        let id = channel(id.into());
        let served = Served {
            channel: id,
            timing: timing(),
            authority: super::key().verifying_key(),
            successor: (next.is_multiple_of(2)).then(|| key_of(next)),
            in_use: (current > 0).then(|| key(current)),
            next: (next > current).then(|| key(next)),
            // Never to be given, whatever is asked.
            prepared: Some(key(next.wrapping_add(1))),
            others: (1..current % 4).map(key).collect(),
            expected: vec![Epoch(next.into())],
        };
        let keys = served.others.iter();
        let keys = keys.chain(&served.in_use).chain(&served.next);
        self.served.extend(keys.map(|key| (id, key.epoch)));
        self.door.update(Update::Channel(Box::new(served)));
    }

    fn update(&mut self, what: u8, value: u8) {
        match what % 5 {
            0 => {
                self.leads = value.is_multiple_of(2);
                self.door.update(Update::Leads(self.leads));
            }
            1 => {
                self.period += u32::from(value % 2);
                self.door.update(Update::Tickets(tickets(self.period)));
            }
            2 => {
                let version = u64::from(value);
                self.floor = self.floor.max(version);
                let account = ACCOUNT;
                self.door.update(Update::RightsFloor { account, version });
            }
            3 => self
                .door
                .update(Update::ChannelGone(channel((value % 8).into()))),
            _ => self.serve(value % 8, value >> 4, value & 15),
        }
    }

    fn step(&mut self, what: u8, data: &[u8]) {
        let of = |list: &[Vec<u8>], index: u8| list.get(usize::from(index)).cloned();
        match (what & 7, data) {
            (0, data) => drop(self.knock(what, data, false)),
            (1, &[id, epoch, number, ..]) => {
                let epoch = Some(Epoch(epoch.into())).filter(|epoch| epoch.0 > 0);
                let wanted = Wanted {
                    number: number.into(),
                    channel: channel((id % 8).into()),
                    epoch,
                    cookies: 0,
                };
                self.ask(what, &wanted);
            }
            (2, &[index, at, with, ..]) => {
                if let Some(bytes) = of(&self.requests, index) {
                    let (bytes, altered) = altered(bytes, at, with);
                    let answer = self.knock(what, &bytes, !altered);
                    self.answers.extend(answer.filter(|_| !altered));
                }
            }
            (3, &[index, at, with, ..]) => {
                if let Some(bytes) = of(&self.answers, index) {
                    let (bytes, altered) = altered(bytes, at, with);
                    self.hear(&bytes, !altered);
                }
            }
            (4, &[index, ..]) => {
                if let Some(bytes) = of(&self.answers, index) {
                    self.hear(&bytes, true);
                }
            }
            (5, &[what, value, ..]) => self.update(what, value),
            (6, data) => self.hear(data, false),
            (7, _) => {
                // A device that starts again: what was asked before is answered in vain.
                self.session = Session::new(self.session.grant()).expect("a cookie stays");
            }
            _ => {}
        }
    }
}

fn channel(number: u32) -> ChannelId {
    ChannelId(u16::try_from(number).expect("few"))
}

fn root_of(epoch: Epoch) -> sealcast_crypto::EpochRoot {
    root(u8::try_from(epoch.0).expect("few"))
}

fn key_of(seed: u8) -> sealcast_crypto::VerifyingKey {
    sealcast_crypto::SigningKey::from_seed(&[seed; 32]).verifying_key()
}

/// The bytes with one of them changed, if they are.
fn altered(mut bytes: Vec<u8>, at: u8, with: u8) -> (Vec<u8>, bool) {
    let position = usize::from(at) * 5 % bytes.len();
    bytes[position] ^= with;
    (bytes, with != 0)
}

/// Doors answer what sessions sealed and nothing else, sessions take what doors sealed and nothing else. Returns how many
/// answers gave keys.
pub fn doors(bytes: &[u8]) -> usize {
    let mut doors = Doors::new();
    for (what, pause, data) in steps(bytes) {
        doors.now = doors.now.after(pause);
        doors.step(what, data);
    }
    assert!(doors.door.outcomes().of(Outcome::Granted) >= doors.granted as u64);
    doors.granted
}
