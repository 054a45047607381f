//! What is sent to webhooks, when, and what came of it.

use std::time::Duration;

use sealcast_objects::WebhookId;
use sealcast_objects::api::{Delivery, DeliveryState, Disabled, Replayed, Webhook};
use sealcast_objects::audit::AuditEntry;
use sealcast_objects::events::matches;
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use super::{SealedKeys, get, list, read, read_keys, webhooks, write};
use crate::audit::{self, Act};
use crate::{Read, Result, Row, StoreError, Tx, params, refuse};

/// Entries that are looked at in one go.
pub const LOOK_MAX: u32 = 500;
/// Pending deliveries of a webhook, at most: what comes after them waits in the log.
pub const PENDING_MAX: u64 = 10_000;
/// Dead ones that are kept.
pub const DEAD_MAX: u32 = 10_000;
/// Delivered ones are kept for so long.
pub const DELIVERED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// A webhook that fails for so long without one success is disabled.
pub const FAILING_MAX: Duration = Duration::from_secs(5 * 24 * 3600);
/// Dead ones that are replayed in one go.
const REPLAY_MAX: u32 = 1000;
/// After each attempt that failed the next one comes this much later, in seconds: some 76 hours in all (Standard Webhooks).
const RETRIES: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The other side may ask for as much time as this.
const LATER_MAX: Duration = Duration::from_secs(24 * 3600);
/// And up to a fifth of that later still, so that what failed together does not come together again.
const JITTER: u32 = 5;

/// What is to be sent now.
#[derive(Clone, Debug)]
pub struct Due {
    /// To whom.
    pub webhook: Webhook,
    /// What signs.
    pub keys: SealedKeys,
    /// What.
    pub entry: AuditEntry,
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was acknowledged, with this status.
    Delivered(u16),
    /// It was not, and why: a status, or why there was none.
    Failed(String),
    /// It was not, and the other side asks for so much time (`Retry-After`).
    Later(String, Duration),
    /// The other side wants no more (410).
    Gone,
}

fn of(state: DeliveryState) -> u16 {
    match state {
        DeliveryState::Pending => 1,
        DeliveryState::Delivered => 2,
        DeliveryState::Dead => 3,
    }
}

/// Enabled webhooks that have not looked at all of the log, and have room for more.
///
/// # Errors
/// The store's.
pub fn behind(store: &mut dyn Read) -> Result<Vec<WebhookId>> {
    let head = audit::head(store)?.number;
    let rows = store.query(
        "SELECT id FROM webhook WHERE disabled_by IS NULL AND position < $1 ORDER BY id",
        params![head],
    )?;
    let mut behind = Vec::new();
    for row in rows {
        let id = WebhookId(row.get(0)?);
        if pending(store, id)? < PENDING_MAX {
            behind.push(id);
        }
    }
    Ok(behind)
}

fn pending(store: &mut dyn Read, id: WebhookId) -> Result<u64> {
    count(
        store,
        "SELECT COUNT(*) FROM webhook_delivery WHERE webhook = $1 AND state = 1",
        id,
    )
}

fn dead(store: &mut dyn Read, id: WebhookId) -> Result<u64> {
    count(
        store,
        "SELECT COUNT(*) FROM webhook_delivery WHERE webhook = $1 AND state = 3",
        id,
    )
}

fn count(store: &mut dyn Read, sql: &'static str, id: WebhookId) -> Result<u64> {
    let row = store.first(sql, params![id.to_bytes()])?;
    Ok(row.map_or(Ok(0), |row| row.get(0))?)
}

/// The first pending delivery of a subject.
fn first_of(store: &mut dyn Read, id: WebhookId, subject: &str) -> Result<Option<u64>> {
    let row = store.first(
        "SELECT MIN(number) FROM webhook_delivery WHERE webhook = $1 AND subject = $2 AND state = 1",
        params![id.to_bytes(), subject],
    )?;
    Ok(row.map_or(Ok(None), |row| row.get(0))?)
}

