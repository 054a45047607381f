//! Random runs: servers come, go, restart and talk nonsense; masters restart from old copies of their state. Whatever
//! happens, the promises below hold.

use rand_core::Rng as _;

use super::*;

/// What must never change once it was seen.
#[derive(Default)]
struct Promises {
    /// Every lane key has one owner, for ever (SEC-06).
    owners: BTreeMap<Vec<u8>, (ServerId, RunId)>,
    /// Every term gives an epoch one root.
    roots: BTreeMap<(Term, Epoch), Vec<u8>>,
    /// The highest epoch that each term created.
    created: BTreeMap<Term, Epoch>,
    /// The last revision of each term, what it leads to, and when.
    announced: BTreeMap<Term, (u32, Epoch, Time)>,
    /// Changes announced.
    changes: usize,
}

impl Promises {
    fn check(&mut self, world: &mut World) {
        for peer in world.peers.values() {
            for (_, _, secret) in &peer.secrets {
                let owner = *self
                    .owners
                    .entry(secret.key().to_vec())
                    .or_insert((peer.id, peer.report.run));
                assert_eq!(
                    owner,
                    (peer.id, peer.report.run),
                    "a lane was handed out twice"
                );
            }
        }
        for (at, notice) in std::mem::take(&mut world.notices) {
            self.check_notice(at, &notice);
        }
        if let Lead::Leading(term) = world.authority.status(world.now).lead {
            self.check_term(term, world);
        }
        world.events.clear();
    }

    fn check_notice(&mut self, at: Time, notice: &Notice) {
        let boundary = at.after(notice.remaining.duration());
        let (revision, next, earlier) =
            *self
                .announced
                .entry(notice.term)
                .or_insert((notice.revision, notice.next, boundary));
        assert!(notice.revision >= revision, "a revision came back");
        self.changes += usize::from(notice.revision > revision);
        if notice.revision == revision {
            assert_eq!(notice.next, next, "one revision, two changes");
            let over = notice.remaining == Remaining(0);
            assert!(
                over || boundary <= earlier.after(ms(1)),
                "a boundary moved away"
            );
        }
        self.announced
            .insert(notice.term, (notice.revision, notice.next, boundary));
    }

    fn check_term(&mut self, term: Term, world: &mut World) {
        for event in &world.events {
            let (AuthorityEvent::Prepared { epoch, .. } | AuthorityEvent::Opened { epoch, .. }) =
                event
            else {
                continue;
            };
            let before = self.created.insert(term, *epoch);
            assert!(before < Some(*epoch), "a number was used twice");
        }
        for stored in world
            .disk
            .channels
            .get(&CHANNEL)
            .into_iter()
            .flat_map(|stored| &stored.epochs)
        {
            assert!(stored.epoch <= world.disk.channels[&CHANNEL].highest);
            let root = self
                .roots
                .entry((stored.term, stored.epoch))
                .or_insert_with(|| stored.root.as_bytes().to_vec());
            assert_eq!(root, stored.root.as_bytes());
        }
    }
}

/// A world with a die.
struct Play {
    world: World,
    die: ChaCha8Rng,
    runs: u64,
    copies: Vec<Stored>,
    promises: Promises,
}

impl Play {
    fn new(seed: u64, mode: Mode) -> Self {
        let world = World::starting(mode, Stored::default(), &[]);
        let copies = vec![Stored::default()];
        Self {
            world,
            die: ChaCha8Rng::seed_from_u64(seed),
            runs: 0,
            copies,
            promises: Promises::default(),
        }
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.die.next_u64() % below
    }

    fn someone(&mut self) -> Option<ConnId> {
        let count = self.world.peers.len() as u64;
        let index = self.roll(count.max(1));
        self.world
            .peers
            .keys()
            .nth(usize::try_from(index).unwrap())
            .copied()
    }

    fn step(&mut self) {
        let someone = self.someone();
        match (self.roll(20), someone) {
            (0..6, _) => {
                let time = self.roll(15_000);
                self.world.pass(ms(time));
            }
            (6..9, _) => self.world.report_all(),
            (9..11, Some(conn)) => self.world.report(conn),
            (11, Some(conn)) => self.wish(conn),
            (12, Some(conn)) => self.lie(conn),
            (13, Some(conn)) => self.world.authority.disconnected(conn),
            (14, Some(conn)) => self.come_back(conn),
            (15, _) => {
                let _ = self.world.early();
            }
            (16, _) => {
                let wanted = self.roll(12);
                let _ = self.world.ask(Some(wanted).filter(|&epoch| epoch > 0));
            }
            (17, Some(conn)) => self.generate(conn),
            (18, Some(conn)) if self.deposits() => self.generate(conn),
            (18, _) if self.roll(3) == 0 => self.restart(),
            (19, _) if self.roll(4) == 0 => self.blink(),
            _ => self.join(),
        }
        self.copies.push(self.world.disk.clone());
        self.promises.check(&mut self.world);
    }

