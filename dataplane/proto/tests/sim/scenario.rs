//! What happens in one run of the world, drawn from its seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_proto::feed::WithoutLease;
use sealcast_proto::receiver::FetchOn;
use sealcast_proto::wire::link::Mode;

/// Ticks between two steps of the succession of the authority key: longer than a sender holds, so that everybody has
/// heard of the step before, and nothing in use was signed before it.
const SUCCESSION_PAUSE: u64 = 1_300;

/// Something that goes wrong at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The authority is gone for so many ticks; it comes back with what it stored last, or an older copy.
    AuthorityGone { ticks: u64, old_copy: bool },
    /// The authority is cut off and runs on; a standby takes its place, with what was stored last, or an older copy.
    Standby { old_copy: bool },
    /// Who was cut off takes its place again, and the standby runs on.
    FormerReturns,
    /// A step of the succession of the authority key: the successor is named, then signs, then is named alone.
    KeySucceeds,
    /// The operator wants another key than devices have or will have, at once.
    Immediate,
    /// A sender process is killed and started anew.
    SenderRestarts(usize),
    /// A node's link breaks for so many ticks: senders first, then receivers.
    LinkBreaks { node: usize, ticks: u64 },
    /// A node's clock steps forward by so many ticks, as when a virtual machine was paused: senders first, then receivers.
    ClockSteps { node: usize, ticks: u64 },
    /// A slave is killed and comes back after so many ticks, with what it kept.
    SlaveDies { slave: usize, ticks: u64 },
    /// A slave is cut off from its parent and from slaves behind it, not from devices.
    SlaveIsCut { slave: usize, ticks: u64 },
    /// A slave's clock steps forward by so many ticks.
    SlaveClockSteps { slave: usize, ticks: u64 },
    /// A receiver's right is taken away.
    Revoked(usize),
    /// A receiver sleeps for so many ticks; its clock goes on.
    ReceiverSleeps { receiver: usize, ticks: u64 },
}

/// One run of the world. Probabilities in thousandths.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    pub mode: Mode,
    pub senders: usize,
    pub receivers: usize,
    pub slaves: usize,
    /// What slaves do without a lease.
    pub without_lease: WithoutLease,
    pub fetch_on: FetchOn,
    /// Ticks between two packets of a sender.
    pub pace: u64,
    /// Ticks between two looks of a receiver at its timers.
    pub looks: u64,
    pub loss: u64,
    pub duplicates: u64,
    /// Extra delay of a packet, up to so many ticks: reorders.
    pub jitter: u64,
    pub notice_loss: u64,
    /// Notices are delayed by up to so many ticks more.
    pub notice_delay: u64,
    pub certificate_loss: u64,
    /// Forged Notices and certificates per hundred ticks, per receiver.
    pub forged: u64,
    pub ticks: u64,
    pub faults: Vec<(u64, Fault)>,
}

