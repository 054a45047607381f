//! Which delivery server's packets are delivered: exactly one stripe group per channel at a time.
//!
//! The chosen group stays chosen while it is heard. Another takes over when the chosen one has been silent for the
//! time-out, or at once when its certificate says that it follows the chosen one. There is no way back by itself.

use std::time::Duration;

use crate::ids::{GroupId, ServerId, Time};

/// What to do with a packet of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// Open and deliver.
    Chosen,
    /// Open; if it is accepted, its group takes over.
    Candidate,
    /// Drop.
    NotChosen,
}

#[derive(Debug)]
pub(crate) struct Sources {
    preferred: Option<ServerId>,
    timeout: Duration,
    /// The group and when it was last heard.
    chosen: Option<(GroupId, Time)>,
    /// When the first packet of any group came: the preferred server has until then plus the time-out to show up.
    first_heard: Option<Time>,
}

impl Sources {
    pub(crate) fn new(preferred: Option<ServerId>, timeout: Duration) -> Self {
        Self {
            preferred,
            timeout,
            chosen: None,
            first_heard: None,
        }
    }

    /// What to do with a packet of `group`, sent by `server`; `follows` tells whether a group follows another.
    pub(crate) fn choose(
        &mut self,
        now: Time,
        group: GroupId,
        server: ServerId,
        follows: impl FnOnce(GroupId) -> bool,
    ) -> Choice {
        match self.chosen {
            Some((chosen, _)) if chosen == group => Choice::Chosen,
            Some((chosen, last)) if now.since(last) >= self.timeout || follows(chosen) => {
                Choice::Candidate
            }
            Some(_) => Choice::NotChosen,
            None => {
                let since = *self.first_heard.get_or_insert(now);
                let waited = now.since(since) >= self.timeout;
                if waited || self.preferred.is_none_or(|preferred| preferred == server) {
                    Choice::Candidate
                } else {
                    Choice::NotChosen
                }
            }
        }
    }

    /// A packet of `group` was accepted. Returns the group that it took over from, if it did.
    pub(crate) fn accepted(&mut self, now: Time, group: GroupId) -> Option<GroupId> {
        let before = self.chosen.replace((group, now)).map(|(before, _)| before);
        before.filter(|&before| before != group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (GroupId, ServerId) = (GroupId(1), ServerId(1));
    const B: (GroupId, ServerId) = (GroupId(2), ServerId(2));

    fn choose(sources: &mut Sources, now: u64, (group, server): (GroupId, ServerId)) -> Choice {
        sources.choose(Time(now), group, server, |_| false)
    }

    #[test]
    fn md_22_one_of_several_servers_is_delivered_and_another_takes_over_after_silence() {
        let mut sources = Sources::new(None, Duration::from_nanos(100));
        assert_eq!(choose(&mut sources, 0, A), Choice::Candidate);
        assert_eq!(sources.accepted(Time(0), A.0), None);
        assert_eq!(choose(&mut sources, 10, B), Choice::NotChosen);
        assert_eq!(choose(&mut sources, 99, B), Choice::NotChosen);
        assert_eq!(choose(&mut sources, 100, B), Choice::Candidate);
        assert_eq!(sources.accepted(Time(100), B.0), Some(A.0));
        assert_eq!(choose(&mut sources, 101, A), Choice::NotChosen);
    }

    #[test]
    fn a_group_that_follows_takes_over_at_once() {
        let mut sources = Sources::new(None, Duration::from_nanos(100));
        sources.accepted(Time(0), A.0);
        assert_eq!(
            sources.choose(Time(1), GroupId(3), A.1, |chosen| chosen == A.0),
            Choice::Candidate
        );
    }

    #[test]
    fn the_preferred_server_is_waited_for() {
        let mut sources = Sources::new(Some(B.1), Duration::from_nanos(100));
        assert_eq!(choose(&mut sources, 0, A), Choice::NotChosen);
        assert_eq!(choose(&mut sources, 50, B), Choice::Candidate);
        assert_eq!(
            choose(&mut sources, 100, A),
            Choice::Candidate,
            "but not for ever"
        );
    }
}
