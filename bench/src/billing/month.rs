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
/// Minutes.
pub(super) const DAY: u64 = 24 * 60;
const MINUTE_NS: u64 = 60_000_000_000;
/// Bytes of an epoch: 8 Mbit/s.
const EPOCH_BYTES: u64 = 60_000_000;

/// A device and its account.
pub(super) type Whose = (AccountId, DeviceId);

/// Nanoseconds of a boot clock that runs since 1970, so many minutes into a month.
fn clock(month: Month, minute: u64) -> u64 {
    month.start().0.unsigned_abs() * 1_000_000 + minute * MINUTE_NS
}

/// A day of all devices: from which minute of it on each watches, and the channel of each stretch. The same each time.
pub(super) struct Day {
    month: Month,
    day: u64,
    plans: Vec<(u64, [u16; STRETCHES as usize])>,
}

impl Day {
    pub(super) fn new(month: Month, day: u64, devices: usize) -> Self {
        let plan = |device: usize| {
            let mut rng = StdRng::seed_from_u64((device as u64) << 16 | day);
            let start = rng.random_range(0..DAY - STRETCHES * STRETCH);
            let channels = std::array::from_fn(|_| rng.random_range(1..=CHANNELS));
            (start, channels)
        };
        let plans = (0..devices).map(plan).collect();
        Self { month, day, plans }
    }

    /// What the key server's doors wrote down in these minutes of the day, as one file; and how many records that are.
    pub(super) fn keys(&self, devices: &[Whose], minutes: Range<u64>) -> (Vec<u8>, u64) {
        let before = self.day * DAY;
        let mut records = Vec::new();
        for (whose, (start, channels)) in devices.iter().zip(&self.plans) {
            for (stretch, channel) in (0..).zip(channels) {
                let first = start + stretch * STRETCH;
                let within = first.max(minutes.start)..(first + STRETCH).min(minutes.end);
                let within = before + within.start..before + within.end;
                self.record(&mut records, whose, *channel, within);
            }
        }
        let count = records.len() as u64;
        let sequence = before + minutes.start;
        let bytes = file::<KeyUsageFile>((SourceKind::KeyServer, 0), sequence, &records);
        (bytes, count)
    }

    /// One epoch a minute, the first of a month is 1; each is asked for once.
    fn record(
        &self,
        records: &mut Vec<KeyUsage>,
        (account, device): &Whose,
        channel: u16,
        minutes: Range<u64>,
    ) {
        let mut session = device.to_bytes();
        session[0] ^= self.day.to_le_bytes()[0];
        let mut minute = minutes.start;
        while minute < minutes.end {
            let count = (REQUESTS as u64).min(minutes.end - minute);
            let mut current = [0; REQUESTS];
            for (place, given) in current.iter_mut().zip(1..=count) {
                *place = u8::try_from(given).unwrap_or(0);
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
                from: clock(self.month, minute),
                until: clock(self.month, minute + count),
            });
            minute += count;
        }
    }
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
