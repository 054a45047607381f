//! Licences: one table for whatever they came from (INT-04). What a device may receive, the key doors ask here; which licences of an account
//! count, the status list says, with the account's rights version as its number (INT-15). Every change raises it, and one that takes
//! something away makes sessions from before count no more (INT-05).

use sealcast_objects::api::{LicenceOrigin, LicenceRecord, Standing};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::licence::{EndReason, OriginKind, StatusEntry, Subject, Terms, Validity};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, ContentId, DeviceId, LicenceId};

use crate::accounts::{self, Floor};
use crate::catalogue::versions;
use crate::{Read, Result, Row, StoreError, Tx, channels, devices, params, read_rows, refuse};

/// A licence to be issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewLicence {
    /// Its id.
    pub id: LicenceId,
    /// The only device that it counts for.
    pub device: DeviceId,
    /// What for.
    pub subject: Subject,
    /// What it allows.
    pub terms: Terms,
    /// What it comes from: the kind, and the id.
    pub origin: (OriginKind, String),
    /// The licence whose place it takes; that one is ended by whoever issues this one.
    pub supersedes: Option<LicenceId>,
    /// It ends unless its device says before that it has it.
    pub receive_by: Option<Timestamp>,
}

/// A query for licences, as [`read`] takes its rows.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, device, channel, content, version, valid_from, valid_until, plays, origin, origin_id, supersedes, \
             validity, changed, reason, issued, received, receive_by FROM licence ",
            $rest
        )
    };
}

fn word<T>(found: Option<T>, word: &str) -> std::result::Result<T, StoreError> {
    found.ok_or_else(|| StoreError::Damaged(format!("a licence with {word:?}")))
}

fn subject(row: &Row, at: usize) -> std::result::Result<Subject, StoreError> {
    match (row.get(at)?, row.get::<Option<[u8; 16]>>(at + 1)?) {
        (Some(channel), None) => Ok(Subject::Channel(channel)),
        (None, Some(content)) => Ok(Subject::Content(
            Text(ContentId::from_bytes(content)),
            row.get(at + 2)?,
        )),
        _ => Err(StoreError::Damaged("a licence for nothing".to_owned())),
    }
}

fn read(row: &Row) -> std::result::Result<LicenceRecord, StoreError> {
    let time = |at| Ok::<_, StoreError>(row.get::<Option<i64>>(at)?.map(Timestamp));
    let (origin, validity): (String, String) = (row.get(9)?, row.get(12)?);
    let reason: Option<String> = row.get(14)?;
    let end = |reason: String| word(EndReason::from_name(&reason), &reason);
    Ok(LicenceRecord {
        id: Text(LicenceId::from_bytes(row.get(0)?)),
        account: Text(AccountId::from_bytes(row.get(1)?)),
        device: Text(DeviceId::from_bytes(row.get(2)?)),
        subject: subject(row, 3)?.into(),
        from: Timestamp(row.get(6)?),
        until: time(7)?,
        plays: row.get(8)?,
        origin: LicenceOrigin {
            kind: word(OriginKind::from_name(&origin), &origin)?,
            id: row.get(10)?,
        },
        supersedes: row
            .get::<Option<[u8; 16]>>(11)?
            .map(|id| Text(LicenceId::from_bytes(id))),
        validity: word(Validity::from_name(&validity), &validity)?,
        changed: time(13)?,
        reason: reason.map(end).transpose()?,
        issued: Timestamp(row.get(15)?),
        received: time(16)?,
        receive_by: time(17)?,
    })
}