/// Looks at the next entries of the log: what the webhook wants is pending from now on. How many that are.
///
/// # Errors
/// The store's.
pub fn collect(tx: &mut dyn Tx, now: Timestamp, id: WebhookId) -> Result<u64> {
    // It may have been removed or disabled meanwhile.
    let row = tx.first(
        "SELECT position, events FROM webhook WHERE id = $1 AND disabled_by IS NULL",
        params![id.to_bytes()],
    )?;
    let Some(row) = row else { return Ok(0) };
    let events: String = row.get(1)?;
    let events: Vec<_> = events.split_whitespace().map(str::to_owned).collect();
    let room = PENDING_MAX.saturating_sub(pending(tx, id)?);
    let most = LOOK_MAX.min(u32::try_from(room).unwrap_or(LOOK_MAX));
    let entries = audit::page(tx, row.get(0)?, most)?;
    let Some(last) = entries.last() else {
        return Ok(0);
    };
    let position = last.number;
    let mut made = 0;
    for entry in entries.iter().filter(|entry| matches(&events, &entry.act)) {
        let waits = first_of(tx, id, &entry.subject)?.is_some();
        made += tx.execute(
            "INSERT INTO webhook_delivery (webhook, number, subject, state, attempts, next_at, answer) VALUES ($1, $2, $3, 1, 0, $4, '')",
            params![
                id.to_bytes(),
                entry.number,
                entry.subject.as_str(),
                (!waits).then_some(now.0)
            ],
        )?;
    }
    tx.execute(
        "UPDATE webhook SET position = $1 WHERE id = $2",
        params![position, id.to_bytes()],
    )?;
    Ok(made)
}

/// What is to be sent by `now`: of each enabled webhook at most `each`, the longest due first.
///
/// # Errors
/// The store's.
pub fn due(store: &mut dyn Read, now: Timestamp, each: u32) -> Result<Vec<Due>> {
    let webhooks = store.query(
        webhooks!(
            "WHERE disabled_by IS NULL AND EXISTS (SELECT 1 FROM webhook_delivery AS d WHERE d.webhook = webhook.id AND d.next_at <= $1) \
             ORDER BY id"
        ),
        params![now.0],
    )?;
    let mut due = Vec::new();
    for row in &webhooks {
        let (webhook, keys) = (read(row)?, read_keys(row, now)?);
        let entries = store.query(
            "SELECT a.number, a.at, a.actor, a.act, a.subject, a.detail, a.hash FROM webhook_delivery AS d \
             JOIN audit AS a ON a.number = d.number WHERE d.webhook = $1 AND d.next_at <= $2 ORDER BY d.next_at, d.number LIMIT $3",
            params![webhook.id.0.to_bytes(), now.0, each],
        )?;
        for row in &entries {
            due.push(Due {
                webhook: webhook.clone(),
                keys: keys.clone(),
                entry: audit::read(row)?,
            });
        }
    }
    Ok(due)
}

/// When the next attempt comes after so many that failed; nothing: not any more.
fn delay(failed: u32, jitter: u8) -> Option<Duration> {
    let index = usize::try_from(failed.checked_sub(1)?).ok()?;
    let base = Duration::from_secs(*RETRIES.get(index)?);
    Some(base + base * u32::from(jitter) / (JITTER * u32::from(u8::MAX)))
}

/// Writes down what came of an attempt; `jitter` is random. The act, if the webhook was disabled for it.
///
/// # Errors
/// The store's.
pub fn settle(
    tx: &mut dyn Tx,
    now: Timestamp,
    (id, number): (WebhookId, u64),
    outcome: &Outcome,
    jitter: u8,
) -> Result<Option<Act>> {
    let row = tx.first(
        "SELECT subject, attempts FROM webhook_delivery WHERE webhook = $1 AND number = $2 AND state = 1",
        params![id.to_bytes(), number],
    )?;
    // It may have been removed meanwhile.
    let Some(row) = row else { return Ok(None) };
    let (subject, attempts): (String, u32) = (row.get(0)?, row.get::<u32>(1)? + 1);
    let (answer, failed) = match outcome {
        Outcome::Delivered(status) => (format!("status {status}"), false),
        Outcome::Failed(why) | Outcome::Later(why, _) => (why.clone(), true),
        Outcome::Gone => ("status 410".to_owned(), true),
    };
    let asked = match outcome {
        Outcome::Later(_, time) => LATER_MAX.min(*time),
        _ => Duration::ZERO,
    };
    let again = delay(attempts, jitter).filter(|_| failed);
    let again = again.map(|delay| delay.max(asked));
    let (state, next) = match again {
        // One that was replayed meanwhile goes before it.
        Some(delay) => {
            let first = first_of(tx, id, &subject)? == Some(number);
            (DeliveryState::Pending, first.then(|| now.after(delay).0))
        }
        None if failed => (DeliveryState::Dead, None),
        None => (DeliveryState::Delivered, None),
    };
    let settled = again.is_none().then_some(now.0);
    tx.execute(
        "UPDATE webhook_delivery SET state = $1, attempts = $2, next_at = $3, settled = $4, answer = $5 WHERE webhook = $6 AND number = $7",
        params![of(state), attempts, next, settled, answer, id.to_bytes(), number],
    )?;
    if settled.is_some() {
        release(tx, id, &subject, now)?;
    }
    let webhook = get(tx, id)?;
    match outcome {
        Outcome::Delivered(_) => {
            note_failing(tx, &webhook, None)?;
            Ok(None)
        }
        Outcome::Gone => disable(tx, webhook, now, "it answered 410: it wants no more"),
        Outcome::Failed(_) | Outcome::Later(..) => {
            let since = webhook.failing_since.unwrap_or(now);
            if now.since(since) >= FAILING_MAX {
                return disable(tx, webhook, now, "it failed for 5 days");
            }
            note_failing(tx, &webhook, Some(since))?;
            Ok(None)
        }
    }
}

