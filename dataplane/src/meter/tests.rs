//! Whatever the disk does and whenever the process is killed: files count what was counted, once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sealcast_proto::ids::{Epoch, Lane};
use sealcast_proto::records::{Append, End, RecordFile, SourceKind, UsageFile, UsageIdentity};

use super::log::Disk;
use super::*;

/// A disk that has room for so many bytes, and may fail though it has written.
#[derive(Debug, Default)]
struct FailingDisk {
    files: BTreeMap<String, Vec<u8>>,
    room: usize,
    sync_fails: bool,
}

impl Disk for FailingDisk {
    fn append(&mut self, append: &Append) -> io::Result<()> {
        if append.at == 0 && self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.files.entry(append.name.clone()).or_default();
        file.truncate(usize::try_from(append.at).map_err(io::Error::other)?);
        let written = append.bytes.len().min(self.room);
        file.extend(&append.bytes[..written]);
        self.room -= written;
        if written < append.bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if std::mem::take(&mut self.sync_fails) {
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(())
    }
}

fn source() -> Source {
    Source {
        kind: SourceKind::Device,
        id: [1; 16],
        boot: [2; 16],
    }
}

fn counted(channel: u16, epoch: u64, packets: u64) -> Usage {
    Usage {
        channel,
        lane: 1,
        epoch,
        packets,
        bytes: packets * 1316,
        from: 0,
        until: 1,
    }
}

/// Packets and bytes of all files that can be read, and how each ends.
fn read(disk: &FailingDisk) -> ((u64, u64), Vec<(UsageIdentity, End)>) {
    let (mut sum, mut files) = ((0, 0), Vec::new());
    for bytes in disk.files.values() {
        // A killed writer may not even have come to the end of the header.
        let Ok(file) = RecordFile::<UsageFile>::read(bytes) else {
            continue;
        };
        for usage in file.records() {
            sum = (sum.0 + usage.packets, sum.1 + usage.bytes);
        }
        files.push((*file.identity(), file.end()));
    }
    (sum, files)
}

proptest! {
    /// MD-33, SEC-34: what is durable and what waits is what was counted, after every step; never more on disk.
    #[test]
    fn md_33_sec_34_no_count_is_lost_or_doubled_whatever_the_disk_does(
        steps in prop::collection::vec((1_u16..3, 1_u64..3, 1_u64..100, 0_u8..6, 0_usize..400), 1..60),
    ) {
        let rotation = Rotation { size: 600, age: Duration::from_secs(3600) };
        let mut counts = Counts::new(UsageLog::new(source(), rotation));
        let mut disk = FailingDisk::default();
        let mut total = (0, 0);
        for (now, (channel, epoch, packets, fault, room)) in steps.into_iter().enumerate() {
            disk.room = if fault < 2 { room } else { usize::MAX };
            disk.sync_fails = fault == 2;
            counts.add(counted(channel, epoch, packets));
            total = (total.0 + packets, total.1 + packets * 1316);
            let flushed = counts.flush(Time(now as u64), 0, &mut disk);
            let (durable, files) = read(&disk);
            let waits = counts.unwritten();
            // A block may be there whole though the disk said that it failed: then it waits, too, to be written over.
            prop_assert!(durable.0 <= total.0 && durable.0 + waits.0 >= total.0);
            if flushed.is_ok() {
                prop_assert_eq!((durable, waits), (total, (0, 0)));
            }
            let not_last = files.iter().rev().skip(1);
            prop_assert!(not_last.clone().all(|(_, end)| *end == End::Closed));
        }
        disk.room = usize::MAX;
        disk.sync_fails = false;
        counts.close(Time(99), 0, &mut disk).unwrap();
        let (durable, files) = read(&disk);
        prop_assert_eq!((durable, counts.unwritten()), (total, (0, 0)));
        let in_order = files.iter().zip(0..).all(|((identity, end), sequence)| {
            *end == End::Closed && identity.sequence == sequence && identity.boot == [2; 16]
        });
        prop_assert!(in_order);
    }
}

/// MD-33: from a channel's tally to a file that is checked, through the thread, in a folder.
#[test]
fn md_33_what_channels_count_is_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = MeterConfig {
        folder: folder.path().join("usage"),
        source: source(),
        interval: Duration::from_millis(20),
        rotation: Rotation::default(),
    };
    let meter = Meter::start(config, |event| unreachable!("{event:?}")).unwrap();
    let handle = meter.handle();
    let lane = Lane::new(1).unwrap();
    let mut tallies: [Tally; 3] = Default::default();
    let mut channels: Vec<_> = tallies
        .iter_mut()
        .zip(1..)
        .map(|(tally, id)| handle.channel(ChannelId(id), tally))
        .collect();
    drop(handle);
    for round in 0..50_u64 {
        for (tally, channel) in tallies.iter_mut().zip(&mut channels) {
            tally.add(Epoch(1 + round / 10), lane, 2, 100);
            channel.tick(Time(clock::boottime()), tally);
        }
        thread::sleep(Duration::from_millis(2));
    }
    for (tally, channel) in tallies.iter_mut().zip(&mut channels) {
        futures_lite::future::block_on(channel.finish(tally));
    }
    drop(channels);
    meter.finish().unwrap();
    let entries = std::fs::read_dir(folder.path().join("usage")).unwrap();
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    let bytes = std::fs::read(&paths[0]).unwrap();
    let file = RecordFile::<UsageFile>::read(&bytes).unwrap();
    assert_eq!(
        (file.end(), file.identity().kind),
        (End::Closed, SourceKind::Device)
    );
    let mut sums = BTreeMap::new();
    for usage in file.records() {
        assert!(usage.from < usage.until && usage.lane == 1);
        let sum = sums.entry((usage.channel, usage.epoch)).or_insert((0, 0));
        *sum = (sum.0 + usage.packets, sum.1 + usage.bytes);
    }
    let each = (1..=3).flat_map(|channel| (1..=5).map(move |epoch| ((channel, epoch), (20, 1000))));
    assert_eq!(sums, each.collect());
}