/// Whether a licence may be issued, and for whose account.
///
/// # Errors
/// Not found: the device, the channel, the version. Conflict: a device that is revoked, a version without its file. Suspended: the account.
/// Invalid: a period that ends before it begins.
pub fn check(store: &mut dyn Read, new: &NewLicence) -> Result<AccountId> {
    let device = devices::get(store, new.device)?;
    accounts::check_active(store, device.account.0)?;
    if device.standing == Standing::Revoked {
        let detail = format!(
            "device {} is revoked for ever: it gets no licence",
            device.id
        );
        return refuse(Kind::Conflict, detail);
    }
    match new.subject {
        Subject::Channel(channel) => {
            channels::get(store, channel)?;
        }
        Subject::Content(Text(content), version) => {
            versions::check_ready(store, content, version)?;
        }
    }
    if new.terms.until.is_some_and(|until| until <= new.terms.from) {
        let detail = format!(
            "the licence would end before it begins ({})",
            new.terms.from
        );
        return refuse(Kind::Invalid, detail);
    }
    if new.terms.plays == Some(0) {
        return refuse(Kind::Invalid, "a licence is for one play at least");
    }
    Ok(device.account.0)
}

/// Issues it; `object` is what its device gets, signed.
///
/// # Errors
/// As [`check`]. Conflict: another one took the same place already. The store's.
pub fn issue(tx: &mut dyn Tx, now: Timestamp, new: &NewLicence, object: &[u8]) -> Result<Floor> {
    let account = check(tx, new)?;
    if let Some(old) = new.supersedes {
        let known = tx.first(
            "SELECT account, (SELECT id FROM licence AS next WHERE next.supersedes = licence.id) FROM licence WHERE id = $1",
            params![old.to_bytes()],
        )?;
        match known {
            Some(row) if row.get::<[u8; 16]>(0)? == account.to_bytes() => {
                if row.get::<Option<[u8; 16]>>(1)?.is_some() {
                    let detail = format!("another licence took the place of {} already", Text(old));
                    return refuse(Kind::Conflict, detail);
                }
            }
            _ => return missing(old),
        }
    }
    let (channel, content, version) = match new.subject {
        Subject::Channel(channel) => (Some(channel), None, None),
        Subject::Content(Text(content), version) => (None, Some(content), Some(version)),
    };
    tx.execute(
        "INSERT INTO licence (id, account, device, channel, content, version, valid_from, valid_until, plays, origin, origin_id, \
         supersedes, validity, issued, receive_by, object) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'valid', $13, $14, $15)",
        params![
            new.id.to_bytes(),
            account.to_bytes(),
            new.device.to_bytes(),
            channel,
            content.map(ContentId::to_bytes),
            version,
            new.terms.from.0,
            new.terms.until.map(|until| until.0),
            new.terms.plays,
            new.origin.0.name(),
            new.origin.1.as_str(),
            new.supersedes.map(LicenceId::to_bytes),
            now.0,
            new.receive_by.map(|by| by.0),
            object
        ],
    )?;
    accounts::changed(tx, now, account, false)
}

fn missing<T>(id: LicenceId) -> Result<T> {
    refuse(Kind::NotFound, format!("there is no {}", Text(id)))
}

/// A licence, if there is one of this id.
///
/// # Errors
/// The store's.
pub fn find(store: &mut dyn Read, id: LicenceId) -> Result<Option<LicenceRecord>> {
    let row = store.first(select!("WHERE id = $1"), params![id.to_bytes()])?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// A licence.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: LicenceId) -> Result<LicenceRecord> {
    match find(store, id)? {
        Some(licence) => Ok(licence),
        None => missing(id),
    }
}

/// A licence of this device.
///
/// # Errors
/// Not found: also where it is another device's. The store's.
pub fn of_device(store: &mut dyn Read, device: DeviceId, id: LicenceId) -> Result<LicenceRecord> {
    let licence = get(store, id)?;
    if licence.device.0 == device {
        Ok(licence)
    } else {
        missing(id)
    }
}

/// As its device gets it: the same bytes each time.
///
/// # Errors
/// Not found; the store's.
pub fn object(store: &mut dyn Read, id: LicenceId) -> Result<Vec<u8>> {
    let sql = "SELECT object FROM licence WHERE id = $1";
    match store.first(sql, params![id.to_bytes()])? {
        Some(row) => Ok(row.get(0)?),
        None => missing(id),
    }
}

/// Which licences.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Of this device.
    pub device: Option<DeviceId>,
    /// For this content (MV-18).
    pub content: Option<ContentId>,
}

