//! Processor time: of a process with all its threads, and of a wake that does nothing. The kernel counts what interrupts do in
//! a process's time as its own (unless built with CONFIG_IRQ_TIME_ACCOUNTING), so sending over veth is in it, too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;

/// What a process has used so far, user and system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CpuTime {
    /// Each thread that lives, to the nanosecond (/proc/PID/task/TID/schedstat).
    threads: BTreeMap<u32, Duration>,
    /// All threads, also those that have ended, in ticks (/proc/PID/stat).
    ticks: u64,
}

impl CpuTime {
    /// That of process `pid`, now.
    ///
    /// # Errors
    /// If there is no such process.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let process = format!("/proc/{pid}");
        Self::read(Path::new(&process)).with_context(|| format!("processor time of process {pid}"))
    }

    fn read(process: &Path) -> Result<Self> {
        let stat = fs::read_to_string(process.join("stat"))?;
        let ticks = ticks(&stat).context("its stat has no times")?;
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(process.join("task"))? {
            let thread = thread?;
            let id = thread.file_name().to_string_lossy().parse()?;
            // One that has ended meanwhile is in the ticks.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                continue;
            };
            let time = run_time(&text).context("a thread's schedstat has no time")?;
            threads.insert(id, time);
        }
        Ok(Self { threads, ticks })
    }

    /// What it has used since `earlier`: of its threads, or of the ticks where those show more (threads have ended).
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let threads = self.threads.iter().map(|(id, &time)| {
            let before = earlier.threads.get(id).copied().unwrap_or_default();
            time.saturating_sub(before)
        });
        // User and system time are rounded down, each.
        let ticks = self.ticks.saturating_sub(earlier.ticks + 2);
        let tick = Duration::from_secs(1).as_secs_f64() / clock_ticks_per_second() as f64;
        let ticks = Duration::from_secs_f64(ticks as f64 * tick);
        threads.sum::<Duration>().max(ticks)
    }
}

/// User and system time in the text of /proc/PID/stat, in ticks (proc(5): fields 14 and 15).
fn ticks(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Time on a core in the text of a schedstat: the first of its numbers, in nanoseconds.
fn run_time(schedstat: &str) -> Option<Duration> {
    let nanoseconds = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// The thread that calls, for [`of_thread`].
pub(crate) fn this_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Time on a core of a thread of this process so far.
///
/// # Errors
/// If there is no such thread.
pub(crate) fn of_thread(thread: i32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    run_time(&text).context("a thread's schedstat has no time")
}

/// What a wake that finds nothing to do costs the calling thread, if it sleeps on a tick of `period` for `wakes` of them.
///
/// # Errors
/// If the kernel does not tell threads' times.
pub(crate) fn empty_wake(period: Duration, wakes: u32) -> Result<Duration> {
    let mine = || of_thread(this_thread());
    let (start, before) = (Instant::now(), mine()?);
    for wake in 1..=wakes {
        sleep((start + period * wake).saturating_duration_since(Instant::now()));
    }
    Ok(mine()?.saturating_sub(before) / wakes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(threads: &[(u32, u64)], ticks: u64) -> CpuTime {
        let threads = threads
            .iter()
            .map(|&(id, ms)| (id, Duration::from_millis(ms)));
        CpuTime {
            threads: threads.collect(),
            ticks,
        }
    }

    #[test]
    fn ticks_stand_behind_a_name_of_any_kind() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 1234 56 0 0 20 0 3 0 99";
        assert_eq!(ticks(stat), Some(1290));
        assert_eq!(ticks("42 (a) S 1 2 3 4 5 6 7 8 9 10 1234"), None);
        assert_eq!(ticks("42 S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn a_schedstat_begins_with_the_time_on_a_core() {
        assert_eq!(
            run_time("943564 56055 2\n"),
            Some(Duration::from_nanos(943_564))
        );
        assert_eq!(run_time(""), None);
        assert_eq!(run_time("much 2 3"), None);
    }

    #[test]
    fn threads_that_came_count_whole_and_those_that_went_by_ticks() {
        let before = time(&[(1, 100), (2, 500)], 60);
        let after = time(&[(1, 140), (3, 7)], 65);
        assert_eq!(after.since(&before), Duration::from_millis(47));
        let tick = 1000 / u32::try_from(clock_ticks_per_second()).unwrap();
        let after = time(&[(1, 140)], 160);
        assert_eq!(after.since(&before), Duration::from_millis(98) * tick);
        assert_eq!(before.since(&before), Duration::ZERO);
    }

    #[test]
    fn work_of_every_thread_is_seen() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        let busy = move || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
            CpuTime::of(pid).unwrap()
        };
        let after = std::thread::spawn(busy).join().unwrap();
        // The other tests' threads work, too, and the host may have less than a core for this one.
        assert!(after.since(&before) > Duration::from_millis(5));
        assert!(CpuTime::of(u32::MAX).is_err());
    }

    #[test]
    fn an_empty_wake_costs_less_than_its_tick() {
        let cost = empty_wake(Duration::from_millis(2), 20).unwrap();
        assert!(
            cost > Duration::ZERO && cost < Duration::from_millis(2),
            "{cost:?}"
        );
    }
}
