//! Devices against a key door in this process: no socket, and time is what a test says.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::{EpochRoot, SigningKey};
use sealcast_proto::door::{Door, Outcome, Served, ServedKey, TicketKey, Tickets, Update};
use sealcast_proto::ids::{ChannelId, Epoch, Time};
use sealcast_proto::timing::Timing;

use super::counts::{Counts, Kind};
use super::crowd::{Crowd, Setup};
use super::hostile::{Attack, Forge};
use super::mint::{Mint, MintError};
use super::scenario::{Act, Scenario};
use super::sessions::{Sessions, SessionsError};

const CHANNEL: ChannelId = ChannelId(7);
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BIN: Duration = Duration::from_millis(100);
/// The key in use ends then: devices ask for the next one in the ten seconds before.
const BOUNDARY: u64 = 40_000;

fn at(ms: u64) -> Time {
    Time(1_000_000_000_000 + ms * 1_000_000)
}

fn mint() -> Mint {
    Mint {
        tickets: Tickets::new(TicketKey::new(3, [7; 32]), None),
        authority: (SigningKey::from_seed(&[1; 32]).verifying_key(), None),
        channels: vec![CHANNEL],
        made: 5,
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("sessions")
    }

    fn sessions(&self, count: u32) -> Sessions {
        let mut bytes = Vec::new();
        mint()
            .write(count, &mut StdRng::seed_from_u64(1), &mut bytes)
            .unwrap();
        std::fs::write(self.file(), &bytes).unwrap();
        Sessions::open(&self.file()).unwrap()
    }
}

/// Epoch 4 in use; 5 is the next one, if it is announced. Roots are made of `root`.
fn served(root: u8, announced: bool) -> Update {
    let key = |epoch: u8, end| ServedKey {
        epoch: Epoch(epoch.into()),
        root: EpochRoot::from_bytes([root + epoch; 32]),
        end: at(end),
    };
    Update::Channel(Box::new(Served {
        channel: CHANNEL,
        timing: Timing::default(),
        authority: mint().authority.0,
        successor: None,
        in_use: Some(key(4, BOUNDARY)),
        next: announced.then(|| key(5, BOUNDARY + 60_000)),
        prepared: None,
        others: Vec::new(),
        expected: Vec::new(),
    }))
}

fn door(root: u8) -> Door {
    let mut door = Door::new(&mut StdRng::seed_from_u64(2));
    door.update(Update::Tickets(mint().tickets));
    door.update(served(root, false));
    door.update(Update::Leads(true));
    door
}

/// A crowd and the doors that it asks.
struct Bench {
    crowd: Crowd,
    doors: Vec<Door>,
    /// Requests before this moment are not heard.
    deaf_until: Time,
    rng: StdRng,
    _folder: Folder,
}

impl Bench {
    fn new(scenario: &Scenario, devices: u32, doors: Vec<Door>) -> Self {
        let folder = Folder::new();
        let setup = Setup {
            sessions: folder.sessions(devices),
            doors: doors.len(),
            fetch_on: scenario.fetch_on(),
            index: 0,
            of: 1,
            devices,
            seed: 1,
        };
        let mut crowd = Crowd::new(setup, Counts::new(at(0), BIN, doors.len()));
        for Act {
            at: due, device, ..
        } in scenario.acts(devices)
        {
            crowd.ask(device, None, Time(at(0).0 + due));
        }
        Self {
            crowd,
            doors,
            deaf_until: at(0),
            rng: StdRng::seed_from_u64(3),
            _folder: folder,
        }
    }

    /// Time passes, in steps of a millisecond; answers come at once.
    fn run(&mut self, from: u64, until: u64) {
        for ms in from..until {
            let now = at(ms);
            loop {
                let mut requests = Vec::new();
                let more = self.crowd.poll(now, &mut |door, datagram| {
                    requests.push((door, datagram.to_vec()));
                });
                for (door, request) in requests {
                    self.answer(now, door, &request);
                }
                if !more {
                    break;
                }
            }
            if ms % 100 == 0 {
                self.crowd.look(now);
            }
        }
    }

