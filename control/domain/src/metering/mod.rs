//! Metering: what delivery servers sent and which keys key servers gave, out of usage files, each file once (MD-33, MD-34, INT-03).
//!
//! A request is a session and a number: asked again it has the same number, at whichever key server, and counts once. A key is
//! a device, a channel and an epoch: it counts once, however often it was given. Keys of epochs in a row become one row, cut at
//! days (UTC) of when they were given first, so that bills can be made of whole rows. Rows of a month that is closed never change: a key
//! that becomes known later counts from the month's end on, and one that was billed counts no more.
//!
//! | room | what |
//! |---|---|
//! | `fold` | sets as runs of numbers (pure) |
//! | `rows` | totals and rows for bills |

mod fold;
mod rows;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use sealcast_objects::api::{UsageRun, UsageSource, UsageTaken};
use sealcast_objects::id::Id as _;
use sealcast_objects::month::Month;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use crate::billing::months;
use crate::{Error, Read, Result, Row, StoreError, Tx, params, read_rows, refuse};
use fold::{Interval, Intervals, Numbers};
pub use rows::{Place, Sent, of_account, place, rows, totals};

/// How long it is known which requests of a session were counted, after the last of them. A file that comes later may count a
/// request again that another key server had counted.
pub const SESSIONS_KEPT: Duration = Duration::from_secs(48 * 3600);

/// A usage file, as its identity says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    /// Who counted.
    pub source: UsageSource,
    /// Number of the delivery server or slave; 0: a master.
    pub number: u32,
    /// One run of the program that counts.
    pub boot: [u8; 16],
    /// The file's number in this run.
    pub sequence: u64,
    /// The last hash of its chain.
    pub chain: [u8; 32],
}

/// What one session got of one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRow {
    /// The session.
    pub session: [u8; 16],
    /// Whose device.
    pub account: AccountId,
    /// The device.
    pub device: DeviceId,
    /// The channel.
    pub channel: u16,
    /// Request number, the epoch that was given, and the one after it, if that was given, too.
    pub given: Vec<(u64, u64, Option<u64>)>,
    /// Answers, to requests asked again, too.
    pub answers: u32,
    /// The first answer.
    pub since: Timestamp,
    /// The last answer.
    pub until: Timestamp,
}

/// What one lane sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentRow {
    /// The channel.
    pub channel: u16,
    /// The epoch.
    pub epoch: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Counted from.
    pub since: Timestamp,
    /// Counted until.
    pub until: Timestamp,
}

/// What taking a file in came to: refused, if another file of its name was taken.
pub type Taken = std::result::Result<UsageTaken, Problem>;

/// Takes files of key servers in, but those that were taken before. What each came to, in their order.
///
/// # Errors
/// The store's.
pub fn take_keys(
    tx: &mut dyn Tx,
    now: Timestamp,
    files: &[(&File, &[KeyRow])],
) -> Result<Vec<Taken>> {
    let closed = months::last(tx)?.map_or(Timestamp(i64::MIN), Month::end);
    let mut taken = Vec::with_capacity(files.len());
    let mut sessions = BTreeMap::<_, Numbers>::new();
    let mut devices = BTreeMap::<_, Vec<Given>>::new();
    for (file, rows) in files {
        let new = match begin(tx, now, file, rows.len()) {
            Ok(taken) => Ok(taken),
            Err(Error::Refused(problem)) => Err(problem),
            Err(error) => return Err(error),
        };
        let counts = new.as_ref().is_ok_and(|taken| !taken.before);
        taken.push(new);
        for row in rows.iter().filter(|_| counts) {
            let numbers = match sessions.entry(row.session) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(counted(tx, row.session)?),
            };
            let given = devices
                .entry((row.account.to_bytes(), row.device.to_bytes(), row.channel))
                .or_default();
            given.extend(Given::of(row, numbers));
        }
    }
    for (session, numbers) in sessions {
        tx.execute(
            "INSERT INTO usage_session (session, numbers, touched_at) VALUES ($1, $2, $3) \
             ON CONFLICT (session) DO UPDATE SET numbers = excluded.numbers, touched_at = excluded.touched_at",
            params![session, numbers.to_bytes(), now.0],
        )?;
    }
    for ((account, device, channel), given) in devices {
        count_keys(tx, (account, device, channel), &given, closed)?;
    }
    Ok(taken)
}

