//! Shards on glommio: tasks that wait in an io_uring.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::or;
use glommio::{BuilderErrorKind, GlommioError, LocalExecutorBuilder, Placement};

use super::PREEMPT;

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
pub(super) struct Handle<T: Send + 'static>(glommio::ExecutorJoinHandle<Option<T>>);

/// As [`super::start`].
pub(super) fn start<T, F>(
    name: &str,
    core: Option<usize>,
    main: impl FnOnce() -> F + Send + 'static,
) -> io::Result<Handle<T>>
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
            return Ok(Handle(handle));
        }
        let begun = attempts
            .iter()
            .position(|(_, is_up): &(_, Receiver<()>)| is_up.try_recv().is_ok());
        if let Some(begun) = begun {
            return Ok(Handle(attempts.swap_remove(begun).0));
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
                glommio::timer::sleep(longest).await;
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
        GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { .. }) => super::NO_SUCH_CORE,
        // The executor passes its own kind of error on as text.
        GlommioError::IoError(error) if error.to_string().contains("MemLockLimit") => LOCK,
        GlommioError::IoError(error) => match error.raw_os_error() {
            Some(libc::ENOMEM) => LOCK,
            Some(libc::EMFILE | libc::ENFILE) => super::OPEN_MORE_FILES,
            _ => {
                "it needs io_uring: Linux 5.8 or newer, kernel.io_uring_disabled=0, and a sandbox that allows it"
            }
        },
        _ => "see the kernel's log",
    };
    super::cannot_start(core, error, what_to_do)
}

impl<T: Send + 'static> Handle<T> {
    pub(super) fn join(self) -> io::Result<T> {
        self.0
            .join()
            .map_err(|error| io::Error::other(format!("a shard ended badly: {error}")))?
            .ok_or_else(|| io::Error::other("a shard ended before it began"))
    }
}
