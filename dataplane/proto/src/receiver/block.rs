//! Roots that come in band, for whoever has a place in the channel's key tree (INT-05): no request is needed for them.

use std::net::IpAddr;

use super::{Change, Receiver};
use crate::discard::Discard;
use crate::ids::Time;
use crate::key_block::{NotForUs, Path};
use crate::wire::control::Unverified;
use crate::wire::key_block::KeyBlock;

/// Paths kept: while a new generation of the tree spreads, a device may have one of each.
const PATHS_MAX: usize = 2;

/// What this device has of the channel's key tree, the newest last.
#[derive(Debug, Default)]
pub(super) struct Paths(Vec<Path>);

impl Paths {
    fn put(&mut self, path: Path) {
        self.0
            .retain(|known| known.generation() < path.generation());
        if self.0.len() == PATHS_MAX {
            self.0.remove(0);
        }
        self.0.push(path);
    }

    fn of(&self, generation: u32) -> Option<&Path> {
        self.0.iter().find(|path| path.generation() == generation)
    }
}

impl Receiver {
    /// The device's path in the channel's key tree, as its session brought it; nothing takes it back but blocks that it does not open.
    pub fn set_path(&mut self, path: Path) {
        self.paths.put(path);
    }

    /// A part of a key block. Only one that holds the root for this device is worth a check of its signature.
    pub(super) fn key_block(
        &mut self,
        now: Time,
        source: IpAddr,
        datagram: &[u8],
        deliver: &mut dyn FnMut(&[u8]),
    ) {
        match self.open_block(now, source, datagram) {
            Ok(change) => {
                self.tell([Some(change), None]);
                if let Change::Held(epoch) | Change::Known(epoch) = change {
                    self.unpark(now, epoch, deliver);
                }
            }
            Err(cause) => self.discards.count(cause),
        }
    }

    fn open_block(
        &mut self,
        now: Time,
        source: IpAddr,
        datagram: &[u8],
    ) -> Result<Change, Discard> {
        if self.paths.0.is_empty() {
            return Err(Discard::Unexpected);
        }
        let part = Unverified::<KeyBlock>::parse(datagram).map_err(|_| Discard::Malformed)?;
        let claimed = part.claimed();
        if self.follower.holds(claimed.epoch) {
            return Err(Discard::Known);
        }
        let path = self.paths.of(claimed.generation);
        let path = path.ok_or(Discard::Elsewhere)?;
        // One that was recorded long ago is genuine, too.
        let current = self.follower.keys.current_epoch();
        if claimed.epoch < path.since() || current.is_some_and(|current| claimed.epoch < current) {
            return Err(Discard::Stale);
        }
        let root = path.open(claimed).map_err(|why| match why {
            NotForUs::Elsewhere => Discard::Elsewhere,
            NotForUs::Forged => Discard::BadMac,
        })?;
        let part = self.trust.key_block(now, source, part)?;
        let change = self.follower.opened(now, part.epoch, &root, &self.trust);
        if let Change::Held(epoch) = change {
            self.stats.key_blocks += 1;
            self.log_key(epoch, &root);
        }
        Ok(change)
    }
}
