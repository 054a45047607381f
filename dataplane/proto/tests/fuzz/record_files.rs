//! Record files of hostile bytes. Hashes would keep mutations out, so these are put right again: what gets in is a file whose
//! lengths, numbers and hashes agree, and whose content is anything.

use sealcast_crypto::sha256;
use sealcast_proto::records::{
    KeyUsageFile, Kind, PacketTrace, RecordFile, RecordWriter, RequestTrace, SessionFile, UsageFile,
};

/// Bytes as a file, as each kind.
pub fn records(bytes: &[u8]) {
    for file in [bytes.to_vec(), put_right(bytes).unwrap_or_default()] {
        reads::<PacketTrace>(&file);
        reads::<RequestTrace>(&file);
        reads::<UsageFile>(&file);
        reads::<KeyUsageFile>(&file);
        if let Ok(keys) = RecordFile::<KeyUsageFile>::read(&file) {
            keys.records()
                .for_each(|record| assert!(record.given().count() <= 16));
        }
        reads::<SessionFile>(&file);
        if let Ok(sessions) = RecordFile::<SessionFile>::read(&file) {
            assert!(sessions.identity().channels().len() <= 7);
            sessions.records().for_each(|minted| drop(minted.grant()));
        }
    }
}

/// How many records came out. They are no more than the file has room for, and come back when written again.
pub fn reads<K: Kind<Record: PartialEq + std::fmt::Debug>>(bytes: &[u8]) -> usize {
    let Ok(file) = RecordFile::<K>::read(bytes) else {
        return 0;
    };
    let in_place: usize = file.blocks().map(size_of_val).sum();
    assert!(in_place <= bytes.len());
    let records: Vec<_> = file.records().collect();
    let (mut writer, mut again) = RecordWriter::<K>::create(file.identity());
    again.extend(writer.block(&records));
    again.extend(writer.close());
    let read = RecordFile::<K>::read(&again).expect("it was just written");
    assert!(read.records().eq(records.iter().copied()));
    records.len()
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// The file with the hashes that its content wants, as `records/mod.rs` describes it.
pub fn put_right(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = number(bytes, 12)?.clamp(32, 4096);
    let said = bytes.get(..length - 32)?;
    let mut chain = sha256(&[said]);
    let mut file = [said, &chain].concat();
    let mut rest = bytes.get(length..)?;
    while let Some((numbers, after)) = rest.split_at_checked(16) {
        let body = number(numbers, 8)?.next_multiple_of(16);
        let body = after.get(80..80 + body)?;
        let hash = sha256(&[numbers, &chain, body]);
        file.extend([numbers, &sha256(&[numbers])[..16], &chain, &hash, body].concat());
        chain = hash;
        rest = &after[80 + body.len()..];
    }
    Some(file)
}
