//! Usage files as servers would have written them at a time that is over.

use sealcast_objects::month::Month;
use sealcast_objects::time::Timestamp;
use sealcast_proto::ids::Time;
use sealcast_proto::records::{
    KeyUsage, KeyUsageFile, Kind, REQUESTS, Rotation, Source, SourceKind, Usage, UsageFile,
    UsageIdentity, UsageLog,
};

/// The month before this one.
pub(crate) fn last_month() -> Month {
    let now = Month::of(std::time::SystemTime::now().into());
    Month::from_number(now.number() - 1).unwrap()
}

/// Nanoseconds of a boot clock that runs since 1970.
fn clock(at: Timestamp) -> u64 {
    u64::try_from(at.0).unwrap() * 1_000_000
}

fn file<K: Kind<Identity = UsageIdentity>>(
    (kind, number, boot): (SourceKind, u32, u8),
    records: &[K::Record],
) -> Vec<u8> {
    let mut log = UsageLog::<K>::new(
        Source::numbered(kind, number, [boot; 16]),
        Rotation::default(),
    );
    log.add(Time(0), 0, records);
    log.close();
    let mut bytes = Vec::new();
    while let Some(append) = log.next() {
        bytes.extend(&append.bytes);
        log.written();
    }
    bytes
}

/// The master gave a device these keys, each for one request.
pub(crate) fn keys(
    (account, device, channel): ([u8; 16], [u8; 16], u16),
    at: Timestamp,
    epochs: std::ops::RangeInclusive<u64>,
) -> Vec<u8> {
    let epochs: Vec<_> = epochs.collect();
    let record = |(index, some): (usize, &[u64])| {
        let mut current = [0; REQUESTS];
        for (place, given) in current.iter_mut().zip(1..).take(some.len()) {
            *place = given;
        }
        KeyUsage {
            session: device,
            account,
            device,
            channel,
            number_base: (index * REQUESTS) as u64,
            epoch_base: some[0],
            current,
            next: [0; REQUESTS],
            answers: u32::try_from(some.len()).unwrap(),
            from: clock(at),
            until: clock(at),
        }
    };
    let records: Vec<_> = epochs.chunks(REQUESTS).enumerate().map(record).collect();
    file::<KeyUsageFile>((SourceKind::KeyServer, 0, device[15]), &records)
}

/// A delivery server sent so many bytes in each of these epochs.
pub(crate) fn sent(
    channel: u16,
    at: Timestamp,
    epochs: std::ops::RangeInclusive<u64>,
    bytes: u64,
) -> Vec<u8> {
    let record = |epoch| Usage {
        channel,
        lane: 1,
        epoch,
        packets: bytes.div_ceil(1316),
        bytes,
        from: clock(at),
        until: clock(at),
    };
    let records: Vec<_> = epochs.map(record).collect();
    file::<UsageFile>((SourceKind::DeliveryServer, 5, 1), &records)
}