    fn deposits(&self) -> bool {
        self.world.channel_mode() == Mode::DeliveryServer
    }

    fn join(&mut self) {
        self.runs += 1;
        let servers = if self.deposits() { 2 } else { 4 };
        let (id, lanes) = (self.roll(servers) + 1, self.roll(70) + 1);
        if self.deposits() {
            // The former run is gone: nobody else can ask for numbers.
            self.world
                .peers
                .retain(|_, peer| u64::from(peer.id.0) != id);
        }
        if self.world.peers.len() > 8 {
            self.world.peers.pop_first();
        }
        self.world.enter(
            u32::try_from(id).unwrap(),
            self.runs,
            u8::try_from(lanes).unwrap(),
        );
    }

    fn wish(&mut self, conn: ConnId) {
        let wish = self.roll(4);
        let report = &mut self.world.peer(conn).report;
        report.wants_next = wish == 0;
        report.early = (wish == 1).then_some(Early::Limit);
        report.new_group = wish == 2;
        self.world.report(conn);
    }

    /// A report that cannot come from a proper server.
    fn lie(&mut self, conn: ConnId) {
        let honest = self.world.peer(conn).report.clone();
        let shift = self.roll(5);
        let number = self.roll(6);
        let bend = |held: Held| Held {
            epoch: Epoch(held.epoch.0 + shift),
            term: Term {
                number,
                ..held.term
            },
            remaining: Remaining(held.remaining.0 ^ 0x1FFF),
            ..held
        };
        let swap = self.roll(2) == 0;
        let (current, next) = if swap {
            (honest.next, honest.current)
        } else {
            (honest.current, honest.next)
        };
        let lie = Report {
            current: current.map(bend),
            next: next.map(bend),
            ..honest
        };
        self.world.say(conn, ToAuthority::Report(lie));
    }

    fn come_back(&mut self, conn: ConnId) {
        let peer = self.world.peer(conn).clone();
        let seen = peer.report.current.map_or(Term::NONE, |held| held.term);
        let conn = self.world.relink(peer, seen);
        self.world.report(conn);
    }

    /// Mode A: a number, and a root under it.
    fn generate(&mut self, conn: ConnId) {
        let at_once = self.world.peer(conn).report.current.is_none();
        let root = u8::try_from(self.roll(256)).unwrap();
        if let Some(epoch) = self.world.number(conn, at_once) {
            let deposited = self.world.deposit(conn, epoch, root, at_once);
            if let Some(deposited) = deposited.filter(|deposited| deposited.certificate.is_some()) {
                self.world.hold(conn, &deposited, at_once);
            }
        }
    }

    /// The channel goes and comes back.
    fn blink(&mut self) {
        let mode = self.world.channel_mode();
        self.world.set_channels(Vec::new());
        if self.roll(2) == 0 {
            self.world.pass(ms(500));
        }
        self.world.set_channels(vec![channel_config(CHANNEL, mode)]);
    }

    /// The master starts again, one time in two from any copy that was ever stored.
    fn restart(&mut self) {
        let last = self.copies.len() as u64 - 1;
        let index = if self.roll(2) == 0 {
            last
        } else {
            self.roll(last + 1)
        };
        let stored = self.copies[usize::try_from(index).unwrap()].clone();
        self.world.restart(stored);
        let conns: Vec<_> = self.world.peers.keys().copied().collect();
        for conn in conns {
            if self.roll(3) > 0 {
                self.come_back(conn);
            }
        }
    }
}

fn play(mode: Mode) -> (usize, usize) {
    let (mut lanes, mut changes) = (0, 0);
    for seed in 0..10 {
        let mut play = Play::new(seed, mode);
        for _ in 0..250 {
            play.step();
        }
        lanes += play.promises.owners.len();
        changes += play.promises.changes;
    }
    (lanes, changes)
}

#[test]
fn sec_06_the_promises_hold_in_mode_b() {
    let (lanes, changes) = play(Mode::Authority);
    assert!(
        lanes > 5_000 && changes > 50,
        "the runs must do something: {lanes} lanes, {changes} changes"
    );
}

#[test]
fn sec_06_the_promises_hold_in_mode_a() {
    let (lanes, changes) = play(Mode::DeliveryServer);
    assert!(
        lanes == 0 && changes > 10,
        "the runs must do something: {changes} changes"
    );
}
