//! What tasks wait for: descriptors and points in time.
//!
//! A descriptor is asked for once for every wait (EPOLLONESHOT): what arrives while its task waits for something else, the next
//! tick for one, wakes nobody.
#![expect(unsafe_code, reason = "what is watched is not closed before")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use polling::{Event, Events, Poller};

use crate::clock;

/// A shard's.
pub(super) struct Reactor {
    poller: Arc<Poller>,
    events: RefCell<Events>,
    sources: RefCell<HashMap<usize, Rc<Source>>>,
    timers: RefCell<BTreeMap<TimerKey, Waker>>,
    /// For the next descriptor or timer.
    number: Cell<usize>,
}

/// Boot clock, nanoseconds, and a number that sets it apart from others of the same instant.
type TimerKey = (u64, usize);

impl Reactor {
    pub(super) fn new(poller: Arc<Poller>) -> Self {
        Self {
            poller,
            events: RefCell::new(Events::new()),
            sources: RefCell::default(),
            timers: RefCell::default(),
            number: Cell::new(0),
        }
    }

    fn next_number(&self) -> usize {
        let number = self.number.get();
        self.number.set(number + 1);
        number
    }

    /// Asks the kernel, waiting until something happens unless `at_once`, and wakes those that it is about.
    pub(super) fn wait(&self, at_once: bool) -> io::Result<()> {
        let timeout = if at_once {
            Some(Duration::ZERO)
        } else {
            let timers = self.timers.borrow();
            timers
                .first_key_value()
                .map(|(&(due, _), _)| Duration::from_nanos(due.saturating_sub(clock::boottime())))
        };
        let mut events = self.events.borrow_mut();
        events.clear();
        self.poller.wait(&mut events, timeout)?;
        for event in events.iter() {
            if let Some(source) = self.sources.borrow().get(&event.key) {
                source.is_ready();
            }
        }
        self.wake_sleepers();
        Ok(())
    }

    fn wake_sleepers(&self) {
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() {
            return;
        }
        let now = clock::boottime();
        while let Some(first) = timers.first_entry() {
            if first.key().0 > now {
                return;
            }
            first.remove().wake();
        }
    }
}

/// Waits for `duration`.
pub(super) async fn sleep(reactor: Rc<Reactor>, duration: Duration) {
    let duration = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let due = clock::boottime().saturating_add(duration);
    let key = (due, reactor.next_number());
    let timer = Timer { reactor, key };
    poll_fn(|context| timer.poll(context)).await;
}

/// A point in time that a task waits for, forgotten when it gives up.
struct Timer {
    reactor: Rc<Reactor>,
    key: TimerKey,
}

impl Timer {
    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if clock::boottime() >= self.key.0 {
            return Poll::Ready(());
        }
        let mut timers = self.reactor.timers.borrow_mut();
        timers
            .entry(self.key)
            .and_modify(|waker| waker.clone_from(context.waker()))
            .or_insert_with(|| context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.reactor.timers.borrow_mut().remove(&self.key);
    }
}

/// What the reactor knows of a watched descriptor.
struct Source {
    /// How often the kernel told that it is ready.
    told: Cell<u64>,
    /// What the kernel is to tell; with the first of it, it forgets all.
    asked: Cell<Event>,
    waiters: RefCell<Vec<Waker>>,
}

impl Source {
    fn is_ready(&self) {
        self.told.set(self.told.get() + 1);
        self.asked.set(Event::none(self.asked.get().key));
        self.waiters.borrow_mut().drain(..).for_each(Waker::wake);
    }

    fn add(&self, waker: &Waker) {
        let mut waiters = self.waiters.borrow_mut();
        if !waiters.iter().any(|known| known.will_wake(waker)) {
            waiters.push(waker.clone());
        }
    }
}

/// A descriptor that tasks of this shard wait for.
pub(crate) struct Watched<T: AsFd> {
    reactor: Rc<Reactor>,
    source: Rc<Source>,
    inner: T,
}

impl<T: AsFd> Watched<T> {
    pub(super) fn new(reactor: &Rc<Reactor>, inner: T) -> io::Result<Self> {
        let asked = Event::none(reactor.next_number());
        // SAFETY: it is taken out in `drop`, before `inner` is closed.
        unsafe { reactor.poller.add(&inner.as_fd(), asked)? };
        let source = Rc::new(Source {
            told: Cell::new(0),
            asked: Cell::new(asked),
            waiters: RefCell::default(),
        });
        let sources = &mut reactor.sources.borrow_mut();
        sources.insert(asked.key, Rc::clone(&source));
        Ok(Self {
            reactor: Rc::clone(reactor),
            source,
            inner,
        })
    }

    pub(crate) fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Waits until it can be read, or about so: whoever waited for something else may be woken with it.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.ready(|asked| asked.readable = true).await
    }

    /// The same for writing.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.ready(|asked| asked.writable = true).await
    }

    async fn ready(&self, add: impl Fn(&mut Event)) -> io::Result<()> {
        let seen = self.source.told.get();
        poll_fn(|context| {
            if self.source.told.get() != seen {
                return Poll::Ready(Ok(()));
            }
            self.source.add(context.waker());
            let mut asked = self.source.asked.get();
            add(&mut asked);
            if asked != self.source.asked.get() {
                self.reactor.poller.modify(self.inner.as_fd(), asked)?;
                self.source.asked.set(asked);
            }
            Poll::Pending
        })
        .await
    }
}

impl<T: AsFd> Drop for Watched<T> {
    fn drop(&mut self) {
        // It only fails for what is not watched.
        let _ = self.reactor.poller.delete(self.inner.as_fd());
        let key = self.source.asked.get().key;
        self.reactor.sources.borrow_mut().remove(&key);
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.inner).finish()
    }
}
