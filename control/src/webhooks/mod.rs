//! Webhooks: the audit log goes out to whoever operators name. What is to be sent, and what came of it, stands in the store
//! ([`sealcast_domain::webhooks`]); here is one task that asks it, and sends.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the task; what it counts |
//! | `send.rs` | one attempt |
//! | `sign.rs` | signatures |
//! | `guard.rs` | where nothing is sent |

mod guard;
mod send;
mod sign;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use ipnet::IpNet;
use rand_core::Rng as _;
use sealcast_domain::webhooks::deliveries::{self, Due, Outcome};
use sealcast_domain::webhooks::{self, SealedKeys};
use sealcast_objects::WebhookId;
use sealcast_objects::api::{Trial, Webhook};
use sealcast_objects::events::{self, Event, EventData, TEST};
use sealcast_objects::problem::Problem;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::http::{App, SERVER, now};
use send::{Message, Sender};
pub(crate) use sign::Keys;

/// Attempts under way, in all and to one webhook.
const ALL: usize = 16;
const EACH: usize = 4;
/// Those under way are due still: twice as many of each, so that they hide none.
const ASK: u32 = 8;
/// What is due by the clock is looked for this often.
const TICK: Duration = Duration::from_secs(1);
/// The store is asked for what is due no more often than this,
const PAUSE: Duration = Duration::from_millis(5);
/// and for the end of the log no more often than this.
const FOLLOW: Duration = Duration::from_millis(20);
/// What came of an attempt is written down, again if need be, after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Attempts under way at the end get this long.
const DRAIN: Duration = Duration::from_secs(3);

/// Settings of events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventsConfig {
    /// Networks that webhooks may reach besides public addresses.
    pub networks: Vec<IpNet>,
    /// Readers of `/v1/events` at once.
    pub readers: usize,
    /// A reader that takes nothing for so long is cut off.
    pub write: Duration,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            readers: 256,
            write: Duration::from_secs(30),
        }
    }
}

/// Totals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WebhookStats {
    /// Attempts that were acknowledged.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// What sends, and what it has sent.
