//! How a channel waits for its input: each datagram as it comes, or, within a latency budget, what has come at the shard's
//! next tick. A wake costs as much as some twenty packets, so a channel that lets them gather is that much cheaper.

use std::future::Future;
use std::time::Duration;

use sealcast_net::tick::Ticker;

/// Ticks without input after which a channel leaves the rhythm and sleeps until something comes.
const QUIET_TICKS: u32 = 4;

/// The longest budget: more would not be seen as live.
pub const BUDGET_MAX: Duration = Duration::from_secs(1);
/// The shortest that is not 0: less than a wake takes on some hosts.
pub const BUDGET_MIN: Duration = Duration::from_micros(100);
/// A delivery server's, if nothing else is set.
pub const BUDGET_DEFAULT: Duration = Duration::from_millis(2);

/// One channel's way of waiting. Inside a shard only.
#[derive(Debug)]
pub struct Coalesce {
    /// The shard's rhythm of this budget; without one, nothing waits.
    ticker: Option<Ticker>,
    /// Ticks since something came.
    quiet: u32,
}

impl Coalesce {
    /// `budget`: how long a datagram may wait; less than [`BUDGET_MIN`]: not at all.
    #[must_use]
    pub fn new(budget: Duration) -> Self {
        Self {
            ticker: (budget >= BUDGET_MIN).then(|| Ticker::new(budget)),
            quiet: QUIET_TICKS,
        }
    }

    /// Whether the channel waits for ticks now: then it is woken by each.
    #[must_use]
    pub fn is_ticking(&self) -> bool {
        self.ticker.is_some() && self.quiet < QUIET_TICKS
    }

    /// Waits for the next tick or, if the channel is not in the rhythm, for `ready`. Cancel-safe if `ready` is.
    pub async fn wait(&mut self, ready: impl Future<Output = ()>) {
        match &mut self.ticker {
            Some(ticker) if self.quiet < QUIET_TICKS => ticker.next().await,
            _ => ready.await,
        }
    }

    /// After each look at the input: whether something was there.
    pub fn looked(&mut self, found: bool) {
        self.quiet = if found {
            0
        } else {
            self.quiet.saturating_add(1)
        };
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_lite::future::or;
    use sealcast_net::shard::Placement;
    use sealcast_net::{clock, shard};

    use super::*;

    /// Whether waiting ends by itself although nothing is ready.
    async fn ticks(coalesce: &mut Coalesce) -> bool {
        let ticked = async {
            coalesce.wait(pending()).await;
            true
        };
        let given_up = async {
            shard::sleep(Duration::from_millis(60)).await;
            false
        };
        or(ticked, given_up).await
    }

    fn on_a_shard(main: impl AsyncFnOnce() + Send + 'static) {
        let shard = shard::start(
            "test",
            Placement::default(),
            move || async move { main().await },
        );
        shard.unwrap().join().unwrap();
    }

    #[test]
    fn the_first_is_taken_at_once_then_ticks_come_until_it_is_quiet() {
        on_a_shard(async || {
            let mut coalesce = Coalesce::new(Duration::from_millis(5));
            assert!(!coalesce.is_ticking() && !ticks(&mut coalesce).await);
            coalesce.wait(ready(())).await;
            coalesce.looked(true);
            for _ in 0..QUIET_TICKS {
                assert!(coalesce.is_ticking() && ticks(&mut coalesce).await);
                coalesce.looked(false);
            }
            assert!(!coalesce.is_ticking() && !ticks(&mut coalesce).await);
        });
    }

    #[test]
    fn without_a_budget_nothing_waits() {
        on_a_shard(async || {
            let mut coalesce = Coalesce::new(Duration::ZERO);
            coalesce.looked(true);
            let before = clock::boottime();
            for _ in 0..1000 {
                coalesce.wait(ready(())).await;
                coalesce.looked(true);
            }
            assert!(clock::boottime() - before < 100_000_000);
        });
    }
}
