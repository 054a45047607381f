//! One run: devices on shards of their own, attackers beside them if wanted, watched from here.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sealcast_dataplane::status::Published;
use sealcast_net::shard::{self, Placement, ShardHandle};
use sealcast_net::{GroupOptions, clock};
use sealcast_proto::ids::{Epoch, Time};

use super::counts::Counts;
use super::crowd::{Setup, Standing};
pub use super::device::DOORS_MAX;
use super::drive::{DriveTask, Drove, Status};
use super::hostile::HostileTask;
pub use super::hostile::{Attack, Flooded};
use super::scenario::Scenario;
use super::sessions::Sessions;
use crate::control::{Control, OpenError};

/// How often the shards are looked at.
const TICK: Duration = Duration::from_millis(20);
/// From opening to the first request.
const LEAD: u64 = 20_000_000;
/// How long answers are waited for when nothing is asked any more.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for devices that tune in: some doors may be away.
const PATIENCE_COLD: Duration = Duration::from_secs(60);
/// After the change devices that are late may still get their key.
const AFTER: Duration = Duration::from_millis(1500);
/// Lives of a key in which the change must come.
const LIVES: u32 = 3;
/// Sockets, at most.
pub const SOCKETS_MAX: u16 = 16_384;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sessions of the devices.
    pub sessions: Sessions,
    /// How many of them.
    pub devices: u32,
    /// Where the key doors are.
    pub doors: Vec<SocketAddr>,
    /// What devices do.
    pub scenario: Scenario,
    /// Sockets of all devices together.
    pub sockets: u16,
    /// Where Notices come in band; without, devices ask by timer only.
    pub groups: Vec<GroupOptions>,
    /// Shards of devices, pinned where a core is named.
    pub shards: Vec<Placement>,
    /// Resolution of what is counted over time.
    pub bin: Duration,
    /// Attackers beside them.
    pub hostile: Option<Hostile>,
    /// Chooses what is random.
    pub seed: u64,
}

/// Attackers.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// Their shards.
    pub shards: Vec<Placement>,
    /// Sockets of each.
    pub sockets: u16,
    /// Datagrams per second of each; `None`: as many as can be sent.
    pub rate: Option<u64>,
}

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sample {
    /// Seconds since the start.
    pub at: f64,
    /// All shards together.
    pub standing: Standing,
    /// Seconds until the change of key that is measured, if one is.
    pub change_in: Option<f64>,
}

/// The change that devices followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangeWindow {
    /// When devices begin to ask: the second preset.
    pub begins: Time,
    /// Over how much of it the key server spreads them.
    pub spread: Time,
    /// The change.
    pub boundary: Time,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was counted.
    pub counts: Counts,
    /// Where all stood at the end.
    pub standing: Standing,
    /// How long the oldest request without an answer has waited at the end.
    pub oldest: Duration,
    /// How long the run was.
    pub took: Duration,
    /// The change that was measured.
    pub change: Option<ChangeWindow>,
    /// The newest epoch that devices hold, and how many hold it.
    pub newest: Option<(Epoch, u64)>,
    /// Answers that the kernel dropped in front of the devices.
    pub drops: u64,
    /// Requests that the kernel did not take.
    pub refused: u64,
    /// What attackers sent.
    pub flooded: Option<Flooded>,
}

/// A run on its shards.
struct Running {
    control: Arc<Control>,
    shards: Vec<(ShardHandle<Option<Drove>>, Published<Status>)>,
    attackers: Vec<ShardHandle<Option<Flooded>>>,
}

