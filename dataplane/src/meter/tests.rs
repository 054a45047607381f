//! Whatever the disk does and whenever the process is killed: files count what was counted, once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use sealcast_proto::ids::{Epoch, Lane};
use sealcast_proto::records::{End, RecordFile, SourceKind, UsageFile, UsageIdentity};

use super::*;

/// A disk that has room for so many bytes, and may fail though it has written.
#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    room: usize,
    sync_fails: bool,
}

#[derive(Clone, Debug, Default)]
struct SharedDisk(Rc<RefCell<Disk>>);

#[derive(Debug)]
struct DiskFile(SharedDisk, String);

impl Storage for SharedDisk {
    type File = DiskFile;

    fn create(&mut self, name: &str) -> io::Result<DiskFile> {
        let mut disk = self.0.borrow_mut();
        if disk.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        assert!(
            disk.files.insert(name.to_owned(), Vec::new()).is_none(),
            "{name} twice"
        );
        Ok(DiskFile(self.clone(), name.to_owned()))
    }
}

impl StorageFile for DiskFile {
    fn append_at(&mut self, length: u64, bytes: &[u8]) -> io::Result<()> {
        let disk = &mut *self.0.0.borrow_mut();
        let file = disk.files.get_mut(&self.1).expect("it was created");
        file.truncate(usize::try_from(length).map_err(io::Error::other)?);
        let written = bytes.len().min(disk.room);
        file.extend(&bytes[..written]);
        disk.room -= written;
        if written < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if std::mem::take(&mut disk.sync_fails) {
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(())
    }
}

fn source() -> Source {
    Source {
        kind: SourceKind::Device,
        id: [1; 16],
        label: "dev".into(),
        boot: [2; 16],
    }
}

fn log(rotation: Rotation) -> (UsageLog<SharedDisk>, SharedDisk) {
    let disk = SharedDisk::default();
    disk.0.borrow_mut().room = usize::MAX;
    (UsageLog::new(disk.clone(), source(), rotation), disk)
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
fn read(disk: &SharedDisk) -> ((u64, u64), Vec<(UsageIdentity, End)>) {
    let (mut sum, mut files) = ((0, 0), Vec::new());
    for bytes in disk.0.borrow().files.values() {
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
        let (mut log, disk) = log(rotation);
        let mut total = (0, 0);
        for (now, (channel, epoch, packets, fault, room)) in steps.into_iter().enumerate() {
            {
                let mut disk = disk.0.borrow_mut();
                disk.room = if fault < 2 { room } else { usize::MAX };
                disk.sync_fails = fault == 2;
            }
            log.add(counted(channel, epoch, packets));
            total = (total.0 + packets, total.1 + packets * 1316);
            let flushed = log.flush(Time(now as u64));
            let (durable, files) = read(&disk);
            let waits = log.unwritten();
            // A block may be there whole though the disk said that it failed: then it waits, too, to be written over.
            prop_assert!(durable.0 <= total.0 && durable.0 + waits.0 >= total.0);
            if flushed.is_ok() {
                prop_assert_eq!((durable, waits), (total, (0, 0)));
            }
            let not_last = files.iter().rev().skip(1);
            prop_assert!(not_last.clone().all(|(_, end)| *end == End::Closed));
        }
        disk.0.borrow_mut().room = usize::MAX;
        disk.0.borrow_mut().sync_fails = false;
        log.close().unwrap();
        let (durable, files) = read(&disk);
        prop_assert_eq!((durable, log.unwritten()), (total, (0, 0)));
        let in_order = files.iter().zip(0..).all(|((identity, end), sequence)| {
            *end == End::Closed && identity.sequence == sequence && identity.boot == [2; 16]
        });
        prop_assert!(in_order);
    }
}

#[test]
fn files_end_by_size_and_by_age() {
    let age = Duration::from_secs(60);
    let (mut log, disk) = log(Rotation {
        size: u64::MAX,
        age,
    });
    for second in 0..125 {
        log.add(counted(1, 1, 1));
        log.flush(Time(0).after(Duration::from_secs(second)))
            .unwrap();
    }
    let (sum, files) = read(&disk);
    let ends: Vec<_> = files.iter().map(|(_, end)| *end).collect();
    assert_eq!(
        (sum.0, ends),
        (125, vec![End::Closed, End::Closed, End::Open])
    );
    let names: Vec<_> = disk.0.borrow().files.keys().cloned().collect();
    assert_eq!(names[1], format!("dev-{}-000001.usage", "02".repeat(16)));
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

#[test]
fn a_folder_that_cannot_be_made_is_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(Folder::open(&file.path().join("usage")).is_err());
}
