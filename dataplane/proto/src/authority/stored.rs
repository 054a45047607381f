//! What an authority must not forget: numbers, roots, and what it announced.
//!
//! An old copy does no harm: nothing here lets a later term hand out a lane (lanes are known only to the term that
//! generated the root, in memory), and numbers only rise above what is stored *or reported*.

use std::collections::{BTreeMap, BTreeSet};

use sealcast_crypto::EpochRoot;

use crate::ids::{ChannelId, Epoch, RunId, ServerId, Term};
use crate::wire::control::Notice;

/// Everything that must be durable. It holds roots: keep it as secret as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The last term.
    pub term: Term,
    /// Every channel that ever was.
    pub channels: BTreeMap<ChannelId, StoredChannel>,
}

/// One channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredChannel {
    /// The highest epoch number used, here or by any report.
    pub highest: Epoch,
    /// The last revision.
    pub revision: u32,
    /// Roots, in rising order of epochs.
    pub epochs: Vec<StoredEpoch>,
    /// The change that is announced.
    pub announced: Option<Notice>,
    /// The channel's delivery servers.
    pub servers: BTreeSet<ServerId>,
}

/// One root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// The term that generated it (mode A: that took the deposit).
    pub term: Term,
    /// The root.
    pub root: EpochRoot,
    /// It has been in use or announced: devices may have it.
    pub opened: bool,
    /// Mode A: whose it is.
    pub depositor: Option<Depositor>,
}

/// The run that generated and deposited a root (mode A).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Depositor {
    /// The delivery server.
    pub server: ServerId,
    /// Its run.
    pub run: RunId,
}

impl Default for Stored {
    /// Nothing yet: a first start.
    fn default() -> Self {
        Self {
            term: Term::NONE,
            channels: BTreeMap::new(),
        }
    }
}

impl Default for StoredChannel {
    fn default() -> Self {
        Self {
            highest: Epoch(0),
            revision: 0,
            epochs: Vec::new(),
            announced: None,
            servers: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Remaining;

    fn stored() -> Stored {
        let term = Term {
            number: 3,
            instance: 77,
        };
        let depositor = Some(Depositor {
            server: ServerId(9),
            run: RunId(5),
        });
        let root = |byte| EpochRoot::from_bytes([byte; 32]);
        let announced = Notice {
            channel: ChannelId(4),
            term,
            current: Epoch(7),
            next: Epoch(8),
            current_commitment: None,
            next_commitment: Some(root(8).prk().commitment(4, 8)),
            revision: 6,
            remaining: Remaining(1500),
        };
        let channel = StoredChannel {
            highest: Epoch(9),
            revision: 6,
            epochs: vec![
                StoredEpoch {
                    epoch: Epoch(7),
                    term,
                    root: root(7),
                    opened: true,
                    depositor,
                },
                StoredEpoch {
                    epoch: Epoch(8),
                    term,
                    root: root(8),
                    opened: false,
                    depositor: None,
                },
            ],
            announced: Some(announced),
            servers: [ServerId(9), ServerId(2)].into(),
        };
        let channels = [
            (ChannelId(4), channel),
            (ChannelId(5), StoredChannel::default()),
        ]
        .into();
        Stored { term, channels }
    }

    #[test]
    fn a_stored_root_is_not_shown() {
        let text = format!("{:?}", stored());
        assert!(
            !text.contains("7, 7, 7, 7") && !text.contains("07070707"),
            "{text}"
        );
    }
}
