//! Whatever happens to doors, tickets and rights: a device that is entitled has an answer again within a bounded time.

use rand_chacha::rand_core::Rng as _;

use super::*;

const STEP: Duration = Duration::from_millis(100);
/// The longest pause with its random part, and the longest wait for a renewal after it.
const BOUND: Duration = Duration::from_secs(45 + 30);

/// What is up just now.
struct World {
    udp: [bool; 2],
    https: bool,
    api: bool,
    /// Since when nothing has changed and something answers.
    calm: Time,
}

impl World {
    fn can_answer(&self) -> bool {
        self.api && (self.https || self.udp.contains(&true))
    }
}

struct Run {
    bench: Bench,
    world: World,
    /// When the answer to the session that is being opened comes.
    opening: Option<Time>,
    opens: usize,
    answered: Time,
    granted: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::new();
        bench.rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            world: World {
                udp: [true; 2],
                https: true,
                api: true,
                calm: bench.now,
            },
            opening: None,
            opens: 0,
            answered: bench.now,
            granted: 0,
            bench,
        }
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.bench.rng.next_u64().is_multiple_of(count)
    }

    fn weather(&mut self) {
        let before = (self.world.udp, self.world.https, self.world.api);
        for door in 0..2 {
            if self.one_in(900) {
                self.world.udp[door] = !self.world.udp[door];
            }
        }
        if self.one_in(900) {
            self.world.https = !self.world.https;
        }
        if self.one_in(900) {
            self.world.api = !self.world.api;
        }
        let mut changed = before != (self.world.udp, self.world.https, self.world.api);
        if self.one_in(2000) {
            self.bench.server.rotate();
            changed = true;
        }
        if self.one_in(2000) {
            self.bench.server.raise_floor();
            changed = true;
        }
        if self.one_in(3000) {
            // The channels of the device have changed.
            let now = self.bench.now;
            self.bench.keeper.renew(now);
        }
        if changed || !self.world.can_answer() {
            self.world.calm = self.bench.now;
        }
    }

    fn deliver(&mut self, out: Out) {
        for (door, datagram) in out.udp {
            let index = usize::from(door.port() - 5000);
            if self.world.udp[index] && !self.one_in(20) {
                let out = self.bench.answer(index, &datagram);
                self.note(&out);
            }
        }
        for datagram in out.https {
            if self.world.https {
                let out = self.bench.answer(HTTPS, &datagram);
                self.note(&out);
            }
        }
        if out.opens > 0 {
            assert_eq!((out.opens, self.opening), (1, None), "one at a time");
            self.opens += 1;
            let answer = 1 + self.bench.rng.next_u64() % 2000;
            let answer = Duration::from_millis(answer);
            self.opening = Some(self.bench.now.after(answer));
        }
    }

    fn note(&mut self, out: &Out) {
        if !out.granted.is_empty() {
            self.answered = self.bench.now;
            self.granted += 1;
        }
    }

    fn step(&mut self, index: u64) {
        self.bench.pass(STEP);
        self.weather();
        if self.opening.is_some_and(|at| at <= self.bench.now) {
            self.opening = None;
            if self.world.api {
                self.bench.open();
            } else {
                self.bench.fail();
            }
        }
        let out = self.bench.poll();
        self.deliver(out);
        if index.is_multiple_of(10) {
            let out = self.bench.want();
            self.deliver(out);
        }
        let since = self.world.calm.0.max(self.answered.0);
        let without = self.bench.now.since(Time(since));
        assert!(
            without <= BOUND,
            "no answer for {without:?} at step {index}"
        );
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a failure can be repeated")]
fn an_entitled_device_always_has_an_answer_again_within_a_bounded_time() {
    for seed in 0..6 {
        // Shown when the test fails.
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for index in 0..20_000 {
            run.step(index);
        }
        assert!(run.granted > 500, "it was no run: {}", run.granted);
        // 2000 s: however doors and operators hurry a device, the server has its peace.
        assert!(run.opens < 200, "{} sessions", run.opens);
    }
}
