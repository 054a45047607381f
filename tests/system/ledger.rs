//! The ledger of a server that is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use sealcast_objects::api::{Role, Transfer, TransferCommand, TransferPage};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::{BookId, TransferId};
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;

use crate::keyserver::KeyServer;
use crate::postgres;
use crate::postgres_server::Server;

/// Who transfers at once.
const HANDS: u64 = 16;

type Asked = (Text<TransferId>, TransferCommand);

fn book(number: u8) -> Text<BookId> {
    Text(BookId([number; 16]))
}

/// Book 1 is where money comes from, 2 to 4 are prepaid.
fn draw(rng: &mut StdRng) -> Asked {
    let random = rng.random::<[u8; 16]>();
    let debit = rng.random_range(1..=4);
    let credit = (debit + rng.random_range(0..3_u8)) % 4 + 1;
    let command = TransferCommand::Move {
        debit: book(debit),
        credit: book(credit),
        amount: rng.random_range(1..500),
        note: String::new(),
    };
    (Text(TransferId::from_bytes(random)), command)
}

async fn put(client: &Client, (id, command): &Asked) -> Result<Transfer, RequestError> {
    let path = format!("/v1/transfers/{id}");
    client.call(Method::PUT, &path, Some(command)).await
}

/// What one hand did until the server died under it.
#[derive(Default)]
struct Done {
    made: Vec<Transfer>,
    unanswered: Option<Asked>,
}

