//! A shard: one executor on one thread, pinned to one core. What runs on it stays on it.

use std::future::Future;
use std::io;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};

use crate::clock;

/// Longest time a task runs before others get their turn.
const PREEMPT: Duration = Duration::from_millis(1);

/// A running shard.
#[derive(Debug)]
pub struct ShardHandle<T: Send + 'static>(glommio::ExecutorJoinHandle<T>);

/// Starts a shard named `name`, pinned to `core` if one is given, and runs `main` on it.
///
/// # Errors
/// When the kernel does not give an io_uring (old kernel, forbidden by a sandbox, locked memory below 512 KiB) or the core
/// does not exist; the message says which and what to do.
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
    let builder = LocalExecutorBuilder::new(placement)
        .name(name)
        .preempt_timer(PREEMPT);
    builder.spawn(move || async move { main().await }).map(ShardHandle).map_err(|error| {
        let core = core.map_or_else(String::new, |core| format!(" on core {core}"));
        io::Error::other(format!(
            "cannot start a shard{core}: {error}. A shard needs io_uring (Linux 5.8 or newer, not forbidden by a sandbox), at \
             least 512 KiB of lockable memory (ulimit -l, LimitMEMLOCK=), and an existing core"
        ))
    })
}

impl<T: Send + 'static> ShardHandle<T> {
    /// Waits for the shard's end.
    ///
    /// # Errors
    /// When it panicked.
    pub fn join(self) -> io::Result<T> {
        self.0
            .join()
            .map_err(|error| io::Error::other(format!("a shard ended badly: {error}")))
    }
}

/// Runs a task beside the present one on this shard until it ends.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Waits.
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
    fn a_core_that_does_not_exist_is_a_clear_error() {
        let error = start("test", Some(4095), || async {})
            .and_then(ShardHandle::join)
            .unwrap_err();
        assert!(error.to_string().contains("core 4095"), "{error}");
    }
}
