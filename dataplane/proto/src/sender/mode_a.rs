//! Mode A: keys are generated here and deposited with the authority; nothing is sealed under a key before its deposit is
//! acknowledged (MD-08 to MD-12). Also the wait of a new run for its first epoch.

use rand_core::CryptoRng;
use sealcast_crypto::EpochRoot;
use zeroize::Zeroizing;

use super::lanes::{LaneSet, kids};
use super::{Output, Rejection, Sender, certificate_fits};
use crate::ids::{Epoch, Time};
use crate::limits::REPORT_INTERVAL;
use crate::schedule::Slot;
use crate::wire::link::{Deposit, Deposited, Mode, Number, NumberWanted, ToAuthority};

/// A root generated here.
#[derive(Debug)]
struct Generated {
    epoch: Epoch,
    root: EpochRoot,
    end: Time,
    at_once: bool,
    acknowledged: bool,
}

/// What is under way towards the next key.
#[derive(Debug, Default)]
pub(super) struct Generation {
    /// The authority has been told that the first preset is reached.
    pub(super) preset_told: bool,
    /// A first key of an epoch that has not begun.
    pub(super) waiting: Option<Slot<LaneSet>>,
    /// Mode A: roots in use or deposited, oldest first; at most current and next.
    roots: Vec<Generated>,
    /// Mode A: when the number was last asked for.
    asked: Option<Time>,
}

impl Sender {
    /// Begins under a first key when its epoch begins; mode A: asks for a number when a key is needed.
    pub(super) fn poll_generation(&mut self, now: Time, _rng: &mut dyn CryptoRng) {
        self.begin_waiting(now);
        if self.config.mode == Mode::Authority || !self.linked {
            return;
        }
        let at_once = self.schedule.current().is_none();
        let pending = self.generation.roots.iter().any(|root| !root.acknowledged);
        let asked = self
            .generation
            .asked
            .is_some_and(|asked| now < asked.after(REPORT_INTERVAL));
        if (at_once || self.wants_next(now)) && !asked {
            self.generation.asked = Some(now);
            if pending {
                return self.redeposit(now);
            }
            let wanted = NumberWanted {
                channel: self.config.channel,
                run: self.config.run,
                at_once,
            };
            self.out
                .push_back(Output::Link(ToAuthority::NumberWanted(wanted)));
        }
    }

    fn begin_waiting(&mut self, now: Time) {
        let begun = |epoch: Epoch| {
            self.announcement.get().is_some_and(|announced| {
                announced.notice.next == epoch && announced.boundary <= now
            })
        };
        if self
            .generation
            .waiting
            .as_ref()
            .is_some_and(|slot| begun(slot.epoch))
            && let Some(slot) = self.generation.waiting.take()
        {
            self.install(now, slot.epoch, slot.key, slot.end, true);
        }
    }

    /// The authority numbered the next epoch: generates its root and deposits it (MD-11, MD-12).
    pub(super) fn numbered(&mut self, now: Time, number: &Number, rng: &mut dyn CryptoRng) {
        let ours = number.channel == self.config.channel && number.run == self.config.run;
        let known = self
            .generation
            .roots
            .iter()
            .any(|root| root.epoch >= number.epoch);
        if self.config.mode != Mode::DeliveryServer || !ours || known {
            return;
        }
        let start = match self.schedule.current() {
            Some(current) if !number.at_once => current.end.max(now),
            _ => now,
        };
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        self.generation.roots.retain(|root| root.acknowledged);
        self.generation.roots.push(Generated {
            epoch: number.epoch,
            root: EpochRoot::from_bytes(*bytes),
            end: start.after(self.config.timing.lifetime()),
            at_once: number.at_once,
            acknowledged: false,
        });
        self.redeposit(now);
    }

    /// Deposits every root that is held: at generation, and again at every reconnect (compared there).
    pub(super) fn redeposit(&mut self, now: Time) {
        let config = &self.config;
        let deposits = self.generation.roots.iter().map(|root| Deposit {
            channel: config.channel,
            run: config.run,
            epoch: root.epoch,
            root: root.root.clone(),
            remaining: root.end.remaining(now),
            at_once: root.at_once && !root.acknowledged,
        });
        self.out
            .extend(deposits.map(|deposit| Output::Link(ToAuthority::Deposit(deposit))));
    }

    /// The deposit is durable: its key may be used.
    pub(super) fn deposited(&mut self, now: Time, deposited: Deposited) {
        if deposited.channel != self.config.channel || deposited.run != self.config.run {
            return;
        }
        let Some(index) = self
            .generation
            .roots
            .iter()
            .position(|root| root.epoch == deposited.epoch)
        else {
            return;
        };
        let Some(datagram) = deposited.certificate else {
            self.generation.roots.remove(index);
            self.out.push_back(Output::Event(super::Event::Rejected {
                why: Rejection::DepositDiffers,
            }));
            return;
        };
        let Some(certificate) = self.verify_certificate(&datagram) else {
            return;
        };
        let epoch = deposited.epoch;
        if !certificate_fits(
            &certificate,
            &self.config,
            &self.signing.verifying_key(),
            epoch,
        ) {
            self.out.push_back(Output::Event(super::Event::Rejected {
                why: Rejection::Certificate,
            }));
            return;
        }
        let generated = &mut self.generation.roots[index];
        if std::mem::replace(&mut generated.acknowledged, true) {
            return;
        }
        let (end, at_once) = (generated.end, generated.at_once);
        let prk = generated.root.prk();
        let secrets: Vec<_> = kids(
            certificate.channel,
            certificate.first_lane,
            certificate.lanes,
            epoch,
        )
        .iter()
        .map(|kid| prk.lane_secret(kid.value()))
        .collect();
        self.generation.asked = None;
        if let Some(set) = LaneSet::new(
            epoch,
            &secrets,
            certificate,
            datagram,
            self.config.keylog,
            &self.signing,
        ) {
            self.install(now, epoch, set, end, at_once);
        }
        let oldest = self.schedule.current().map(|slot| slot.epoch);
        self.generation
            .roots
            .retain(|root| oldest.is_none_or(|oldest| root.epoch >= oldest));
    }
}