/// Takes a delivery server's file in, unless it was taken before.
///
/// # Errors
/// Another file of this name was taken; the store's.
pub fn take_sent(
    tx: &mut dyn Tx,
    now: Timestamp,
    file: &File,
    rows: &[SentRow],
) -> Result<UsageTaken> {
    let mut taken = begin(tx, now, file, rows.len())?;
    if taken.before {
        return Ok(taken);
    }
    let sealed = months::sealed(tx)?;
    let is_sealed = |row: &&SentRow| sealed.get(&row.channel).is_some_and(|to| row.epoch <= *to);
    taken.late = rows.iter().filter(is_sealed).count() as u64;
    let mut sums = BTreeMap::<_, SentRow>::new();
    for row in rows.iter().filter(|row| !is_sealed(row)) {
        let sum = sums.entry((row.channel, row.epoch)).or_insert(SentRow {
            packets: 0,
            bytes: 0,
            ..*row
        });
        sum.packets = sum.packets.saturating_add(row.packets);
        sum.bytes = sum.bytes.saturating_add(row.bytes);
        sum.since = sum.since.min(row.since);
        sum.until = sum.until.max(row.until);
    }
    for sum in sums.values() {
        tx.execute(
            "INSERT INTO sent_usage (channel, epoch, server, packets, bytes, since, until) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (channel, epoch, server) DO UPDATE SET packets = sent_usage.packets + excluded.packets, \
             bytes = sent_usage.bytes + excluded.bytes, \
             since = CASE WHEN sent_usage.since < excluded.since THEN sent_usage.since ELSE excluded.since END, \
             until = CASE WHEN sent_usage.until > excluded.until THEN sent_usage.until ELSE excluded.until END",
            params![sum.channel, sum.epoch, file.number, sum.packets, sum.bytes, sum.since.0, sum.until.0],
        )?;
    }
    Ok(taken)
}

/// Forgets which requests of sessions were counted that are long over; returns how many.
///
/// # Errors
/// The store's.
pub fn forget_sessions(tx: &mut dyn Tx, now: Timestamp) -> Result<u64> {
    let before = now.before(SESSIONS_KEPT);
    Ok(tx.execute(
        "DELETE FROM usage_session WHERE touched_at < $1",
        params![before.0],
    )?)
}

/// The runs whose files were taken in, the latest first.
///
/// # Errors
/// The store's.
pub fn runs(store: &mut dyn Read) -> Result<Vec<UsageRun>> {
    let rows = store.query(
        "SELECT source, number, boot, COUNT(*), MAX(sequence) + 1 - COUNT(*), CAST(SUM(records) AS BIGINT), MAX(taken_at) AS latest \
         FROM usage_file \
         GROUP BY source, number, boot ORDER BY latest DESC, source, number, boot",
        &[],
    )?;
    let run = |row: &Row| -> std::result::Result<_, StoreError> {
        let source = row.get::<String>(0)?;
        let known = UsageSource::ALL
            .into_iter()
            .find(|known| known.name() == source);
        Ok(UsageRun {
            source: known.ok_or_else(|| StoreError::Damaged(format!("usage of a {source}")))?,
            number: row.get(1)?,
            run: u128::from_be_bytes(row.get(2)?),
            files: row.get(3)?,
            missing: row.get(4)?,
            records: row.get(5)?,
            taken_at: Timestamp(row.get(6)?),
        })
    };
    read_rows(&rows, run)
}

/// Notes that a file is taken in.
fn begin(tx: &mut dyn Tx, now: Timestamp, file: &File, records: usize) -> Result<UsageTaken> {
    let known = tx.first(
        "SELECT chain FROM usage_file WHERE source = $1 AND number = $2 AND boot = $3 AND sequence = $4",
        params![file.source.name(), file.number, file.boot, file.sequence],
    )?;
    let records = records as u64;
    if let Some(known) = known {
        if known.get::<[u8; 32]>(0)? != file.chain {
            return refuse(
                Kind::Conflict,
                format!(
                    "file {} of this run of {} {} was taken in before, with other records: one of the two was changed; compare them \
                     (`sealcast usage show` prints what the chain ends in)",
                    file.sequence,
                    file.source.name(),
                    file.number
                ),
            );
        }
        return Ok(UsageTaken {
            records,
            before: true,
            late: 0,
        });
    }
    tx.execute(
        "INSERT INTO usage_file (source, number, boot, sequence, chain, records, taken_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![file.source.name(), file.number, file.boot, file.sequence, file.chain, records, now.0],
    )?;
    Ok(UsageTaken {
        records,
        before: false,
        late: 0,
    })
}

