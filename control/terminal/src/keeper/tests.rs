//! The keeper against real doors, without any network.

mod doors;
mod random;

use std::net::IpAddr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, SigningKey, TreeTop};
use sealcast_objects::api::KeyPath;
use sealcast_objects::time::Timestamp;
use sealcast_proto::door::{
    Door, ROUND, Served, ServedKey, SessionKey, Ticket, TicketKey, Tickets, UNANSWERED, Update,
};
use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, Epoch, SessionId};
use sealcast_proto::key_block::Generation;
use sealcast_proto::key_tree::{Position, Tree};
use sealcast_proto::timing::Timing;

use super::*;

const ACCOUNT: AccountId = AccountId([1; 16]);
const CHANNEL: ChannelId = ChannelId(7);
const SECOND: Duration = Duration::from_secs(1);

fn door_addr(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000 + u16::try_from(index).expect("a few")))
}

fn tickets(period: u32) -> Tickets {
    let key = |period: u32| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&period.to_be_bytes());
        TicketKey::new(period, bytes)
    };
    Tickets::new(key(period), period.checked_sub(1).map(key))
}

fn authority() -> VerifyingKey {
    SigningKey::from_seed(&[1; 32]).verifying_key()
}

/// A key server in small: two doors for UDP, one behind HTTPS, and what opens sessions.
struct Server {
    doors: [Door; 3],
    period: u32,
    version: u64,
    channels: Vec<ChannelId>,
    sessions: u8,
}

/// The door behind HTTPS.
const HTTPS: usize = 2;

impl Server {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        let mut server = Self {
            doors: std::array::from_fn(|_| Door::new(rng)),
            period: 1,
            version: 1,
            channels: vec![CHANNEL],
            sessions: 0,
        };
        server.tell(&Update::Tickets(tickets(1)));
        let served = Served {
            channel: CHANNEL,
            timing: Timing::default(),
            authority: authority(),
            successor: None,
            in_use: Some(ServedKey {
                epoch: Epoch(4),
                root: EpochRoot::from_bytes([4; 32]),
                end: Time(u64::MAX / 2),
            }),
            next: None,
            prepared: None,
            others: Vec::new(),
            expected: vec![Epoch(4)],
        };
        server.tell(&Update::Channel(Box::new(served)));
        server.tell(&Update::Leads(true));
        server
    }

    fn tell(&mut self, update: &Update) {
        for door in &mut self.doors {
            door.update(update.clone());
        }
    }

    fn rotate(&mut self) {
        self.period += 1;
        self.tell(&Update::Tickets(tickets(self.period)));
    }

    fn raise_floor(&mut self) {
        self.version += 1;
        let (account, version) = (ACCOUNT, self.version);
        self.tell(&Update::RightsFloor { account, version });
    }

    fn session(&mut self, rng: &mut ChaCha8Rng) -> SessionReply {
        self.sessions = self.sessions.wrapping_add(1);
        let (request, reply) = ([self.sessions; 32], [!self.sessions; 32]);
        let ticket = Ticket {
            session: SessionId([self.sessions; 16]),
            request_key: SessionKey::from_bytes(request),
            reply_key: SessionKey::from_bytes(reply),
            account: ACCOUNT,
            device: DeviceId([1; 16]),
            rights_version: self.version,
            period: self.period,
            channels: self.channels.clone(),
        };
        let tickets = tickets(self.period);
        let grant = SessionGrant {
            session: ticket.session,
            request_key: ticket.request_key.clone(),
            reply_key: ticket.reply_key.clone(),
            cookies: (0..8).filter_map(|_| tickets.seal(&ticket, rng)).collect(),
        };
        let mut bytes = Vec::new();
        grant.encode(&mut bytes);
        SessionReply {
            grant: bytes,
            channels: self.channels.iter().map(|channel| channel.0).collect(),
            refused: Vec::new(),
            doors: vec![door_addr(0), door_addr(1)],
            authority: authority().as_bytes().to_vec(),
            successor: None,
            paths: Vec::new(),
            renew_after_ms: 3_600_000,
            ends_after_ms: 7_200_000,
            notices: Vec::new(),
            now: Timestamp(0),
        }
    }
}

/// What a keeper put out, by kind.
#[derive(Default, Debug)]
struct Out {
    udp: Vec<(SocketAddr, Vec<u8>)>,
    https: Vec<Vec<u8>>,
    opens: usize,
    granted: Vec<u64>,
    refused: Vec<Reason>,
    reachable: Vec<bool>,
    renewed: usize,
    paths: Vec<(ChannelId, u32)>,
}

