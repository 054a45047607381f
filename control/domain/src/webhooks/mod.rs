//! Webhooks: entries of the audit log are sent to whoever an operator names.
//!
//! The audit log is what is still to be sent: an entry stands there in the transaction that did it. Each webhook has a position in the log;
//! what comes after it is looked at in order, and what the webhook wants becomes a delivery, pending until the other side has
//! acknowledged it or it was tried for three days. So whatever is killed in between, each entry is sent at least once.
//!
//! Deliveries of one subject are sent one after the other, in the order of the log: only the first that is pending has a time at which it is sent.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | webhooks |
//! | `deliveries.rs` | what is sent to them, when, and what came of it |

pub mod deliveries;

use std::ops::RangeInclusive;
use std::time::Duration;

use sealcast_objects::WebhookId;
use sealcast_objects::api::{ChangeWebhook, Disabled, NewWebhook, Webhook};
use sealcast_objects::events::check_filter;
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;

use crate::catalogue::check_text;
use crate::{Read, Result, Row, StoreError, Tx, audit, check_revision, params, refuse};

/// Webhooks, at most.
pub const MOST: u64 = 100;
/// A former secret signs, too, for so long.
pub const FORMER: Duration = Duration::from_secs(24 * 3600);
/// Characters of a description.
const DESCRIPTION: RangeInclusive<usize> = 0..=200;

macro_rules! webhooks {
    ($which:literal) => {
        concat!(
            "SELECT id, url, events, description, disabled_by, disabled_why, disabled_at, position, failing_since, public_key, \
             former_until, revision, created, sealed, former_sealed FROM webhook ",
            $which
        )
    };
}
use webhooks;

/// What signs: 32 bytes of an HMAC key and 32 of an Ed25519 seed, sealed; its public part as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewKeys {
    /// Sealed by the vault.
    pub sealed: Vec<u8>,
    /// `whpk_` and base64.
    pub public_key: String,
}

/// What signs for a webhook, sealed by the vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedKeys {
    /// The secret in use.
    pub current: Vec<u8>,
    /// The one before it, while it signs, too.
    pub former: Option<Vec<u8>>,
}

fn read(row: &Row) -> std::result::Result<Webhook, StoreError> {
    let events: String = row.get(2)?;
    let (by, why): (Option<String>, Option<String>) = (row.get(4)?, row.get(5)?);
    let at: Option<i64> = row.get(6)?;
    let disabled = by.zip(why).zip(at).map(|((by, why), at)| Disabled {
        by,
        why,
        at: Timestamp(at),
    });
    let at = |index| -> std::result::Result<_, StoreError> {
        Ok(row.get::<Option<i64>>(index)?.map(Timestamp))
    };
    Ok(Webhook {
        id: Text(WebhookId(row.get(0)?)),
        url: row.get(1)?,
        events: events.split_whitespace().map(str::to_owned).collect(),
        description: row.get(3)?,
        disabled,
        position: row.get(7)?,
        failing_since: at(8)?,
        public_key: row.get(9)?,
        former_until: at(10)?,
        revision: row.get(11)?,
        created: Timestamp(row.get(12)?),
    })
}

/// What signs at `now`.
fn read_keys(row: &Row, now: Timestamp) -> std::result::Result<SealedKeys, StoreError> {
    let until: Option<i64> = row.get(10)?;
    let former: Option<Vec<u8>> = row.get(14)?;
    Ok(SealedKeys {
        current: row.get(13)?,
        former: former.filter(|_| until.is_some_and(|until| now.0 < until)),
    })
}

fn check_events(events: &[String]) -> Result<()> {
    check_filter(events)
        .map_err(|bad| Problem::new(Kind::Invalid, bad.to_string()))
        .map_err(Into::into)
}

fn check_description(text: &str) -> Result<()> {
    check_text("the description of a webhook", text, DESCRIPTION)
}

/// Adds a webhook under this id. Whether its address may be is the caller's business.
///
/// # Errors
/// Invalid: the events, the description, a number that the log has not reached. Conflict: there are enough. The store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    (id, keys): (WebhookId, &NewKeys),
    new: &NewWebhook,
) -> Result<Webhook> {
    check_events(&new.events)?;
    check_description(&new.description)?;
    if list(tx)?.len() as u64 >= MOST {
        let detail = format!("there are {MOST} webhooks: remove one first");
        return refuse(Kind::Conflict, detail);
    }
    let head = audit::head(tx)?.number;
    let after = new.after.unwrap_or(head);
    if after > head {
        let detail = format!("after = {after}: the last event has the number {head}");
        return refuse(Kind::Invalid, detail);
    }
    tx.execute(
        "INSERT INTO webhook (id, url, events, description, position, public_key, sealed, revision, created) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8)",
        params![
            id.to_bytes(),
            new.url.as_str(),
            new.events.join(" "),
            new.description.as_str(),
            after,
            keys.public_key.as_str(),
            keys.sealed.as_slice(),
            now.0
        ],
    )?;
    get(tx, id)
}

