//! A world of one authority and simple delivery servers, which do what the link's messages say and nothing else.

mod cenc;
mod immediate;
mod lockstep;
mod mode_a;
mod peer;
mod random;
mod restart;
mod settings;
mod slaves;

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use sealcast_crypto::{LaneSecret, SigningKey};

use peer::Peer;

use super::*;
use crate::door::{Served, ServedKey};
use crate::ids::{Epoch, Lane, Remaining, RunId};
use crate::limits::NOTICE_INTERVAL;
use crate::wire::control::{AuthLevel, LaneCertificate, Notice, Signed, Unverified};
use crate::wire::door::{Granted, Reason, Refused, Wanted};
use crate::wire::link::{
    CipherHalf, Deposit, Deposited, Held, NumberWanted, Report, Sent, Welcome,
};

pub(super) const CHANNEL: ChannelId = ChannelId(7);
/// Authority seeds: the channel's, and somebody else's.
pub(super) const SEED: [u8; 32] = [7; 32];
pub(super) const OTHER_SEED: [u8; 32] = [8; 32];

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// 60 s, 20 s, 10 s, as by default.
pub(super) fn timing() -> Timing {
    Timing::default()
}

/// Content that the authority of [`SEED`] signed.
pub(super) fn verified<T: Signed + std::fmt::Debug>(datagram: &[u8]) -> T {
    let key = SigningKey::from_seed(&SEED).verifying_key();
    Unverified::<T>::parse(datagram)
        .unwrap()
        .verify(&key)
        .unwrap()
}

pub(super) struct World {
    pub(super) authority: Authority,
    pub(super) rng: ChaCha8Rng,
    pub(super) now: Time,
    /// What was made durable.
    pub(super) disk: Stored,
    /// What the doors know: whether there is a master, and what the devices of each channel may have.
    pub(super) leads: bool,
    pub(super) served: BTreeMap<ChannelId, Served>,
    pub(super) peers: BTreeMap<ConnId, Peer>,
    pub(super) events: Vec<AuthorityEvent>,
    /// Everything else that was sent.
    pub(super) sent: Vec<(ConnId, FromAuthority)>,
    /// What each link was told of the authority's keys.
    pub(super) told: BTreeMap<ConnId, Welcome>,
    /// Links that were told what the channel is.
    pub(super) settled: BTreeSet<ConnId>,
    /// Every Notice that was sent, in order.
    pub(super) notices: Vec<(Time, Notice)>,
    connections: u64,
}

pub(super) fn channel_config(channel: ChannelId, mode: Mode) -> ChannelConfig {
    ChannelConfig {
        channel,
        mode,
        timing: timing(),
        auth: AuthLevel::Group,
    }
}

pub(super) fn config(mode: Mode, known: &[u32]) -> Config {
    Config {
        keys: Keys::single(SigningKey::from_seed(&SEED)),
        channels: vec![channel_config(CHANNEL, mode)],
        start_wait: ms(2000),
        known_servers: known.iter().copied().map(ServerId).collect(),
        slaves: SlaveQuorum::default(),
    }
}

impl World {
    /// An authority that has not heard anything yet.
    pub(super) fn starting(mode: Mode, stored: Stored, known: &[u32]) -> Self {
        let now = Time(1_000_000_000_000);
        Self {
            authority: Authority::start(config(mode, known), stored.clone(), now),
            rng: ChaCha8Rng::seed_from_u64(1),
            now,
            disk: stored,
            leads: false,
            served: BTreeMap::new(),
            peers: BTreeMap::new(),
            events: Vec::new(),
            sent: Vec::new(),
            told: BTreeMap::new(),
            settled: BTreeSet::new(),
            notices: Vec::new(),
            connections: 0,
        }
    }

    /// An authority that leads.
    pub(super) fn leading(mode: Mode) -> Self {
        let mut world = Self::starting(mode, Stored::default(), &[]);
        world.pass(ms(2000));
        world.term();
        world
    }

    /// The authority stops and starts again from `stored`; every link breaks.
    pub(super) fn restart(&mut self, stored: Stored) {
        let mode = self.channel_mode();
        self.authority = Authority::start(config(mode, &[]), stored.clone(), self.now);
        self.disk = stored;
        (self.leads, self.served) = (false, BTreeMap::new());
        self.events.clear();
        self.sent.clear();
    }

    pub(super) fn term(&self) -> Term {
        match self.authority.status(self.now).lead {
            Lead::Leading(term) => term,
            lead => unreachable!("{lead:?}"),
        }
    }

