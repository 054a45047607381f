//! Shards that wait in epoll. A round runs the tasks that are ready, no longer than a turn, and then asks the kernel once: for
//! the descriptors that somebody waits for, and to wake it for the next timer.

mod reactor;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use async_executor::LocalExecutor;
use futures_lite::FutureExt as _;
use futures_lite::future::{or, yield_now};
use polling::Poller;
use rustix::thread::{CpuSet, sched_setaffinity};

use self::reactor::Reactor;
pub(crate) use self::reactor::Watched;
use super::PREEMPT;
use crate::clock;

thread_local! {
    static HERE: RefCell<Option<Rc<Shard>>> = const { RefCell::new(None) };
}

/// A shard, seen from its own thread.
pub(crate) struct Shard {
    tasks: LocalExecutor<'static>,
    reactor: Rc<Reactor>,
    /// Boot clock, nanoseconds: when the kernel is to be asked again.
    turn_ends: Cell<u64>,
    /// A task's, that ends the shard.
    panic: Rc<Cell<Option<Panic>>>,
}

type Panic = Box<dyn Any + Send>;

/// The shard of this thread, if it waits in epoll.
pub(crate) fn here() -> Option<Rc<Shard>> {
    HERE.with_borrow(Option::clone)
}

impl Shard {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // Otherwise nobody would learn that it panicked.
        let panic = Rc::clone(&self.panic);
        let caught = async move {
            if let Err(words) = AssertUnwindSafe(task).catch_unwind().await {
                panic.set(Some(words));
            }
        };
        self.tasks.spawn(caught).detach();
    }

    /// Tasks must not hold the shard that holds them.
    pub(super) fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        reactor::sleep(Rc::clone(&self.reactor), duration)
    }

    pub(crate) fn watch<T: AsFd>(&self, descriptor: T) -> io::Result<Watched<T>> {
        Watched::new(&self.reactor, descriptor)
    }

    pub(super) fn turn_is_over(&self) -> bool {
        clock::boottime() >= self.turn_ends.get()
    }

    /// Runs tasks until `main` ends; then all others end, too.
    fn run<T: 'static>(
        &self,
        alarm: &Arc<Alarm>,
        main: impl Future<Output = T> + 'static,
    ) -> io::Result<T> {
        let turns = async {
            loop {
                self.tasks.tick().await;
                if let Some(panic) = self.panic.take() {
                    resume_unwind(panic);
                }
                if self.turn_is_over() {
                    yield_now().await;
                }
            }
        };
        let mut all = pin!(or(self.tasks.spawn(main), turns));
        let waker = Waker::from(Arc::clone(alarm));
        let mut context = Context::from_waker(&waker);
        let turn = u64::try_from(PREEMPT.as_nanos()).unwrap_or(u64::MAX);
        loop {
            self.turn_ends.set(clock::boottime() + turn);
            if let Poll::Ready(result) = all.as_mut().poll(&mut context) {
                return Ok(result);
            }
            alarm.falls_asleep();
            let waited = self.reactor.wait(alarm.rang.load(Ordering::SeqCst));
            alarm.wakes_up();
            waited?;
        }
    }
}

/// The shard is on its thread as long as this lives, also while the thread unwinds.
struct Here;

impl Here {
    fn enter(shard: &Rc<Shard>) -> Self {
        HERE.set(Some(Rc::clone(shard)));
        Self
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        drop(HERE.take());
    }
}

/// Wakes the thread when it waits in the kernel, and costs two loads when it does not.
struct Alarm {
    poller: Arc<Poller>,
    rang: AtomicBool,
    asleep: AtomicBool,
}

impl Alarm {
    /// From now on an alarm ends the wait; one that rang before is seen in `rang`.
    fn falls_asleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
    }

    /// What rang until now is about tasks that are run next.
    fn wakes_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        self.rang.store(false, Ordering::SeqCst);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rang.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst) {
            // It writes to an eventfd of its own, which only fails if it was closed.
            let _ = self.poller.notify();
        }
    }
}

/// A running shard, seen from elsewhere.
#[derive(Debug)]
pub(super) struct Handle<T>(JoinHandle<io::Result<T>>);

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
    let (up, is_up) = sync_channel(1);
    let thread = move || {
        let poller = core.map_or(Ok(()), pin_to).and_then(|()| Poller::new());
        let poller = match poller {
            Ok(poller) => Arc::new(poller),
            Err(error) => {
                let kind = error.kind();
                let _ = up.send(Err(error));
                return Err(kind.into());
            }
        };
        let alarm = Arc::new(Alarm {
            poller: Arc::clone(&poller),
            rang: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
        });
        let shard = Rc::new(Shard {
            tasks: LocalExecutor::new(),
            reactor: Rc::new(Reactor::new(poller)),
            turn_ends: Cell::new(0),
            panic: Rc::default(),
        });
        let _here = Here::enter(&shard);
        let _ = up.send(Ok(()));
        shard.run(&alarm, main())
    };
    let failed = |error: io::Error| cannot_start(core, &error);
    let thread = Builder::new()
        .name(name.into())
        .spawn(thread)
        .map_err(failed)?;
    // A thread that ended without a word panicked, and is joined as any other.
    is_up.recv().unwrap_or(Ok(())).map_err(failed)?;
    Ok(Handle(thread))
}

fn pin_to(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    cores.set(core);
    Ok(sched_setaffinity(None, &cores)?)
}

fn cannot_start(core: Option<usize>, error: &io::Error) -> io::Error {
    let what_to_do = match (error.kind(), error.raw_os_error()) {
        (io::ErrorKind::InvalidInput, _) => super::NO_SUCH_CORE,
        (_, Some(libc::EMFILE | libc::ENFILE)) => super::OPEN_MORE_FILES,
        _ => "see the kernel's log",
    };
    super::cannot_start(core, error, what_to_do)
}

impl<T> Handle<T> {
    pub(super) fn join(self) -> io::Result<T> {
        let words = |panic: Panic| {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            io::Error::other(format!(
                "a shard ended badly: {}",
                text.unwrap_or("it panicked")
            ))
        };
        self.0.join().map_err(words)?
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").finish_non_exhaustive()
    }
}
