//! The store on a disk: group commit, a full disk, damage, copies.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use sealcast_domain::{keys, params};
use sealcast_objects::problem::{Kind, Problem};
use tempfile::TempDir;

use rusqlite::Connection;

use super::folder::LOCK;
use super::rows::{count, get, number, put};
use super::*;

type Answered<T> = oneshot::Receiver<Result<T, Error>>;

fn open() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &Location::Folder).unwrap();
    (folder, store)
}

fn refuse<T>() -> Result<T, Error> {
    Err(Problem::new(Kind::Conflict, "no").into())
}

/// Keeps the writer inside a transaction until it is dropped or told: what is submitted meanwhile is of the same batch.
fn hold(store: &Store) -> (mpsc::Sender<()>, Answered<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (begun_in, begun) = mpsc::channel();
    let held = store.submit(move |_| {
        begun_in.send(()).unwrap();
        let _ = released.recv();
        Ok(())
    });
    begun.recv().unwrap();
    (release, held.unwrap())
}

#[test]
fn commands_of_one_batch_commit_together_and_a_failed_one_is_undone_alone() {
    let (_folder, store) = open();
    let before = store.stats();
    let (release, held) = hold(&store);
    let good = |index: u64| {
        store.submit(move |tx| {
            keys::put_meta(tx, &format!("good {index}"), b"1")?;
            count(tx, "count")
        })
    };
    let first: Vec<_> = (0..5).map(|index| good(index).unwrap()).collect();
    let failed: Answered<()> = store
        .submit(|tx| {
            keys::put_meta(tx, "failed", b"1")?;
            keys::put_meta(tx, "good 0", b"overwritten")?;
            count(tx, "count")?;
            refuse()
        })
        .unwrap();
    let second: Vec<_> = (5..10).map(|index| good(index).unwrap()).collect();
    assert_eq!(
        get(&store, "count"),
        None,
        "nothing is seen before the commit"
    );
    release.send(()).unwrap();
    held.blocking_recv().unwrap().unwrap();
    let answers: Vec<u64> = first
        .into_iter()
        .chain(second)
        .map(|answer| answer.blocking_recv().unwrap().unwrap())
        .collect();
    assert_eq!(answers, (1..=10).collect::<Vec<_>>(), "in the order given");
    assert!(matches!(
        failed.blocking_recv().unwrap(),
        Err(Error::Refused(_))
    ));
    assert_eq!(get(&store, "failed"), None);
    assert_eq!(get(&store, "good 0").as_deref(), Some(&b"1"[..]));
    let after = store.stats();
    assert_eq!(after.commits - before.commits, 1);
    assert_eq!(after.commands - before.commands, 12);
    assert_eq!(after.failures, 0);
}

#[test]
fn a_commit_that_fails_fails_every_command_in_it_and_the_next_works() {
    let (_folder, store) = open();
    put(&store, "kept", b"1").unwrap();
    let (release, held) = hold(&store);
    let other = store
        .submit(|tx| keys::put_meta(tx, "other", b"1"))
        .unwrap();
    // Breaks a relation that is looked at when the transaction is committed.
    let breaking = store.submit(|tx| {
        tx.query("PRAGMA defer_foreign_keys = ON", &[])?;
        tx.execute(
            "INSERT INTO node_channel (server, channel) VALUES ($1, $2)",
            params![1_u32, 1_u16],
        )?;
        Ok(())
    });
    release.send(()).unwrap();
    for answer in [held, other, breaking.unwrap()] {
        let answer = answer.blocking_recv().unwrap();
        assert!(matches!(answer, Err(Error::Store(_))), "{answer:?}");
    }
    assert_eq!(store.stats().failures, 1);
    assert_eq!(get(&store, "other"), None);
    put(&store, "other", b"2").unwrap();
    assert_eq!(get(&store, "other").as_deref(), Some(&b"2"[..]));
    assert_eq!(get(&store, "kept").as_deref(), Some(&b"1"[..]));
}

