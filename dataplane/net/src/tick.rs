//! The tick of a shard: tasks that wait in the same rhythm share one timer, so that many slow channels cost one wake of the
//! executor, not one each. A rhythm rests while nobody waits for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::{clock, shard};

thread_local! {
    static RHYTHMS: RefCell<Vec<Rc<Rhythm>>> = const { RefCell::new(Vec::new()) };
}

/// Ticks at the whole multiples of a period on the boot clock.
#[derive(Debug)]
struct Rhythm {
    /// Nanoseconds.
    period: u64,
    /// Ticks so far.
    count: Cell<u64>,
    running: Cell<bool>,
    waiters: RefCell<Vec<Waker>>,
}

impl Rhythm {
    fn of(period: u64) -> Rc<Self> {
        RHYTHMS.with_borrow_mut(|rhythms| {
            let known = rhythms.iter().find(|rhythm| rhythm.period == period);
            known.cloned().unwrap_or_else(|| {
                let rhythm = Rc::new(Self {
                    period,
                    count: Cell::new(0),
                    running: Cell::new(false),
                    waiters: RefCell::default(),
                });
                rhythms.push(Rc::clone(&rhythm));
                rhythm
            })
        })
    }

    /// Ticks until nobody waits any more.
    async fn run(self: Rc<Self>) {
        let mut woken = Vec::new();
        loop {
            let next = (clock::boottime() / self.period + 1) * self.period;
            shard::sleep_until(next).await;
            // The two lists take turns, so that nothing is allocated.
            std::mem::swap(&mut *self.waiters.borrow_mut(), &mut woken);
            if woken.is_empty() {
                return self.running.set(false);
            }
            self.count.set(self.count.get() + 1);
            woken.drain(..).for_each(Waker::wake);
        }
    }
}

/// One task's part in a shard's rhythm. Inside a shard only.
#[derive(Debug)]
pub struct Ticker {
    rhythm: Rc<Rhythm>,
    /// The tick that is waited for comes after this one.
    seen: u64,
    /// Registered for it.
    waker: Option<Waker>,
}

impl Ticker {
    /// A part in the rhythm of `period`, which is above zero: ticks come at its whole multiples on the boot clock.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        assert!(period > 0, "a rhythm has a period");
        let rhythm = Rhythm::of(period);
        Self {
            seen: rhythm.count.get(),
            rhythm,
            waker: None,
        }
    }

    /// Waits for the next tick after the one that the last call ended with; all that have passed since count as one.
    /// Cancel-safe.
    pub async fn next(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<()> {
        let count = self.rhythm.count.get();
        if self.seen != count {
            (self.seen, self.waker) = (count, None);
            return Poll::Ready(());
        }
        // One that gave up and waits again before the tick is registered already.
        let registered = self.waker.as_ref();
        if !registered.is_some_and(|waker| waker.will_wake(context.waker())) {
            let mut waiters = self.rhythm.waiters.borrow_mut();
            waiters.push(context.waker().clone());
            self.waker = Some(context.waker().clone());
        }
        if !self.rhythm.running.replace(true) {
            shard::spawn(Rc::clone(&self.rhythm).run());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::or;

    use super::*;
    use crate::shard::Placement;

    const PERIOD: Duration = Duration::from_millis(4);

    /// Runs `main` on a shard.
    fn on_a_shard<T: Send + 'static, F: Future<Output = T> + 'static>(
        main: impl FnOnce() -> F + Send + 'static,
    ) -> T {
        shard::start("test", Placement::default(), main)
            .unwrap()
            .join()
            .unwrap()
    }

    #[test]
    fn all_tasks_have_the_same_ticks() {
        let counts = on_a_shard(|| async {
            let done = Rc::new(RefCell::new(Vec::new()));
            for _ in 0..50 {
                let done = Rc::clone(&done);
                shard::spawn(async move {
                    let mut ticker = Ticker::new(PERIOD);
                    for _ in 0..5 {
                        ticker.next().await;
                    }
                    done.borrow_mut().push(ticker.rhythm.count.get());
                });
            }
            shard::sleep(PERIOD * 60).await;
            done.take()
        });
        assert_eq!(counts.len(), 50);
        // Fifty tasks made five ticks (a few more if one was late), not fifty times five.
        assert!(
            counts.iter().all(|count| (5..9).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_rhythm_rests_and_begins_again() {
        on_a_shard(|| async {
            let mut ticker = Ticker::new(PERIOD);
            ticker.next().await;
            shard::sleep(PERIOD * 4).await;
            assert!(!ticker.rhythm.running.get());
            let before = clock::boottime();
            ticker.next().await;
            assert!(clock::boottime() - before < 10 * u64::try_from(PERIOD.as_nanos()).unwrap());
        });
    }

    #[test]
    fn one_that_gives_up_and_waits_again_is_registered_once() {
        on_a_shard(|| async {
            let mut ticker = Ticker::new(Duration::from_millis(200));
            for _ in 0..100 {
                or(ticker.next(), std::future::ready(())).await;
                or(ticker.next(), shard::sleep(Duration::from_micros(100))).await;
            }
            let waiting = ticker.rhythm.waiters.borrow().len();
            assert!(waiting <= 1, "{waiting}");
        });
    }
}
