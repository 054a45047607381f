//! What devices watch in a month, and the usage files that come of it.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sealcast_objects::id::Id as _;
use sealcast_objects::month::Month;
use sealcast_objects::{AccountId, DeviceId};
use sealcast_proto::ids::Time;
use sealcast_proto::records::{
    KeyUsage, KeyUsageFile, Kind, REQUESTS, Rotation, Source, SourceKind, Usage, UsageFile,
    UsageIdentity, UsageLog,
};

/// Channels that there are.
pub(super) const CHANNELS: u16 = 5;
/// Stretches of a day, each on one channel: as many changes of the channel, the first among them.
const STRETCHES: u64 = 6;
/// Epochs of a stretch, of a minute each: three hours a day.
const STRETCH: u64 = 30;
const DAY: u64 = 24 * 60;
/// Files of a day.
pub(super) const FILES: u64 = 24;
const MINUTE_NS: u64 = 60_000_000_000;
/// Bytes of an epoch: 8 Mbit/s.
const EPOCH_BYTES: u64 = 60_000_000;

/// A device and its account.
pub(super) type Whose = (AccountId, DeviceId);

/// Nanoseconds of a boot clock that runs since 1970, so many minutes into a month.
fn clock(month: Month, minute: u64) -> u64 {
    month.start().0.unsigned_abs() * 1_000_000 + minute * MINUTE_NS
}

/// What a device does on a day: from which minute on, and the channel of each stretch. The same each time it is asked.
fn plan(device: usize, day: u64) -> (u64, [u16; STRETCHES as usize]) {
    let seed = (device as u64) << 16 | day;
    let mut rng = StdRng::seed_from_u64(seed);
    let start = rng.random_range(0..DAY - STRETCHES * STRETCH);
    (
        start,
        std::array::from_fn(|_| rng.random_range(1..=CHANNELS)),
    )
}

fn file<K: Kind<Identity = UsageIdentity>>(
    (kind, number): (SourceKind, u32),
    sequence: u64,
    records: &[K::Record],
) -> Vec<u8> {
    let mut boot = [0; 16];
    boot[..8].copy_from_slice(&sequence.to_be_bytes());
    let rotation = Rotation {
        size: u64::MAX,
        ..Rotation::default()
    };
    let mut log = UsageLog::<K>::new(Source::numbered(kind, number, boot), rotation);
    log.add(Time(0), 0, records);
    log.close();
    let mut bytes = Vec::new();
    while let Some(append) = log.next() {
        bytes.extend(&append.bytes);
        log.written();
    }
    bytes
}

/// What the key server's doors wrote down in one of the parts of a day: each device's requests in records of at most so many. How many records.
pub(super) fn keys(
    (month, day, part): (Month, u64, u64),
    devices: &[Whose],
    per_record: u64,
) -> (Vec<u8>, u64) {
    let hours = DAY / FILES;
    let minutes = day * DAY + part * hours..day * DAY + (part + 1) * hours;
    let mut records = Vec::new();
    for (index, whose) in devices.iter().enumerate() {
        let (start, channels) = plan(index, day);
        for (stretch, channel) in (0..).zip(channels) {
            let first = day * DAY + start + stretch * STRETCH;
            let within = first.max(minutes.start)..(first + STRETCH).min(minutes.end);
            record_all(
                &mut records,
                month,
                (whose, channel, day),
                within,
                per_record,
            );
        }
    }
    let sequence = day * FILES + part;
    let count = records.len() as u64;
    let bytes = file::<KeyUsageFile>((SourceKind::KeyServer, 0), sequence, &records);
    (bytes, count)
}

/// One epoch a minute, the first of a month is 1.
fn record_all(
    records: &mut Vec<KeyUsage>,
    month: Month,
    ((account, device), channel, day): (&Whose, u16, u64),
    minutes: Range<u64>,
    per_record: u64,
) {
    let mut session = device.to_bytes();
    session[0] ^= day.to_le_bytes()[0];
    let mut minute = minutes.start;
    while minute < minutes.end {
        let count = per_record.min(minutes.end - minute);
        let mut current = [0; REQUESTS];
        for (place, given) in current
            .iter_mut()
            .zip(1..)
            .take(usize::try_from(count).unwrap_or(0))
        {
            *place = given;
        }
        records.push(KeyUsage {
            session,
            account: account.to_bytes(),
            device: device.to_bytes(),
            channel,
            number_base: minute,
            epoch_base: minute + 1,
            current,
            next: [0; REQUESTS],
            answers: u32::try_from(count).unwrap_or(u32::MAX),
            from: clock(month, minute),
            until: clock(month, minute + count),
        });
        minute += count;
    }
}

/// What a delivery server sent on a day: each channel's epochs. How many records.
pub(super) fn sent(month: Month, day: u64) -> (Vec<u8>, u64) {
    let record = |channel, minute| Usage {
        channel,
        lane: 1,
        epoch: minute + 1,
        packets: EPOCH_BYTES / 1316,
        bytes: EPOCH_BYTES,
        from: clock(month, minute),
        until: clock(month, minute + 1),
    };
    let minutes = day * DAY..(day + 1) * DAY;
    let records: Vec<_> = minutes
        .flat_map(|minute| (1..=CHANNELS).map(move |channel| record(channel, minute)))
        .collect();
    let count = records.len() as u64;
    let bytes = file::<UsageFile>((SourceKind::DeliveryServer, 1), day, &records);
    (bytes, count)
}
