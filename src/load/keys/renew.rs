//! `sealcast load keys renew`: devices renew their sessions.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::Method;
use sealcast_loadgen::latency::Times;
use sealcast_loadgen::report::{self, Cell, Fact, Report, Table};
use sealcast_objects::api::{Role, SessionReply, SessionRequest};
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Failure;
use crate::load::make::count;
use crate::load::progress::Progress;
use crate::load::stream::{fact, tell, write_page};
use crate::signals::Signals;

/// Renewals per second, at most: each has a handshake of its own.
const RATE_MAX: u32 = 100_000;
/// How often it is said where the run stands.
const TOLD: Duration = Duration::from_millis(200);

const ABOUT: &str = "\
    Enrolled devices take turns. Each renewal is what a device does once in a life of its session: a new connection, TLS 1.3 with \
    certificates on both sides and without resumption, one request. Renewals are due on a schedule that waits for nobody (open \
    loop); latency is from when one was due to its session.";

/// Flags of `sealcast load keys renew`.
#[derive(Debug, clap::Args)]
pub struct RenewArgs {
    /// Identity of an enrolled device that has a right; repeatable: they take turns
    #[arg(long, value_name = "FILE", required = true)]
    identity: Vec<PathBuf>,
    /// Renewals per second
    #[arg(long, default_value = "100", value_name = "N", value_parser = count)]
    rate: u32,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Connections at once, at most; more wait, and their wait counts
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Threads of the devices
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
    /// Write the report as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What became of renewals.
#[derive(Default)]
struct Outcome {
    begun: u64,
    renewed: u64,
    /// Others, by why.
    failed: BTreeMap<&'static str, u64>,
    /// One of each, in words.
    words: BTreeMap<&'static str, String>,
    times: Times,
    took: Duration,
}

/// Runs it and tells what came of it.
pub fn run(args: &RenewArgs) -> Result<(), Failure> {
    args.check().map_err(Failure::Configuration)?;
    if let Some(file) = &args.html {
        write_page(file, "")?;
    }
    let load = |file: &PathBuf| Identity::load(file, Role::Device).map(Arc::new);
    let devices: Result<Vec<_>, _> = args.identity.iter().map(load).collect();
    let devices = devices.map_err(|error| Failure::CannotOpen(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads.into())
        .enable_all()
        .build()
        .context("the threads of the devices cannot be started")
        .map_err(Failure::CannotOpen)?;
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let line = Progress::endless();
    let outcome = runtime.block_on(renew(args, &devices, &signals, &line));
    line.clear();
    tell(args.json, args.html.as_deref(), &args.report(&outcome))
}

/// Begins each renewal when it is due, and waits for the last ones.
async fn renew(
    args: &RenewArgs,
    devices: &[Arc<Identity>],
    signals: &Signals,
    line: &Progress,
) -> Outcome {
    let start = Instant::now();
    let connections = Arc::new(Semaphore::new(args.connections as usize));
    let (mut running, mut outcome) = (JoinSet::new(), Outcome::default());
    let mut told = start;
    for number in 0..args.renewals() {
        let due = start + Duration::from_secs_f64(number as f64 / f64::from(args.rate));
        tokio::time::sleep_until(due.into()).await;
        let Ok(connection) = Arc::clone(&connections).acquire_owned().await else {
            break;
        };
        let device = usize::try_from(number).unwrap_or(0) % devices.len();
        let device = Arc::clone(&devices[device]);
        outcome.begun += 1;
        running.spawn(async move {
            let renewed = session(&device).await;
            drop(connection);
            (due.elapsed(), renewed)
        });
        while let Some(Ok((took, renewed))) = running.try_join_next() {
            outcome.add(took, renewed);
        }
        if told.elapsed() >= TOLD {
            told = Instant::now();
            line.say(outcome.where_it_stands(running.len()));
            if signals.stop() {
                break;
            }
        }
    }
    // The client gives each request up after some seconds.
    while let Some(Ok((took, renewed))) = running.join_next().await {
        outcome.add(took, renewed);
    }
    outcome.took = start.elapsed();
    outcome
}

/// One renewal, as a device does it.
async fn session(device: &Identity) -> Result<(), RequestError> {
    let request = SessionRequest::default();
    let client = Client::new(device)?;
    let renewed = client.call::<SessionReply>(Method::POST, "/v1/session", Some(&request));
    renewed.await.map(drop)
}

impl Outcome {
    fn add(&mut self, took: Duration, renewed: Result<(), RequestError>) {
        let Err(error) = renewed else {
            self.renewed += 1;
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            return self.times.record(took);
        };
        let why = match &error {
            RequestError::Refused(_) => "refused",
            RequestError::Unreachable { .. } => "unreachable",
            RequestError::Tls { .. } => "tls",
            RequestError::Answer { .. } => "not_understood",
            RequestError::Identity(_) => "identity",
        };
        *self.failed.entry(why).or_default() += 1;
        self.words.entry(why).or_insert_with(|| error.to_string());
    }

    fn where_it_stands(&self, running: usize) -> String {
        let failed: u64 = self.failed.values().sum();
        let renewed = self.renewed;
        format!("{renewed} sessions renewed, {failed} not, {running} under way")
    }

    /// Devices that renew in a ticket period of an hour at this rate: key servers spread renewals over half of it.
    fn in_an_hour(&self) -> u64 {
        let half_an_hour = u128::from(self.renewed) * 1_800_000;
        let devices = half_an_hour / self.took.as_millis().max(1);
        u64::try_from(devices).unwrap_or(u64::MAX)
    }

    /// Renewals per second that came to a session.
    fn rate(&self) -> f64 {
        self.renewed as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl RenewArgs {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            (1..=RATE_MAX).contains(&self.rate),
            "a rate of {}: choose 1 to {RATE_MAX} renewals per second",
            self.rate
        );
        ensure!(
            !self.duration.is_zero() && self.duration <= Duration::from_secs(24 * 3600),
            "--duration {:?}: more than nothing, at most a day",
            self.duration
        );
        Ok(())
    }

    fn renewals(&self) -> u64 {
        let renewals = u128::from(self.rate) * self.duration.as_millis();
        u64::try_from(renewals.div_ceil(1000)).unwrap_or(u64::MAX)
    }

    fn parameters(&self) -> Vec<Fact> {
        let cells = [
            (
                "devices",
                "devices",
                Cell::count(self.identity.len() as u64),
            ),
            ("rate", "renewals per second", Cell::count(self.rate.into())),
            (
                "duration_s",
                "seconds",
                Cell::number(self.duration.as_secs_f64(), 1),
            ),
            (
                "connections",
                "connections at once, at most",
                Cell::count(self.connections.into()),
            ),
            ("threads", "threads", Cell::count(self.threads.into())),
        ];
        cells
            .into_iter()
            .map(|(key, name, cell)| fact(key, name, cell))
            .collect()
    }

    fn report(&self, outcome: &Outcome) -> Report {
        let failed = outcome.begun - outcome.renewed;
        let mut rows = vec![report::row("renewed", outcome.renewed)];
        let others = outcome.failed.iter();
        rows.extend(others.map(|(why, count)| report::row(why, *count)));
        let in_an_hour = outcome.in_an_hour();
        rows.push(report::row("devices_in_a_ticket_period_of_1h", in_an_hour));
        let answers = Table {
            key: "answers",
            title: "Renewals".to_owned(),
            columns: report::columns(&[("what", ""), ("count", "count")]),
            rows,
        };
        let title = "From when a renewal was due to its session, us";
        let times = report::latency(title, &[("renewal", &outcome.times)]);
        let rate = outcome.rate();
        Report {
            title: "sealcast load keys renew".to_owned(),
            about: ABOUT.to_owned(),
            parameters: self.parameters(),
            result: format!(
                "{} of {} sessions renewed, {failed} refused or failed; {rate:.0} per second, {in_an_hour} devices in a ticket period of an hour",
                outcome.renewed,
                self.renewals()
            ),
            good: failed == 0 && outcome.begun == self.renewals(),
            tables: vec![answers, times],
            plots: Vec::new(),
            notes: outcome.words.values().cloned().collect(),
        }
    }
}