    fn answer(&mut self, now: Time, door: u8, request: &[u8]) {
        if now < self.deaf_until {
            return;
        }
        let mut reply = Vec::new();
        let door = &mut self.doors[usize::from(door)];
        door.answer(now, SOURCE, request, &mut self.rng, &mut reply);
        self.crowd.datagram(now, &reply);
    }
}

fn cold(ms: u64) -> Scenario {
    Scenario::Cold {
        within: Duration::from_millis(ms),
    }
}

fn switch(ms: u64) -> Scenario {
    Scenario::Switch {
        within: Duration::from_millis(ms),
    }
}

#[test]
fn all_devices_tune_in_and_each_has_one_request() {
    let mut bench = Bench::new(&cold(2000), 500, vec![door(0), door(0)]);
    bench.run(0, 2100);
    let (counts, standing, oldest) = bench.crowd.finish(at(2100));
    assert_eq!((standing.holding, standing.waiting), (500, 0));
    assert_eq!((counts.of(Kind::Keys), counts.begun), (500, 500));
    let total = counts.total(None);
    assert_eq!((total.first, total.retries, total.keys), (500, 0, 500));
    assert_eq!(counts.held[&Epoch(4)].joined, 500);
    assert_eq!(oldest, Duration::ZERO);
    let latency = counts.joining.summary().unwrap();
    assert!(
        latency.count == 500 && latency.max < 1_100_000,
        "{latency:?}"
    );
    let each = [0, 1].map(|door| counts.total(Some(door)).first);
    assert!(each.iter().all(|&first| first > 180), "{each:?}");
}

/// Who tunes in when the key in use is over has the next one as its first, and not too late.
#[test]
fn a_device_that_tunes_in_at_the_boundary_is_not_late() {
    let mut bench = Bench::new(&cold(10), 50, vec![door(0)]);
    bench.doors[0].update(served(0, true));
    bench.run(BOUNDARY + 100, BOUNDARY + 200);
    let held = &bench.crowd.counts().held;
    for epoch in [4, 5].map(Epoch) {
        assert_eq!(
            (held[&epoch].joined, held[&epoch].late),
            (50, 0),
            "{epoch:?}"
        );
    }
}

#[test]
fn what_is_not_answered_is_asked_again_and_waits_from_when_it_was_due() {
    let mut bench = Bench::new(&cold(10), 100, vec![door(0)]);
    bench.deaf_until = at(200);
    bench.run(0, 200);
    assert_eq!(bench.crowd.standing().waiting, 100);
    bench.run(200, 1000);
    let (counts, standing, _) = bench.crowd.finish(at(1000));
    assert_eq!(standing.waiting, 0);
    let total = counts.total(None);
    assert_eq!((total.first, total.retries, total.keys), (100, 100, 100));
    let latency = counts.joining.summary().unwrap();
    assert!(
        latency.min >= 249_000_000 && latency.max <= 325_000_000,
        "{latency:?}"
    );
    let oldest = counts.oldest().iter().max().copied().unwrap();
    assert!((190_000_000..=325_000_000).contains(&oldest), "{oldest}");
}

#[test]
fn devices_follow_the_change_at_their_own_offset_and_hold_it_in_time() {
    let mut bench = Bench::new(&switch(1000), 700, vec![door(0), door(0), door(0)]);
    bench.run(0, BOUNDARY - 12_000);
    for door in &mut bench.doors {
        door.update(served(0, true));
    }
    bench.run(BOUNDARY - 12_000, BOUNDARY + 1000);
    assert_eq!(bench.crowd.holders(Epoch(5)), 700);
    let (counts, ..) = bench.crowd.finish(at(BOUNDARY + 1000));
    let held = counts.held[&Epoch(5)];
    assert_eq!((held.in_time, held.late, held.joined), (700, 0, 0));
    assert!(held.least_left > 2_900_000_000, "{held:?}");
    let (from, spread) = (at(BOUNDARY - 10_000), at(BOUNDARY - 3000));
    let load = counts.load(None, from, spread);
    assert_eq!((load.sent, load.retries, load.keys), (700, 0, 700));
    assert!((load.mean - 10.0).abs() < 0.01, "70 bins: {load:?}");
    assert_eq!(counts.following.summary().unwrap().count, 700);
}

