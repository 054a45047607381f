//! A shard: one executor on one thread, pinned to one core. What runs on it stays on it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::or;
use glommio::{BuilderErrorKind, GlommioError, LocalExecutorBuilder, Placement};

use crate::clock;

/// Longest time a task runs before others get their turn.
const PREEMPT: Duration = Duration::from_millis(1);

/// Longest times the executor sleeps. It may go to sleep beside tasks that are ready: when one of its own events (preemption
/// timer, wake from another thread) comes just before it looks for work, glommio-ng 0.12 takes that for having none. Any later
/// event sets it going again, so there is always one soon. A sleep that has just ended is itself among what is then not run, and
/// on a shard without other events nothing would come any more: so there are longer ones behind it, which hardly ever end together.
const SLEEPS_MAX: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(53),
    Duration::from_millis(509),
];

/// How long a shard may take to begin, and how often it is tried. The executor may go to sleep as well before it has run anything
/// at all, and then nothing wakes it.
const START_WAIT: Duration = Duration::from_secs(1);
const STARTS: u32 = 10;

/// A running shard.
#[derive(Debug)]
pub struct ShardHandle<T: Send + 'static>(glommio::ExecutorJoinHandle<Option<T>>);

/// Starts a shard named `name`, pinned to `core` if one is given, and runs `main` on it. Returns once it runs.
///
/// # Errors
/// When the kernel gives no io_uring (old, or forbidden by a sandbox), too little memory may be locked, or the core does not
/// exist; the message says which and what to do.
pub fn start<T, F>(
    name: &str,
    core: Option<usize>,
    main: impl FnOnce() -> F + Send + 'static,
) -> io::Result<ShardHandle<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let placement = core.map_or(Placement::Unbound, Placement::Fixed);
    // Whoever begins first takes it; an executor that slept and wakes after all finds nothing to do.
    let main = Arc::new(Mutex::new(Some(main)));
    let mut attempts = Vec::new();
    for _ in 0..STARTS {
        // The executor makes its rings on its own thread: whether it can is known when its task begins, or the thread ends.
        let (up, is_up) = sync_channel(1);
        let main = Arc::clone(&main);
        let handle = LocalExecutorBuilder::new(placement.clone())
            .name(name)
            .preempt_timer(PREEMPT)
            .spawn(move || async move {
                let main = main.lock().unwrap_or_else(PoisonError::into_inner).take()?;
                let _ = up.send(());
                // In one task with `main`, so that there are timers before the executor can sleep again.
                or(async { Some(main().await) }, stay_awake()).await
            })
            .map_err(|error| cannot_start(core, &error))?;
        let waited = is_up.recv_timeout(START_WAIT);
        if waited.is_ok() {
            return Ok(ShardHandle(handle));
        }
        let begun = attempts
            .iter()
            .position(|(_, is_up): &(_, Receiver<()>)| is_up.try_recv().is_ok());
        if let Some(begun) = begun {
            return Ok(ShardHandle(attempts.swap_remove(begun).0));
        }
        if waited == Err(RecvTimeoutError::Disconnected) {
            handle.join().map_err(|error| cannot_start(core, &error))?;
        } else {
            attempts.push((handle, is_up));
        }
    }
    Err(io::Error::other(format!(
        "a shard did not begin within {START_WAIT:?}, {STARTS} times: is the host overloaded?"
    )))
}

