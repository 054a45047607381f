//! Faults as they happen.

use super::super::scenario::Fault;
use super::{TICK, World};

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::AuthorityGone { ticks, old_copy } => {
                (self.authority, self.door) = (None, None);
                self.authority_back = Some((self.tick + ticks, old_copy));
                (0..self.links.len()).for_each(|node| self.unlink(node));
            }
            Fault::SenderRestarts(index) => {
                self.unlink(index);
                let machine = self.start_sender(index);
                let run = self.runs;
                let node = &mut self.senders[index];
                (node.machine, node.run) = (machine, run);
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
