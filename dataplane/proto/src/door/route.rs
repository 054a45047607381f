//! Which way a device's requests take: which of its doors, and whether HTTPS besides. One for all channels of a session.

use std::time::Duration;

use super::Answer;
use crate::ids::Time;
use crate::wire::door::Reason;

/// Rounds of requests without an answer after which the doors count as not reachable by UDP, and requests also go by HTTPS. Each
/// round after the first asks the next door.
pub const UNANSWERED: u32 = 3;
/// Requests of many channels within this are one round.
pub const ROUND: Duration = Duration::from_millis(200);

/// The way that one request takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// Number of the door among the device's own, from 0.
    pub door: usize,
    /// The same bytes go by HTTPS, too: it passes where UDP does not.
    pub https: bool,
    /// Nothing has answered for long, neither by UDP nor by HTTPS: said once.
    pub silent: bool,
}

/// Where a device stands with its doors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Route {
    door: u32,
    /// Rounds since the last answer by UDP.
    unanswered: u32,
    /// Rounds since the last answer, whichever way it came.
    unheard: u32,
    /// When the last round began; `None` after an answer.
    round: Option<Time>,
}

impl Route {
    /// A request leaves now, to one of `doors` doors.
    pub fn ask(&mut self, now: Time, doors: usize) -> Way {
        let new_round = self.round.is_none_or(|began| now.since(began) >= ROUND);
        if new_round {
            self.round = Some(now);
            self.unanswered = self.unanswered.saturating_add(1);
            self.unheard = self.unheard.saturating_add(1);
        }
        if self.unanswered > 1 && new_round {
            // Another door may answer.
            self.door = self.door.wrapping_add(1);
        }
        Way {
            door: usize::try_from(self.door).unwrap_or(0) % doors.max(1),
            https: self.unanswered > UNANSWERED,
            silent: self.unheard == UNANSWERED + 2,
        }
    }

    /// A door answered, by UDP or HTTPS.
    pub fn answered(&mut self, answer: &Answer, by_udp: bool) {
        match answer {
            // A hint that anybody could have sent ends no silence.
            Answer::CookieUnknown => return,
            // A slave that is behind, or without contact: another one may have it.
            Answer::Refused(refused)
                if matches!(
                    refused.reason,
                    Reason::Busy | Reason::EpochUnavailable | Reason::ChannelUnknown
                ) =>
            {
                self.door = self.door.wrapping_add(1);
            }
            Answer::Refused(_) | Answer::Granted { .. } => {}
        }
        (self.unheard, self.round) = (0, None);
        if by_udp {
            self.unanswered = 0;
        }
    }

    /// The doors are others: the first is asked first.
    pub fn renewed(&mut self) {
        self.door = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChannelId, Remaining};
    use crate::wire::door::Refused;

    fn refused(reason: Reason) -> Answer {
        Answer::Refused(Refused {
            number: 1,
            channel: ChannelId(1),
            reason,
            retry_after: Remaining(0),
        })
    }

    fn asked(route: &mut Route, rounds: u64) -> Way {
        route.ask(Time(rounds * 1_000_000_000), 3)
    }

    #[test]
    fn md_31_silence_and_a_door_that_cannot_answer_lead_to_the_next_door() {
        let mut route = Route::default();
        let ways: Vec<_> = (1..=5).map(|round| asked(&mut route, round)).collect();
        let doors: Vec<_> = ways.iter().map(|way| way.door).collect();
        assert_eq!(doors, [0, 1, 2, 0, 1]);
        let https: Vec<_> = ways.iter().map(|way| way.https).collect();
        assert_eq!(https, [false, false, false, true, true]);
        let silent: Vec<_> = ways.iter().map(|way| way.silent).collect();
        assert_eq!(silent, [false, false, false, false, true]);
        route.answered(&Answer::CookieUnknown, true);
        assert!(asked(&mut route, 6).https, "a hint is no answer");
        let there = asked(&mut route, 7).door;
        route.answered(&refused(Reason::NotEntitled), true);
        assert_eq!(asked(&mut route, 8).door, there, "that door has answered");
        route.answered(&refused(Reason::Busy), true);
        assert_eq!(asked(&mut route, 9).door, (there + 1) % 3);
        route.renewed();
        assert_eq!(asked(&mut route, 9).door, 0);
    }

    #[test]
    fn requests_of_one_round_take_one_way() {
        let mut route = Route::default();
        let ways: Vec<_> = (0..30)
            .map(|ms| route.ask(Time(ms * 1_000_000), 3))
            .collect();
        assert!(ways.iter().all(|way| *way == ways[0]), "{ways:?}");
        assert_eq!(route.ask(Time(0).after(ROUND), 3).door, 1);
    }
}
