//! Rounds: a server and its load, then the baseline.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use futures_util::future::join_all;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_control::server::{KeyServer, ServerConfig};
use sealcast_control::store::{Location, Postgres, Store};
use sealcast_domain::audit;
use sealcast_domain::ledger::{self, Bound, NewBook, NewTransfer};
use sealcast_objects::api::Role;
use sealcast_terminal::enrol;
use serde::Serialize;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::load::{self, Ask, Got, book, draw, now};
use super::options::Options;
use super::{postgres, report};
use crate::host::Host;
use crate::interrupt::Interrupt;
use crate::progress::progress;
use crate::record::{Origin, printed};

/// Commands under way of the one who has many.
const BATCH: u16 = 512;

/// Which database the store is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Embedded,
    Postgres,
}

impl Kind {
    fn place(self, options: &Options) -> Result<Location> {
        match (self, &options.postgres) {
            (Self::Postgres, Some(url)) => {
                let url = postgres::database(url)?;
                Ok(Location::Postgres(Postgres::new(&url, None, None, None)?))
            }
            _ => Ok(Location::Folder),
        }
    }
}

/// One turn over HTTPS.
pub(super) struct Turn {
    pub(super) store: Kind,
    pub(super) ask: Ask,
    pub(super) connections: u16,
    pub(super) got: Got,
    /// Commands in one transaction.
    pub(super) batch: f64,
}

/// Runs the bench, and says what is to be printed.
///
/// # Errors
/// If a server or a store cannot be had, a command is refused, or it is interrupted.
pub fn run(options: &Options) -> Result<String> {
    let interrupt = Interrupt::listen()?;
    // Server and load have all cores: only the thread that looks at the host is pinned.
    let host = std::thread::spawn(|| Host::pinned(None)).join();
    let host = host.map_err(|_| anyhow!("looking at the host"))??;
    let told = vec![
        "server and load use all cores; every commit synced, if the database is set so".to_owned(),
    ];
    let origin = Origin::new(host, told);
    let (mut turns, mut plain) = (Vec::new(), Vec::new());
    let stores = match options.postgres {
        Some(_) => &[Kind::Embedded, Kind::Postgres][..],
        None => &[Kind::Embedded],
    };
    // The time first: what HTTPS takes without any command.
    let each = options.per_request.iter();
    let each = each.map(|each| Ask::Transfers { each: *each });
    let asks: Vec<_> = [Ask::Time]
        .into_iter()
        .chain(each)
        .chain([Ask::Proved])
        .collect();
    let in_round = stores.len() * options.connections.len() * asks.len() + 2;
    let bar = progress(usize::from(options.rounds) * in_round);
    for round in 1..=options.rounds {
        for &store in stores {
            let of = |&connections: &u16| asks.iter().map(move |ask| (*ask, connections));
            for (ask, connections) in options.connections.iter().flat_map(of) {
                interrupt.check()?;
                bar.set_message(format!(
                    "round {round}, {store:?}, {connections} connections, {ask:?}"
                ));
                turns.push(turn(options, round, store, (ask, connections))?);
                bar.inc(1);
            }
        }
        for batch in [1, BATCH] {
            bar.set_message(format!("round {round}, {batch} commands per transaction"));
            plain.push((batch, without_http(options, round, batch)?));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let rows = report::rows(&turns, &plain);
    Ok(printed(options.json, &origin, &rows, report::text)?)
}

fn folder(options: &Options) -> Result<TempDir> {
    let folder = match &options.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    folder.context("no folder for a store")
}

/// Opens the books in a store that nobody uses.
fn open_books(store: &Store, books: u32) -> Result<()> {
    let opened = store.write_blocking(move |tx| {
        for number in 0..=books {
            let new = NewBook {
                id: book(number),
                unit: "EUR/cent".to_owned(),
                bound: Bound::Free,
            };
            ledger::open(tx, now(), &new)?;
        }
        Ok(())
    });
    Ok(opened?)
}

fn time(options: &Options) -> Duration {
    Duration::from_secs(options.seconds.into())
}

fn turn(
    options: &Options,
    round: u16,
    store: Kind,
    (ask, connections): (Ask, u16),
) -> Result<Turn> {
    let folder = folder(options)?;
    let (data, place) = (folder.path().join("data"), store.place(options)?);
    open_books(&Store::open(&data, &place)?, options.books)?;
    let serving = Builder::new_multi_thread().enable_all().build()?;
    let (server, tls) = serving.block_on(start(&data, &place))?;
    let monitor = server.monitor();
    let before = serving.block_on(monitor.health()).writes;
    let url = format!("https://{}", server.listen()[0]);
    let loading = Builder::new_current_thread().enable_all().build()?;
    let seed = (time(options), round.into());
    let load = load::ask(&url, tls, (ask, connections), options.books, seed);
    let got = loading.block_on(load)?;
    let after = serving.block_on(monitor.health()).writes;
    drop(monitor);
    end(&serving, server);
    let commits = (after.commits - before.commits).max(1);
    let batch = (after.commands - before.commands) as f64 / commits as f64;
    let verified = sealcast_control::offline::verify(&data, &place, vec![])?;
    if !verified.ledger.is_empty() || !verified.audit.is_empty() {
        return Err(anyhow!("the store is not as it must be: {verified:?}"));
    }
    Ok(Turn {
        store,
        ask,
        connections,
        got,
        batch,
    })
}

async fn start(data: &Path, place: &Location) -> Result<(KeyServer, rustls::ClientConfig)> {
    let mut config = ServerConfig::new(data.to_owned());
    config.store = place.clone();
    config.listen = vec!["127.0.0.1:0".parse()?];
    config.door = vec!["127.0.0.1:0".parse()?];
    config.names = vec!["127.0.0.1".to_owned()];
    let server = KeyServer::start(config).await?;
    let code = server
        .operator_code("bench", Duration::from_secs(60))
        .await?;
    let url = format!("https://{}", server.listen()[0]);
    let key = enrol::new_key()?;
    let identity = enrol::enrol(&url, &code.code.parse()?, &key, Role::Admin).await?;
    Ok((server, identity.tls()?))
}

fn end(runtime: &Runtime, server: KeyServer) {
    runtime.block_on(server.stop());
}

/// Commands per second of one who has `batch` of them under way, each once the last is answered; without HTTP.
fn without_http(options: &Options, round: u16, batch: u16) -> Result<f64> {
    let folder = folder(options)?;
    let store = Store::open(&folder.path().join("data"), &Location::Folder)?;
    open_books(&store, options.books)?;
    let runtime = Builder::new_current_thread().build()?;
    let mut rng = StdRng::seed_from_u64(round.into());
    let (start, mut done) = (Instant::now(), 0_u64);
    while start.elapsed() < time(options) {
        let commands = (0..batch).map(|_| {
            let (id, command) = draw(&mut rng, options.books);
            store.write(move |tx| {
                let (_, made) = ledger::transfer(tx, now(), &NewTransfer::of(id, &command))?;
                audit::append(tx, now(), "admin:bench", &ledger::act(&made))
            })
        });
        let commands: Vec<_> = commands.collect();
        for made in runtime.block_on(join_all(commands)) {
            made?;
        }
        done += u64::from(batch);
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
