//! Runs the channels of a process: starts them on shards, reloads, watches, stops. The same for `send` and `receive`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use sealcast_crypto::Backend;
use sealcast_dataplane::fleet::{Fleet, Running};
use sealcast_dataplane::meter::MeterHandle;
use sealcast_dataplane::status::Published;
use sealcast_net::shard::{Executor, Placement};
use sealcast_proto::ids::ChannelId;

use crate::Failure;
use crate::config::{ChannelPlan, Plan};
use crate::live::{Live, Totals};
use crate::ops::Ops;
use crate::signals::Signals;

/// How often signals and ended channels are looked for.
const TICK: Duration = Duration::from_millis(50);

/// How a channel ended: `Err` says why it could not be opened, `Ok(Some)` why it failed later.
pub type Outcome = Result<Option<String>, String>;

/// What `send` and `receive` differ in.
pub trait Kind {
    /// Totals of a channel.
    type Status: Totals + Clone + Default + Send + 'static;

    /// What counts usage, if it is counted.
    fn usage(&self) -> Option<MeterHandle>;

    /// Starts a channel on shard `shard`.
    fn start(
        &self,
        fleet: &Fleet,
        shard: usize,
        plan: &ChannelPlan,
        status: Published<Self::Status>,
    ) -> Running<Outcome>;
}

/// A running channel as others see it.
#[derive(Clone, Debug)]
pub struct Shown<S> {
    /// For people.
    pub name: String,
    /// Its totals.
    pub status: Published<S>,
}

/// The running channels and what counts their usage, for metrics and the live line.
#[derive(Debug)]
pub struct Board<S> {
    channels: Arc<Mutex<BTreeMap<ChannelId, Shown<S>>>>,
    usage: Option<MeterHandle>,
}

impl<S> Clone for Board<S> {
    fn clone(&self) -> Self {
        Self {
            channels: Arc::clone(&self.channels),
            usage: self.usage.clone(),
        }
    }
}

impl<S> Board<S> {
    fn new(usage: Option<MeterHandle>) -> Self {
        Self {
            channels: Arc::default(),
            usage,
        }
    }

    /// The channels now.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Shown<S>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether usage cannot be written now; `None` if it is not counted.
    #[must_use]
    pub fn usage_fails(&self) -> Option<bool> {
        self.usage.as_ref().map(MeterHandle::is_failing)
    }
}

struct Entry {
    plan: ChannelPlan,
    running: Running<Outcome>,
}

struct Runner<'a, K: Kind> {
    kind: &'a K,
    fleet: Fleet,
    board: Board<K::Status>,
    entries: BTreeMap<ChannelId, Entry>,
    next_shard: usize,
    unopened: Vec<String>,
    failed: Vec<String>,
}

/// Settings of a run.
pub struct RunArgs<'a> {
    /// JSON lines on standard output.
    pub json: bool,
    /// Ends by itself after this.
    pub limit: Option<Duration>,
    /// Resolves the configuration again.
    pub resolve: &'a dyn Fn() -> Result<Plan>,
}

impl std::fmt::Debug for RunArgs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunArgs")
            .field("json", &self.json)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Runs `plan` until its channels have ended, the limit is reached, or INT or TERM comes.
