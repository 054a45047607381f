//! What channels counted, on its way into usage files.

use std::collections::BTreeMap;
use std::io;

use sealcast_net::AppendFolder;
use sealcast_proto::ids::Time;
use sealcast_proto::records::{Append, Usage, UsageFile, UsageLog};

/// What waits to be written, and the files it goes into. What the disk refuses is tried again, the same bytes at the same place.
#[derive(Debug)]
pub(super) struct Counts {
    log: UsageLog<UsageFile>,
    /// Counts that are in no block yet, added up: bounded by the lanes in use, however long the disk fails.
    waiting: BTreeMap<(u16, u64, u8), Usage>,
    /// Packets and bytes in blocks that are not durable yet.
    under_way: (u64, u64),
}

impl Counts {
    pub(super) fn new(log: UsageLog<UsageFile>) -> Self {
        Self {
            log,
            waiting: BTreeMap::new(),
            under_way: (0, 0),
        }
    }

    /// Takes in a count.
    pub(super) fn add(&mut self, usage: Usage) {
        let key = (usage.channel, usage.epoch, usage.lane);
        let sum = self.waiting.entry(key).or_insert(Usage {
            packets: 0,
            bytes: 0,
            ..usage
        });
        sum.packets += usage.packets;
        sum.bytes += usage.bytes;
        sum.from = sum.from.min(usage.from);
        sum.until = sum.until.max(usage.until);
    }

    /// Packets and bytes that are not durable yet.
    pub(super) fn unwritten(&self) -> (u64, u64) {
        let sum = |(packets, bytes), usage: &Usage| (packets + usage.packets, bytes + usage.bytes);
        self.waiting.values().fold(self.under_way, sum)
    }

    /// Writes what waits and makes it durable.
    ///
    /// # Errors
    /// As the disk says. Nothing is lost: the next flush tries again.
    pub(super) fn flush(
        &mut self,
        now: Time,
        wall_minus_boot: i64,
        disk: &mut impl Disk,
    ) -> io::Result<()> {
        self.settle(disk)?;
        self.under_way = self.unwritten();
        let records: Vec<_> = std::mem::take(&mut self.waiting).into_values().collect();
        self.log.add(now, wall_minus_boot, &records);
        self.settle(disk)
    }

    /// Writes what waits and ends the file.
    ///
    /// # Errors
    /// As [`Counts::flush`]; it may be tried again.
    pub(super) fn close(
        &mut self,
        now: Time,
        wall_minus_boot: i64,
        disk: &mut impl Disk,
    ) -> io::Result<()> {
        self.flush(now, wall_minus_boot, disk)?;
        self.log.close();
        self.settle(disk)
    }

    fn settle(&mut self, disk: &mut impl Disk) -> io::Result<()> {
        while let Some(append) = self.log.next() {
            disk.append(append)?;
            self.log.written();
        }
        self.under_way = (0, 0);
        Ok(())
    }
}

/// Where usage files are kept.
pub(super) trait Disk {
    /// Makes bytes durable.
    ///
    /// # Errors
    /// How much was written is not known then.
    fn append(&mut self, append: &Append) -> io::Result<()>;
}

impl Disk for AppendFolder {
    fn append(&mut self, append: &Append) -> io::Result<()> {
        Self::append(self, &append.name, append.at, &append.bytes, append.last)
    }
}
