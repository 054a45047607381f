//! Key blocks on the air: each goes round a few times before its epoch begins, and on for those who join while it lasts (INT-05). What
//! is sent when depends on the announced boundary only, and a part never leaves in a burst with the others.

use std::time::Duration;

use crate::ids::{Epoch, Time};
use crate::key_block::Plan;
use crate::wire::link::BlockPart;

/// Blocks kept: of the epoch in use, the announced one, and one that may take its place.
const BLOCKS_MAX: usize = 3;
/// What is left of the time before devices would ask is taken to be at least this.
const WINDOW_MIN: Duration = Duration::from_millis(20);
/// Frames of one block, at most: 16 MiB.
const PARTS_MAX: u16 = 256;

/// When and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// Not on the air.
    Rests,
    /// Before its epoch.
    Ahead(Round),
    /// While its epoch lasts.
    After(Round),
}

/// Datagrams that leave one by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Round {
    next: usize,
    left: usize,
    due: Time,
    gap: Duration,
}

#[derive(Debug)]
struct Block {
    epoch: Epoch,
    plan: Plan,
    /// Frames that are still to come.
    missing: u16,
    datagrams: Vec<Vec<u8>>,
    turn: Turn,
}

/// The key blocks of a channel at a delivery server.
#[derive(Debug, Default)]
pub(super) struct Carousel {
    blocks: Vec<Block>,
}

/// Which epoch is in use, and which is announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stand {
    pub(super) current: Epoch,
    /// How long an epoch lasts.
    pub(super) lifetime: Duration,
    /// The announced epoch, and when devices begin to ask for it.
    pub(super) next: Option<(Epoch, Time)>,
}

impl Round {
    /// `count` datagrams, the first now, that are over after `within`.
    fn over(now: Time, count: usize, within: Duration) -> Self {
        let share = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        Self {
            next: 0,
            left: count,
            due: now,
            gap: within / share,
        }
    }

    fn poll(&mut self, now: Time, datagrams: &[Vec<u8>], send: &mut impl FnMut(&[u8])) {
        while self.left > 0 && self.due <= now {
            send(&datagrams[self.next % datagrams.len()]);
            self.next += 1;
            self.left -= 1;
            self.due = self.due.after(self.gap);
        }
    }
}

impl Block {
    fn rounds(&self, count: u16) -> usize {
        usize::from(count) * self.datagrams.len()
    }

    fn round(&mut self) -> Option<&mut Round> {
        match &mut self.turn {
            Turn::Ahead(round) | Turn::After(round) if round.left > 0 => Some(round),
            _ => None,
        }
    }

    /// Puts it on the air when its time comes.
    fn turn(&mut self, now: Time, stand: &Stand) {
        if self.missing > 0 {
            return;
        }
        let is_current = stand.current == self.epoch;
        if is_current && !matches!(self.turn, Turn::After(_)) {
            let count = self.rounds(self.plan.after);
            self.turn = Turn::After(Round::over(now, count, stand.lifetime));
        } else if let Some((next, asked)) = stand.next
            && next == self.epoch
            && self.turn == Turn::Rests
            && !is_current
        {
            let within = asked.since(now).max(WINDOW_MIN);
            let count = self.rounds(self.plan.ahead);
            self.turn = Turn::Ahead(Round::over(now, count, within));
        }
    }
}

impl Carousel {
    /// Some datagrams of a block. A first part begins it anew: another term may have signed it.
    pub(super) fn take(&mut self, part: BlockPart) {
        if part.part == 0 {
            self.blocks.retain(|block| block.epoch != part.epoch);
            if self.blocks.len() == BLOCKS_MAX {
                self.blocks.remove(0);
            }
            self.blocks.push(Block {
                epoch: part.epoch,
                plan: part.plan,
                missing: part.parts.min(PARTS_MAX),
                datagrams: Vec::new(),
                turn: Turn::Rests,
            });
        }
        let block = self.blocks.iter_mut().find(|block| {
            let got = part.parts.checked_sub(block.missing);
            block.epoch == part.epoch && block.missing > 0 && got == Some(part.part)
        });
        if let Some(block) = block {
            block.missing -= 1;
            block.datagrams.extend(part.datagrams);
        }
    }