#[test]
fn what_many_threads_were_told_is_durable_exactly_once() {
    const THREADS: u64 = 8;
    const EACH: u64 = 150;
    let (folder, store) = open();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for index in 0..EACH {
                    let result = store.write_blocking(move |tx| {
                        let at = count(tx, "all")?;
                        let name = format!("{thread} {index}");
                        keys::put_meta(tx, &name, &at.to_be_bytes())?;
                        if index % 10 == 9 { refuse() } else { Ok(at) }
                    });
                    assert_eq!(result.is_ok(), index % 10 != 9);
                }
            });
        }
    });
    let stats = store.stats();
    assert!(stats.commits < stats.commands, "{stats:?}");
    drop(store);
    let store = Store::open(folder.path(), &Location::Folder).unwrap();
    let good = THREADS * EACH * 9 / 10;
    assert_eq!(
        store.read_blocking(|store| number(store, "all")).unwrap(),
        good
    );
    let mut seen = std::collections::BTreeSet::new();
    for thread in 0..THREADS {
        for index in 0..EACH {
            let name = format!("{thread} {index}");
            let at = store.read_blocking(|store| number(store, &name)).unwrap();
            assert_eq!(at == 0, index % 10 == 9, "{name}");
            assert!(at == 0 || seen.insert(at), "{name} shares its number");
        }
    }
}

#[test]
fn a_reader_sees_one_state_however_much_is_written() {
    let (_folder, store) = open();
    put(&store, "a", b"1").unwrap();
    let seen = store.read_blocking(|reader| {
        let first = keys::meta(reader, "a")?;
        put(&store, "a", b"2").unwrap();
        put(&store, "b", b"2").unwrap();
        Ok((first, keys::meta(reader, "a")?, keys::meta(reader, "b")?))
    });
    let one = Some(b"1".to_vec());
    assert_eq!(seen.unwrap(), (one.clone(), one, None));
    assert_eq!(get(&store, "a"), Some(b"2".to_vec()));
}

#[test]
fn a_failed_query_leaves_the_reader_usable() {
    let (_folder, store) = open();
    put(&store, "a", b"1").unwrap();
    for _ in 0..2 * READERS {
        let failed = store.read_blocking(|reader| Ok(reader.query("SELECT nothing", &[])?));
        assert!(failed.is_err());
        let refused: Result<(), _> = store.read_blocking(|_| refuse());
        assert!(refused.is_err());
    }
    put(&store, "a", b"2").unwrap();
    assert_eq!(get(&store, "a"), Some(b"2".to_vec()), "not an old state");
}

#[test]
fn a_second_server_is_kept_out_and_told_by_whom() {
    let (folder, store) = open();
    let error = Store::open(folder.path(), &Location::Folder)
        .unwrap_err()
        .to_string();
    let pid = format!("(process {})", std::process::id());
    assert!(error.contains(&pid) && error.contains("--data"), "{error}");
    put(&store, "a", b"1").unwrap();
    drop(store);
    Store::open(folder.path(), &Location::Folder).unwrap();
}

