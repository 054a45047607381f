//! The world: one authority with its key door, senders, receivers, links that are reliable while they hold, and a multicast network that is not. Time goes in ticks of 5 ms; every node has a clock of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_proto::authority::{self, Authority, ConnId, Stored};
use sealcast_proto::door::{Door, Route, Session, Update};
use sealcast_proto::feed::Source;
use sealcast_proto::ids::{ChannelId, Epoch, RunId, ServerId, Term, Time};
use sealcast_proto::receiver::{self, ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::sender::{self, Hold, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::AuthLevel;
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};

#[path = "door.rs"]
mod door;
#[path = "faults.rs"]
mod faults;
#[path = "finish.rs"]
mod finish;
#[path = "masters.rs"]
mod masters;
#[path = "network.rs"]
mod network;
#[path = "slaves.rs"]
mod slaves;

use self::masters::CutOff;
pub use self::network::forged;
use self::slaves::{Flying, SlaveNode, quorum};
use super::scenario::Scenario;
use super::served::Served;
use super::totals::Totals;
use super::witness::{Delivery, Wire};

pub const CHANNEL: ChannelId = ChannelId(7);
const TICK: u64 = 5_000_000;

pub fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing::new(ms(600), ms(400), ms(250), ms(100)).expect("fitting times")
}

struct SenderNode {
    machine: Sender,
    clock: u64,
    /// Runs of all senders are numbered.
    run: usize,
    run_of_sender: u32,
    number: u32,
    /// The term whose Notice it passed on last.
    heeds: Option<Term>,
}

struct ReceiverNode {
    machine: Receiver,
    session: Session,
    route: Route,
    /// When its right was taken away.
    revoked: Option<u64>,
    clock: u64,
    delivery: Delivery,
    asleep_until: u64,
}

struct Link {
    conn: Option<ConnId>,
    down_until: u64,
    /// Frames arrive in order.
    last_due: u64,
}

enum Event {
    ToAuthority(ConnId, ToAuthority),
    ToSender(ConnId, Frame<FromAuthority>),
    ToDoor(ConnId, door::Knock),
    Feed(ConnId, Flying),
    ToReceiver(ConnId, Vec<u8>),
    Datagram {
        receiver: usize,
        source: IpAddr,
        bytes: Vec<u8>,
        content: Option<(usize, u32, u32)>,
    },
}

pub struct World {
    scenario: Scenario,
    rng: ChaCha8Rng,
    tick: u64,
    authority: Option<Authority>,
    /// Steps taken of the succession of its key.
    succession: u8,
    /// There as long as the authority is.
    door: Option<Door>,
    authority_clock: u64,
    /// Runs (sender, run) that began while the authority was away: a later term does not know which run they follow.
    unfollowed: Vec<(usize, u32)>,
    authority_back: Option<(u64, bool)>,
    former: Option<CutOff>,
    copies: Vec<Stored>,
    senders: Vec<SenderNode>,
    receivers: Vec<ReceiverNode>,
    slaves: Vec<SlaveNode>,
    source: Source,
    leads: bool,
    served: Served,
    /// When an epoch was first announced.
    announced: BTreeMap<Epoch, u64>,
    links: Vec<Link>,
    conns: u64,
    runs: usize,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    wire: Wire,
    totals: Totals,
}