    pub(super) fn channel(&self) -> ChannelStatus {
        let channels = self.authority.status(self.now).channels;
        let is_it = |status: &ChannelStatus| status.channel == CHANNEL;
        channels.into_iter().find(is_it).unwrap()
    }

    pub(super) fn channel_mode(&self) -> Mode {
        self.authority.config.channels[0].mode
    }

    pub(super) fn conn(&mut self) -> ConnId {
        self.connections += 1;
        ConnId(self.connections)
    }

    pub(super) fn hello(&mut self, conn: ConnId, id: u32, term: Term, other_master: bool) {
        let key = SigningKey::from_seed(&[u8::try_from(id).unwrap(); 32]).verifying_key();
        self.say(
            conn,
            ToAuthority::Hello(Hello {
                server: ServerId(id),
                key,
                term,
                other_master,
            }),
        );
    }

    /// A new run of a delivery server links up; it has not reported yet.
    pub(super) fn join(&mut self, id: u32, run: u64, lanes: u8) -> ConnId {
        let conn = self.conn();
        let report = Report {
            channel: CHANNEL,
            run: RunId(run),
            mode: self.channel_mode(),
            lanes,
            current: None,
            next: None,
            spare: None,
            notice: None,
            wants_next: false,
            early: None,
            new_group: false,
            sent: Sent::default(),
        };
        let peer = Peer {
            conn,
            id: ServerId(id),
            report,
            current_end: self.now,
            next_end: self.now,
            secrets: Vec::new(),
            notices: Vec::new(),
            deposited: Vec::new(),
            certificates: Vec::new(),
        };
        self.peers.insert(conn, peer);
        self.hello(conn, id, Term::NONE, false);
        conn
    }

    /// A run goes on over a new link.
    pub(super) fn relink(&mut self, peer: Peer, term: Term) -> ConnId {
        let conn = self.conn();
        self.peers.remove(&peer.conn);
        let id = peer.id.0;
        self.peers.insert(conn, Peer { conn, ..peer });
        self.hello(conn, id, term, false);
        conn
    }

    /// [`World::join`] and a first report.
    pub(super) fn enter(&mut self, id: u32, run: u64, lanes: u8) -> ConnId {
        let conn = self.join(id, run, lanes);
        self.report(conn);
        conn
    }

    pub(super) fn peer(&mut self, conn: ConnId) -> &mut Peer {
        self.peers.get_mut(&conn).unwrap()
    }

    /// The run reports where it stands.
    pub(super) fn report(&mut self, conn: ConnId) {
        let now = self.now;
        let peer = self.peer(conn);
        if let Some(held) = &mut peer.report.current {
            held.remaining = peer.current_end.remaining(now);
        }
        if let Some(held) = &mut peer.report.next {
            held.remaining = peer.next_end.remaining(now);
        }
        let report = peer.report.clone();
        self.say(conn, ToAuthority::Report(report));
    }

