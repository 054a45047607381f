//! Faults as they happen.

use sealcast_crypto::SigningKey;
use sealcast_proto::authority::Keys;

use super::super::scenario::Fault;
use super::{CHANNEL, TICK, World};

impl World {
    /// The authority's keys: what signs, what is named, by the steps of the succession that are taken.
    pub(super) fn keys(&self) -> Keys {
        let [former, latter] = [42, 43].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let (authority, successor) = (former.verifying_key(), latter.verifying_key());
        match self.succession {
            0 => Keys::single(former),
            1 => Keys {
                signing: former.into(),
                authority,
                successor: Some(successor),
            },
            2 => Keys {
                signing: latter.into(),
                authority,
                successor: Some(successor),
            },
            _ => Keys::single(latter),
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::AuthorityGone { ticks, old_copy } => {
                if let Some(mut door) = self.door.take() {
                    self.served.write(&mut door);
                }
                self.orphan(None);
                self.authority = None;
                self.authority_back = Some((self.tick + ticks, old_copy));
                let alone = self.scenario.slaves == 0;
                let nodes = if alone {
                    self.links.len()
                } else {
                    self.senders.len()
                };
                (0..nodes).for_each(|node| self.unlink(node));
            }
            Fault::Immediate => {
                let (now, mut out) = (self.authority_time(), Vec::new());
                if let Some(authority) = &mut self.authority {
                    // Refused where there is nothing to change.
                    let _ = authority.immediate(now, CHANNEL, &mut self.rng, &mut out);
                }
                self.carry_out(out);
            }
            Fault::KeySucceeds => {
                self.succession += 1;
                let (keys, mut out) = (self.keys(), Vec::new());
                if let Some(authority) = &mut self.authority {
                    authority.set_keys(keys, &mut out);
                }
                self.carry_out(out);
            }
            Fault::Standby { old_copy } => self.stand_by(old_copy),
            Fault::FormerReturns => self.former_returns(),
            Fault::SlaveDies { slave, ticks } => self.kill_slave(slave, ticks),
            Fault::SlaveIsCut { slave, ticks } => {
                self.unlink_slave(slave);
                self.orphan(Some(slave));
                self.slaves[slave].cut_until = self.tick + ticks;
            }
            Fault::SlaveClockSteps { slave, ticks } => self.slaves[slave].clock += ticks * TICK,
            Fault::Revoked(receiver) => {
                // Nobody is there to do it while the authority is away.
                if self.authority.is_some() {
                    self.receivers[receiver].revoked.get_or_insert(self.tick);
                    self.tell_floors();
                }
            }
            Fault::SenderRestarts(index) => {
                self.unlink(index);
                let machine = self.start_sender(index);
                let run = self.runs;
                let node = &mut self.senders[index];
                (node.machine, node.run, node.heeds) = (machine, run, None);
                node.run_of_sender += 1;
                if self.authority.is_none() {
                    self.unfollowed.push((index, node.run_of_sender));
                }
                node.number = 0;
            }
            Fault::LinkBreaks { node, ticks } => {
                self.unlink(node);
                self.links[node].down_until = self.tick + ticks;
            }
            Fault::ClockSteps { node, ticks } if node < self.senders.len() => {
                self.senders[node].clock += ticks * TICK;
            }
            Fault::ClockSteps { node, ticks } => {
                // Graces and pauses end early: what was under way may be late.
                let node = &mut self.receivers[node - self.senders.len()];
                node.clock += ticks * TICK;
                node.asleep_until = node.asleep_until.max(self.tick);
                node.delivery.forgive();
            }
            Fault::ReceiverSleeps { receiver, ticks } => {
                let node = &mut self.receivers[receiver];
                node.asleep_until = self.tick + ticks;
                node.delivery.forgive();
            }
        }
    }
}
