//! The audit log: what was done, by whom, in the transaction that did it. What an entry and a hash are stands in
//! [`sealcast_objects::audit`].

use std::fmt::Display;

use sealcast_objects::audit::{AuditEntry, AuditFault, Chain, Head};
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, params, read_rows};

/// Entries that are read at once when all are.
const PAGE: u32 = 5_000;

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// `device.add`.
    pub name: &'static str,
    /// To what.
    pub subject: String,
    /// What else is worth knowing, as `name=value` words; never a secret.
    pub detail: String,
}

impl Act {
    /// `name` was done to `subject`.
    #[must_use]
    pub fn on(name: &'static str, subject: impl Display) -> Self {
        Self {
            name,
            subject: subject.to_string(),
            detail: String::new(),
        }
    }

    /// With this, too.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        use std::fmt::Write as _;
        let space = if self.detail.is_empty() { "" } else { " " };
        // Writing to memory does not fail.
        let _ = write!(self.detail, "{space}{name}={value}");
        self
    }

    /// With the reason and the case that were given for it, each if there is one.
    #[must_use]
    pub fn because(self, reason: &str, case: &str) -> Self {
        let said = [("reason", reason), ("case", case)];
        said.into_iter()
            .filter(|(_, said)| !said.is_empty())
            .fold(self, |act, (name, said)| {
                act.with(name, format_args!("{said:?}"))
            })
    }
}

pub(crate) fn read(row: &Row) -> std::result::Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        number: row.get(0)?,
        at: Timestamp(row.get(1)?),
        actor: row.get(2)?,
        act: row.get(3)?,
        subject: row.get(4)?,
        detail: row.get(5)?,
        hash: row.get(6)?,
    })
}

/// The last entry.
///
/// # Errors
/// The store's.
pub fn head(store: &mut dyn Read) -> Result<Head> {
    let row = store.first(
        "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1",
        &[],
    )?;
    match row {
        None => Ok(Head::EMPTY),
        Some(row) => Ok(Head {
            number: row.get(0)?,
            hash: row.get(1)?,
        }),
    }
}

/// Writes down that `actor` did this.
///
/// # Errors
/// The store's.
pub fn append(tx: &mut dyn Tx, now: Timestamp, actor: &str, act: &Act) -> Result<()> {
    let known = tx.memo().and_then(|memo| memo.last.head);
    let last = match known {
        Some(last) => last,
        None => head(tx)?,
    };
    let mut entry = AuditEntry {
        number: last.number + 1,
        at: now,
        actor: actor.to_owned(),
        act: act.name.to_owned(),
        subject: act.subject.clone(),
        detail: act.detail.clone(),
        hash: Vec::new(),
    };
    let (number, hash) = (entry.number, entry.hash_after(&last.hash));
    entry.hash = hash.to_vec();
    tx.execute(
        "INSERT INTO audit (number, at, actor, act, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            entry.number,
            entry.at.0,
            entry.actor,
            entry.act,
            entry.subject,
            entry.detail,
            entry.hash
        ],
    )?;
    if let Some(memo) = tx.memo() {
        memo.last.head = Some(Head { number, hash });
    }
    Ok(())
}

/// At most `most` entries after number `after`, in order.
///
/// # Errors
/// The store's.
pub fn page(store: &mut dyn Read, after: u64, most: u32) -> Result<Vec<AuditEntry>> {
    let rows = store.query(
        "SELECT number, at, actor, act, subject, detail, hash FROM audit WHERE number > $1 ORDER BY number LIMIT $2",
        params![after, most],
    )?;
    read_rows(&rows, read)
}

/// Follows the whole log: its last entry, and everything that is wrong. Heads in `kept` must be in it.
///
/// # Errors
/// The store's.
pub fn verify(store: &mut dyn Read, kept: Vec<Head>) -> Result<(Head, Vec<AuditFault>)> {
    let mut chain = Chain::new(kept);
    loop {
        let entries = page(store, chain.head().number, PAGE)?;
        if entries.is_empty() {
            return Ok(chain.finish());
        }
        entries.iter().for_each(|entry| chain.add(entry));
    }
}