#[test]
fn a_full_disk_is_named_changes_nothing_and_passes() {
    let (folder, store) = open();
    put(&store, "a", b"1").unwrap();
    // No page more than there are.
    let limit = |sql: &'static str| {
        store
            .write_blocking(move |tx| Ok(tx.query(sql, &[])?))
            .unwrap();
    };
    limit("PRAGMA max_page_count = 1");
    let large = |name: &'static str| {
        store.write_blocking(move |tx| {
            keys::put_meta(tx, "a", b"changed")?;
            keys::put_meta(tx, name, &vec![7; 200_000])
        })
    };
    for _ in 0..3 {
        let error = large("large").unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
        assert!(error.to_string().contains("make room"), "{error}");
    }
    assert_eq!(get(&store, "a").as_deref(), Some(&b"1"[..]));
    assert_eq!(get(&store, "large"), None);
    // Others in the same batch are answered, whichever way it goes, and their answers are true.
    let (release, held) = hold(&store);
    let small = store.submit(|tx| keys::put_meta(tx, "a", b"2")).unwrap();
    let full = store.submit(|tx| keys::put_meta(tx, "large", &vec![7; 200_000]));
    release.send(()).unwrap();
    let _ = held.blocking_recv().unwrap();
    assert!(full.unwrap().blocking_recv().unwrap().is_err());
    let done = small.blocking_recv().unwrap().is_ok();
    let expected = if done { b"2" } else { b"1" };
    assert_eq!(get(&store, "a").as_deref(), Some(&expected[..]));

    limit("PRAGMA max_page_count = 1073741823");
    large("large").unwrap();
    drop(store);
    let store = Store::open(folder.path(), &Location::Folder).unwrap();
    assert_eq!(get(&store, "large").map(|bytes| bytes.len()), Some(200_000));
    assert_eq!(get(&store, "a").as_deref(), Some(&b"changed"[..]));
}

#[test]
fn it_tells_when_it_was_last_written() {
    let (folder, store) = open();
    assert_eq!(store.written_before(), None);
    drop(store);
    let store = Store::open(folder.path(), &Location::Folder).unwrap();
    assert_eq!(store.written_before(), None, "opening is no writing");
    let before = Timestamp::from(SystemTime::now());
    put(&store, "a", b"1").unwrap();
    let after = Timestamp::from(SystemTime::now());
    assert_eq!(store.written_before(), None, "before this start");
    drop(store);
    let written = Store::open(folder.path(), &Location::Folder)
        .unwrap()
        .written_before()
        .unwrap();
    assert!(before <= written && written <= after, "{written}");
    assert_eq!(
        Store::open(folder.path(), &Location::Folder)
            .unwrap()
            .written_before(),
        Some(written)
    );
}

#[test]
fn sec_14_files_are_for_this_user_alone() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("one").join("two");
    let store = Store::open(&folder, &Location::Folder).unwrap();
    put(&store, "a", b"1").unwrap();
    backup(&folder, &folder.join("copy.db")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&outer.path().join("one")), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_owned());
    }
    for name in [DATABASE, LOCK, "store.db-wal", "copy.db"] {
        assert!(names.contains(&name.into()), "{name} in {names:?}");
    }
}

/// What opening says.
fn open_error(folder: &TempDir) -> (OpenError, String) {
    let error = Store::open(folder.path(), &Location::Folder).unwrap_err();
    let text = error.to_string();
    (error, text)
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let (folder, store) = open();
    let many = |tx: &mut dyn Tx| {
        for index in 0..200 {
            keys::put_meta(tx, &format!("row {index}"), &[7; 1000])?;
        }
        Ok(())
    };
    store.write_blocking(many).unwrap();
    drop(store);
    let file = folder.path().join(DATABASE);
    let whole = std::fs::read(&file).unwrap();
    assert!(
        whole.len() > 100_000,
        "the log went into the file at the end"
    );
    let mut other_start = whole.clone();
    other_start[..16].copy_from_slice(b"this is no store");
    let mut holes = whole.clone();
    holes[40_000..90_000].fill(0x55);
    let half = whole[..whole.len() / 2].to_vec();
    for damaged in [other_start, holes, half, vec![0x55; 9000], Vec::new()] {
        std::fs::write(&file, &damaged).unwrap();
        let (error, text) = open_error(&folder);
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        assert!(text.contains("store.db") && text.contains("restore a backup"));
        assert!(
            std::fs::read(&file).unwrap() == damaged,
            "nothing was changed"
        );
    }
    std::fs::write(&file, &whole).unwrap();
    let store = Store::open(folder.path(), &Location::Folder).unwrap();
    assert_eq!(get(&store, "row 199"), Some(vec![7; 1000]));
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let (folder, store) = open();
    put(&store, "a", b"1").unwrap();
    drop(store);
    let file = folder.path().join(DATABASE);
    let connection = Connection::open(&file).unwrap();
    connection
        .execute_batch(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
             VALUES (99, 'later', '2030-01-01T00:00:00Z', '1'); CREATE TABLE later (id INTEGER);",
        )
        .unwrap();
    drop(connection);
    let (error, text) = open_error(&folder);
    assert!(matches!(error, OpenError::Migration { .. }), "{error:?}");
    assert!(text.contains("newer sealcast"), "{text}");
    let connection = Connection::open(&file).unwrap();
    let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    assert_eq!(count("SELECT count(*) FROM meta WHERE name = 'a'"), Ok(1));
    assert_eq!(count("SELECT count(*) FROM later"), Ok(0));
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("below"), &Location::Folder).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains("below"), "{error}");
}

