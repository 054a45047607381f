//! Devices that follow the keys of a channel by a receiver's own rules, and the doors that they ask, in virtual time: properties that
//! hold for any seed.
#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, SigningKey};
use sealcast_proto::door::{
    Answer, Door, Outcome, Route, Served, ServedKey, Session, SessionGrant, SessionKey, Ticket,
    TicketKey, Tickets, Update,
};
use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, Epoch, SessionId, Time};
use sealcast_proto::receiver::{Change, FetchOn, Follower, Trust};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::door::KeyRequestView;

const CHANNEL: ChannelId = ChannelId(7);
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DOORS: usize = 3;
/// The key in use ends then; devices begin to ask 10 s before.
const BOUNDARY: u64 = 40_000;
const FETCH_AHEAD: u64 = 10_000;

fn at(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

fn key(epoch: u8, end: u64) -> ServedKey {
    ServedKey {
        epoch: Epoch(epoch.into()),
        root: EpochRoot::from_bytes([epoch; 32]),
        end: at(end),
    }
}

/// Epoch 4 is in use.
fn described() -> Served {
    Served {
        channel: CHANNEL,
        timing: Timing::default(),
        authority: SigningKey::from_seed(&[1; 32]).verifying_key(),
        successor: None,
        in_use: Some(key(4, BOUNDARY)),
        next: None,
        prepared: None,
        others: Vec::new(),
        expected: vec![Epoch(5)],
    }
}

/// The same, with this one announced.
fn served(next: Option<u8>) -> Update {
    Update::Channel(Box::new(Served {
        next: next.map(|epoch| key(epoch, BOUNDARY + 60_000)),
        ..described()
    }))
}

struct Device {
    session: Session,
    follower: Follower,
    route: Route,
    first: usize,
    /// Numbers of its requests, and their nonces.
    numbers: BTreeSet<u64>,
    nonces: BTreeSet<[u8; 12]>,
    sent: usize,
    next_at: Option<Time>,
}

struct World {
    doors: Vec<Door>,
    devices: Vec<Device>,
    rng: ChaCha8Rng,
    /// Doors that do not answer, from then on.
    lost: Option<(usize, u64)>,
    /// Of so many datagrams, per mille, nothing is heard.
    loss: u64,
    /// Requests of each 500 ms at each door.
    bins: Vec<[u32; DOORS]>,
}

impl World {
    fn new(seed: u64, devices: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tickets = Tickets::new(TicketKey::new(1, [7; 32]), None);
        let doors = (0..DOORS).map(|_| {
            let mut door = Door::new(&mut rng);
            door.update(Update::Tickets(tickets.clone()));
            door.update(served(None));
            door.update(Update::Leads(true));
            door
        });
        let doors = doors.collect();
        let mut random = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let keys: Vec<_> = (0..devices)
            .map(|_| [random(), random(), random()])
            .collect();
        let device = |(index, [id, request, reply]): (usize, [[u8; 32]; 3])| {
            let id: [u8; 16] = *id.first_chunk().unwrap();
            let ticket = Ticket {
                session: SessionId(id),
                request_key: SessionKey::from_bytes(request),
                reply_key: SessionKey::from_bytes(reply),
                account: AccountId(id),
                device: DeviceId(id),
                rights_version: 1,
                period: 1,
                channels: vec![CHANNEL],
            };
            let grant = SessionGrant {
                session: ticket.session,
                request_key: ticket.request_key.clone(),
                reply_key: ticket.reply_key.clone(),
                cookies: vec![tickets.seal(&ticket, &mut rng).unwrap()],
            };
            let due = at(1000 + (index as u64 * 7) % 10_000);
            Device {
                session: Session::new(grant).unwrap().with_stock(2),
                follower: Follower::new(CHANNEL, Timing::default(), FetchOn::default(), due),
                route: Route::default(),
                first: index % DOORS,
                numbers: BTreeSet::new(),
                nonces: BTreeSet::new(),
                sent: 0,
                next_at: None,
            }
        };
        let devices = keys.into_iter().enumerate().map(device).collect();
        Self {
            doors,
            devices,
            rng,
            lost: None,
            loss: 0,
            bins: Vec::new(),
        }
    }

    fn announce(&mut self, next: u8) {
        for door in &mut self.doors {
            door.update(served(Some(next)));
        }
    }

    /// One step of 10 ms; answers come at once.
    fn step(&mut self, ms: u64) {
        for index in 0..self.devices.len() {
            self.step_device(ms, index);
        }
    }

    fn step_device(&mut self, ms: u64, index: usize) {
        let now = at(ms);
        let device = &mut self.devices[index];
        if device.follower.next_timeout().is_none_or(|due| due > now) {
            return;
        }
        let mut wanted = Vec::new();
        device
            .follower
            .poll(now, &mut self.rng, |request| wanted.push(request));
        for wanted in wanted {
            let device = &mut self.devices[index];
            device.sent += 1;
            device.numbers.insert(wanted.number);
            let datagram = device.session.request(now, &wanted, &mut self.rng);
            let nonce = KeyRequestView::parse(&datagram).unwrap().nonce;
            assert!(
                device.nonces.insert(nonce),
                "every try has a nonce of its own"
            );
            let way = device.route.ask(now, DOORS);
            let door = (way.door + device.first) % DOORS;
            let bin = usize::try_from(ms / 500).unwrap();
            if self.bins.len() <= bin {
                self.bins.resize(bin + 1, [0; DOORS]);
            }
            self.bins[bin][door] += 1;
            let is_lost = self
                .lost
                .is_some_and(|(lost, from)| door == lost && ms >= from);
            if is_lost || self.rng.next_u64() % 1000 < self.loss {
                continue;
            }
            self.answer(ms, index, door, &datagram);
        }
    }

    fn answer(&mut self, ms: u64, index: usize, door: usize, datagram: &[u8]) {
        let (now, mut reply) = (at(ms), Vec::new());
        let outcome = self.doors[door].answer(now, SOURCE, datagram, &mut self.rng, &mut reply);
        assert!(
            matches!(outcome, Outcome::Granted | Outcome::EpochUnavailable),
            "{outcome:?}"
        );
        let device = &mut self.devices[index];
        let answer = device.session.handle(&reply).unwrap();
        device.route.answered(&answer, true);
        match answer {
            Answer::Granted { granted, asked } => {
                let before = device.follower.newest();
                let trust = Trust::new(CHANNEL);
                let changes = device
                    .follower
                    .granted(now, asked, &granted, &trust)
                    .unwrap();
                if changes.contains(&Some(Change::Held(Epoch(5)))) {
                    assert!(before < Some(Epoch(5)));
                    device.next_at = Some(now);
                }
            }
            Answer::Refused(refused) => {
                device.follower.refused(now, &refused, &mut self.rng);
            }
            Answer::CookieUnknown => unreachable!("the cookies are good"),
        }
    }

    fn run(&mut self, from: u64, until: u64) {
        (from..until).step_by(10).for_each(|ms| self.step(ms));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// SEC-09, MD-13, MD-31, MD-40: one of three doors is lost in the middle of the fetch window, datagrams are lost besides: every
    /// device holds next before the change, a request keeps its number, and no try repeats a nonce.
    #[test]
    fn sec_09_every_device_holds_next_in_time_when_a_door_is_lost(seed: u64, loss in 0..50_u64, after in 0..7000_u64) {
        let mut world = World::new(seed, 60);
        world.loss = loss;
        world.run(0, BOUNDARY - 15_000);
        world.announce(5);
        world.lost = Some((usize::try_from(seed % 3).unwrap(), BOUNDARY - FETCH_AHEAD + after));
        world.run(BOUNDARY - 15_000, BOUNDARY);
        for device in &world.devices {
            // Who has not got it has lost every try that there was time for.
            prop_assert!(device.next_at.is_some() || loss > 0 && device.sent >= 5, "{} tries", device.sent);
            prop_assert!(device.next_at.is_none_or(|held| held >= at(BOUNDARY - FETCH_AHEAD)), "nobody asks too early");
            prop_assert_eq!(device.follower.holds(Epoch(5)), device.next_at.is_some());
            prop_assert_eq!(device.numbers.len(), 2, "tuning in, and the change: retries are the same request");
            prop_assert!(device.sent >= 2 && device.nonces.len() == device.sent);
        }
    }

    /// MD-13: a device that asks for the key of a change that is announced too late asks again, not at the speed of the network.
    #[test]
    fn md_13_a_late_announcement_is_waited_for_without_haste(seed: u64) {
        let mut world = World::new(seed, 20);
        world.run(0, BOUNDARY - 2500);
        for device in &world.devices {
            prop_assert!(device.sent <= 6, "{} requests", device.sent);
        }
        world.announce(5);
        world.run(BOUNDARY - 2500, BOUNDARY + 3000);
        for device in &world.devices {
            prop_assert!(device.follower.holds(Epoch(5)));
        }
    }
}

/// MD-13: a device to which no packet comes follows one change after the other all the same.
#[test]
fn md_13_changes_are_followed_without_packets() {
    let mut world = World::new(5, 20);
    world.run(0, BOUNDARY - 15_000);
    world.announce(5);
    world.run(BOUNDARY - 15_000, BOUNDARY);
    let after = Update::Channel(Box::new(Served {
        in_use: Some(key(5, BOUNDARY + 60_000)),
        next: Some(key(6, BOUNDARY + 120_000)),
        ..described()
    }));
    for door in &mut world.doors {
        door.update(after.clone());
    }
    world.run(BOUNDARY, BOUNDARY + 60_000);
    for device in &world.devices {
        assert!(device.follower.holds(Epoch(6)));
        assert_eq!(device.sent, 3, "tuning in, and two changes");
    }
}

/// SEC-09: when a third of the doors is lost, the others get what is theirs and its share, and no more.
#[test]
fn sec_09_the_loss_of_a_door_makes_no_storm_at_the_others() {
    let mut world = World::new(11, 12_000);
    world.run(0, BOUNDARY - 15_000);
    world.announce(5);
    world.lost = Some((0, BOUNDARY - FETCH_AHEAD + 3500));
    world.run(BOUNDARY - 15_000, BOUNDARY);
    let held = |device: &&Device| device.next_at.is_some();
    assert_eq!(world.devices.iter().filter(held).count(), 12_000);
    let window = &world.bins[60..74];
    for door in 1..DOORS {
        let sent: Vec<u32> = window.iter().map(|bin| bin[door]).collect();
        let mean = f64::from(sent.iter().sum::<u32>()) / sent.len() as f64;
        let peak = f64::from(*sent.iter().max().unwrap());
        assert!(peak / mean < 1.5, "door {door}: {sent:?}");
    }
}
