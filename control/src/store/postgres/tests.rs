//! The store on a PostgreSQL server that is killed, stopped and taken away, and several servers on one database.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sealcast_domain::{Error, StoreError, keys};
use sealcast_objects::problem::{Kind, Problem};
use tempfile::TempDir;

use super::super::rows::{count, get, number, put};
use super::super::{Location, OpenError, Store};
use super::{Postgres, PostgresError};

#[path = "../../../../tests/support/postgres.rs"]
mod databases;
#[path = "../../../../tests/support/postgres_server.rs"]
mod server;

use server::Server;

const LEASE: Duration = Duration::from_secs(2);

fn at(url: &str) -> Location {
    Location::Postgres(Postgres::new(url, None, None, Some(LEASE)).unwrap())
}

/// A store of its own on a server of its own.
struct Bench {
    store: Option<Store>,
    folder: TempDir,
    url: String,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let server = Server::start(&[]);
        let url = databases::database(server.url());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &at(&url)).unwrap();
        Self {
            store: Some(store),
            folder,
            url,
            server,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// What another client of the database sees.
    fn sees(&self, sql: &str) -> String {
        databases::run(&self.url, sql)
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(self.folder.path(), &at(&self.url)).unwrap());
    }
}

/// Until it is so, at most 20 s.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_failed_command_is_undone_alone_even_when_a_statement_failed() {
    let mut bench = Bench::new();
    assert_eq!(bench.store().written_before(), None);
    put(bench.store(), "kept", b"1").unwrap();
    let refused: Result<(), _> = bench.store().write_blocking(|tx| {
        keys::put_meta(tx, "kept", b"2")?;
        Err(Problem::new(Kind::Conflict, "no").into())
    });
    assert!(matches!(refused, Err(Error::Refused(_))));
    let failed: Result<(), _> = bench.store().write_blocking(|tx| {
        keys::put_meta(tx, "kept", b"3")?;
        // A name twice.
        for _ in 0..2 {
            tx.execute("INSERT INTO meta VALUES ('twice', '')", &[])?;
        }
        Ok(())
    });
    assert!(
        matches!(failed, Err(Error::Store(StoreError::Failed(_)))),
        "{failed:?}"
    );
    put(bench.store(), "other", b"4").unwrap();
    assert_eq!(get(bench.store(), "kept").as_deref(), Some(&b"1"[..]));
    assert_eq!(get(bench.store(), "twice"), None);
    bench.reopen();
    assert_eq!(get(bench.store(), "other").as_deref(), Some(&b"4"[..]));
    assert!(bench.store().written_before().is_some());
}

/// The database undoes what follows a failed statement, whatever a command makes of it: that is no success.
#[test]
fn a_command_that_hides_a_failed_statement_does_not_count_as_done() {
    let bench = Bench::new();
    let hidden = bench.store().write_blocking(|tx| {
        keys::put_meta(tx, "hidden", b"1")?;
        let _ = tx.execute("INSERT INTO meta VALUES ('hidden', '')", &[]);
        Ok(())
    });
    assert!(
        matches!(hidden, Err(Error::Store(StoreError::Failed(_)))),
        "{hidden:?}"
    );
    assert_eq!(get(bench.store(), "hidden"), None);
    put(bench.store(), "other", b"1").unwrap();
}

#[test]
fn a_reader_sees_one_state_and_cannot_write() {
    let bench = Bench::new();
    let store = bench.store();
    put(store, "a", b"1").unwrap();
    let seen = store.read_blocking(|reader| {
        let first = keys::meta(reader, "a")?;
        put(store, "a", b"2").unwrap();
        Ok((first, keys::meta(reader, "a")?))
    });
    let one = Some(b"1".to_vec());
    assert_eq!(seen.unwrap(), (one.clone(), one));
    assert_eq!(get(store, "a"), Some(b"2".to_vec()));
    let failed = store.read_blocking(|reader| Ok(reader.query("DELETE FROM meta", &[])?));
    assert!(failed.is_err());
    assert_eq!(get(store, "a"), Some(b"2".to_vec()));
}