impl Scenario {
    pub fn draw(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5EA1_CA57);
        let mut below = |limit: u64| rng.next_u64() % limit;
        let mode = if below(4) == 0 {
            Mode::DeliveryServer
        } else {
            Mode::Authority
        };
        let senders = if mode == Mode::DeliveryServer || below(2) == 0 {
            1
        } else {
            2 + usize::from(below(2) == 0)
        };
        let receivers = 2 + usize::try_from(below(3)).expect("few");
        let of = |list: &[u64], pick: u64| list[usize::try_from(pick).expect("few") % list.len()];
        let fetch_on = match below(5) {
            0 => FetchOn {
                timer: true,
                notice: false,
                demand: false,
            },
            1 => FetchOn {
                timer: false,
                notice: true,
                demand: true,
            },
            2 => FetchOn {
                timer: false,
                notice: false,
                demand: true,
            },
            _ => FetchOn::default(),
        };
        let slaves = if below(2) == 0 { 3 } else { 0 };
        let mut scenario = Self {
            mode,
            senders,
            receivers,
            slaves,
            without_lease: if below(2) == 0 {
                WithoutLease::Strict
            } else {
                WithoutLease::Announced
            },
            fetch_on,
            pace: 4,
            looks: 1,
            loss: of(&[0, 0, 10, 50], below(4)),
            duplicates: of(&[0, 0, 100], below(3)),
            jitter: of(&[0, 2, 6], below(3)),
            notice_loss: of(&[0, 0, 500, 1000], below(4)),
            notice_delay: of(&[0, 0, 40], below(3)),
            certificate_loss: of(&[0, 0, 0, 300], below(4)),
            forged: of(&[0, 0, 5, 200], below(4)),
            ticks: 12_000,
            faults: Vec::new(),
        };
        scenario.draw_faults(seed);
        scenario
    }

    /// What goes wrong when.
    fn draw_faults(&mut self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xFA17);
        let mut below = |limit: u64| rng.next_u64() % limit;
        let (senders, receivers, slaves) = (self.senders, self.receivers, self.slaves);
        for _ in 0..below(12) {
            let at = 800 + below(self.ticks - 3_000);
            let fault = match below(5) {
                // Below hold_max (10 lifetimes of 120 ticks).
                0 => Fault::AuthorityGone {
                    ticks: 20 + below(700),
                    old_copy: below(2) == 0,
                },
                1 => Fault::SenderRestarts(usize::try_from(below(senders as u64)).expect("few")),
                2 => Fault::LinkBreaks {
                    node: usize::try_from(below((senders + receivers) as u64)).expect("few"),
                    ticks: 1 + below(400),
                },
                // Together with an absent authority still below hold_max.
                3 => Fault::ClockSteps {
                    node: usize::try_from(below((senders + receivers) as u64)).expect("few"),
                    ticks: 1 + below(400),
                },
                _ => Fault::ReceiverSleeps {
                    receiver: usize::try_from(below(receivers as u64)).expect("few"),
                    ticks: 10 + below(600),
                },
            };
            self.faults.push((at, fault));
        }
        if below(2) == 0 {
            let at = 800 + below(4_000);
            let steps = [at, at + SUCCESSION_PAUSE, at + 2 * SUCCESSION_PAUSE];
            let steps = steps.map(|at| (at, Fault::KeySucceeds));
            self.faults.extend(steps);
        }
        for _ in 0..below(4) {
            let at = 800 + below(self.ticks - 3_000);
            self.faults.push((at, Fault::Immediate));
        }
        for _ in 0..if slaves > 0 { below(12) } else { 0 } {
            let at = 300 + below(self.ticks - 3_000);
            let slave = usize::try_from(below(slaves as u64)).expect("few");
            let ticks = 1 + below(1_000);
            let fault = match below(4) {
                0 => Fault::SlaveIsCut { slave, ticks },
                1 => Fault::SlaveClockSteps { slave, ticks },
                _ => Fault::SlaveDies { slave, ticks },
            };
            self.faults.push((at, fault));
        }
        if below(3) == 0 {
            let at = 800 + below(self.ticks - 4_000);
            self.faults.push((at, Fault::Revoked(0)));
        }
        self.draw_standby(seed);
        self.faults.sort_by_key(|(at, _)| *at);
    }

    fn draw_standby(&mut self, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x57A9_DB1E);
        let mut below = |limit: u64| rng.next_u64() % limit;
        if below(3) > 0 {
            return;
        }
        let at = 800 + below(self.ticks - 4_000);
        let old_copy = below(2) == 0;
        self.faults.push((at, Fault::Standby { old_copy }));
        if below(2) == 0 {
            let back = at + 1 + below(900);
            self.faults.push((back, Fault::FormerReturns));
        }
    }

    /// A key service: what devices are answered matters, not every packet. Twelve seeds in a row are {mode A, mode B} x {timer, Notice,
    /// on demand} x {one key server, a master with three slaves}.
    pub fn of_key_service(seed: u64) -> Self {
        let drawn = Self::draw(seed);
        let fetch_on = |timer, notice, demand| FetchOn {
            timer,
            notice,
            demand,
        };
        let slaves = if seed % 12 < 6 { 0 } else { 3 };
        let (mode, senders) = match seed % 2 {
            0 => (Mode::Authority, 2),
            _ => (Mode::DeliveryServer, 1),
        };
        let mut scenario = Self {
            mode,
            senders,
            receivers: 50,
            slaves,
            fetch_on: match seed % 6 / 2 {
                0 => fetch_on(true, false, false),
                1 => fetch_on(false, true, true),
                _ => fetch_on(false, false, true),
            },
            pace: 40,
            looks: 4,
            ticks: 6_000,
            forged: 0,
            faults: Vec::new(),
            ..drawn
        };
        scenario.draw_faults(seed);
        scenario
    }

    /// Whether a receiver that holds a key has all it needs to open what arrives: one sender, whose certificates are not lost on the way.
    pub fn every_arrival_counts(&self) -> bool {
        self.senders == 1 && self.certificate_loss == 0 && !self.numbers_may_return()
    }

    /// Whether clocks of senders count true.
    pub fn senders_keep_time(&self) -> bool {
        let steps = |(_, fault): &(u64, Fault)| matches!(fault, Fault::ClockSteps { node, .. } if *node < self.senders);
        !self.faults.iter().any(steps)
    }

    /// Whether an epoch's number may come back with another root: the authority forgot it, and so did every sender that was under it;
    /// or a master that was cut off has counted on.
    pub fn numbers_may_return(&self) -> bool {
        let any = |fault: fn(&Fault) -> bool| self.faults.iter().any(|(_, one)| fault(one));
        let old_copy = any(|fault| {
            matches!(
                fault,
                Fault::AuthorityGone { old_copy: true, .. } | Fault::Standby { old_copy: true }
            )
        });
        old_copy && any(|fault| matches!(fault, Fault::SenderRestarts(_)))
            || any(|fault| matches!(fault, Fault::FormerReturns))
    }
}