fn note_failing(tx: &mut dyn Tx, webhook: &Webhook, since: Option<Timestamp>) -> Result<()> {
    if webhook.failing_since != since {
        tx.execute(
            "UPDATE webhook SET failing_since = $1 WHERE id = $2",
            params![since.map(|since| since.0), webhook.id.0.to_bytes()],
        )?;
    }
    Ok(())
}

/// Nothing is sent to it from here on.
fn disable(
    tx: &mut dyn Tx,
    mut webhook: Webhook,
    now: Timestamp,
    why: &str,
) -> Result<Option<Act>> {
    if webhook.disabled.is_some() {
        return Ok(None);
    }
    webhook.disabled = Some(Disabled {
        by: "server".to_owned(),
        why: why.to_owned(),
        at: now,
    });
    write(tx, &webhook)?;
    let act = Act::on("webhook.disable", webhook.id).with("why", format_args!("{why:?}"));
    Ok(Some(act))
}

/// The first pending one of a subject waits for none any more.
fn release(tx: &mut dyn Tx, id: WebhookId, subject: &str, now: Timestamp) -> Result<()> {
    if let Some(first) = first_of(tx, id, subject)? {
        tx.execute(
            "UPDATE webhook_delivery SET next_at = $1 WHERE webhook = $2 AND number = $3 AND next_at IS NULL",
            params![now.0, id.to_bytes(), first],
        )?;
    }
    Ok(())
}

/// What waits for its next attempt is sent now.
pub(super) fn hurry(tx: &mut dyn Tx, id: WebhookId, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE webhook_delivery SET next_at = $1 WHERE webhook = $2 AND next_at > $1",
        params![now.0, id.to_bytes()],
    )?;
    Ok(())
}

/// Sends an event again, or for the first time if the webhook did not want it: any that it has looked at.
///
/// # Errors
/// Conflict: it is pending. Not found; the store's.
pub fn replay(tx: &mut dyn Tx, now: Timestamp, id: WebhookId, number: u64) -> Result<Delivery> {
    let webhook = get(tx, id)?;
    let entry = audit::page(tx, number.saturating_sub(1), 1)?;
    let entry = entry.into_iter().find(|entry| entry.number == number);
    let Some(entry) = entry.filter(|_| number <= webhook.position) else {
        let detail = format!(
            "there is no event {number} that {} has come to: it is at {}",
            webhook.id, webhook.position
        );
        return refuse(Kind::NotFound, detail);
    };
    let known = find(tx, id, number)?;
    if known.is_some_and(|known| known.state == DeliveryState::Pending) {
        return refuse(Kind::Conflict, format!("event {number} is pending already"));
    }
    again(tx, now, id, (number, &entry.subject))?;
    match find(tx, id, number)? {
        Some(delivery) => Ok(delivery),
        None => Err(StoreError::Failed("a delivery is not there that was just made".into()).into()),
    }
}