/// Texts are ordered by their bytes and numbers keep their 64 bits.
#[test]
fn values_come_back_as_they_went() {
    let bench = Bench::new();
    let store = bench.store();
    let names = ["Z", "a", "\u{e4}", "b"];
    let written = store.write_blocking(move |tx| {
        for (id, name) in (0_u8..).zip(names) {
            tx.execute(
                "INSERT INTO packager (name, token_hash, since, signer, sealed) VALUES ($1, $2, $3, $4, $5)",
                sealcast_domain::params![
                    name,
                    vec![id; 3],
                    u64::MAX - 1,
                    None::<String>,
                    None::<Vec<u8>>
                ],
            )?;
        }
        Ok(())
    });
    written.unwrap();
    let rows = store.read_blocking(|reader| {
        Ok(reader.query(
            "SELECT name, since, signer, token_hash FROM packager ORDER BY name",
            &[],
        )?)
    });
    let rows = rows.unwrap();
    let read: Vec<String> = rows.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(read, ["Z", "a", "b", "\u{e4}"]);
    assert_eq!(rows[0].get::<u64>(1), Ok(u64::MAX - 1));
    assert_eq!(rows[0].get::<Option<String>>(2), Ok(None));
    assert_eq!(rows[3].get::<Vec<u8>>(3), Ok(vec![2; 3]));
}

#[test]
fn a_server_that_goes_away_is_named_and_nothing_is_lost_when_it_returns() {
    let mut bench = Bench::new();
    put(bench.store(), "a", b"1").unwrap();
    bench.server.tell("stop");
    let error = put(bench.store(), "a", b"2").unwrap_err();
    assert!(
        matches!(error, Error::Store(StoreError::Away(_))),
        "{error}"
    );
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert!(bench.store().fails());
    let read = bench.store().read_blocking(|store| keys::meta(store, "a"));
    assert!(matches!(read, Err(Error::Store(StoreError::Away(_)))));
    bench.server.tell("start");
    // By itself: its beats try it.
    until("it writes again", || !bench.store().fails());
    assert_eq!(get(bench.store(), "a").as_deref(), Some(&b"1"[..]));
    put(bench.store(), "a", b"3").unwrap();
    bench.server.tell("kill");
    bench.server.tell("start");
    until("it reads again", || {
        let read = bench.store().read_blocking(|store| keys::meta(store, "a"));
        read.is_ok_and(|value| value.as_deref() == Some(b"3"))
    });
}

/// Show 1: kill -9 of the database under load, again and again: what was acknowledged is there exactly once, and what was not is not.
#[test]
fn what_was_acknowledged_outlives_kills_of_the_database_exactly_once() {
    const WRITERS: u64 = 4;
    let rounds = if std::env::var_os("SEALCAST_LONG").is_some() {
        50
    } else {
        5
    };
    let mut bench = Bench::new();
    let stop = AtomicBool::new(false);
    // Acknowledged and not known, by writer.
    let told: Vec<Mutex<(u64, u64)>> = (0..WRITERS).map(|_| Mutex::default()).collect();
    let Bench { store, server, .. } = &mut bench;
    let store = store.as_ref().unwrap();
    std::thread::scope(|scope| {
        for (writer, told) in told.iter().enumerate() {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let done = store.write_blocking(move |tx| {
                        count(tx, "all")?;
                        count(tx, &format!("of {writer}"))
                    });
                    let mut told = told.lock().unwrap();
                    match done {
                        Ok(number) => {
                            told.0 += 1;
                            assert_eq!(number, told.0, "writer {writer}: exactly once");
                        }
                        Err(Error::Store(StoreError::Unknown)) => told.1 += 1,
                        Err(Error::Store(StoreError::Away(_))) => {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                        Err(error) => unreachable!("{error}"),
                    }
                }
            });
        }
        for round in 0..rounds {
            let all = || told.iter().map(|told| told.lock().unwrap().0).sum::<u64>();
            let before = all();
            until("work is done between kills", || all() > before + 100);
            std::thread::sleep(Duration::from_millis(7 * round % 50));
            server.tell("kill");
            server.tell("start");
        }
        stop.store(true, Ordering::Relaxed);
    });
    until("it writes again", || put(store, "end", b"").is_ok());
    let mut all = 0;
    for (writer, told) in told.iter().enumerate() {
        let (acknowledged, unknown) = *told.lock().unwrap();
        assert_eq!(unknown, 0, "each fate was found out");
        let name = format!("of {writer}");
        let is = store.read_blocking(|store| number(store, &name)).unwrap();
        assert_eq!(is, acknowledged, "writer {writer}");
        all += acknowledged;
    }
    assert_eq!(
        store.read_blocking(|store| number(store, "all")).unwrap(),
        all
    );
}