/// At most `most` licences after `after`, in the order of their ids: the tables of MV-18 and MV-20.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    filter: Filter,
    after: Option<LicenceId>,
    most: u32,
) -> Result<Vec<LicenceRecord>> {
    let rows = store.query(
        select!(
            "WHERE id > $1 AND (account = $2 OR $2 IS NULL) AND (device = $3 OR $3 IS NULL) AND (content = $4 OR $4 IS NULL) \
             ORDER BY id LIMIT $5"
        ),
        params![
            after.map_or([0; 16], LicenceId::to_bytes),
            filter.account.map(AccountId::to_bytes),
            filter.device.map(DeviceId::to_bytes),
            filter.content.map(ContentId::to_bytes),
            most
        ],
    )?;
    read_rows(&rows, read)
}

/// Those of an account that its devices had at any time between.
pub(crate) fn held(
    store: &mut dyn Read,
    account: AccountId,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<LicenceRecord>> {
    let rows = store.query(
        select!(
            "WHERE account = $1 AND received < $2 AND (valid_until IS NULL OR valid_until > $3) ORDER BY id"
        ),
        params![account.to_bytes(), until.0, from.0],
    )?;
    read_rows(&rows, read)
}

/// The device says that it has it; `true` where it had not said so before.
///
/// # Errors
/// Not found: also where it is another device's. Conflict: it counts no more. The store's.
pub fn receive(tx: &mut dyn Tx, now: Timestamp, device: DeviceId, id: LicenceId) -> Result<bool> {
    let licence = of_device(tx, device, id)?;
    if licence.received.is_some() {
        return Ok(false);
    }
    let late = licence.receive_by.is_some_and(|by| by <= now);
    if late || licence.validity == Validity::Invalid {
        let detail = format!("{} counts no more: ask for another one", licence.id);
        return refuse(Kind::Conflict, detail);
    }
    tx.execute(
        "UPDATE licence SET received = $1 WHERE id = $2",
        params![now.0, id.to_bytes()],
    )?;
    Ok(true)
}

/// Those that came from this, in the order of their ids.
///
/// # Errors
/// The store's.
pub fn of_origin(store: &mut dyn Read, origin: &str) -> Result<Vec<LicenceRecord>> {
    let rows = store.query(select!("WHERE origin_id = $1 ORDER BY id"), params![origin])?;
    read_rows(&rows, read)
}

/// Those of which no device said in time that it has them, at most `most`.
///
/// # Errors
/// The store's.
pub fn unreceived(store: &mut dyn Read, now: Timestamp, most: u32) -> Result<Vec<LicenceId>> {
    let rows = store.query(
        "SELECT id FROM licence WHERE received IS NULL AND validity <> 'invalid' AND receive_by IS NOT NULL AND receive_by <= $1 \
         ORDER BY receive_by, id LIMIT $2",
        params![now.0, most],
    )?;
    read_rows(&rows, |row| Ok(LicenceId::from_bytes(row.get(0)?)))
}

/// When the next licence is to be received.
///
/// # Errors
/// The store's.
pub fn next_unreceived(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let row = store.first(
        "SELECT MIN(receive_by) FROM licence WHERE received IS NULL AND validity <> 'invalid' AND receive_by IS NOT NULL",
        &[],
    )?;
    let due = row.map(|row| row.get::<Option<i64>>(0)).transpose()?;
    Ok(due.flatten().map(Timestamp))
}

/// Suspends a licence, lets it count again, or ends it for ever, for this reason. What the key doors must be told; nothing where nothing
/// changed.
///
/// # Errors
/// Not found. Conflict: it is over. The store's.
pub fn set(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: LicenceId,
    to: Validity,
    reason: Option<EndReason>,
) -> Result<Option<Floor>> {
    let licence = get(tx, id)?;
    if licence.validity == to {
        return Ok(None);
    }
    if licence.validity == Validity::Invalid {
        let detail = format!("{} is over for ever: issue another one", licence.id);
        return refuse(Kind::Conflict, detail);
    }
    let changed = (to != Validity::Valid).then_some(now.0);
    let reason = reason.filter(|_| to == Validity::Invalid);
    tx.execute(
        "UPDATE licence SET validity = $1, changed = $2, reason = $3 WHERE id = $4",
        params![
            to.name(),
            changed,
            reason.map(EndReason::name),
            id.to_bytes()
        ],
    )?;
    let takes = to != Validity::Valid;
    accounts::changed(tx, now, licence.account.0, takes).map(Some)
}

/// Licences whose period is over are ended; what the key doors must be told.
///
/// # Errors
/// The store's.
pub fn end_periods(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<Floor>> {
    let rows = tx.query(
        "SELECT DISTINCT account FROM licence WHERE validity <> 'invalid' AND valid_until IS NOT NULL AND valid_until <= $1",
        params![now.0],
    )?;
    let mut floors = Vec::new();
    for row in rows {
        let account = AccountId::from_bytes(row.get(0)?);
        floors.push(accounts::changed(tx, now, account, true)?);
    }
    tx.execute(
        "UPDATE licence SET validity = 'invalid', reason = 'expired', changed = valid_until \
         WHERE validity <> 'invalid' AND valid_until IS NOT NULL AND valid_until <= $1",
        params![now.0],
    )?;
    Ok(floors)
}

/// When the next period ends.
///
/// # Errors
/// The store's.
pub fn next_end(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let row = store.first(
        "SELECT MIN(valid_until) FROM licence WHERE validity <> 'invalid' AND valid_until IS NOT NULL",
        &[],
    )?;
    let end = row.map(|row| row.get::<Option<i64>>(0)).transpose()?;
    Ok(end.flatten().map(Timestamp))
}

/// Why a device may not receive a channel by its licences; nothing where it may. `None` where it has none for it.
pub(crate) fn why_not_receive(
    store: &mut dyn Read,
    now: Timestamp,
    device: DeviceId,
    channel: u16,
) -> Result<Option<std::result::Result<(), String>>> {
    let rows = store.query(
        "SELECT valid_from, valid_until, validity, reason FROM licence WHERE device = $1 AND channel = $2 ORDER BY issued DESC, id DESC",
        params![device.to_bytes(), channel],
    )?;
    let mut why = None;
    for row in &rows {
        let terms = Terms {
            from: Timestamp(row.get(0)?),
            until: row.get::<Option<i64>>(1)?.map(Timestamp),
            plays: None,
        };
        let (validity, reason): (String, Option<String>) = (row.get(2)?, row.get(3)?);
        let this = match word(Validity::from_name(&validity), &validity)? {
            Validity::Valid => terms.why_not(now),
            Validity::Suspended => Some("the licence is suspended".to_owned()),
            Validity::Invalid => {
                let reason = reason.unwrap_or_default();
                Some(format!("the licence counts no more ({reason})"))
            }
        };
        match this {
            None => return Ok(Some(Ok(()))),
            // Of several the newest tells.
            Some(this) => why = why.or(Some(this)),
        }
    }
    Ok(why.map(Err))
}

/// Channels for which a device has licences, whether they count or not.
pub(crate) fn channels_of(store: &mut dyn Read, device: DeviceId) -> Result<Vec<u16>> {
    let rows = store.query(
        "SELECT DISTINCT channel FROM licence WHERE device = $1 AND channel IS NOT NULL ORDER BY channel",
        params![device.to_bytes()],
    )?;
    read_rows(&rows, |row| row.get(0))
}

/// Which licences of an account count, and the number of the list.
///
/// # Errors
/// Not found; the store's.
pub fn status(store: &mut dyn Read, account: AccountId) -> Result<(u64, Vec<StatusEntry>)> {
    let version = accounts::get(store, account)?.rights_version;
    let rows = store.query(
        select!("WHERE account = $1 ORDER BY id"),
        params![account.to_bytes()],
    )?;
    let entry = |row: &Row| {
        let licence = read(row)?;
        let changed = licence.changed.map(|at| (at, licence.reason));
        Ok((licence.id, licence.validity, changed))
    };
    Ok((version, read_rows(&rows, entry)?))
}
