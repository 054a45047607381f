//! Which packet numbers of a stripe group have been accepted: a sliding window of [`REPLAY_WINDOW`] bits per leg (SEC-07).
//!
//! One window per stripe group runs on across epochs. It is asked before opening (cheap) and told after (only an accepted
//! packet moves it). Two legs carry the same numbers; what the *other* leg brought first is a duplicate, not a replay.

use crate::discard::Discard;
use crate::ids::Ctr;
use crate::limits::REPLAY_WINDOW;

const WORDS: usize = (REPLAY_WINDOW / 64) as usize;

/// Legs of one sender that a receiver joins.
pub const LEGS: usize = 2;

/// The window.
pub struct Replay {
    /// One past the highest accepted number.
    top: u64,
    seen: [Box<[u64; WORDS]>; LEGS],
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("top", &self.top)
            .finish_non_exhaustive()
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            top: 0,
            seen: [Box::new([0; WORDS]), Box::new([0; WORDS])],
        }
    }
}

fn place(ctr: u64) -> (usize, u64) {
    let slot = ctr % REPLAY_WINDOW;
    (
        usize::try_from(slot / 64).expect("below WORDS"),
        1 << (slot % 64),
    )
}

impl Replay {
    /// Whether a packet with this number from this leg is worth opening.
    ///
    /// # Errors
    /// [`Discard::Replay`], [`Discard::Duplicate`], or [`Discard::Late`] when the window has moved past it.
    pub fn check(&self, ctr: Ctr, leg: usize) -> Result<(), Discard> {
        if ctr.0 >= self.top {
            return Ok(());
        }
        if self.top - ctr.0 > REPLAY_WINDOW {
            return Err(Discard::Late);
        }
        let (word, bit) = place(ctr.0);
        let mut legs = self.seen.iter().map(|seen| seen[word] & bit != 0);
        match (legs.next(), legs.next()) {
            (Some(first), Some(second)) if first || second => {
                let same = if leg == 0 { first } else { second };
                Err(if same {
                    Discard::Replay
                } else {
                    Discard::Duplicate
                })
            }
            _ => Ok(()),
        }
    }

    /// Remembers an accepted packet.
    pub fn accept(&mut self, ctr: Ctr, leg: usize) {
        debug_assert!(self.check(ctr, leg).is_ok());
        while self.top <= ctr.0 {
            // Numbers that the window newly covers have not been seen. A jump by more than the window clears it once.
            if ctr.0 - self.top >= REPLAY_WINDOW {
                self.seen.iter_mut().for_each(|seen| seen.fill(0));
                self.top = ctr.0 + 1;
                break;
            }
            let (word, bit) = place(self.top);
            self.seen.iter_mut().for_each(|seen| seen[word] &= !bit);
            self.top += 1;
        }
        self.mark(ctr, leg);
    }

    /// Remembers that this leg brought a packet that the other leg had brought: only the counters' names depend on it.
    pub fn mark(&mut self, ctr: Ctr, leg: usize) {
        let (word, bit) = place(ctr.0);
        self.seen[leg.min(LEGS - 1)][word] |= bit;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::limits::CTR_FIRST;

    #[test]
    fn sec_07_a_replay_is_told_from_the_other_legs_copy() {
        let mut replay = Replay::default();
        let ctr = Ctr(CTR_FIRST);
        replay.accept(ctr, 0);
        assert_eq!(replay.check(ctr, 0), Err(Discard::Replay));
        assert_eq!(replay.check(ctr, 1), Err(Discard::Duplicate));
        replay.mark(ctr, 1);
        assert_eq!(replay.check(ctr, 1), Err(Discard::Replay));
    }

    #[test]
    fn a_jump_clears_the_window() {
        let mut replay = Replay::default();
        replay.accept(Ctr(CTR_FIRST), 0);
        replay.accept(Ctr(CTR_FIRST + REPLAY_WINDOW), 0);
        assert_eq!(replay.check(Ctr(CTR_FIRST), 0), Err(Discard::Late));
        assert_eq!(replay.check(Ctr(CTR_FIRST + 1), 0), Ok(()));
    }

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn the_window_agrees_with_a_set(steps in prop::collection::vec((0_u64..3 * REPLAY_WINDOW, 0_u64..50), 1..200)) {
            let mut replay = Replay::default();
            let mut seen = BTreeSet::new();
            let mut top = 0;
            for (base, near) in steps {
                // Half of the numbers crowd around the top, so that repeats really happen.
                let ctr = CTR_FIRST + if near % 2 == 0 { base } else { base % 8 + near };
                let expected = if top > ctr && top - ctr > REPLAY_WINDOW { Err(Discard::Late) }
                    else if seen.contains(&ctr) { Err(Discard::Replay) } else { Ok(()) };
                prop_assert_eq!(replay.check(Ctr(ctr), 0), expected);
                if expected.is_ok() {
                    replay.accept(Ctr(ctr), 0);
                    seen.insert(ctr);
                    top = top.max(ctr + 1);
                }
            }
        }
    }
}