/// The connection breaks when the commit has been sent: the writer finds out how it ended.
#[test]
fn a_commit_without_an_answer_is_answered_truly() {
    let bench = Bench::new();
    let store = bench.store();
    // Slow enough to be hit: the server waits at the commit, with the connection's end on its way.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON meta DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
        WHEN (NEW.name = 'slow') EXECUTE FUNCTION slow()";
    bench.sees(slow);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| {
            store.write_blocking(|tx| {
                keys::put_meta(tx, "slow", b"1")?;
                count(tx, "count")
            })
        });
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        until("it is at the commit", || bench.sees(waiting) == "1");
        bench.sees(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'",
        );
        let answer = answer.join().unwrap();
        // It was not committed, and that is what was said.
        assert!(
            matches!(answer, Err(Error::Store(StoreError::Away(_)))),
            "{answer:?}"
        );
    });
    assert_eq!(get(store, "slow"), None);
    assert_eq!(store.write_blocking(|tx| count(tx, "count")).unwrap(), 1);
}

/// A way to the database that loses the answer to the next commit when it is told to.
struct Way {
    folder: TempDir,
    lose: Arc<AtomicBool>,
}

impl Way {
    fn to(server: PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let lose = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&lose);
        std::thread::spawn(move || {
            for client in listener.incoming().take(20) {
                let (client, server) = (client.unwrap(), UnixStream::connect(&server).unwrap());
                let cut = Arc::new(AtomicBool::new(false));
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (lose, commit_sent) = (Arc::clone(&armed), Arc::clone(&cut));
                std::thread::spawn(move || {
                    pass(client, server, |bytes| {
                        if bytes.windows(6).any(|word| word == b"COMMIT")
                            && lose.swap(false, Ordering::Relaxed)
                        {
                            commit_sent.store(true, Ordering::Relaxed);
                        }
                        true
                    });
                });
                std::thread::spawn(move || pass(down, up, |_| !cut.load(Ordering::Relaxed)));
            }
        });
        Self { folder, lose }
    }
}

/// Until one side ends, or `good` says that these bytes are not to be passed on.
fn pass(mut from: UnixStream, mut to: UnixStream, good: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 65_536];
    while let Ok(length) = from.read(&mut bytes)
        && length > 0
        && good(&bytes[..length])
        && to.write_all(&bytes[..length]).is_ok()
    {}
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// The name of the server's socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";

/// The commit was done and its answer is lost: whoever waits is told that it was done.
#[test]
fn a_commit_whose_answer_is_lost_is_known_to_be_done() {
    let mut bench = Bench::new();
    bench.store = None;
    let (_, folder) = bench.url.split_once("host=").unwrap();
    let way = Way::to(Path::new(folder).join(SOCKET));
    let url = bench
        .url
        .replace(folder, way.folder.path().to_str().unwrap());
    let store = Store::open(bench.folder.path(), &at(&url)).unwrap();
    for number in 1..=5 {
        way.lose.store(true, Ordering::Relaxed);
        let done = store.write_blocking(|tx| count(tx, "count"));
        assert_eq!(done.unwrap(), number);
        assert!(!way.lose.load(Ordering::Relaxed), "an answer was lost");
    }
    let is = store.read_blocking(|store| number(store, "count"));
    assert_eq!(is.unwrap(), 5);
    assert_eq!(store.stats().failures, 0);
}