    pub(super) fn report_all(&mut self) {
        let conns: Vec<_> = self.peers.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.report(conn));
    }

    /// Does something to the authority, and carries out what comes of it.
    pub(super) fn act(
        &mut self,
        act: impl FnOnce(&mut Authority, Time, &mut ChaCha8Rng, &mut Vec<Output>),
    ) {
        let mut out = Vec::new();
        act(&mut self.authority, self.now, &mut self.rng, &mut out);
        self.carry_out(out);
    }

    pub(super) fn say(&mut self, conn: ConnId, message: ToAuthority) {
        self.act(|authority, now, rng, out| authority.handle(now, conn, message, rng, out));
    }

    pub(super) fn set_channels(&mut self, channels: Vec<ChannelConfig>) {
        self.act(|authority, now, rng, out| authority.set_channels(now, channels, rng, out));
    }

    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.act(|authority, _, _, out| authority.set_keys(keys, out));
    }

    pub(super) fn early(&mut self) -> Result<(), NotEarly> {
        let mut early = Ok(());
        self.act(|authority, now, rng, out| early = authority.early(now, CHANNEL, rng, out));
        early
    }

    /// Lets time pass, with a call at every timeout, and the peers' countdowns running. Nobody reports.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        for _ in 0..100_000 {
            let due = self.authority.next_timeout().filter(|&due| due <= end);
            self.now = due.unwrap_or(end).max(self.now);
            let mut out = Vec::new();
            self.authority.poll(self.now, &mut self.rng, &mut out);
            self.carry_out(out);
            let now = self.now;
            self.peers.values_mut().for_each(|peer| peer.tick(now));
            let handled = self
                .authority
                .next_timeout()
                .is_none_or(|next| next > self.now);
            assert!(handled, "a timeout that is over must not come again");
            if self.now == end {
                return;
            }
        }
        unreachable!("timeouts without end");
    }

    /// Lets time pass with a report of everybody each second, as in operation.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while self.now < end {
            self.report_all();
            self.pass(ms(1000).min(end.since(self.now)));
        }
        self.report_all();
    }

    /// Does what a driver does, and checks that nothing leaves before there is a term, or before what it depends on is durable.
    pub(super) fn carry_out(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Store => self.disk = self.authority.stored().clone(),
                Output::Event(event) => self.events.push(event),
                Output::Door(update) => self.update_doors(update),
                Output::Leads(term) => {
                    let known: Vec<_> = self.served.keys().collect();
                    let led: Vec<_> = self.authority.channels.keys().collect();
                    assert!(term.is_none() || known == led, "what is served, first");
                    self.leads = term.is_some();
                }
                Output::Send(conn, message) => {
                    self.check_durable(conn, &message);
                    self.deliver(conn, message);
                }
            }
        }
        assert_eq!(
            self.disk,
            *self.authority.stored(),
            "a change without Output::Store"
        );
        let leads = matches!(self.authority.status(self.now).lead, Lead::Leading(_));
        assert_eq!(self.leads, leads, "the doors know who leads");
    }

    fn update_doors(&mut self, update: Update) {
        match update {
            Update::Channel(served) => {
                let keys = [&served.in_use, &served.next].into_iter().flatten();
                keys.chain(&served.others)
                    .for_each(|key| self.check_served(served.channel, key, true));
                served
                    .prepared
                    .iter()
                    .for_each(|key| self.check_served(served.channel, key, false));
                self.served.insert(served.channel, *served);
            }
            Update::ChannelGone(channel) => {
                self.served.remove(&channel);
            }
            other => unreachable!("no business of an authority: {other:?}"),
        }
    }

    /// What devices may have is durable, and stored as opened: a restarted master knows that they may have it.
    fn check_served(&self, channel: ChannelId, key: &ServedKey, opened: bool) {
        let disk = self.disk.channels.get(&channel);
        let durable = disk.is_some_and(|disk| {
            disk.epochs.iter().any(|stored| {
                let same = stored.epoch == key.epoch && stored.root == key.root;
                same && stored.opened == opened
            })
        });
        assert!(durable, "{:?} is served before it is durable", key.epoch);
    }

    /// Content that one of the keys signed that this link was told of last.
    pub(super) fn verified<T: Signed + std::fmt::Debug>(&self, conn: ConnId, bytes: &[u8]) -> T {
        let told = &self.told[&conn];
        let unverified = Unverified::<T>::parse(bytes).unwrap();
        match (unverified.verify(&told.authority), &told.successor) {
            (Ok(content), _) => content,
            (Err(unverified), Some(successor)) => unverified.verify(successor).unwrap(),
            (Err(unverified), None) => unreachable!("signed by no key told: {unverified:?}"),
        }
    }

    fn check_durable(&self, conn: ConnId, message: &FromAuthority) {
        let leads = matches!(self.authority.status(self.now).lead, Lead::Leading(_));
        assert!(leads || matches!(message, FromAuthority::Pong(_)));
        let disk = self.disk.channels.get(&CHANNEL);
        let holds = |epoch: Epoch| {
            disk.is_some_and(|disk| disk.epochs.iter().any(|stored| stored.epoch == epoch))
        };
        match message {
            FromAuthority::Welcome(welcome) => assert_eq!(self.disk.term, welcome.term),
            // An epoch that was only prepared may be dropped in the same call; its number is used up.
            FromAuthority::CipherHalf(half) if !half.at_once => {
                assert!(disk.is_some_and(|disk| disk.highest >= half.epoch))
            }
            FromAuthority::CipherHalf(half) => assert!(holds(half.epoch)),
            FromAuthority::Deposited(deposited) => {
                assert!(deposited.certificate.is_none() || holds(deposited.epoch))
            }
            FromAuthority::Notice(relay) => {
                let notice = self.verified::<Notice>(conn, &relay.datagram);
                assert!(disk.is_some_and(|disk| disk.revision >= notice.revision));
                assert!(disk.is_some_and(|disk| disk.highest >= notice.next));
            }
            _ => {}
        }
    }

    fn deliver(&mut self, conn: ConnId, message: FromAuthority) {
        let now = self.now;
        if matches!(
            message,
            FromAuthority::Notice(_) | FromAuthority::CipherHalf(_)
        ) {
            assert!(self.settled.contains(&conn), "what the channel is, first");
        }
        match &message {
            FromAuthority::Welcome(welcome) => {
                self.told.insert(conn, welcome.clone());
            }
            FromAuthority::Settings(settings) if settings.channel == CHANNEL => {
                self.settled.insert(conn);
            }
            _ => {}
        }
        match (self.peers.contains_key(&conn), message) {
            (true, FromAuthority::CipherHalf(half)) => {
                let certificate = self.verified(conn, &half.certificate);
                self.peer(conn).take(now, half, certificate);
            }
            (is_peer, FromAuthority::Notice(relay)) => {
                let notice = self.verified::<Notice>(conn, &relay.datagram);
                self.notices.push((now, notice.clone()));
                if is_peer {
                    self.peer(conn).take_notice(now, relay.datagram, notice);
                }
            }
            (true, FromAuthority::Deposited(deposited)) => {
                self.peer(conn).deposited.push(deposited);
            }
            (_, message) => self.sent.push((conn, message)),
        }
    }

    /// A device asks, and is answered as by a door that took every update in.
    pub(super) fn ask(&mut self, epoch: Option<u64>) -> Result<Granted, Refused> {
        let wanted = Wanted {
            number: 5,
            channel: CHANNEL,
            epoch: epoch.map(Epoch),
            cookies: 0,
        };
        let (leads, now) = (self.leads, self.now);
        let granted = match self.served.get(&CHANNEL).filter(|_| leads) {
            None => Err((Reason::Busy, Remaining::from(NOTICE_INTERVAL))),
            Some(served) => served.grant(now, &wanted, &mut self.rng),
        };
        granted.map_err(|(reason, retry_after)| Refused {
            number: wanted.number,
            channel: CHANNEL,
            reason,
            retry_after,
        })
    }

    /// Takes the events of one kind out.
    pub(super) fn events(&mut self, mut is_it: impl FnMut(&AuthorityEvent) -> bool) -> usize {
        let before = self.events.len();
        self.events.retain(|event| !is_it(event));
        before - self.events.len()
    }

    pub(super) fn said(&mut self, event: AuthorityEvent) -> bool {
        self.events(|said| *said == event) > 0
    }

    /// Mode A: asks for a number and deposits a root under it.
    pub(super) fn number(&mut self, conn: ConnId, at_once: bool) -> Option<Epoch> {
        let run = self.peer(conn).report.run;
        self.sent.clear();
        self.say(
            conn,
            ToAuthority::NumberWanted(NumberWanted {
                channel: CHANNEL,
                run,
                at_once,
            }),
        );
        match self.sent.pop() {
            Some((_, FromAuthority::Number(number))) => Some(number.epoch),
            _ => None,
        }
    }

    pub(super) fn deposit(
        &mut self,
        conn: ConnId,
        epoch: Epoch,
        root: u8,
        at_once: bool,
    ) -> Option<Deposited> {
        let run = self.peer(conn).report.run;
        self.peer(conn).deposited.clear();
        self.say(
            conn,
            ToAuthority::Deposit(Deposit {
                channel: CHANNEL,
                run,
                epoch,
                root: EpochRoot::from_bytes([root; 32]),
                remaining: Remaining::from(timing().lifetime()),
                at_once,
            }),
        );
        self.peer(conn).deposited.pop()
    }

    /// Mode A: the server takes the acknowledged key into use, or as next.
    pub(super) fn hold(&mut self, conn: ConnId, deposited: &Deposited, current: bool) {
        let certificate = verified::<LaneCertificate>(deposited.certificate.as_ref().unwrap());
        let remaining = Remaining::from(timing().lifetime());
        let held = Held {
            epoch: deposited.epoch,
            term: certificate.term,
            group: certificate.group,
            first_lane: certificate.first_lane,
            remaining,
        };
        let end = self.now.after(timing().lifetime());
        let peer = self.peer(conn);
        if current {
            (peer.report.current, peer.current_end) = (Some(held), end);
        } else {
            (peer.report.next, peer.next_end) =
                (Some(held), peer.current_end.after(timing().lifetime()));
        }
    }
}
