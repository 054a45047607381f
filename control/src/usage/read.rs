//! Usage files as rows of the business.

use sealcast_domain::metering::{self, File, KeyRow, SentRow, Taken};
use sealcast_domain::{Error, Tx};
use sealcast_objects::api::UsageSource;
use sealcast_objects::id::Id as _;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};
use sealcast_proto::records::{
    End, KeyUsage, KeyUsageFile, Kind as FileKind, RecordError, RecordFile, SourceKind, Usage,
    UsageFile, UsageIdentity,
};

/// What a usage file counts: read, whole and closed.
#[derive(Debug)]
pub struct Counted {
    /// What the file is called.
    name: String,
    file: File,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// Which keys a key server gave.
    Keys(Vec<KeyRow>),
    /// What a delivery server sent.
    Sent(Vec<SentRow>),
}

fn invalid(why: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::Invalid, format!("this file is not taken in: {why}"))
}

impl Counted {
    /// Reads a whole, closed file. `now`: no instant in it is later.
    ///
    /// # Errors
    /// It is damaged, not closed, or of a source whose counts are not taken in.
    pub fn read(bytes: &[u8], now: Timestamp) -> Result<Self, Problem> {
        match RecordFile::<KeyUsageFile>::read(bytes) {
            Ok(file) => {
                let identity = *file.identity();
                let rows = file
                    .records()
                    .map(|record| key_row(&identity, &record, now));
                Ok(Self {
                    name: identity.file_name(),
                    rows: Rows::Keys(rows.collect()),
                    file: checked(&file, SourceKind::KeyServer)?,
                })
            }
            Err(RecordError::OtherKind { .. }) => {
                let file = RecordFile::<UsageFile>::read(bytes).map_err(invalid)?;
                let identity = *file.identity();
                let rows = file
                    .records()
                    .map(|record| sent_row(&identity, &record, now));
                Ok(Self {
                    name: identity.file_name(),
                    rows: Rows::Sent(rows.collect()),
                    file: checked(&file, SourceKind::DeliveryServer)?,
                })
            }
            Err(error) => Err(invalid(error)),
        }
    }

    /// Counts files, but those that were counted before. What each came to, in their order; refused, if another file of its name was taken.
    ///
    /// # Errors
    /// The store's.
    pub fn take(
        files: &[Self],
        tx: &mut dyn Tx,
        now: Timestamp,
    ) -> sealcast_domain::Result<Vec<Taken>> {
        let keys: Vec<_> = files
            .iter()
            .filter_map(|counted| match &counted.rows {
                Rows::Keys(rows) => Some((&counted.file, &rows[..])),
                Rows::Sent(_) => None,
            })
            .collect();
        let mut of_keys = metering::take_keys(tx, now, &keys)?.into_iter();
        let mut all = Vec::with_capacity(files.len());
        for counted in files {
            all.push(match &counted.rows {
                Rows::Keys(_) => of_keys.next().expect("one for each file of keys"),
                Rows::Sent(rows) => match metering::take_sent(tx, now, &counted.file, rows) {
                    Ok(taken) => Ok(taken),
                    Err(Error::Refused(problem)) => Err(problem),
                    Err(error) => return Err(error),
                },
            });
        }
        Ok(all)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many records it has.
    pub(crate) fn len(&self) -> usize {
        match &self.rows {
            Rows::Keys(rows) => rows.len(),
            Rows::Sent(rows) => rows.len(),
        }
    }

    /// Whose file it is.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }
}

fn checked<K>(file: &RecordFile<'_, K>, wanted: SourceKind) -> Result<File, Problem>
where
    K: FileKind<Identity = UsageIdentity>,
{
    let identity = file.identity();
    if file.end() != End::Closed {
        return Err(invalid(
            "its end is missing: it is still being written, or was cut off on its way",
        ));
    }
    if identity.kind != wanted {
        return Err(invalid(
            "counts of devices are not taken in, only those of delivery servers and key servers",
        ));
    }
    let number = u32::try_from(u128::from_be_bytes(identity.source))
        .map_err(|_| invalid("its source has no number"))?;
    Ok(File {
        source: match wanted {
            SourceKind::KeyServer => UsageSource::KeyServer,
            SourceKind::DeliveryServer | SourceKind::Device => UsageSource::DeliveryServer,
        },
        number,
        boot: identity.boot,
        sequence: identity.sequence,
        chain: *file.chain_hash(),
    })
}

/// What a whole file of a key server is called, and how many records it holds.
///
/// # Errors
/// It is not such a file.
pub(crate) fn of_key_server(bytes: &[u8]) -> Result<(String, u64), Problem> {
    let file = RecordFile::<KeyUsageFile>::read(bytes).map_err(invalid)?;
    checked(&file, SourceKind::KeyServer)?;
    Ok((file.identity().file_name(), file.len() as u64))
}

/// An instant of the counting host's boot clock, as the calendar has it.
fn wall(identity: &UsageIdentity, boot: u64, now: Timestamp) -> Timestamp {
    let wall = boot
        .checked_add_signed(identity.wall_minus_boot)
        .unwrap_or(0);
    let millis = i64::try_from(wall / 1_000_000).unwrap_or(i64::MAX);
    Timestamp(millis).min(now)
}

fn key_row(identity: &UsageIdentity, record: &KeyUsage, now: Timestamp) -> KeyRow {
    let given = record.given();
    KeyRow {
        session: record.session,
        account: AccountId::from_bytes(record.account),
        device: DeviceId::from_bytes(record.device),
        channel: record.channel,
        given: given
            .map(|(number, current, next)| (number, current.0, next.map(|next| next.0)))
            .collect(),
        answers: record.answers,
        since: wall(identity, record.from, now),
        until: wall(identity, record.until, now),
    }
}

fn sent_row(identity: &UsageIdentity, record: &Usage, now: Timestamp) -> SentRow {
    SentRow {
        channel: record.channel,
        epoch: record.epoch,
        packets: record.packets,
        bytes: record.bytes,
        since: wall(identity, record.from, now),
        until: wall(identity, record.until, now),
    }
}