/// Never ends; wakes the executor now and then.
async fn stay_awake<T>() -> Option<T> {
    let again = |longest| -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            loop {
                sleep(longest).await;
            }
        })
    };
    let mut sleeps = SLEEPS_MAX.map(again);
    poll_fn(|context| {
        for sleep in &mut sleeps {
            let _ = sleep.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
}

fn cannot_start(core: Option<usize>, error: &GlommioError<()>) -> io::Error {
    const LOCK: &str =
        "let it lock at least 512 KiB of memory (ulimit -l, LimitMEMLOCK= of the service)";
    let what_to_do = match error {
        GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { .. }) => {
            "choose a core that exists (lscpu lists them)"
        }
        // The executor passes its own kind of error on as text.
        GlommioError::IoError(error) if error.to_string().contains("MemLockLimit") => LOCK,
        GlommioError::IoError(error) => match error.raw_os_error() {
            Some(libc::ENOMEM) => LOCK,
            Some(libc::EMFILE | libc::ENFILE) => {
                "let it open more files (ulimit -n, LimitNOFILE= of the service)"
            }
            _ => {
                "it needs io_uring: Linux 5.8 or newer, kernel.io_uring_disabled=0, and a sandbox that allows it"
            }
        },
        _ => "see the kernel's log",
    };
    let core = core.map_or_else(String::new, |core| format!(" on core {core}"));
    io::Error::other(format!("cannot start a shard{core}: {error}; {what_to_do}"))
}

impl<T: Send + 'static> ShardHandle<T> {
    /// Waits for the shard's end.
    ///
    /// # Errors
    /// When it panicked; the message has the panic's words.
    pub fn join(self) -> io::Result<T> {
        self.0
            .join()
            .map_err(|error| io::Error::other(format!("a shard ended badly: {error}")))?
            .ok_or_else(|| io::Error::other("a shard ended before it began"))
    }
}

/// Runs a task beside the present one on this shard until it ends, or the shard's `main` does. Its result, if it has one,
/// goes through a mailbox.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Waits. Cancel-safe.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Waits until the boot clock shows `instant` nanoseconds. Cancel-safe.
pub async fn sleep_until(instant: u64) {
    let now = clock::boottime();
    if instant > now {
        sleep(Duration::from_nanos(instant - now)).await;
    }
}

/// Lets others run if this task has had its turn; nearly free otherwise.
pub async fn yield_if_needed() {
    glommio::yield_if_needed().await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::Command;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_shard_runs_sleeps_and_is_joined() {
        let shard = start("test", Some(0), || async {
            let before = clock::boottime();
            sleep_until(before + 3_000_000).await;
            clock::boottime() - before
        });
        let passed = shard.unwrap().join().unwrap();
        assert!(passed >= 3_000_000, "{passed}");
    }

    #[test]
    fn a_busy_task_leaves_others_their_turn() {
        let shard = start("test", None, || async {
            let woken = Rc::new(Cell::new(false));
            let sleeper = Rc::clone(&woken);
            spawn(async move {
                sleep(Duration::from_millis(1)).await;
                sleeper.set(true);
            });
            let start = clock::boottime();
            while !woken.get() && clock::boottime() - start < 1_000_000_000 {
                yield_if_needed().await;
            }
            clock::boottime() - start
        });
        // With the executor's own preemption timer it is about 200 ms.
        let passed = shard.unwrap().join().unwrap();
        assert!(passed < 90_000_000, "{passed} ns");
    }

    #[test]
    fn a_core_that_does_not_exist_is_a_clear_error() {
        let error = start("test", Some(4095), || async {}).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("core 4095") && error.contains("lscpu"),
            "{error}"
        );
    }

    #[test]
    fn a_panic_is_seen_by_who_joins() {
        let shard = start("test", None, || async { panic!("main on purpose") });
        let error = shard.unwrap().join().unwrap_err().to_string();
        assert!(error.contains("main on purpose"), "{error}");
    }

    #[test]
    fn a_panic_of_a_spawned_task_ends_the_shard() {
        let shard = start("test", None, || async {
            spawn(async { panic!("task on purpose") });
            sleep(Duration::from_secs(5)).await;
        });
        let error = shard.unwrap().join().unwrap_err().to_string();
        assert!(error.contains("task on purpose"), "{error}");
    }

    #[test]
    fn too_little_lockable_memory_is_a_clear_error() {
        const INSIDE: &str = "SEALCAST_TEST_LITTLE_MEMLOCK";
        if std::env::var_os(INSIDE).is_some() {
            let error = start("test", None, || async {}).unwrap_err().to_string();
            assert!(error.contains("ulimit -l"), "{error}");
            return;
        }
        // The limit is the process's: this test runs itself once more under a lower one.
        let output = Command::new("sh")
            .args(["-c", "ulimit -l 64 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg("shard::tests::too_little_lockable_memory_is_a_clear_error")
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }
}