/// A database that is away while a server stands by is waited for, and the one that writes goes on first.
#[test]
fn who_stands_by_outlives_a_database_that_goes_away() {
    let bench = Bench::new();
    put(bench.store(), "a", b"1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let Bench {
        store,
        url,
        mut server,
        ..
    } = bench;
    std::thread::scope(|scope| {
        let standby = scope.spawn(|| Store::open(folder.path(), &at(&url)).unwrap());
        std::thread::sleep(LEASE / 2);
        server.tell("stop");
        std::thread::sleep(LEASE / 2);
        server.tell("start");
        let writer = store.as_ref().unwrap();
        until("it writes again", || !writer.fails());
        std::thread::sleep(2 * LEASE);
        assert!(!standby.is_finished());
        put(writer, "a", b"2").unwrap();
        drop(store);
        let standby = standby.join().unwrap();
        assert_eq!(get(&standby, "a").as_deref(), Some(&b"2"[..]));
    });
}

#[test]
fn one_of_two_servers_writes_and_the_other_follows_at_once_when_it_stops() {
    let bench = Bench::new();
    put(bench.store(), "a", b"1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let standby = scope.spawn(|| Store::open(folder.path(), &at(&bench.url)).unwrap());
        // However long: it writes nothing, and says so in the row.
        std::thread::sleep(2 * LEASE);
        assert!(!standby.is_finished());
        let Bench { store, .. } = bench;
        let begun = Instant::now();
        drop(store);
        let standby = standby.join().unwrap();
        assert!(begun.elapsed() < LEASE, "{:?}", begun.elapsed());
        assert_eq!(get(&standby, "a").as_deref(), Some(&b"1"[..]));
        put(&standby, "a", b"2").unwrap();
        drop(bench.server);
    });
}

/// Nobody can tell a server that is dead from one that is stopped for a while: the other takes over after the lease, and what the first has
/// under way then fails.
#[test]
fn a_server_that_was_silent_for_its_lease_writes_nothing_more() {
    let bench = Bench::new();
    let store = bench.store();
    put(store, "a", b"1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (held_in, held) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        // A transaction that stands still, as if the process were stopped in it.
        let late = scope.spawn(move || {
            store.write_blocking(move |tx| {
                keys::put_meta(tx, "late", b"1")?;
                held_in.send(()).unwrap();
                std::thread::sleep(3 * LEASE);
                Ok(())
            })
        });
        held.recv().unwrap();
        let begun = Instant::now();
        let other = Store::open(folder.path(), &at(&bench.url)).unwrap();
        let waited = begun.elapsed();
        assert!(waited >= LEASE, "not before the lease is over: {waited:?}");
        assert!(waited < 3 * LEASE, "{waited:?}");
        put(&other, "a", b"2").unwrap();
        let late = late.join().unwrap();
        assert!(late.is_err(), "{late:?}");
        let error = put(store, "a", b"3").unwrap_err();
        assert!(
            matches!(error, Error::Store(StoreError::TakenOver)),
            "{error}"
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(store.taken_over());
        assert_eq!(get(&other, "late"), None);
        assert_eq!(get(&other, "a").as_deref(), Some(&b"2"[..]));
    });
}

#[test]
fn a_full_disk_is_named() {
    let bench = Bench::new();
    let store = bench.store();
    put(store, "a", b"1").unwrap();
    // As the server says it when a file cannot grow.
    bench.sees(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'No space left on device' \
         USING ERRCODE = '53100'; END $$; CREATE TRIGGER full_disk BEFORE INSERT ON meta FOR EACH ROW WHEN (NEW.name = 'large') \
         EXECUTE FUNCTION full_disk()",
    );
    let error = put(store, "large", b"1").unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Full)), "{error}");
    put(store, "a", b"2").unwrap();
}