/// All webhooks.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Webhook>> {
    let rows = store.query(webhooks!("ORDER BY id"), &[])?;
    Ok(rows
        .iter()
        .map(read)
        .collect::<std::result::Result<_, _>>()?)
}

fn row(store: &mut dyn Read, id: WebhookId) -> Result<Row> {
    match store.first(webhooks!("WHERE id = $1"), params![id.to_bytes()])? {
        Some(row) => Ok(row),
        None => refuse(Kind::NotFound, format!("there is no webhook {}", Text(id))),
    }
}

/// One webhook.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: WebhookId) -> Result<Webhook> {
    Ok(read(&row(store, id)?)?)
}

/// One webhook and what signs for it at `now`.
///
/// # Errors
/// Not found; the store's.
pub fn with_keys(
    store: &mut dyn Read,
    id: WebhookId,
    now: Timestamp,
) -> Result<(Webhook, SealedKeys)> {
    let row = row(store, id)?;
    Ok((read(&row)?, read_keys(&row, now)?))
}

/// Changes a webhook, if it is still of revision `expected`; nothing: whatever it is. What is the same already is no change.
///
/// # Errors
/// Invalid: nothing is to be changed, the events, the description. Conflict: another revision. Not found; the store's.
pub fn change(
    tx: &mut dyn Tx,
    now: Timestamp,
    by: &str,
    (id, expected): (WebhookId, Option<u64>),
    change: &ChangeWebhook,
) -> Result<Webhook> {
    let is = get(tx, id)?;
    check_revision("the webhook", expected, is.revision)?;
    if *change == ChangeWebhook::default() {
        return refuse(Kind::Invalid, "name what is to be changed");
    }
    let mut to = is.clone();
    if let Some(url) = &change.url {
        to.url.clone_from(url);
    }
    if let Some(events) = &change.events {
        check_events(events)?;
        to.events.clone_from(events);
    }
    if let Some(description) = &change.description {
        check_description(description)?;
        to.description.clone_from(description);
    }
    match change.enabled {
        Some(true) => (to.disabled, to.failing_since) = (None, None),
        Some(false) if is.disabled.is_none() => {
            to.disabled = Some(Disabled {
                by: by.to_owned(),
                why: "an operator disabled it".to_owned(),
                at: now,
            });
        }
        _ => {}
    }
    if to == is {
        return Ok(is);
    }
    write(tx, &to)?;
    if is.disabled.is_some() && to.disabled.is_none() {
        deliveries::hurry(tx, id, now)?;
    }
    get(tx, id)
}

/// Writes what may change, as one change more.
fn write(tx: &mut dyn Tx, to: &Webhook) -> Result<()> {
    let disabled = to.disabled.as_ref();
    tx.execute(
        "UPDATE webhook SET url = $1, events = $2, description = $3, disabled_by = $4, disabled_why = $5, disabled_at = $6, \
         failing_since = $7, revision = $8 WHERE id = $9",
        params![
            to.url.as_str(),
            to.events.join(" "),
            to.description.as_str(),
            disabled.map(|disabled| disabled.by.as_str()),
            disabled.map(|disabled| disabled.why.as_str()),
            disabled.map(|disabled| disabled.at.0),
            to.failing_since.map(|since| since.0),
            to.revision + 1,
            to.id.0.to_bytes()
        ],
    )?;
    Ok(())
}

/// Gives it another secret; the one that it had signs, too, for [`FORMER`].
///
/// # Errors
/// Conflict: another revision. Not found; the store's.
pub fn renew_keys(
    tx: &mut dyn Tx,
    now: Timestamp,
    (id, expected): (WebhookId, Option<u64>),
    keys: &NewKeys,
) -> Result<Webhook> {
    let is = get(tx, id)?;
    check_revision("the webhook", expected, is.revision)?;
    tx.execute(
        "UPDATE webhook SET former_sealed = sealed, former_until = $1, sealed = $2, public_key = $3, revision = $4 WHERE id = $5",
        params![
            now.after(FORMER).0,
            keys.sealed.as_slice(),
            keys.public_key.as_str(),
            is.revision + 1,
            id.to_bytes()
        ],
    )?;
    get(tx, id)
}

/// Removes it and what was to be sent to it.
///
/// # Errors
/// Conflict: another revision. Not found; the store's.
pub fn remove(tx: &mut dyn Tx, id: WebhookId, expected: Option<u64>) -> Result<Webhook> {
    let is = get(tx, id)?;
    check_revision("the webhook", expected, is.revision)?;
    tx.execute(
        "DELETE FROM webhook_delivery WHERE webhook = $1",
        params![id.to_bytes()],
    )?;
    tx.execute("DELETE FROM webhook WHERE id = $1", params![id.to_bytes()])?;
    Ok(is)
}