impl World {
    pub fn new(seed: u64, scenario: &Scenario) -> Self {
        let mut world = Self {
            scenario: scenario.clone(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            tick: 1,
            authority: None,
            succession: 0,
            door: None,
            authority_clock: 3_000_000_000,
            unfollowed: Vec::new(),
            authority_back: None,
            former: None,
            copies: vec![Stored::default()],
            senders: Vec::new(),
            receivers: Vec::new(),
            slaves: Vec::new(),
            source: Source::new(None),
            leads: false,
            served: Served::default(),
            announced: BTreeMap::new(),
            links: Vec::new(),
            conns: 0,
            runs: 0,
            events: BTreeMap::new(),
            sequence: 0,
            wire: Wire::default(),
            totals: Totals::default(),
        };
        world.add_slaves();
        world.start_authority(Stored::default());
        for index in 0..scenario.senders {
            let clock = world.rng.next_u64() % (1 << 50);
            let machine = world.start_sender(index);
            let run = world.runs;
            world.senders.push(SenderNode {
                machine,
                clock,
                run,
                run_of_sender: 0,
                number: 0,
                heeds: None,
            });
        }
        for index in 0..scenario.receivers {
            let clock = world.rng.next_u64() % (1 << 50);
            let config = ReceiverConfig {
                fetch_on: scenario.fetch_on,
                ..ReceiverConfig::new(CHANNEL, timing())
            };
            let mut machine = Receiver::new(config, ParkingBudget::default(), Time(clock));
            machine.set_authority(world.keys().authority, None);
            let session = world.start_session(index);
            world.receivers.push(ReceiverNode {
                machine,
                session,
                route: Route::default(),
                revoked: None,
                clock,
                delivery: Delivery::default(),
                asleep_until: 0,
            });
        }
        for _ in 0..scenario.senders + scenario.receivers {
            world.links.push(Link {
                conn: None,
                down_until: 0,
                last_due: 0,
            });
        }
        world
    }

    fn start_authority(&mut self, stored: Stored) {
        let config = authority::Config {
            keys: self.keys(),
            channels: vec![authority::ChannelConfig {
                channel: CHANNEL,
                mode: self.scenario.mode,
                timing: timing(),
                auth: AuthLevel::Group,
            }],
            start_wait: Duration::from_secs(2),
            known_servers: (1..).map(ServerId).take(self.scenario.senders).collect(),
            slaves: quorum(self.scenario.slaves),
        };
        let authority = Authority::start(config, stored, self.authority_time());
        self.authority = Some(authority);
        self.open_door();
    }

    /// A master begins on a host of its own, with what was stored last, or an older copy.
    fn start_with_copy(&mut self, old_copy: bool) {
        let pick = if old_copy {
            self.below(self.copies.len() as u64)
        } else {
            self.copies.len() as u64 - 1
        };
        let copy = self.copies[usize::try_from(pick).expect("few")].clone();
        self.authority_clock = self.rng.next_u64() % (1 << 50);
        self.start_authority(copy);
    }

    fn start_sender(&mut self, index: usize) -> Sender {
        self.runs += 1;
        let config = SenderConfig {
            channel: CHANNEL,
            server: ServerId(u32::try_from(index).expect("few") + 1),
            run: RunId(self.rng.next_u64()),
            mode: self.scenario.mode,
            lanes: 1,
            timing: timing(),
            hold: Hold::Hold,
            payload_max: 1400,
            keylog: true,
        };
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        Sender::new(config, &seed)
    }

    fn now(&self, clock: u64) -> Time {
        Time(clock + self.tick * TICK)
    }

    fn authority_time(&self) -> Time {
        self.now(self.authority_clock)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rng.next_u64() % limit.max(1)
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        self.below(1000) < thousandths
    }

    fn schedule(&mut self, due: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((due, self.sequence), event);
    }

    pub fn run(mut self) -> Totals {
        let faults = self.scenario.faults.clone();
        let mut faults = faults.into_iter().peekable();
        // The last part is quiet, so that everything can settle.
        while self.tick < self.scenario.ticks {
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= self.tick) {
                self.fault(fault);
            }
            self.step();
        }
        self.finish()
    }

    fn step(&mut self) {
        self.tick += 1;
        self.bring_back();
        while let Some(entry) = self
            .events
            .first_entry()
            .filter(|entry| entry.key().0 <= self.tick)
        {
            let event = entry.remove();
            self.happen(event);
        }
        for index in 0..self.senders.len() {
            // As the driver does: what must go out first (certificates) goes out first.
            let now = self.now(self.senders[index].clock);
            self.senders[index].machine.poll(now, &mut self.rng);
            self.drain_sender(index);
            if (self.tick + index as u64).is_multiple_of(self.scenario.pace) {
                self.produce(index);
            }
        }
        for index in 0..self.receivers.len() {
            self.forge(index);
            let looks = (self.tick + index as u64).is_multiple_of(self.scenario.looks);
            if looks && self.tick >= self.receivers[index].asleep_until {
                self.poll_receiver(index);
            }
        }
        self.poll_authority();
        self.poll_former();
        self.poll_slaves();
    }

    fn poll_authority(&mut self) {
        let now = self.authority_time();
        let mut out = Vec::new();
        if let Some(authority) = &mut self.authority {
            authority.poll(now, &mut self.rng, &mut out);
        }
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<authority::Output>) {
        for output in out {
            match output {
                authority::Output::Store => {
                    let stored = self
                        .authority
                        .as_ref()
                        .map(|authority| authority.stored().clone());
                    self.copies.extend(stored);
                }
                authority::Output::Event(authority::AuthorityEvent::TermStarted { .. }) => {
                    self.totals.terms += 1
                }
                authority::Output::Event(authority::AuthorityEvent::Replaced { .. }) => {
                    self.totals.replaced += 1
                }
                authority::Output::Event(_) => {}
                authority::Output::Door(update) => self.tell_door(update),
                authority::Output::Leads(term) => {
                    self.lead(term);
                    self.tell_door(Update::Leads(term.is_some()));
                }
                authority::Output::Send(conn, message) => {
                    let frame = Frame {
                        sent: self.authority_time(),
                        message,
                    };
                    let due = self.link_due(conn);
                    self.schedule(due, Event::ToSender(conn, frame));
                }
            }
        }
    }