#[test]
fn a_device_that_is_too_late_is_told_as_late() {
    let mut bench = Bench::new(&switch(1000), 50, vec![door(0)]);
    bench.run(0, BOUNDARY - 12_000);
    bench.doors[0].update(served(0, true));
    bench.deaf_until = at(BOUNDARY + 1);
    bench.run(BOUNDARY - 12_000, BOUNDARY + 9000);
    let held = bench.crowd.counts().held[&Epoch(5)];
    assert_eq!((held.in_time, held.late), (0, 50));
}

#[test]
fn a_root_that_others_did_not_get_is_found() {
    let mut bench = Bench::new(&cold(100), 40, vec![door(0), door(100)]);
    bench.run(0, 1000);
    let counts = bench.crowd.counts();
    let (keys, other) = (counts.of(Kind::Keys), counts.of(Kind::OtherRoot));
    assert!(keys + other == 40 && other > 5, "{keys} and {other}");
}

#[test]
fn answers_that_nobody_waits_for_are_strays() {
    let mut bench = Bench::new(&cold(10), 1, vec![door(0)]);
    let mut requests = Vec::new();
    bench
        .crowd
        .poll(at(5), &mut |_, datagram| requests.push(datagram.to_vec()));
    let mut reply = Vec::new();
    bench.doors[0].answer(at(5), SOURCE, &requests[0], &mut bench.rng, &mut reply);
    let mut damaged = reply.clone();
    *damaged.last_mut().unwrap() ^= 1;
    bench.crowd.datagram(at(6), b"nothing");
    bench.crowd.datagram(at(6), &[]);
    bench.crowd.datagram(at(6), &damaged);
    bench.crowd.datagram(at(6), &reply);
    let counts = bench.crowd.counts();
    let kinds = [Kind::Keys, Kind::Undecryptable, Kind::Stray];
    // The damaged one has taken the place of the genuine one, as it does at a device that had one try.
    assert_eq!(kinds.map(|kind| counts.of(kind)), [0, 1, 3]);
    bench.run(7, 1000);
    assert_eq!(bench.crowd.counts().of(Kind::Keys), 1);
}

#[test]
fn a_device_costs_little_memory() {
    let mut bench = None;
    let devices = 2000;
    let info = allocation_counter::measure(|| {
        let mut made = Bench::new(&cold(1000), devices, vec![door(0)]);
        made.run(0, 1100);
        bench = Some(made);
    });
    drop(bench);
    // The door has tables of 2 MB beside them.
    let each = (u64::try_from(info.bytes_current).unwrap() - 2_400_000) / u64::from(devices);
    assert!(each < 2048, "{each} bytes a device");
}

#[test]
fn peak_and_mean_are_of_whole_bins_and_cores_add_up() {
    let mut counts = Counts::new(at(0), BIN, 2);
    for bin in 0..10 {
        for number in 0..=bin {
            counts.sent(at(bin * 100 + number), 0, number % 2 == 1);
        }
    }
    counts.sent(at(520), 1, false);
    // From 250 to 850: the bins 3 to 7, with 4 to 8 requests of door 0.
    let load = counts.load(Some(0), at(250), at(850));
    assert_eq!((load.sent, load.peak), (4 + 5 + 6 + 7 + 8, 8));
    assert!((load.mean - 6.0).abs() < 1e-9 && (load.ratio() - 8.0 / 6.0).abs() < 1e-9);
    assert_eq!(load.retries, 2 + 2 + 3 + 3 + 4);
    assert_eq!(counts.load(None, at(500), at(600)).sent, 7);
    assert_eq!(counts.load(None, at(5000), at(6000)).peak, 0);
    let mut both = counts.clone();
    both.add(&counts);
    assert_eq!(both.load(Some(0), at(250), at(850)).peak, 16);
    assert_eq!(both.total(Some(1)).first, 2);
}