struct Bench {
    keeper: Keeper,
    server: Server,
    rng: ChaCha8Rng,
    now: Time,
    number: u64,
}

impl Bench {
    /// A keeper that has put nothing out yet.
    fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let now = Time(1_000_000_000_000);
        Self {
            keeper: Keeper::new(now),
            server: Server::new(&mut rng),
            rng,
            now,
            number: 0,
        }
    }

    /// One with a session that was just opened.
    fn opened() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.poll().opens, 1);
        bench.open();
        assert_eq!(bench.take().renewed, 1);
        bench
    }

    /// One whose session is old enough that nothing of its beginning counts.
    fn settled() -> Self {
        let mut bench = Self::opened();
        bench.pass(RENEWAL_MIN * 2);
        bench
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    fn take(&mut self) -> Out {
        let mut out = Out::default();
        while let Some(output) = self.keeper.poll_output() {
            match output {
                Output::Udp(door, datagram) => out.udp.push((door, datagram)),
                Output::Https(datagram) => out.https.push(datagram),
                Output::Open => out.opens += 1,
                Output::Event(Event::Granted(granted, _)) => out.granted.push(granted.number),
                Output::Event(Event::Refused(refused)) => out.refused.push(refused.reason),
                Output::Event(Event::Reachable(reachable)) => out.reachable.push(reachable),
                Output::Event(Event::Renewed(key, successor)) => {
                    assert_eq!((key, successor), (authority(), None));
                    out.renewed += 1;
                }
                Output::Event(Event::Path(channel, path)) => {
                    out.paths.push((channel, path.generation()));
                }
            }
        }
        out
    }

    fn poll(&mut self) -> Out {
        self.keeper.poll(self.now);
        self.take()
    }

    /// The server grants the session that was asked for.
    fn open(&mut self) {
        let reply = self.server.session(&mut self.rng);
        self.keeper.opened(self.now, &reply, &mut self.rng).unwrap();
    }

    fn fail(&mut self) {
        self.keeper.failed(self.now, false, &mut self.rng);
    }

    /// A channel asks; what goes out.
    fn want(&mut self) -> Out {
        self.pass(ROUND);
        self.want_now()
    }

    fn want_now(&mut self) -> Out {
        self.number += 1;
        let wanted = wanted(self.number);
        self.keeper.wanted(self.now, &wanted, &mut self.rng);
        self.take()
    }

    /// What the door at `index` answers to a datagram reaches the keeper; what it puts out then.
    fn answer(&mut self, index: usize, datagram: &[u8]) -> Out {
        let source = IpAddr::from([10, 0, 0, 1]);
        let mut reply = Vec::new();
        self.server.doors[index].answer(self.now, source, datagram, &mut self.rng, &mut reply);
        if !reply.is_empty() {
            let by_udp = index != HTTPS;
            let _ = self
                .keeper
                .datagram(self.now, &reply, by_udp, &mut self.rng);
        }
        self.take()
    }

    /// Asks and has the answer of the door it asked.
    fn exchange(&mut self) -> Out {
        let out = self.want();
        let (door, datagram) = out.udp[0].clone();
        let index = usize::from(door.port() - 5000);
        self.answer(index, &datagram)
    }

    /// How long until the keeper opens a session, letting time pass till then.
    fn until_open(&mut self) -> Duration {
        let due = self.keeper.next_timeout().expect("something to do");
        let wait = due.since(self.now);
        if wait > Duration::ZERO {
            let before = Time(due.0 - 1);
            self.keeper.poll(before);
            assert_eq!(self.take().opens, 0, "not before its time");
        }
        self.now = Time(due.0.max(self.now.0));
        assert_eq!(self.poll().opens, 1);
        wait
    }
}

fn wanted(number: u64) -> Wanted {
    Wanted {
        number,
        channel: CHANNEL,
        epoch: None,
        cookies: 0,
    }
}

#[test]
fn it_opens_a_session_at_start_and_only_one() {
    let mut bench = Bench::new();
    assert_eq!(bench.keeper.next_timeout(), Some(bench.now));
    assert_eq!(bench.poll().opens, 1);
    assert_eq!(bench.keeper.next_timeout(), None, "it waits for the answer");
    bench.pass(100 * SECOND);
    assert_eq!(bench.poll().opens, 0);
}