/// The requests of a session that were counted.
fn counted(tx: &mut dyn Tx, session: [u8; 16]) -> Result<Numbers> {
    let row = tx.first(
        "SELECT numbers FROM usage_session WHERE session = $1",
        params![session],
    )?;
    let Some(row) = row else {
        return Ok(Numbers::default());
    };
    let numbers = Numbers::from_bytes(&row.get::<Vec<u8>>(0)?);
    Ok(numbers.ok_or_else(|| StoreError::Damaged("request numbers of a session".into()))?)
}

/// A key that a device got.
#[derive(Clone, Copy)]
struct Given {
    epoch: u64,
    requests: u64,
    answers: u64,
    since: Timestamp,
    until: Timestamp,
}

impl Given {
    /// The keys of a row; requests that `numbers` has are not counted again.
    fn of(row: &KeyRow, numbers: &mut Numbers) -> Vec<Self> {
        let mut keys = Vec::new();
        // Stored as numbers with a sign; an epoch beyond them is none of ours.
        let is_epoch = |epoch: u64| i64::try_from(epoch).is_ok();
        for &(number, current, next) in &row.given {
            let requests = u64::from(numbers.add(number));
            let key = |epoch, requests| Self {
                epoch,
                requests,
                answers: 0,
                since: row.since,
                until: row.until,
            };
            keys.push(key(current, requests));
            keys.extend(next.map(|next| key(next, 0)));
        }
        keys.retain(|key| is_epoch(key.epoch));
        if let Some(first) = keys.first_mut() {
            first.answers = row.answers.into();
        }
        keys
    }
}

type Whose = ([u8; 16], [u8; 16], u16);

/// Adds keys to the rows of a device and channel.
fn count_keys(
    tx: &mut dyn Tx,
    (account, device, channel): Whose,
    given: &[Given],
    closed: Timestamp,
) -> Result<()> {
    let epochs = || given.iter().map(|given| given.epoch);
    let (Some(lowest), Some(highest)) = (epochs().min(), epochs().max()) else {
        return Ok(());
    };
    let stored = tx.query(
        "SELECT first_epoch, last_epoch, requests, answers, since, until FROM key_usage \
         WHERE account = $1 AND device = $2 AND channel = $3 AND last_epoch >= $4 AND first_epoch <= $5 ORDER BY first_epoch",
        params![account, device, channel, lowest.saturating_sub(1), highest.saturating_add(1).min(i64::MAX as u64)],
    )?;
    let (billed, stored): (Vec<_>, Vec<_>) = read_rows(&stored, interval)?
        .into_iter()
        .partition(|row| row.since < closed);
    let mut intervals = Intervals(stored.clone());
    let is_billed = |epoch| {
        billed
            .iter()
            .any(|row| (row.first..=row.last).contains(&epoch))
    };
    for given in given.iter().filter(|given| !is_billed(given.epoch)) {
        intervals.add(
            given.epoch,
            given.requests,
            given.answers,
            given.since.max(closed),
            given.until.max(closed),
        );
    }
    let Intervals(after) = intervals;
    for gone in stored
        .iter()
        .filter(|before| after.iter().all(|row| row.first != before.first))
    {
        tx.execute(
            "DELETE FROM key_usage WHERE account = $1 AND device = $2 AND channel = $3 AND first_epoch = $4",
            params![account, device, channel, gone.first],
        )?;
    }
    for row in after.iter().filter(|row| !stored.contains(row)) {
        tx.execute(
            "INSERT INTO key_usage (account, device, channel, first_epoch, last_epoch, requests, answers, since, until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (account, device, channel, first_epoch) DO UPDATE SET \
             last_epoch = excluded.last_epoch, requests = excluded.requests, answers = excluded.answers, \
             since = excluded.since, until = excluded.until",
            params![account, device, channel, row.first, row.last, row.requests, row.answers, row.since.0, row.until.0],
        )?;
    }
    Ok(())
}

fn interval(row: &Row) -> std::result::Result<Interval, StoreError> {
    Ok(Interval {
        first: row.get(0)?,
        last: row.get(1)?,
        requests: row.get(2)?,
        answers: row.get(3)?,
        since: Timestamp(row.get(4)?),
        until: Timestamp(row.get(5)?),
    })
}