#[test]
fn a_backup_made_while_commands_run_is_whole_and_of_one_moment() {
    let (folder, store) = open();
    // More than is copied in one step.
    let large = |tx: &mut dyn Tx| {
        for index in 0..60 {
            keys::put_meta(tx, &format!("large {index}"), &vec![7; 200_000])?;
        }
        Ok(())
    };
    store.write_blocking(large).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                store
                    .write_blocking(|tx| {
                        count(tx, "one")?;
                        // Far apart in the file.
                        keys::put_meta(tx, "large 30", &vec![8; 200_000])?;
                        count(tx, "two")
                    })
                    .unwrap();
            }
        });
        let begun = std::time::Instant::now();
        for round in 0..2 {
            let copies = folder.path().join(format!("copy {round}"));
            std::fs::create_dir(&copies).unwrap();
            let before = store.read_blocking(|store| number(store, "one")).unwrap();
            backup(folder.path(), &copies.join(DATABASE)).unwrap();
            let after = store.read_blocking(|store| number(store, "one")).unwrap();
            let copy = Store::open(&copies, &Location::Folder).unwrap();
            let (one, two) = copy
                .read_blocking(|copy| Ok((number(copy, "one")?, number(copy, "two")?)))
                .unwrap();
            assert_eq!(one, two, "of one moment");
            assert!(before <= one && one <= after, "{before} {one} {after}");
            assert_eq!(
                get(&copy, "large 59").map(|bytes| bytes.len()),
                Some(200_000)
            );
            put(&copy, "a", b"1").unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(begun.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn a_backup_never_overwrites_and_says_when_there_is_nothing_to_copy() {
    let (folder, store) = open();
    put(&store, "a", b"1").unwrap();
    let to = folder.path().join("copy.db");
    std::fs::write(&to, "precious").unwrap();
    let error = backup(folder.path(), &to).unwrap_err().to_string();
    assert!(error.contains("copy.db"), "{error}");
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    let empty = tempfile::tempdir().unwrap();
    let error = backup(empty.path(), &empty.path().join("copy.db")).unwrap_err();
    assert!(error.to_string().contains("there is none"), "{error}");
    assert!(!empty.path().join("copy.db").exists());
}

#[test]
fn more_commands_than_may_wait_are_refused_and_those_that_wait_are_done() {
    let (_folder, store) = open();
    let (release, held) = hold(&store);
    let (mut waiting, mut refused) = (Vec::new(), None);
    while refused.is_none() {
        match store.submit(|tx| count(tx, "count")) {
            Ok(answer) => waiting.push(answer),
            Err(error) => refused = Some(error),
        }
        assert!(waiting.len() < 100_000, "it is bounded");
    }
    let busy = refused.unwrap();
    assert!(matches!(busy, Error::Store(StoreError::Busy)), "{busy}");
    // Whoever asks is told to come again.
    let problem = crate::http::problem(busy);
    assert_eq!((problem.kind, problem.status), (Kind::Unavailable, 503));
    release.send(()).unwrap();
    held.blocking_recv().unwrap().unwrap();
    let done = waiting.len() as u64;
    let last = waiting.into_iter().map(|one| one.blocking_recv().unwrap());
    assert_eq!(last.last().unwrap().unwrap(), done);
}