pub fn run<K: Kind>(kind: &K, plan: Plan, args: &RunArgs<'_>) -> Result<(), Failure> {
    let open = |error: std::io::Error| Failure::CannotOpen(error.into());
    let placements = Placement::each(&plan.cores, plan.executor.into());
    tracing::info!(backend = %Backend::detect(), "packet crypto");
    tracing::info!(shards = placements.len(), executor = %Executor::from(plan.executor), "shards");
    let signals = Signals::listen().map_err(open)?;
    let fleet = Fleet::start(&placements).map_err(open)?;
    let board = Board::new(kind.usage());
    let _ops = plan
        .metrics
        .map(|at| Ops::start(at, board.clone()))
        .transpose()
        .map_err(Failure::CannotOpen)?;
    let mut runner = Runner {
        kind,
        fleet,
        board: board.clone(),
        entries: BTreeMap::new(),
        next_shard: 0,
        unopened: Vec::new(),
        failed: Vec::new(),
    };
    for channel in plan.channels {
        runner.start(channel);
    }
    let mut live = Live::new(args.json);
    let start = Instant::now();
    while !signals.stop()
        && !runner.entries.is_empty()
        && args.limit.is_none_or(|limit| start.elapsed() < limit)
    {
        std::thread::sleep(TICK);
        runner.reap();
        if signals.take_reload() {
            runner.reload((args.resolve)());
        }
        live.show(&board);
    }
    runner.stop_all();
    live.last(&board);
    runner.finish()
}

impl<K: Kind> Runner<'_, K> {
    fn start(&mut self, plan: ChannelPlan) {
        let status = Published::default();
        let shard = plan.shard.unwrap_or(self.next_shard);
        self.next_shard += 1;
        let running = self.kind.start(&self.fleet, shard, &plan, status.clone());
        self.board.lock().insert(
            plan.channel,
            Shown {
                name: plan.name.clone(),
                status,
            },
        );
        self.entries.insert(plan.channel, Entry { plan, running });
    }

    /// Notes channels that have ended.
    fn reap(&mut self) {
        let ended: Vec<_> = self
            .entries
            .iter_mut()
            .filter_map(|(&id, entry)| entry.running.try_result().map(|outcome| (id, outcome)))
            .collect();
        for (id, outcome) in ended {
            if let Some(entry) = self.entries.remove(&id) {
                self.note(&entry.plan, Some(outcome));
            }
        }
    }

    fn note(&mut self, plan: &ChannelPlan, outcome: Option<Outcome>) {
        let (list, why) = match outcome {
            Some(Ok(None)) => return,
            Some(Ok(Some(why))) => (&mut self.failed, why),
            Some(Err(why)) => (&mut self.unopened, why),
            None => (&mut self.failed, "its shard failed".to_owned()),
        };
        let message = format!("{} ({}): {why}", plan.name, plan.channel.0);
        tracing::error!("{message}");
        list.push(message);
    }

    /// Stops what is gone or changed, starts what is new; unchanged channels are not touched.
    fn reload(&mut self, plan: Result<Plan>) {
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                return tracing::error!("reload refused, everything goes on as it was: {error:#}");
            }
        };
        let (mut stopped, mut started) = (0, 0);
        let wanted: BTreeMap<_, _> = plan
            .channels
            .into_iter()
            .map(|channel| (channel.channel, channel))
            .collect();
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(id, entry)| wanted.get(id) != Some(&entry.plan))
            .map(|(&id, _)| id)
            .collect();
        for id in gone {
            if let Some(entry) = self.entries.remove(&id) {
                let outcome = entry.running.stop_and_wait();
                self.board.lock().remove(&id);
                self.note(&entry.plan, outcome);
                stopped += 1;
            }
        }
        for (id, channel) in wanted {
            if !self.entries.contains_key(&id) {
                self.start(channel);
                started += 1;
            }
        }
        tracing::info!(stopped, started, running = self.entries.len(), "reloaded");
    }

    fn stop_all(&mut self) {
        for entry in self.entries.values() {
            entry.running.stop();
        }
        for (_, entry) in std::mem::take(&mut self.entries) {
            let outcome = entry.running.wait();
            self.note(&entry.plan, outcome);
        }
    }

    fn finish(self) -> Result<(), Failure> {
        self.fleet
            .join()
            .map_err(|error| Failure::NotAsItMustBe(error.into()))?;
        if let Some(why) = self.unopened.first() {
            return Err(Failure::CannotOpen(anyhow!("{why}")));
        }
        match self.failed.first() {
            Some(why) => Err(Failure::NotAsItMustBe(anyhow!("{why}"))),
            None => Ok(()),
        }
    }
}
