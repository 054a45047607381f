//! What bills are made of: rows, and their totals.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sealcast_objects::api::{UsageFilter, UsageRow, UsageTotals};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::month::Month;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use crate::{Read, Result, Row, StoreError, Value, params, read_rows};

/// Rows that are read at once for totals.
const CHUNK: u32 = 10_000;

/// A row's place in the order of all: account, device, channel, first epoch.
pub type Place = (AccountId, DeviceId, u16, u64);

/// The place of this row.
#[must_use]
pub fn place(row: &UsageRow) -> Place {
    (row.account.0, row.device.0, row.channel, row.first_epoch)
}

/// At most `most` rows in order, those after `after`.
///
/// # Errors
/// The store's.
pub fn rows(
    store: &mut dyn Read,
    filter: &UsageFilter,
    after: Option<Place>,
    most: u32,
) -> Result<Vec<UsageRow>> {
    page(store, filter, after, most, &mut Sent::default())
}

/// What rows add up to.
///
/// # Errors
/// The store's.
pub fn totals(store: &mut dyn Read, filter: &UsageFilter) -> Result<UsageTotals> {
    let (mut totals, mut sent) = (UsageTotals::default(), Sent::default());
    let (mut after, mut last) = (None, None);
    loop {
        let rows = page(store, filter, after, CHUNK, &mut sent)?;
        for row in &rows {
            let whose = Some((row.account, row.device, row.channel));
            totals.subscriptions += u64::from(last != whose);
            last = whose;
            totals.requests += row.requests;
            totals.answers += row.answers;
            totals.keys += row.last_epoch - row.first_epoch + 1;
            totals.bytes += row.bytes;
        }
        if rows.len() < CHUNK as usize {
            return Ok(totals);
        }
        after = rows.last().map(place);
    }
}

fn page(
    store: &mut dyn Read,
    filter: &UsageFilter,
    after: Option<Place>,
    most: u32,
    sent: &mut Sent,
) -> Result<Vec<UsageRow>> {
    let none = (AccountId([0; 16]), DeviceId([0; 16]), 0, 0);
    let (account, device, channel, first_epoch) = after.unwrap_or(none);
    // As bounds, so that the rows of one account are found without the others.
    let of = filter.account.map(|Text(id)| id.to_bytes());
    let (lowest, highest) = (of.unwrap_or([0; 16]), of.unwrap_or([0xff; 16]));
    let found = store.query(
        "SELECT account, device, channel, first_epoch, last_epoch, requests, answers, since, until FROM key_usage \
         WHERE (account, device, channel, first_epoch) > ($1, $2, $3, $4) AND account >= $5 AND account <= $6 \
         AND (device = $7 OR $7 IS NULL) AND (channel = $8 OR $8 IS NULL) AND (since >= $9 OR $9 IS NULL) \
         AND (since < $10 OR $10 IS NULL) ORDER BY account, device, channel, first_epoch LIMIT $11",
        params![
            account.to_bytes(),
            device.to_bytes(),
            channel,
            first_epoch,
            lowest,
            highest,
            filter.device.map(|Text(id)| id.to_bytes()),
            filter.channel,
            filter.from.map(|Timestamp(at)| at),
            filter.until.map(|Timestamp(at)| at),
            most
        ],
    )?;
    let mut rows = read_rows(&found, read)?;
    for row in &mut rows {
        row.bytes = sent.between(store, row.channel, row.first_epoch, row.last_epoch)?;
    }
    Ok(rows)
}

fn read(row: &Row) -> std::result::Result<UsageRow, StoreError> {
    Ok(UsageRow {
        account: Text(AccountId::from_bytes(row.get(0)?)),
        device: Text(DeviceId::from_bytes(row.get(1)?)),
        channel: row.get(2)?,
        first_epoch: row.get(3)?,
        last_epoch: row.get(4)?,
        requests: row.get(5)?,
        answers: row.get(6)?,
        bytes: 0,
        since: Timestamp(row.get(7)?),
        until: Timestamp(row.get(8)?),
    })
}

/// The rows of an account in a month, in order. `sent` may be kept for the next account: what a closed month sent does not change.
///
/// # Errors
/// The store's.
pub fn of_account(
    store: &mut dyn Read,
    account: AccountId,
    month: Month,
    sent: &mut Sent,
) -> Result<Vec<UsageRow>> {
    let found = store.query(
        "SELECT account, device, channel, first_epoch, last_epoch, requests, answers, since, until FROM key_usage \
         WHERE account = $1 AND since >= $2 AND since < $3 ORDER BY device, channel, first_epoch",
        params![account.to_bytes(), month.start().0, month.end().0],
    )?;
    let mut rows = read_rows(&found, read)?;
    for row in &mut rows {
        row.bytes = sent.between(store, row.channel, row.first_epoch, row.last_epoch)?;
    }
    Ok(rows)
}

/// Bytes that were sent, by channel: each epoch with the sum up to it.
#[derive(Debug, Default)]
pub struct Sent(BTreeMap<u16, Vec<(u64, u64)>>);

impl Sent {
    /// Bytes sent in epochs `first` to `last`.
    fn between(
        &mut self,
        store: &mut dyn Read,
        channel: u16,
        first: u64,
        last: u64,
    ) -> Result<u64> {
        let sums = match self.0.entry(channel) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Self::of(store, channel)?),
        };
        let before = |epoch: u64| {
            let count = sums.partition_point(|(sent, _)| *sent < epoch);
            count.checked_sub(1).map_or(0, |at| sums[at].1)
        };
        Ok(before(last.saturating_add(1)) - before(first))
    }

    fn of(store: &mut dyn Read, channel: u16) -> Result<Vec<(u64, u64)>> {
        let rows = store.query(
            "SELECT epoch, MAX(bytes) FROM sent_usage WHERE channel = $1 GROUP BY epoch ORDER BY epoch",
            params![Value::from(channel)],
        )?;
        let mut sum = 0_u64;
        let mut summed = |row: &Row| -> std::result::Result<_, StoreError> {
            sum = sum.saturating_add(row.get(1)?);
            Ok((row.get(0)?, sum))
        };
        Ok(rows
            .iter()
            .map(&mut summed)
            .collect::<std::result::Result<_, _>>()?)
    }
}