async fn work(client: Client, seed: u64, count: Arc<AtomicU64>) -> Done {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut done = Done::default();
    loop {
        let asked = draw(&mut rng);
        match put(&client, &asked).await {
            Ok(made) => done.made.push(made),
            // Not enough in the book.
            Err(RequestError::Refused(_)) => continue,
            Err(_) => {
                done.unanswered = Some(asked);
                return done;
            }
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn client(server: &KeyServer) -> Client {
    let identity = Identity::load(Path::new(&server.operator()), Role::Admin).unwrap();
    Client::new(&identity).unwrap()
}

#[test]
fn a_killed_server_has_every_acknowledged_transfer_once() {
    kill_and_count(&[]);
}

/// As on SQLite; the server that starts again waits until the former's lease is over.
#[test]
fn a_killed_server_on_postgresql_has_every_acknowledged_transfer_once() {
    let database = Server::start(&[]);
    let url = postgres::database(database.url());
    kill_and_count(&["--postgres", &url, "--postgres-lease", "1s"]);
}

/// kill -9 under load: what was acknowledged is there once, what got no answer is commanded again and there once, nothing else is there, and the
/// log tells the same.
fn kill_and_count(store: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = KeyServer::start(None, folder.path(), store);
    for number in 1..=4 {
        let id = book(number).to_string();
        let bound = if number == 1 {
            "free"
        } else {
            "debits-within-credits"
        };
        server.admin(&["ledger", "open", "EUR/cent", "--id", &id, "--bound", bound]);
    }
    let head = server.admin(&["audit", "head"]).to_string();
    let kept = folder.path().join("head.json");
    fs::write(&kept, head).unwrap();
    let long = std::env::var_os("SEALCAST_LONG").is_some();
    let rounds = if long { 50 } else { 5 };
    let seed = std::env::var("SEALCAST_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..rounds {
        let count = Arc::new(AtomicU64::new(0));
        let hands: Vec<_> = (0..HANDS)
            .map(|_| runtime.spawn(work(client(&server), rng.random(), Arc::clone(&count))))
            .collect();
        let most = rng.random_range(200..2000);
        let wait = Duration::from_millis(rng.random_range(300..1500));
        let start = Instant::now();
        while count.load(Ordering::Relaxed) < most && start.elapsed() < wait {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        let done: Vec<Done> = runtime.block_on(async {
            let mut done = Vec::new();
            for hand in hands {
                done.push(hand.await.unwrap());
            }
            done
        });
        server.start_again();
        let again = client(&server);
        for Done { made, unanswered } in done {
            let more = unanswered.map(|asked| runtime.block_on(put(&again, &asked)));
            let more = match more {
                Some(Ok(made)) => Some(made),
                Some(Err(RequestError::Refused(_))) | None => None,
                Some(Err(error)) => unreachable!("round {round}: {error}"),
            };
            for made in made.into_iter().chain(more) {
                let number = made.number;
                let before = acknowledged.insert(made.id.0, made);
                assert_eq!(
                    before, None,
                    "round {round}: {number} was acknowledged twice"
                );
            }
        }
    }
    let again = client(&server);
    let (mut there, mut part) = (BTreeMap::new(), Some(String::new()));
    while let Some(after) = part {
        let path = format!("/v1/transfers?limit=1000{after}");
        let page: TransferPage = runtime.block_on(again.get(&path)).unwrap();
        there.extend(page.transfers.into_iter().map(|made| (made.id.0, made)));
        part = page.next.map(|next| format!("&after={next}"));
    }
    assert!(
        there == acknowledged,
        "{} are there, {} were acknowledged",
        there.len(),
        acknowledged.len()
    );
    let numbers: BTreeSet<_> = there.values().map(|made| made.number).collect();
    assert_eq!(numbers.last(), Some(&(there.len() as u64)), "without gaps");
    assert!(there.len() > 100 * rounds, "only {} transfers", there.len());
    // Sums, bounds and the chain, beside the running server; and the log has each transfer once.
    let data = server.data().display().to_string();
    let kept = kept.display().to_string();
    let verify = ["audit", "verify", "--data", &data, "--head", &kept];
    let place = &store[..store.len().min(2)];
    let (status, _, errors) = server.run(&[&verify, place].concat());
    assert_eq!(status, 0, "{errors}");
    let export = folder.path().join("log.jsonl").display().to_string();
    let operator = server.operator();
    let args = [
        "admin",
        "--identity",
        &operator,
        "audit",
        "export",
        "--out",
        &export,
    ];
    assert_eq!(server.run(&args).0, 0);
    let lines = fs::read_to_string(&export).unwrap();
    assert_eq!(lines.matches("\"transfer.make\"").count(), there.len());
    println!("{} transfers acknowledged, {rounds} kills", there.len());
}

/// The drill of a restore: a backup that was made under load is put in the store's place. What had been acknowledged before it began is there,
/// what is there is whole, and the audit log goes on from a head that was kept.
#[test]
fn a_backup_made_under_load_is_whole_when_it_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = KeyServer::start(None, folder.path(), &[]);
    for number in 1..=4 {
        let id = book(number).to_string();
        server.admin(&["ledger", "open", "EUR/cent", "--id", &id]);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let hands: Vec<_> = (0..4)
        .map(|hand| runtime.spawn(work(client(&server), hand, Arc::clone(&count))))
        .collect();
    let wait = |most: u64| {
        let start = Instant::now();
        while count.load(Ordering::Relaxed) < most {
            assert!(start.elapsed() < Duration::from_secs(20), "no load");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait(300);
    let kept = folder.path().join("head.json");
    fs::write(&kept, server.admin(&["audit", "head"]).to_string()).unwrap();
    let before = count.load(Ordering::Relaxed);
    let copy = folder.path().join("copy.db");
    let data = server.data().display().to_string();
    let copied = server.run(&["backup", "--data", &data, copy.to_str().unwrap()]);
    assert_eq!(copied.0, 0, "{}", copied.2);
    let after = count.load(Ordering::Relaxed);
    wait(after + 300);
    server.kill();
    let made: usize = runtime.block_on(async {
        let mut made = 0;
        for hand in hands {
            made += hand.await.unwrap().made.len();
        }
        made
    });
    for part in ["store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(server.data().join(part));
    }
    fs::copy(&copy, server.data().join("store.db")).unwrap();
    server.start_again();
    let page = server.admin(&["ledger", "transfers"]);
    let mut there = 0;
    let mut next = Some(page);
    while let Some(page) = next {
        there += page["transfers"].as_array().unwrap().len() as u64;
        next = page["next"]
            .as_str()
            .map(|after| server.admin(&["ledger", "transfers", "--after", after]));
    }
    // Four may have been on their way while it was counted.
    assert!(
        before <= there && there <= after + 4,
        "{before} {there} {after}"
    );
    assert!(there < made as u64, "what came later is gone");
    let kept = kept.display().to_string();
    let verify = ["audit", "verify", "--data", &data, "--head", &kept];
    let (status, _, errors) = server.run(&verify);
    assert_eq!(status, 0, "{errors}");
    server.admin(&["account", "add", "after the restore"]);
}

/// The database is stopped and comes back: who orders something meanwhile hears it, and the server goes on by itself.
#[test]
fn a_database_that_goes_away_is_named_and_nothing_is_lost_when_it_returns() {
    let mut database = Server::start(&[]);
    let url = postgres::database(database.url());
    let folder = tempfile::tempdir().unwrap();
    let server = KeyServer::start(None, folder.path(), &["--postgres", &url]);
    server.admin(&["account", "add", "before"]);
    database.tell("stop");
    for ask in [&["account", "add", "meanwhile"][..], &["account", "list"]] {
        let said = server.try_admin(ask).unwrap_err();
        assert!(said.contains("the store does not answer"), "{said}");
    }
    database.tell("start");
    let start = Instant::now();
    while let Err(said) = server.try_admin(&["account", "add", "after"]) {
        assert!(start.elapsed() < Duration::from_secs(15), "{said}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let accounts = server.admin(&["account", "list"]).to_string();
    let there = ["before", "meanwhile", "after"].map(|name| accounts.contains(name));
    assert_eq!(there, [true, false, true], "{accounts}");
}