    /// Sends what is due; forgets blocks of epochs that are over.
    pub(super) fn poll(&mut self, now: Time, stand: &Stand, mut send: impl FnMut(&[u8])) {
        self.blocks.retain(|block| block.epoch >= stand.current);
        for block in &mut self.blocks {
            block.turn(now, stand);
            let datagrams = std::mem::take(&mut block.datagrams);
            if let Some(round) = block.round() {
                round.poll(now, &datagrams, &mut send);
            }
            block.datagrams = datagrams;
        }
    }

    /// When [`Carousel::poll`] has something to send.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let due = |block: &Block| match &block.turn {
            Turn::Ahead(round) | Turn::After(round) if round.left > 0 => Some(round.due),
            _ => None,
        };
        self.blocks.iter().filter_map(due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChannelId;

    const SECOND: u64 = 1_000_000_000;

    fn part(epoch: u64, part: u16, parts: u16, plan: Plan) -> BlockPart {
        BlockPart {
            channel: ChannelId(1),
            epoch: Epoch(epoch),
            part,
            parts,
            plan,
            datagrams: (0..10)
                .map(|index| vec![u8::try_from(part).unwrap(), index])
                .collect(),
        }
    }

    fn stand(current: u64, next: Option<(u64, u64)>) -> Stand {
        Stand {
            current: Epoch(current),
            lifetime: Duration::from_secs(60),
            next: next.map(|(epoch, asked)| (Epoch(epoch), Time(asked * SECOND))),
        }
    }

    fn sent(carousel: &mut Carousel, now: u64, stand: &Stand) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        carousel.poll(Time(now), stand, |datagram| out.push(datagram.to_vec()));
        out
    }

    /// INT-05: all of it leaves, as often as planned, before anybody would ask; then for those who join; never in a burst.
    #[test]
    fn int_05_a_block_goes_round_before_anybody_asks_and_while_its_epoch_lasts() {
        let plan = Plan { ahead: 3, after: 6 };
        let mut carousel = Carousel::default();
        let before = stand(4, None);
        carousel.take(part(5, 0, 2, plan));
        assert_eq!(
            sent(&mut carousel, 0, &stand(4, Some((5, 10)))),
            [[0; 2]; 0]
        );
        carousel.take(part(5, 1, 2, plan));
        assert_eq!(
            sent(&mut carousel, 0, &before),
            [[0; 2]; 0],
            "not announced"
        );
        let (announced, mut all) = (stand(4, Some((5, 10))), Vec::new());
        for ms in 0..10_000 {
            let some = sent(&mut carousel, ms * 1_000_000, &announced);
            assert!(some.len() <= 1);
            all.extend(some);
        }
        assert_eq!(all.len(), 3 * 20);
        assert!((0..40).all(|index| all[index] == all[index + 20]));
        assert_eq!(carousel.next_timeout(), None);
        // Its epoch begins.
        let mut after = 0;
        for ms in 20_000..80_000 {
            after += sent(&mut carousel, ms * 1_000_000, &stand(5, None)).len();
        }
        assert_eq!(after, 6 * 20);
        assert!(sent(&mut carousel, 90 * SECOND, &stand(6, None)).is_empty());
        assert!(carousel.blocks.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn parts_that_come_twice_or_out_of_order_or_never_put_nothing_false_on_the_air() {
        let plan = Plan { ahead: 1, after: 0 };
        let announced = stand(4, Some((5, 1)));
        let mut carousel = Carousel::default();
        for index in [1, 0, 0, 2, 1, 1] {
            carousel.take(part(5, index, 3, plan));
        }
        assert!(sent(&mut carousel, 0, &announced).is_empty());
        carousel.take(part(5, 2, 3, plan));
        let first = sent(&mut carousel, 0, &announced).len();
        let all = first + sent(&mut carousel, 5 * SECOND, &announced).len();
        assert_eq!(all, 30);
        // More than is kept: the oldest goes.
        for epoch in 6..10 {
            carousel.take(part(epoch, 0, 1, plan));
        }
        assert_eq!(carousel.blocks.len(), BLOCKS_MAX);
    }

    #[test]
    fn a_replaced_announcement_puts_the_other_block_on_the_air() {
        let plan = Plan { ahead: 1, after: 0 };
        let mut carousel = Carousel::default();
        carousel.take(part(5, 0, 1, plan));
        carousel.take(part(6, 0, 1, plan));
        let first = sent(&mut carousel, 0, &stand(4, Some((5, 10))));
        assert_eq!(first.len(), 1);
        let other = sent(&mut carousel, 20 * SECOND, &stand(4, Some((6, 30))));
        assert!(!other.is_empty());
    }
}