/// Runs `plan` to its end. `watch` sees where it stands 50 times a second and says whether to go on.
///
/// # Errors
/// When a socket or shard cannot be opened.
pub fn run(plan: &Plan, watch: &mut dyn FnMut(&Sample) -> bool) -> Result<Outcome, OpenError> {
    let running = Running::open(plan)?;
    let start = clock::boottime() + LEAD;
    running.control.start.store(start, Ordering::Release);
    let mut course = Course::new(plan, Time(start));
    loop {
        std::thread::sleep(TICK);
        let now = Time(clock::boottime());
        let (standing, statuses) = running.look();
        let over = course.is_over(now, &standing, &statuses);
        let sample = Sample {
            at: now.since(Time(start)).as_secs_f64(),
            standing,
            change_in: course
                .change
                .map(|change| seconds_between(now, change.boundary)),
        };
        if !watch(&sample) || over {
            break;
        }
    }
    running.finish(&course)
}

fn seconds_between(now: Time, then: Time) -> f64 {
    then.since(now).as_secs_f64() - now.since(then).as_secs_f64()
}

/// How a run goes on, and when it ends.
struct Course {
    start: Time,
    devices: u64,
    length: Duration,
    follows: bool,
    patience: Duration,
    /// When all devices held a key, or were given up.
    all_hold: Option<Time>,
    change: Option<ChangeWindow>,
    /// The schedule is over since then.
    done: Option<Time>,
}

impl Course {
    fn new(plan: &Plan, start: Time) -> Self {
        Self {
            start,
            devices: plan.devices.into(),
            length: plan.scenario.length(),
            follows: matches!(plan.scenario, Scenario::Switch { .. }),
            patience: match plan.scenario {
                Scenario::Cold { .. } | Scenario::Switch { .. } => PATIENCE_COLD,
                Scenario::Steady { .. } | Scenario::Trace(_) => PATIENCE,
            },
            all_hold: None,
            change: None,
            done: None,
        }
    }

    fn is_over(&mut self, now: Time, standing: &Standing, statuses: &[Status]) -> bool {
        let scheduled =
            statuses.iter().all(|status| status.finished) && now >= self.start.after(self.length);
        if !scheduled {
            return false;
        }
        let done = *self.done.get_or_insert(now);
        let given_up = now.since(done) >= self.patience;
        if !self.follows {
            return standing.waiting == 0 || given_up;
        }
        if self.all_hold.is_none() && (standing.holding >= self.devices || given_up) {
            self.all_hold = Some(now);
        }
        let Some(all_hold) = self.all_hold else {
            return false;
        };
        let Some((fetch_ahead, lifetime)) = statuses.iter().find_map(|status| status.timing) else {
            // Nobody ever answered.
            return given_up;
        };
        self.plan_change(now, all_hold, fetch_ahead, statuses);
        match self.change {
            Some(change) => now >= change.boundary.after(AFTER),
            None => now.since(all_hold) >= lifetime * LIVES,
        }
    }

    /// The first change whose window begins when all hold a key. Until it has come, it may be put off by a Notice.
    fn plan_change(
        &mut self,
        now: Time,
        all_hold: Time,
        fetch_ahead: Duration,
        statuses: &[Status],
    ) {
        if self.change.is_some_and(|change| change.boundary <= now) {
            return;
        }
        let ends = statuses.iter().flat_map(|status| status.ends.iter());
        let begins = |end: Time| end.before(fetch_ahead);
        let next = ends
            .map(|(_, end)| *end)
            .filter(|&end| end > now && begins(end) >= all_hold)
            .min();
        self.change = next.map(|boundary| ChangeWindow {
            begins: begins(boundary),
            spread: begins(boundary).after(fetch_ahead * 7 / 10),
            boundary,
        });
    }
}

impl Running {
    /// Opens everything; nothing is sent yet.
    fn open(plan: &Plan) -> Result<Self, OpenError> {
        let mut running = Self {
            control: Arc::default(),
            shards: Vec::new(),
            attackers: Vec::new(),
        };
        let opened = running
            .open_devices(plan)
            .and_then(|()| running.open_attackers(plan));
        if let Err(error) = opened {
            running.control.stop.store(true, Ordering::Relaxed);
            return Err(error);
        }
        Ok(running)
    }