#[derive(Debug)]
pub struct Webhooks {
    sender: Sender,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Webhooks {
    /// These networks may be reached besides public addresses.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self {
            sender: Sender::new(networks),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn stats(&self) -> WebhookStats {
        WebhookStats {
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// An address that something may be sent to, by its form.
    pub(crate) fn check_url(&self, url: &str) -> Result<(), Problem> {
        self.sender.check_url(url)
    }

    /// Sends `message` once.
    async fn send(
        &self,
        app: &App,
        (webhook, sealed): (&Webhook, &SealedKeys),
        message: &Message,
    ) -> Outcome {
        let keys = Keys::open(webhook.id.0, sealed, app.vault());
        match keys {
            Ok(keys) => self.sender.send(&webhook.url, message, &keys, now()).await,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

impl App {
    /// Sends an event that tells of nothing, and says what came of it.
    pub(crate) async fn try_webhook(&self, id: WebhookId, actor: String) -> Result<Trial, Problem> {
        let now = now();
        let (webhook, keys) = self
            .read(move |store| webhooks::with_keys(store, id, now))
            .await?;
        let event = Event {
            kind: TEST.to_owned(),
            timestamp: now,
            data: EventData {
                number: 0,
                actor,
                subject: webhook.id.to_string(),
                detail: events::Detail::of(""),
            },
        };
        let mut random = [0; 16];
        self.rng().fill_bytes(&mut random);
        let message = Message::new(events::id_of(&random), &event);
        let began = Instant::now();
        let outcome = self.webhooks().send(self, (&webhook, &keys), &message);
        let (good, answer) = match outcome.await {
            Outcome::Delivered(status) => (true, format!("status {status}")),
            Outcome::Failed(why) | Outcome::Later(why, _) => (false, why),
            Outcome::Gone => (false, "status 410".to_owned()),
        };
        Ok(Trial {
            good,
            answer,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// Which event, to whom.
type Key = (WebhookId, u64);

/// Sends what is to be sent, until `stop`. `heads` tells the number of the last entry of the audit log.
pub(crate) async fn run(
    app: App,
    mut heads: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let (mut sends, mut under_way) = (JoinSet::new(), BTreeSet::new());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = sends.join_next() => ended_one(&mut under_way, ended),
            Ok(()) = heads.changed() => {}
            _ = tick.tick() => {}
        }
        while let Some(ended) = sends.try_join_next() {
            ended_one(&mut under_way, ended);
        }
        if let Err(problem) = round(&app, &mut sends, &mut under_way).await {
            tracing::warn!(%problem, "webhooks cannot be looked at; trying again");
            sleep(AGAIN).await;
        }
        sleep(PAUSE).await;
    }
    // What is acknowledged now is not sent again after a restart; what is not is sent again.
    let _ = timeout(DRAIN, async { while sends.join_next().await.is_some() {} }).await;
}

fn ended_one(under_way: &mut BTreeSet<Key>, ended: Result<Key, tokio::task::JoinError>) {
    match ended {
        Ok(key) => {
            under_way.remove(&key);
        }
        Err(error) => tracing::error!(%error, "an attempt to deliver an event ended badly"),
    }
}

/// Looks at the log, and begins what is due.
async fn round(
    app: &App,
    sends: &mut JoinSet<Key>,
    under_way: &mut BTreeSet<Key>,
) -> Result<(), Problem> {
    let now = now();
    let behind = app.read(|store| deliveries::behind(store)).await?;
    if !behind.is_empty() {
        app.write(move |tx| {
            behind
                .iter()
                .try_for_each(|id| deliveries::collect(tx, now, *id).map(|_| ()))
        })
        .await?;
    }
    if under_way.len() >= ALL {
        return Ok(());
    }
    let due = app
        .read(move |store| deliveries::due(store, now, ASK))
        .await?;
    for due in choose(due, under_way) {
        sends.spawn(deliver(app.clone(), due));
    }
    Ok(())
}

/// Which of those that are due begin: whoever has the fewest under way comes first, so that slow ones do not keep the others waiting.
fn choose(mut due: Vec<Due>, under_way: &mut BTreeSet<Key>) -> Vec<Due> {
    let key = |due: &Due| (due.webhook.id.0, due.entry.number);
    due.retain(|due| !under_way.contains(&key(due)));
    let mut chosen = Vec::new();
    while under_way.len() < ALL {
        let busy = |due: &Due| {
            let of = due.webhook.id.0;
            under_way.iter().filter(|(id, _)| *id == of).count()
        };
        let next = due
            .iter()
            .enumerate()
            .map(|(index, due)| (busy(due), index))
            .min();
        let Some((_, index)) = next.filter(|(busy, _)| *busy < EACH) else {
            break;
        };
        let next = due.remove(index);
        under_way.insert(key(&next));
        chosen.push(next);
    }
    chosen
}

/// One attempt, and what came of it, written down.
async fn deliver(app: App, due: Due) -> Key {
    let Due {
        webhook,
        keys,
        entry,
    } = due;
    let message = Message::new(events::id(&entry), &Event::from(&entry));
    let outcome = app.webhooks().send(&app, (&webhook, &keys), &message).await;
    let counter = match &outcome {
        Outcome::Delivered(_) => &app.webhooks().delivered,
        Outcome::Failed(_) | Outcome::Later(..) | Outcome::Gone => &app.webhooks().failed,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(webhook = %webhook.id, number = entry.number, ?outcome, "an event was sent");
    let key = (webhook.id.0, entry.number);
    let jitter = app.rng().next_u32().to_be_bytes()[0];
    // It is not sent again because the store cannot be written.
    while let Err(problem) = settle(&app, key, outcome.clone(), jitter).await {
        let Problem { detail, .. } = problem;
        tracing::debug!(
            detail,
            "what came of an event cannot be written down; trying again"
        );
        sleep(AGAIN).await;
    }
    key
}

async fn settle(app: &App, key: Key, outcome: Outcome, jitter: u8) -> Result<(), Problem> {
    let now = now();
    let settled = app.told(SERVER.to_owned(), move |tx| {
        Ok(((), deliveries::settle(tx, now, key, &outcome, jitter)?))
    });
    settled.await.map(|_| ())
}

/// The number of the last entry of the audit log, told when there is one more. Until `stop`.
pub(crate) async fn follow(app: App, heads: watch::Sender<u64>, mut stop: watch::Receiver<bool>) {
    let mut commits = app.store().commits();
    loop {
        match app.read(|store| sealcast_domain::audit::head(store)).await {
            Ok(head) => {
                heads
                    .send_if_modified(|known| std::mem::replace(known, head.number) != head.number);
            }
            Err(problem) => tracing::debug!(%problem, "the audit log cannot be read; trying again"),
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            changed = commits.changed() => if changed.is_err() {
                return;
            },
            () = sleep(TICK) => {}
        }
        sleep(FOLLOW).await;
    }
}

#[cfg(test)]
mod tests {
    use sealcast_objects::audit::AuditEntry;
    use sealcast_objects::id::Text;
    use sealcast_objects::time::Timestamp;

    use super::*;

    fn due(id: u8, number: u64) -> Due {
        let webhook = Webhook {
            id: Text(WebhookId([id; 16])),
            url: String::new(),
            events: Vec::new(),
            description: String::new(),
            disabled: None,
            position: 0,
            failing_since: None,
            public_key: String::new(),
            former_until: None,
            revision: 1,
            created: Timestamp(0),
        };
        let keys = SealedKeys {
            current: Vec::new(),
            former: None,
        };
        let entry = AuditEntry {
            number,
            at: Timestamp(0),
            actor: String::new(),
            act: String::new(),
            subject: String::new(),
            detail: String::new(),
            hash: Vec::new(),
        };
        Due {
            webhook,
            keys,
            entry,
        }
    }

    /// Four at most to each, sixteen in all, and whoever has fewer goes first.
    #[test]
    fn slow_webhooks_do_not_keep_the_others_waiting() {
        let mut under_way = BTreeSet::new();
        let many = |ids: std::ops::Range<u8>| -> Vec<Due> {
            let of = |id| (1..=8).map(move |number| due(id, number));
            ids.flat_map(of).collect()
        };
        let chosen = choose(many(0..1), &mut under_way);
        let numbers: Vec<_> = chosen.iter().map(|due| due.entry.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert!(choose(many(0..1), &mut under_way).is_empty());
        let others = choose(many(0..3), &mut under_way);
        assert_eq!(others.len(), 8);
        // All are busy but for two places, which go to the one that has none.
        under_way.extend([9, 10].map(|number| (WebhookId([9; 16]), number)));
        let last = choose(many(0..5), &mut under_way);
        let last: Vec<_> = last.iter().map(|due| due.webhook.id.0.0[0]).collect();
        assert_eq!(last, [3, 4]);
        assert_eq!(under_way.len(), ALL);
        // What has ended makes room.
        under_way.remove(&(WebhookId([0; 16]), 2));
        let next = choose(many(0..1), &mut under_way);
        assert_eq!(next[0].entry.number, 2);
    }
}
