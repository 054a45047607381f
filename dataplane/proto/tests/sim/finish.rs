//! The end of a scenario: what must be true when all faults are over.

use sealcast_proto::discard::Discard;

use super::{Event, ReceiverNode, Totals, World};

impl World {
    /// Lets what is under way arrive, and judges.
    pub(super) fn finish(mut self) -> Totals {
        // Let what is under way arrive and wait out its time.
        self.tick += 40;
        while let Some((_, event)) = self.events.pop_first() {
            if matches!(event, Event::Datagram { .. }) {
                self.happen(event);
            }
        }
        self.tick += 400;
        for index in 0..self.receivers.len() {
            self.receivers[index].asleep_until = 0;
            self.poll_receiver(index);
            let ReceiverNode {
                machine, delivery, ..
            } = &mut self.receivers[index];
            machine.finish(&mut |bytes| delivery.deliver(bytes));
            let (stats, discards) = (machine.stats(), machine.discards());
            delivery.settle(&format!("receiver {index}: {stats:?} {discards:?}"));
            let dropped: u64 = [
                Discard::UnknownKey,
                Discard::Uncertified,
                Discard::BadTag,
                Discard::Replay,
                Discard::Duplicate,
                Discard::Late,
                Discard::SourceNotChosen,
            ]
            .map(|cause| discards.of(cause))
            .iter()
            .sum();
            assert_eq!(
                delivery.arrived,
                stats.packets + dropped,
                "every packet is delivered or counted once: {stats:?} {discards:?}"
            );
            if !self.scenario.numbers_may_return() {
                assert_eq!(
                    discards.of(Discard::BadTag),
                    0,
                    "nothing genuine fails to open"
                );
            }
            if self.receivers[index].revoked.is_some() {
                self.totals.revoked += 1;
                continue;
            }
            let ReceiverNode {
                machine, delivery, ..
            } = &mut self.receivers[index];
            let (stats, discards) = (machine.stats(), machine.discards());
            // All faults are over for many epochs.
            let runs = self.senders.iter().enumerate();
            let mut latest = runs.map(|(id, node)| (id, node.run_of_sender, node.number));
            assert!(
                latest.any(|(id, run, number)| delivery.is_up_to(id, run, number)),
                "receiver {index} delivers nothing any more: {stats:?} {discards:?}"
            );
            self.totals.packets += stats.packets;
            self.totals.unknown_key += discards.of(Discard::UnknownKey);
            self.totals.parked += stats.unparked;
        }
        let now: Vec<_> = self
            .senders
            .iter()
            .map(|node| {
                (
                    node.machine.is_holding(),
                    node.machine.current(self.now(node.clock)),
                )
            })
            .collect();
        let epochs: Vec<_> = now
            .iter()
            .filter_map(|(_, current)| current.map(|(epoch, _)| epoch.0))
            .collect();
        let (low, high) = (
            epochs.iter().min().expect("senders send"),
            epochs.iter().max().expect("senders send"),
        );
        assert!(
            high - low <= 1,
            "all senders are under the same epoch, or within one change: {epochs:?}"
        );
        let each = self.totals.switches / now.len() as u64;
        let some = self.scenario.ticks / 400;
        assert!(each > some, "key changes went on: {each} at each sender");
        // Where all who knew an epoch forgot it, numbers go back.
        assert!(
            *high > some || self.scenario.numbers_may_return(),
            "epochs went on: {epochs:?}"
        );
        let doors = self
            .slaves
            .iter_mut()
            .filter_map(|slave| slave.process.as_mut());
        for door in doors.map(|(_, door)| door).chain(&mut self.door) {
            self.served.write(door);
        }
        self.totals.requests = self.served.settle();
        self.totals.with_slaves = u64::from(!self.slaves.is_empty());
        self.totals
    }
}