#[test]
fn what_cannot_be_reached_or_is_newer_is_named() {
    let bench = Bench::new();
    let open = |location: &Location| {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path(), location).unwrap_err()
    };
    let nowhere = open(&at("postgres://somebody:secret@127.0.0.1:1/nothing"));
    assert!(matches!(nowhere, OpenError::Away { .. }), "{nowhere:?}");
    let text = nowhere.to_string();
    assert!(
        text.contains("127.0.0.1:1/nothing") && !text.contains("secret"),
        "{text}"
    );
    let missing = bench.url.replacen("/test_", "/no_", 1);
    let text = open(&at(&missing)).to_string();
    assert!(text.contains("does not exist"), "{text}");

    bench.sees(
        "INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')",
    );
    let Bench {
        store, url, server, ..
    } = bench;
    drop(store);
    let newer = open(&at(&url));
    assert!(matches!(newer, OpenError::Migration { .. }), "{newer:?}");
    assert!(newer.to_string().contains("newer sealcast"), "{newer}");
    drop(server);
}

/// SEC-15: no key crosses a network in clear because of a setting that is missing.
#[test]
fn sec_15_another_host_must_show_who_it_is() {
    let new = |url: &str| Postgres::new(url, None, None, None);
    for far in ["postgres://u@db.example.net/x", "host=10.0.0.1 user=u"] {
        let error = new(far).unwrap_err();
        assert!(matches!(error, PostgresError::Clear(_)), "{far}: {error}");
    }
    for near in [
        "postgres://u@localhost/x",
        "postgres://u@[::1]:5433/x",
        "postgres://u@/x?host=/run/postgresql",
        "postgres://u@db.example.net/x?sslmode=disable",
    ] {
        new(near).unwrap();
    }
    let shown = format!("{:?}", new("postgres://u:secret@localhost/x").unwrap());
    assert!(!shown.contains("secret") && shown.contains("localhost"));
    assert!(matches!(new("http://x"), Err(PostgresError::Url(_))));
    let short = Postgres::new("host=localhost", None, None, Some(Duration::ZERO));
    assert!(matches!(short, Err(PostgresError::Lease(_))));
}

/// TLS with a certificate of the authority that was named, and with no other.
#[test]
fn sec_15_the_database_is_known_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, certificate.pem()).unwrap();
        (file, key.serialize_pem())
    };
    let (ours, key) = certificate("ours.pem");
    let (other, _) = certificate("other.pem");
    let key_file = folder.path().join("key.pem");
    std::fs::write(&key_file, key).unwrap();
    // The server wants a key file of root with this mode.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let owner = std::process::Command::new("chgrp")
        .arg("postgres")
        .arg(&key_file)
        .status();
    assert!(owner.unwrap().success());
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _server = Server::start(&[
        "listen_addresses=localhost",
        &format!("port={port}"),
        "ssl=on",
        &format!("ssl_cert_file={}", ours.display()),
        &format!("ssl_key_file={}", key_file.display()),
    ]);
    let url = format!("postgres://postgres@localhost:{port}/postgres");
    let open = |ca: &Path| {
        let at = Postgres::new(&url, None, Some(ca), None).unwrap();
        let data = tempfile::tempdir().unwrap();
        let opened = Store::open(data.path(), &Location::Postgres(at))?;
        let encrypted = opened.read_blocking(|store| {
            Ok(store.query(
                "SELECT CAST(ssl AS TEXT) FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                &[],
            )?)
        });
        assert_eq!(
            encrypted.unwrap()[0].get::<String>(0),
            Ok("true".to_owned())
        );
        Ok::<_, OpenError>(())
    };
    open(&ours).unwrap();
    let error = open(&other).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}