#[test]
fn requests_wait_for_a_session_and_go_out_when_it_is_there() {
    let mut bench = Bench::new();
    bench.poll();
    let at = bench.now;
    for number in [1, 2, 3, 2] {
        bench.keeper.wanted(at, &wanted(number), &mut bench.rng);
    }
    assert_eq!(bench.take().udp, []);
    bench.pass(SECOND);
    bench.open();
    let out = bench.take();
    assert_eq!(
        (out.renewed, out.udp.len()),
        (1, 3),
        "a retry is no other request"
    );
    let mut granted = Vec::new();
    for (_, datagram) in &out.udp {
        granted.extend(bench.answer(0, datagram).granted);
    }
    assert_eq!(granted, [1, 3, 2]);
    // Of too many the oldest are given up.
    let mut bench = Bench::new();
    bench.poll();
    for _ in 0..WAITING + 5 {
        bench.want();
    }
    bench.open();
    let out = bench.take();
    assert_eq!(out.udp.len(), WAITING);
    assert_eq!(bench.answer(0, &out.udp[0].1).granted, [6]);
}

#[test]
fn failures_back_off_up_to_30_seconds_and_success_ends_that() {
    let mut bench = Bench::new();
    bench.poll();
    for expected in [1, 2, 4, 8, 16, 30, 30, 30] {
        bench.fail();
        let pause = bench.until_open();
        let least = expected * SECOND;
        assert!(least <= pause && pause <= least * 3 / 2, "{pause:?}");
    }
    bench.open();
    bench.keeper.renew(bench.now);
    assert_eq!(bench.until_open(), Duration::ZERO);
    bench.fail();
    assert!(bench.until_open() <= SECOND * 3 / 2);
}

