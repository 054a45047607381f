//! The writer of usage files, by what is in its folder.

use std::fs;
use std::path::Path;
use std::time::Instant;

use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, Epoch, SessionId};
use sealcast_proto::records::{End, RecordFile};

use super::*;

fn answers(count: u64) -> Vec<KeysGiven> {
    let answer = |number| KeysGiven {
        session: SessionId([1; 16]),
        account: AccountId([2; 16]),
        device: DeviceId([3; 16]),
        channel: ChannelId(1),
        number,
        current: Epoch(1),
        next: None,
    };
    (0..count).map(answer).collect()
}

fn meter(folder: &Path, interval: Duration) -> Meter {
    let config = MeterConfig {
        folder: folder.to_owned(),
        slave: 7,
        interval,
    };
    Meter::start(&config).unwrap()
}

/// Answers in the folder's files, and how many files that are; all of them are closed.
fn counted(folder: &Path) -> (u64, usize) {
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
    let mut answers = 0;
    for file in &files {
        let name = file.file_name().into_string().unwrap();
        assert!(name.starts_with("slave-7-"), "{name}");
        let bytes = fs::read(file.path()).unwrap();
        let read = RecordFile::<KeyUsageFile>::read(&bytes).unwrap();
        assert_eq!(read.end(), End::Closed);
        answers += read
            .records()
            .map(|record| u64::from(record.answers))
            .sum::<u64>();
    }
    (answers, files.len())
}

fn until(what: &str, mut test: impl FnMut() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < Duration::from_secs(20), "not: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// MD-33: what a door gave last is written when the meter ends, however little it is; before, a door hands over by handfuls.
#[test]
fn md_33_everything_that_was_handed_over_is_on_disk_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let meter = meter(folder.path(), Duration::from_secs(3600));
    let tap = meter.tap();
    let mut few = answers(10);
    tap.take(&mut few, false);
    assert_eq!(few.len(), 10, "no handful yet");
    let mut many = answers(HANDFUL as u64);
    tap.take(&mut many, false);
    tap.take(&mut few, true);
    assert!(many.is_empty() && few.is_empty());
    meter.finish();
    assert_eq!(counted(folder.path()), (HANDFUL as u64 + 10, 1));
    assert_eq!(tap.stats(), MeterStats::default());
}

/// A disk that fails is an alarm, and when it is there again, nothing is missing and nothing counts twice.
#[test]
fn md_33_a_folder_that_goes_away_and_returns_costs_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, away) = (parent.path().join("usage"), parent.path().join("away"));
    let meter = meter(&folder, Duration::from_millis(10));
    let tap = meter.tap();
    tap.take(&mut answers(5), true);
    until("the first file", || {
        let mut files = fs::read_dir(&folder).unwrap().flatten();
        files.any(|file| {
            file.path()
                .extension()
                .is_some_and(|ending| ending == "usage")
        })
    });
    fs::rename(&folder, &away).unwrap();
    tap.take(&mut answers(7), true);
    until("the alarm", || tap.stats().failing);
    tap.take(&mut answers(9), true);
    fs::rename(&away, &folder).unwrap();
    until("writing again", || !tap.stats().failing);
    meter.finish();
    assert_eq!(counted(&folder).0, 21);
    assert_eq!(tap.stats().uncounted, 0);
}

/// A writer that does not keep up costs a bounded amount of memory, and what is given meanwhile is told as a number.
#[test]
fn what_finds_no_room_waits_and_then_is_told() {
    let (handfuls, mut inbox) = mailbox(1);
    let shared = Arc::<Shared>::default();
    let tap = Tap { handfuls, shared };
    let mut given = answers(3);
    tap.take(&mut given, true);
    assert!(given.is_empty(), "the mailbox had room");
    given = answers(HANDFUL as u64);
    tap.take(&mut given, false);
    assert_eq!((given.len(), tap.stats().uncounted), (HANDFUL, 0));
    given = answers(WAITING_MAX as u64 + 11);
    tap.take(&mut given, false);
    assert_eq!((given.len(), tap.stats().uncounted), (WAITING_MAX, 11));
    assert_eq!(inbox.try_recv().unwrap().len(), 3);
    tap.take(&mut given, false);
    assert_eq!(inbox.try_recv().unwrap().len(), WAITING_MAX);
    assert!(given.is_empty());
}