/// Makes it pending, before those of the same subject that come after it.
fn again(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: WebhookId,
    (number, subject): (u64, &str),
) -> Result<()> {
    let first = first_of(tx, id, subject)?;
    if let Some(other) = first.filter(|first| *first > number) {
        tx.execute(
            "UPDATE webhook_delivery SET next_at = NULL WHERE webhook = $1 AND number = $2",
            params![id.to_bytes(), other],
        )?;
    }
    let next = first.is_none_or(|first| first > number).then_some(now.0);
    tx.execute(
        "INSERT INTO webhook_delivery (webhook, number, subject, state, attempts, next_at, answer) VALUES ($1, $2, $3, 1, 0, $4, '') \
         ON CONFLICT (webhook, number) DO UPDATE SET state = 1, attempts = 0, next_at = excluded.next_at, settled = NULL",
        params![id.to_bytes(), number, subject, next],
    )?;
    Ok(())
}

/// Sends dead events again, the oldest first, a thousand at most.
///
/// # Errors
/// Not found; the store's.
pub fn replay_dead(tx: &mut dyn Tx, now: Timestamp, id: WebhookId) -> Result<Replayed> {
    get(tx, id)?;
    let rows = tx.query(
        "SELECT number, subject FROM webhook_delivery WHERE webhook = $1 AND state = 3 ORDER BY number LIMIT $2",
        params![id.to_bytes(), REPLAY_MAX],
    )?;
    for row in &rows {
        again(tx, now, id, (row.get(0)?, &row.get::<String>(1)?))?;
    }
    Ok(Replayed {
        replayed: rows.len() as u64,
        left: dead(tx, id)?,
    })
}

macro_rules! deliveries {
    ($which:literal) => {
        concat!(
            "SELECT d.number, a.act, d.subject, d.state, d.attempts, d.next_at, d.settled, d.answer FROM webhook_delivery AS d \
             JOIN audit AS a ON a.number = d.number ",
            $which
        )
    };
}

fn delivery(row: &Row) -> std::result::Result<Delivery, StoreError> {
    let state: u16 = row.get(3)?;
    let known = DeliveryState::ALL
        .into_iter()
        .find(|known| of(*known) == state);
    let at = |index| -> std::result::Result<_, StoreError> {
        Ok(row.get::<Option<i64>>(index)?.map(Timestamp))
    };
    Ok(Delivery {
        number: row.get(0)?,
        kind: row.get(1)?,
        subject: row.get(2)?,
        state: known.ok_or_else(|| StoreError::Damaged(format!("a delivery of state {state}")))?,
        attempts: row.get(4)?,
        next: at(5)?,
        settled: at(6)?,
        answer: row.get(7)?,
    })
}

fn find(store: &mut dyn Read, id: WebhookId, number: u64) -> Result<Option<Delivery>> {
    let row = store.first(
        deliveries!("WHERE d.webhook = $1 AND d.number = $2"),
        params![id.to_bytes(), number],
    )?;
    Ok(row.as_ref().map(delivery).transpose()?)
}

/// At most `most` deliveries of a webhook after number `after`, in order; of one state, or of all.
///
/// # Errors
/// Not found; the store's.
pub fn page(
    store: &mut dyn Read,
    id: WebhookId,
    state: Option<DeliveryState>,
    after: u64,
    most: u32,
) -> Result<Vec<Delivery>> {
    get(store, id)?;
    let rows = store.query(
        deliveries!(
            "WHERE d.webhook = $1 AND d.number > $2 AND (d.state = $3 OR $3 IS NULL) ORDER BY d.number LIMIT $4"
        ),
        params![id.to_bytes(), after, state.map(of), most],
    )?;
    Ok(rows
        .iter()
        .map(delivery)
        .collect::<std::result::Result<_, _>>()?)
}

/// Forgets what was delivered long ago, and the oldest dead ones where there are too many; how many.
///
/// # Errors
/// The store's.
pub fn prune(tx: &mut dyn Tx, now: Timestamp) -> Result<u64> {
    let mut forgotten = tx.execute(
        "DELETE FROM webhook_delivery WHERE state = 2 AND settled < $1",
        params![now.before(DELIVERED_KEPT).0],
    )?;
    for Webhook { id: Text(id), .. } in list(tx)? {
        forgotten += tx.execute(
            "DELETE FROM webhook_delivery WHERE webhook = $1 AND state = 3 AND number <= (SELECT number FROM webhook_delivery \
             WHERE webhook = $1 AND state = 3 ORDER BY number DESC LIMIT 1 OFFSET $2)",
            params![id.to_bytes(), DEAD_MAX],
        )?;
    }
    Ok(forgotten)
}
