//! The folder in which files wait, and who carries them: whatever was left there, each file is carried once or put aside.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use sealcast_domain::metering::Taken;
use sealcast_objects::api::UsageTaken;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_proto::ids::Time;
use sealcast_proto::records::{
    KeyUsage, KeyUsageFile, Kind as FileKind, Rotation, Source, SourceKind, Usage, UsageFile,
    UsageIdentity, UsageLog,
};

use tokio::sync::Notify;

use super::courier::Round;
use super::spool::Found;
use super::*;

const SENT: Usage = Usage {
    channel: 1,
    lane: 1,
    epoch: 1,
    packets: 1,
    bytes: 1316,
    from: 0,
    until: 1,
};

/// Name and bytes of a closed file with one record.
fn file<K>(kind: SourceKind, number: u32, record: K::Record) -> (String, Vec<u8>)
where
    K: FileKind<Identity = UsageIdentity>,
{
    let source = Source::numbered(kind, number, [9; 16]);
    let mut log = UsageLog::<K>::new(source, Rotation::default());
    log.add(Time(0), 0, &[record]);
    log.close();
    let (mut name, mut bytes) = (String::new(), Vec::new());
    while let Some(append) = log.next() {
        name.clone_from(&append.name);
        bytes.extend(&append.bytes);
        log.written();
    }
    (name, bytes)
}

/// Of a delivery server.
fn sent(server: u32) -> (String, Vec<u8>) {
    file::<UsageFile>(SourceKind::DeliveryServer, server, SENT)
}

/// Of a slave.
fn given() -> (String, Vec<u8>) {
    let mut current = [0; 16];
    current[0] = 1;
    let record = KeyUsage {
        session: [1; 16],
        account: [2; 16],
        device: [3; 16],
        channel: 1,
        number_base: 0,
        epoch_base: 1,
        current,
        next: [0; 16],
        answers: 1,
        from: 0,
        until: 5,
    };
    file::<KeyUsageFile>(SourceKind::KeyServer, 3, record)
}