#[test]
fn holding_adds_up() {
    let mut counts = Counts::new(at(0), BIN, 1);
    counts.holds(Epoch(2), None);
    counts.holds(Epoch(2), Some(Duration::ZERO));
    counts.holds(Epoch(2), Some(Duration::from_millis(3)));
    let mut other = Counts::new(at(0), BIN, 1);
    other.holds(Epoch(2), Some(Duration::from_millis(2)));
    counts.add(&other);
    let held = counts.held[&Epoch(2)];
    assert_eq!((held.joined, held.late, held.in_time), (1, 1, 2));
    assert_eq!(held.least_left, 2_000_000);
}

#[test]
fn schedules_are_even_and_complete() {
    let scenario = Scenario::Steady {
        rate: 300,
        duration: Duration::from_secs(2),
    };
    let acts: Vec<_> = scenario.acts(7).collect();
    assert_eq!(acts.len(), 600);
    assert_eq!(acts[300].at, 1_000_000_000);
    assert!(acts.is_sorted_by_key(|act| act.at));
    assert!((0..7).all(|device| acts.iter().filter(|act| act.device == device).count() >= 85));
    let acts: Vec<_> = cold(1000).acts(4).collect();
    assert_eq!(
        acts.iter()
            .map(|act| (act.at, act.device))
            .collect::<Vec<_>>(),
        [(0, 0), (250_000_000, 1), (500_000_000, 2), (750_000_000, 3)]
    );
}

/// SEC-08, SEC-14: what attackers send gives them nothing.
#[test]
fn sec_08_no_hostile_datagram_is_answered_with_keys() {
    let folder = Folder::new();
    let sessions = folder.sessions(2);
    let mut forge = Forge::new(&sessions, 1, 9).unwrap();
    let (mut door, mut rng, mut reply) = (door(0), StdRng::seed_from_u64(1), Vec::new());
    let genuine = forge.datagram(Attack::Replay).to_vec();
    let now = at(1);
    let first = door.answer(now, SOURCE, &genuine, &mut rng, &mut reply);
    assert_eq!(first, Outcome::Granted);
    for attack in Attack::ALL {
        for _ in 0..300 {
            let datagram = forge.datagram(attack);
            let outcome = door.answer(now, SOURCE, datagram, &mut rng, &mut reply);
            let expected: &[_] = match attack {
                Attack::Garbage | Attack::CutOff | Attack::Oversize => &[Outcome::Malformed],
                Attack::ForgedCookie => &[Outcome::CookieUnknown, Outcome::CookieUnknownSilent],
                Attack::ForgedRequest => &[Outcome::Forged, Outcome::Malformed],
                Attack::Replay => &[Outcome::Replayed],
            };
            assert!(expected.contains(&outcome), "{attack:?}: {outcome:?}");
        }
    }
}

#[test]
fn bad_files_of_sessions_are_refused() {
    let folder = Folder::new();
    let said = |bytes: &[u8]| {
        std::fs::write(folder.file(), bytes).unwrap();
        Sessions::open(&folder.file()).unwrap_err().to_string()
    };
    assert!(said(b"hello").contains("no record file of sealcast"));
    let mut bytes = Vec::new();
    mint()
        .write(3, &mut StdRng::seed_from_u64(1), &mut bytes)
        .unwrap();
    assert!(said(&bytes[..bytes.len() - 40]).contains("cut off"));
    let missing = Sessions::open(&folder.0.path().join("none"));
    assert!(matches!(missing, Err(SessionsError::File(_))));
    assert_eq!(mint().check(0), Err(MintError::Devices(0)));
    let none = Mint {
        channels: Vec::new(),
        ..mint()
    };
    assert_eq!(none.check(1), Err(MintError::Channels(0)));
    let zero = Mint {
        channels: vec![ChannelId(1), ChannelId(0)],
        ..mint()
    };
    assert_eq!(zero.check(1), Err(MintError::ChannelZero));
}