    /// When the next frame of this link arrives: a tick or two later, in order.
    fn link_due(&mut self, conn: ConnId) -> u64 {
        let latency = self.below(3);
        let tick = self.tick;
        let Some(link) = self.links.iter_mut().find(|link| link.conn == Some(conn)) else {
            return tick;
        };
        link.last_due = link.last_due.max(tick + latency);
        link.last_due
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToAuthority(conn, message) => {
                let alive = self.links.iter().any(|link| link.conn == Some(conn));
                let (now, mut out) = (self.authority_time(), Vec::new());
                if let Some(authority) = self.authority.as_mut().filter(|_| alive) {
                    authority.handle(now, conn, message, &mut self.rng, &mut out);
                }
                self.carry_out(out);
            }
            Event::ToSender(conn, frame) => {
                if let Some(node) = self.links.iter().position(|link| link.conn == Some(conn)) {
                    let now = self.now(self.senders[node].clock);
                    self.senders[node]
                        .machine
                        .handle_link(now, frame, &mut self.rng);
                    self.drain_sender(node);
                }
            }
            Event::ToDoor(conn, knock) => self.knock(conn, &knock),
            Event::Feed(conn, flying) => self.fed(conn, flying),
            Event::ToReceiver(conn, datagram) => self.answered(conn, &datagram),
            Event::Datagram {
                receiver,
                source,
                bytes,
                content,
            } => self.arrive(receiver, source, bytes, content),
        }
    }

    fn poll_receiver(&mut self, index: usize) {
        let now = self.now(self.receivers[index].clock);
        let ReceiverNode {
            machine, delivery, ..
        } = &mut self.receivers[index];
        machine.poll(now, &mut self.rng, &mut |bytes| delivery.deliver(bytes));
        self.drain_receiver(index);
    }

    fn drain_receiver(&mut self, index: usize) {
        while let Some(wanted) = self.receivers[index].machine.poll_request() {
            self.ask_door(index, &wanted);
        }
        while let Some(event) = self.receivers[index].machine.poll_event() {
            match event {
                receiver::Event::KeyMissing { epoch, .. } => {
                    self.receivers[index].delivery.missing(epoch.0)
                }
                // Where a number comes back with another root, the former root's certificate may be there first.
                receiver::Event::CommitmentMismatch { epoch } => assert!(
                    self.scenario.numbers_may_return(),
                    "a genuine root was refused: {epoch:?}"
                ),
                _ => {}
            }
        }
    }

    fn tell_authority(&mut self, node: usize, message: ToAuthority) {
        if let Some(conn) = self.links[node].conn {
            let due = self.link_due(conn);
            self.schedule(due, Event::ToAuthority(conn, message));
        }
    }

    fn drain_sender(&mut self, index: usize) {
        while let Some(output) = self.senders[index].machine.poll_output() {
            match output {
                sender::Output::Link(message) => self.tell_authority(index, message),
                sender::Output::Multicast(datagram) | sender::Output::KeyBlock(datagram) => {
                    self.multicast_control(index, &datagram)
                }
                sender::Output::Event(sender::Event::KeyLog(line)) => {
                    self.wire.key(self.senders[index].run, &line)
                }
                sender::Output::Event(sender::Event::Switched { epoch }) => self.switched(epoch),
                sender::Output::Event(sender::Event::Holding { .. }) => self.totals.holds += 1,
                // Held too long: the key is over at the receivers too, and nothing is owed under it.
                sender::Output::Event(sender::Event::Stopped { epoch }) => {
                    let give_up =
                        |node: &mut ReceiverNode| node.delivery.give_up(epoch.0 & 0xFF_FFFF);
                    self.receivers.iter_mut().for_each(give_up);
                }
                sender::Output::Event(_) => {}
            }
        }
    }

    fn unlink(&mut self, node: usize) {
        let Some(conn) = self.links[node].conn.take() else {
            return;
        };
        if let Some(authority) = &mut self.authority {
            authority.disconnected(conn);
        }
        if let Some(node) = self.senders.get_mut(node) {
            node.machine.link_down();
        }
    }

    /// The authority returns; links that may are made again.
    fn bring_back(&mut self) {
        if let Some((_, old_copy)) = self.authority_back.filter(|(due, _)| *due <= self.tick) {
            self.authority_back = None;
            self.start_with_copy(old_copy);
        }
        for node in 0..self.links.len() {
            // With slaves receivers are answered without the authority.
            let alone = node >= self.senders.len() && self.scenario.slaves > 0;
            if self.authority.is_none() && !alone {
                continue;
            }
            if self.links[node].conn.is_some() || self.links[node].down_until > self.tick {
                continue;
            }
            self.conns += 1;
            self.links[node].conn = Some(ConnId(self.conns));
            if node < self.senders.len() {
                let now = self.now(self.senders[node].clock);
                self.senders[node].machine.link_up(now);
                self.drain_sender(node);
            }
        }
    }
}
