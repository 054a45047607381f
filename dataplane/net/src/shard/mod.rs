//! A shard: one executor on one thread, pinned to one core. What runs on it stays on it.

pub(crate) mod epoll;
mod ring;

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use futures_lite::future::yield_now;

use crate::clock;

/// Longest time a task runs before others get their turn.
const PREEMPT: Duration = Duration::from_millis(1);

/// What a shard's tasks wait with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Executor {
    /// epoll and a timer.
    #[default]
    Epoll,
    /// io_uring, by glommio.
    IoUring,
}

impl Executor {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Epoll, Self::IoUring];

    /// On this core.
    #[must_use]
    pub fn on(self, core: usize) -> Placement {
        Placement {
            core: Some(core),
            executor: self,
        }
    }

    /// Where the kernel places it.
    #[must_use]
    pub fn anywhere(self) -> Placement {
        Placement {
            core: None,
            executor: self,
        }
    }
}

/// Its name in options.
impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Epoll => "epoll",
            Self::IoUring => "io-uring",
        })
    }
}

/// Where a shard runs, and on what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Placement {
    /// The core it is pinned to; the kernel chooses without one.
    pub core: Option<usize>,
    /// What its tasks wait with.
    pub executor: Executor,
}

impl Placement {
    /// One for each of `cores`, or one that the kernel places if there are none.
    #[must_use]
    pub fn each(cores: &[usize], executor: Executor) -> Vec<Self> {
        match cores {
            [] => vec![executor.anywhere()],
            cores => cores.iter().map(|&core| executor.on(core)).collect(),
        }
    }
}

/// A running shard.
#[derive(Debug)]
pub struct ShardHandle<T: Send + 'static>(Kind<T>);

#[derive(Debug)]
enum Kind<T: Send + 'static> {
    Ring(ring::Handle<T>),
    Epoll(epoll::Handle<T>),
}

/// Starts a shard named `name` and runs `main` on it. Returns once it runs.
///
/// # Errors
/// When the kernel gives no io_uring (old, or forbidden by a sandbox), too little memory may be locked, or the core does not
/// exist; the message says which and what to do.
pub fn start<T, F>(
    name: &str,
    placement: Placement,
    main: impl FnOnce() -> F + Send + 'static,
) -> io::Result<ShardHandle<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let Placement { core, executor } = placement;
    Ok(ShardHandle(match executor {
        Executor::IoUring => Kind::Ring(ring::start(name, core, main)?),
        Executor::Epoll => Kind::Epoll(epoll::start(name, core, main)?),
    }))
}

impl<T: Send + 'static> ShardHandle<T> {
    /// Waits for the shard's end.
    ///
    /// # Errors
    /// When it panicked; the message has the panic's words.
    pub fn join(self) -> io::Result<T> {
        match self.0 {
            Kind::Ring(handle) => handle.join(),
            Kind::Epoll(handle) => handle.join(),
        }
    }
}

/// Runs a task beside the present one on this shard until it ends, or the shard's `main` does. Its result, if it has one,
/// goes through a mailbox.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    match epoll::here() {
        Some(shard) => shard.spawn(task),
        None => drop(glommio::spawn_local(task).detach()),
    }
}

/// Waits. Cancel-safe.
pub async fn sleep(duration: Duration) {
    let here = epoll::here().map(|shard| shard.sleep(duration));
    match here {
        Some(slept) => slept.await,
        None => glommio::timer::sleep(duration).await,
    }
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
    match epoll::here().map(|shard| shard.turn_is_over()) {
        Some(true) => yield_now().await,
        Some(false) => {}
        None => glommio::yield_if_needed().await,
    }
}

const OPEN_MORE_FILES: &str = "let it open more files (ulimit -n, LimitNOFILE= of the service)";
const NO_SUCH_CORE: &str = "choose a core that exists (lscpu lists them)";

fn cannot_start(core: Option<usize>, error: impl fmt::Display, what_to_do: &str) -> io::Error {
    let core = core.map_or_else(String::new, |core| format!(" on core {core}"));
    io::Error::other(format!("cannot start a shard{core}: {error}; {what_to_do}"))
}

#[cfg(test)]
mod tests;