    fn open_devices(&mut self, plan: &Plan) -> Result<(), OpenError> {
        let (ready, opened) = mpsc::channel();
        let of = u32::try_from(plan.shards.len()).unwrap_or(1).max(1);
        for (index, placement) in (0..of).zip(plan.shards.iter().copied()) {
            let status = Published::default();
            let task = DriveTask {
                setup: Setup {
                    sessions: plan.sessions.clone(),
                    doors: plan.doors.len(),
                    fetch_on: plan.scenario.fetch_on(),
                    index,
                    of,
                    devices: plan.devices,
                    seed: plan.seed,
                },
                bin: plan.bin,
                doors: plan.doors.clone(),
                sockets: (plan.sockets / u16::try_from(of).unwrap_or(1)).max(1),
                groups: plan.groups.clone(),
                acts: plan.scenario.acts(plan.devices),
                control: Arc::clone(&self.control),
                status: status.clone(),
            };
            let ready = ready.clone();
            let name = format!("devices-{index}");
            let handle = shard::start(&name, placement, move || task.run(ready))?;
            self.shards.push((handle, status));
        }
        drop(ready);
        opened.into_iter().collect()
    }

    fn open_attackers(&mut self, plan: &Plan) -> Result<(), OpenError> {
        let Some(hostile) = &plan.hostile else {
            return Ok(());
        };
        let (ready, opened) = mpsc::channel();
        for (index, placement) in (0..).zip(hostile.shards.iter().copied()) {
            let task = HostileTask {
                doors: plan.doors.clone(),
                sockets: hostile.sockets,
                rate: hostile.rate,
                sessions: plan.sessions.clone(),
                // Not one of the honest, if there are more sessions than these.
                device: plan.sessions.count() - 1,
                seed: plan.seed + 1 + index,
                control: Arc::clone(&self.control),
            };
            let ready = ready.clone();
            let name = format!("hostile-{index}");
            let handle = shard::start(&name, placement, move || task.run(ready))?;
            self.attackers.push(handle);
        }
        drop(ready);
        opened.into_iter().collect()
    }

    fn look(&self) -> (Standing, Vec<Status>) {
        let statuses: Vec<_> = self
            .shards
            .iter()
            .map(|(_, status)| status.read())
            .collect();
        let mut sum = Standing::default();
        for Status { standing, .. } in &statuses {
            sum.add(standing);
        }
        (sum, statuses)
    }

    /// Ends the shards and puts together what they found.
    fn finish(self, course: &Course) -> Result<Outcome, OpenError> {
        self.control.stop.store(true, Ordering::Relaxed);
        let ended = Time(clock::boottime());
        let mut drove = Vec::new();
        for (handle, _) in self.shards {
            drove.extend(handle.join()?);
        }
        let mut flooded: Option<Flooded> = None;
        for handle in self.attackers {
            for (sum, count) in flooded
                .get_or_insert_default()
                .iter_mut()
                .zip(handle.join()?.unwrap_or_default())
            {
                *sum += count;
            }
        }
        let mut all = drove.into_iter();
        let first = all
            .next()
            .ok_or_else(|| std::io::Error::other("no shard has run"))?;
        let mut outcome = Outcome {
            counts: first.counts,
            standing: first.standing,
            oldest: first.oldest,
            took: ended.since(course.start),
            change: course.change.filter(|change| change.boundary <= ended),
            newest: first.newest,
            drops: first.drops,
            refused: first.refused,
            flooded,
        };
        all.for_each(|drove| outcome.add(&drove));
        Ok(outcome)
    }
}

impl Outcome {
    fn add(&mut self, drove: &Drove) {
        self.counts.add(&drove.counts);
        self.standing.add(&drove.standing);
        self.oldest = self.oldest.max(drove.oldest);
        self.drops += drove.drops;
        self.refused += drove.refused;
        self.newest = match (self.newest, drove.newest) {
            (Some((mine, count)), Some((theirs, more))) if mine == theirs => {
                Some((mine, count + more))
            }
            (mine, theirs) => mine.max(theirs),
        };
    }
}
