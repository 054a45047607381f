//! What the last Notice says on this host's clock. The same rules at senders and receivers: a higher term wins, then a
//! higher revision; the same revision may only shorten.

use std::time::Duration;

use crate::ids::{Term, Time};
use crate::wire::control::Notice;

/// A Notice that shortens by less than this says nothing new.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Whether a Notice is worth looking at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worth {
    /// It replaces what is known.
    News,
    /// It says what is known.
    Known,
    /// An earlier term or revision.
    Stale,
}

/// The change that is announced.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    pub(crate) notice: Notice,
    /// When the change is due.
    pub(crate) boundary: Time,
}

/// The announced change and the term that may replace it.
#[derive(Debug)]
pub(crate) struct Announcement {
    term: Term,
    announced: Option<Announced>,
}

impl Default for Announcement {
    fn default() -> Self {
        Self {
            term: Term::NONE,
            announced: None,
        }
    }
}

impl Announcement {
    pub(crate) fn get(&self) -> Option<&Announced> {
        self.announced.as_ref()
    }

    /// The highest term seen.
    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// Something verified was signed under `term`, or said by the authority over the link.
    pub(crate) fn saw_term(&mut self, term: Term) {
        if self.term.admits(term) {
            self.term = term;
        }
    }

    /// What a Notice that arrived `now` is worth, judged by its claims alone.
    pub(crate) fn worth(&self, notice: &Notice, boundary: Time) -> Worth {
        if !self.term.admits(notice.term) {
            return Worth::Stale;
        }
        let Some(known) = &self.announced else {
            return Worth::News;
        };
        let ours = (known.notice.term.number, known.notice.revision);
        match (notice.term.number, notice.revision).cmp(&ours) {
            std::cmp::Ordering::Greater => Worth::News,
            std::cmp::Ordering::Less => Worth::Stale,
            std::cmp::Ordering::Equal if boundary.after(TOLERANCE) < known.boundary => Worth::News,
            std::cmp::Ordering::Equal => Worth::Known,
        }
    }

    /// Takes a verified Notice in.
    pub(crate) fn accept(&mut self, notice: Notice, boundary: Time) {
        self.saw_term(notice.term);
        self.announced = Some(Announced { notice, boundary });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChannelId, Epoch, Remaining};

    fn notice(term: u64, revision: u32) -> Notice {
        Notice {
            channel: ChannelId(1),
            term: Term {
                number: term,
                instance: 1,
            },
            current: Epoch(1),
            next: Epoch(2),
            current_commitment: None,
            next_commitment: None,
            revision,
            remaining: Remaining(0),
        }
    }

    #[test]
    fn md_26_a_higher_revision_wins_and_the_same_may_only_shorten() {
        let at = |ms: u64| Time(ms * 1_000_000);
        let mut known = Announcement::default();
        assert_eq!(known.worth(&notice(2, 1), at(1000)), Worth::News);
        known.accept(notice(2, 1), at(1000));
        assert_eq!(
            known.worth(&notice(2, 1), at(1400)),
            Worth::Known,
            "a delayed copy does not lengthen"
        );
        assert_eq!(known.worth(&notice(2, 1), at(998)), Worth::Known);
        assert_eq!(known.worth(&notice(2, 1), at(900)), Worth::News);
        assert_eq!(known.worth(&notice(2, 2), at(9000)), Worth::News);
        assert_eq!(known.worth(&notice(2, 0), at(1)), Worth::Stale);
        assert_eq!(known.worth(&notice(1, 9), at(1)), Worth::Stale);
        assert_eq!(known.worth(&notice(3, 0), at(9000)), Worth::News);
        let rival = Notice {
            term: Term {
                number: 2,
                instance: 7,
            },
            ..notice(2, 5)
        };
        assert_eq!(
            known.worth(&rival, at(1)),
            Worth::Stale,
            "the first instance of a number is kept"
        );
    }
}