#[test]
fn a_server_that_is_away_is_looked_for_every_few_seconds() {
    let mut bench = Bench::new();
    bench.poll();
    for expected in [1, 2, 4, 8, 16, 16, 16] {
        bench.keeper.failed(bench.now, true, &mut bench.rng);
        let pause = bench.until_open();
        let least = expected * SECOND / 2;
        assert!(least <= pause && pause <= least * 3 / 2, "{pause:?}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_counts_as_failed_and_the_session_stays() {
    let mut bench = Bench::settled();
    bench.keeper.renew(bench.now);
    bench.poll();
    let mut reply = bench.server.session(&mut bench.rng);
    reply.grant.truncate(40);
    let opened = bench.keeper.opened(bench.now, &reply, &mut bench.rng);
    assert_eq!(opened, Err(Unreadable));
    assert_eq!(bench.exchange().granted, [1], "the former session goes on");
    let mut reply = bench.server.session(&mut bench.rng);
    reply.authority.pop();
    let opened = bench.keeper.opened(bench.now, &reply, &mut bench.rng);
    assert_eq!(opened, Err(Unreadable));
    assert!(bench.until_open() >= 2 * SECOND);
}

#[test]
fn what_nobody_asked_for_changes_nothing() {
    let mut bench = Bench::settled();
    let first = bench.want();
    for _ in 0..UNANSWERED {
        bench.want();
    }
    let junk = [&first.udp[0].1[..], b"", &[0xFF; 300]].map(<[u8]>::to_vec);
    for datagram in junk {
        let taken = bench
            .keeper
            .datagram(bench.now, &datagram, true, &mut bench.rng);
        assert!(taken.is_err());
    }
    assert_eq!(
        bench.want().https.len(),
        1,
        "it does not count as an answer"
    );
    let mut empty = Bench::new();
    let taken = empty
        .keeper
        .datagram(empty.now, &[1, 2], true, &mut empty.rng);
    assert!(taken.is_err());
}

#[test]
fn hints_of_unknown_cookies_renew_at_most_once_in_15_to_30_seconds() {
    let mut bench = Bench::settled();
    bench.server.rotate();
    bench.server.rotate();
    bench.exchange();
    assert!(bench.until_open() <= RIGHTS_SPREAD);
    bench.open();
    bench.take();
    // Somebody who reads along goes on sending hints.
    let opened = bench.now;
    bench.server.rotate();
    bench.server.rotate();
    for _ in 0..10 {
        bench.pass(Duration::from_millis(100));
        bench.exchange();
    }
    bench.until_open();
    let after = bench.now.since(opened);
    assert!(
        after >= RENEWAL_MIN / 2 && after <= RENEWAL_MIN,
        "{after:?}"
    );
}

/// The account's other devices must not lose packets when one of them loses a licence, however new their sessions are; but rights that change
/// without an end cost each device less and less.
#[test]
fn sec_11_changed_rights_renew_within_a_second_and_more_rarely_if_they_go_on_changing() {
    let mut bench = Bench::settled();
    bench.server.raise_floor();
    let out = bench.exchange();
    assert_eq!(
        out.refused,
        [Reason::RightsChanged],
        "the channel hears of it"
    );
    assert!(bench.until_open() <= RIGHTS_SPREAD);
    bench.open();
    bench.take();
    assert_eq!(bench.exchange().granted.len(), 1);
    for gap in [0, 1, 2, 4, 8, 16, 30] {
        let (gap, opened) = (Duration::from_secs(gap), bench.now);
        bench.server.raise_floor();
        bench.exchange();
        bench.until_open();
        let after = bench.now.since(opened);
        assert!(after >= gap, "{gap:?}: {after:?}");
        assert!(after <= gap.max(RIGHTS_SPREAD), "{gap:?}: {after:?}");
        bench.open();
        bench.take();
    }
    // Half a minute of peace, and it is as it was.
    bench.pass(RENEWAL_MIN);
    for _ in 0..2 {
        bench.server.raise_floor();
        bench.exchange();
        assert!(bench.until_open() <= RIGHTS_SPREAD);
        bench.open();
        bench.take();
    }
}

#[test]
fn a_channel_that_is_not_of_the_session_renews_within_half_a_minute() {
    let mut bench = Bench::new();
    bench.server.channels = vec![ChannelId(8)];
    bench.poll();
    bench.open();
    bench.pass(2 * RENEWAL_MIN);
    assert_eq!(bench.exchange().refused, [Reason::NotEntitled]);
    assert!(bench.until_open() <= RENEWAL_MIN);
}

#[test]
fn a_refused_device_keeps_to_the_back_off_whatever_doors_say() {
    let mut bench = Bench::settled();
    bench.server.raise_floor();
    bench.exchange();
    bench.until_open();
    // Revoked: the server grants no session, and doors say so at each request.
    for expected in [1, 2, 4, 8, 16, 30, 30] {
        bench.fail();
        let failed = bench.now;
        for _ in 0..3 {
            bench.exchange();
        }
        bench.until_open();
        let pause = bench.now.since(failed);
        assert!(pause >= expected * SECOND, "{expected}: {pause:?}");
    }
}

#[test]
fn it_renews_when_the_server_said() {
    let mut bench = Bench::opened();
    assert_eq!(bench.until_open(), Duration::from_millis(3_600_000));
    bench.open();
    assert_eq!(bench.until_open(), Duration::from_millis(3_600_000));
}

#[test]
fn channels_that_change_while_a_session_is_opened_get_one_of_their_own() {
    let mut bench = Bench::new();
    bench.poll();
    bench.keeper.renew(bench.now);
    assert_eq!(bench.poll().opens, 0, "one at a time");
    bench.open();
    assert_eq!(bench.until_open(), Duration::ZERO);
    bench.open();
    assert!(bench.until_open() > SECOND, "and no more than one");
}

/// What opens the key blocks of a channel, for position 5.
fn path(channel: u16, generation: u32) -> KeyPath {
    let generation = Generation {
        number: generation,
        tree: Tree::new(3).unwrap(),
        top: TreeTop::from_bytes(&[3; 32]),
        given: 8,
        gone: Vec::new(),
    };
    let mut path = Vec::new();
    Path::new(&generation, Position(5), Epoch(1))
        .unwrap()
        .encode(&mut path);
    KeyPath { channel, path }
}

#[test]
fn a_session_of_a_former_run_is_used_at_once() {
    let mut former = Bench::opened();
    former.exchange();
    let mut kept = former.server.session(&mut former.rng);
    kept.grant = former.keeper.grant().unwrap();
    kept.paths = vec![path(4, 6)];

    let mut bench = former;
    bench.keeper = Keeper::new(bench.now);
    assert_eq!(bench.keeper.grant(), None);
    bench
        .keeper
        .resume(bench.now, &kept, &mut bench.rng)
        .unwrap();
    let out = bench.poll();
    assert_eq!((out.renewed, out.opens), (1, 0));
    assert_eq!(out.paths, [(ChannelId(4), 6)]);
    assert_eq!(bench.exchange().granted.len(), 1);
    assert!(
        bench.until_open() <= RENEWAL_MIN / 3,
        "a new one is opened soon"
    );

    let mut broken = Bench::new();
    let mut cut = kept.clone();
    cut.paths[0].path.pop();
    let resumed = broken.keeper.resume(broken.now, &cut, &mut broken.rng);
    assert_eq!(resumed, Err(Unreadable));
    kept.grant.clear();
    let resumed = broken.keeper.resume(broken.now, &kept, &mut broken.rng);
    assert_eq!(resumed, Err(Unreadable));
    assert_eq!(broken.poll().opens, 1, "as if there had been none");
}