/// Answers as it is told to, in order, then takes everything.
#[derive(Clone, Default)]
struct Told {
    answers: Arc<Mutex<Vec<Undelivered>>>,
    carried: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Carrier for Told {
    async fn carry(&self, file: Vec<u8>) -> Result<(), Undelivered> {
        if let Some(refusal) = self.answers.lock().unwrap().pop() {
            return Err(refusal);
        }
        self.carried.lock().unwrap().push(file);
        Ok(())
    }
}

struct Bench {
    folder: tempfile::TempDir,
    courier: Courier,
    told: Told,
}

impl Bench {
    fn new(source: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        let spool = source.map_or_else(|| spool.clone(), |source| spool.clone().of(source));
        Self {
            folder,
            courier: Courier::new(spool),
            told: Told::default(),
        }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    async fn round(&self) -> Round {
        self.courier.round(&self.told).await
    }

    fn carried(&self) -> Vec<Vec<u8>> {
        self.told.carried.lock().unwrap().clone()
    }

    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

/// MD-33: what a killed writer left is ended where it is whole, at every byte at which it may have been stopped.
#[tokio::test]
async fn md_33_a_file_is_carried_as_far_as_its_writer_came() {
    for (name, bytes) in [given(), sent(5)] {
        let bench = Bench::new(None);
        let spool = Spool::open(bench.folder.path()).unwrap();
        let mut whole = 0;
        for end in 0..=bytes.len() {
            let path = bench.put(&name, &bytes[..end]);
            match spool.find(&path).unwrap() {
                Found::Whole(found) => {
                    assert_eq!(fs::read(&path).unwrap(), found, "and so it stays");
                    let counted = Counted::read(&found, Timestamp(1));
                    let records = counted.unwrap().len();
                    assert!(records >= whole, "what was whole stays so");
                    whole = records;
                }
                Found::Nothing => assert_eq!(whole, 0, "{end}"),
                other => panic!("{other:?} at {end} of {}", bytes.len()),
            }
        }
        assert_eq!(whole, 1);
        assert_eq!(bench.round().await, Round::Done);
        assert_eq!((bench.carried(), bench.left()), (vec![bytes], vec![]));
    }
}

#[tokio::test]
async fn md_33_nothing_is_carried_that_is_still_being_written_or_is_nothing() {
    let bench = Bench::new(None);
    let path = bench.put("a.usage", &sent(5).1);
    let written = fs::File::open(&path).unwrap();
    written.lock().unwrap();
    bench.put("b.usage", &[]);
    bench.put("c.usage", &[0; 4096]);
    bench.put("d.usage.part", b"under way");
    bench.put("e.txt", b"of somebody");
    assert_eq!(bench.round().await, Round::Done);
    assert_eq!(bench.left(), ["a.usage", "d.usage.part", "e.txt"]);
    assert_eq!(bench.courier.stats().waiting, 1);
    drop(written);
    assert_eq!(bench.round().await, Round::Done);
    assert_eq!(bench.carried(), [sent(5).1]);
    let stats = CourierStats {
        carried: 1,
        ..CourierStats::default()
    };
    assert_eq!(bench.courier.stats(), stats);
}

/// What cannot be handed over now stays, in its order; what never can be is put aside, and does not hold up the others.
#[tokio::test]
async fn md_33_a_refused_file_is_put_aside_and_the_others_go_on() {
    let bench = Bench::new(None);
    for name in ["a.usage", "b.usage"] {
        bench.put(name, &sent(5).1);
    }
    let mut damaged = sent(5).1;
    damaged[100] ^= 1;
    bench.put("c.usage", &damaged);
    bench.put("d.usage", b"something else altogether, and long enough for a header of a file of records, so that it is no torn one");
    // The last one is told first.
    bench.told.answers.lock().unwrap().extend([
        Undelivered::Never("counted otherwise".to_owned()),
        Undelivered::Later("no contact".to_owned()),
    ]);
    assert_eq!(bench.round().await, Round::Stuck);
    assert_eq!((bench.left().len(), bench.courier.stats().waiting), (4, 4));
    assert_eq!(bench.round().await, Round::Done);
    assert_eq!(bench.left(), ["a.refused", "c.refused", "d.refused"]);
    assert_eq!(bench.carried(), [sent(5).1]);
    let stats = CourierStats {
        waiting: 0,
        carried: 1,
        refused: 3,
    };
    assert_eq!(bench.courier.stats(), stats);
}

/// Two delivery servers and a receiver may write into one folder: each server carries its own.
#[tokio::test]
async fn md_33_the_files_of_others_are_left_to_them() {
    let bench = Bench::new(Some("server-1"));
    let all = [sent(1), sent(11), given()];
    for (name, bytes) in &all {
        bench.put(name, bytes);
    }
    assert_eq!(bench.round().await, Round::Done);
    assert_eq!(bench.carried(), [all[0].1.clone()]);
    let mut others = [all[1].0.clone(), all[2].0.clone()];
    others.sort();
    assert_eq!(bench.left(), others);
}

/// Counts files of an intake, when it is told to, and knows how many came together.
#[derive(Clone, Default)]
struct Slow {
    go: Arc<Notify>,
    batches: Arc<Mutex<Vec<usize>>>,
}

impl Slow {
    /// Brings the file of a delivery server of this number, from a task of its own.
    fn bring(&self, intake: &Intake, server: u32) -> JoinHandle<Taken> {
        let (slow, intake) = (self.clone(), intake.clone());
        let counted = Counted::read(&sent(server).1, Timestamp(0)).unwrap();
        tokio::spawn(async move {
            let count = move |files: Vec<Counted>| async move {
                slow.batches.lock().unwrap().push(files.len());
                slow.go.notified().await;
                let taken = |counted: &Counted| match counted.file().number {
                    13 => Err(Problem::new(Kind::Conflict, "another of its name")),
                    number => Ok(UsageTaken {
                        records: number.into(),
                        before: false,
                        late: 0,
                    }),
                };
                Ok(files.iter().map(taken).collect())
            };
            intake.take(counted, count).await
        })
    }
}

/// Each gets the answer to its own file; who goes away takes nothing with him.
#[tokio::test]
async fn files_that_come_while_others_are_counted_are_counted_together() {
    let (slow, intake) = (Slow::default(), Intake::default());
    let first = slow.bring(&intake, 1);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*slow.batches.lock().unwrap(), [1]);
    let others: Vec<_> = [11, 12, 13, 14]
        .map(|server| slow.bring(&intake, server))
        .into_iter()
        .collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    others[0].abort();
    slow.go.notify_one();
    assert_eq!(first.await.unwrap().unwrap().records, 1);
    slow.go.notify_one();
    let mut records = Vec::new();
    for other in others.into_iter().skip(1) {
        let taken = other.await.unwrap();
        records.push(taken.map_or_else(
            |problem| u64::from(problem.kind != Kind::Conflict),
            |taken| taken.records,
        ));
    }
    assert_eq!(records, [12, 0, 14]);
    assert_eq!(
        *slow.batches.lock().unwrap(),
        [1, 4],
        "the one whose bringer went away, too"
    );
}
