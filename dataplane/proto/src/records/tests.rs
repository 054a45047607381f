//! What was written is read; whatever was done to a file is told.

use proptest::prelude::*;

use super::format::{BLOCK_HEAD, FIXED, padded};
use super::*;

fn usage_identity() -> UsageIdentity {
    UsageIdentity {
        kind: SourceKind::Device,
        source: [3; 16],
        boot: [4; 16],
        sequence: 7,
        wall_minus_boot: -5,
    }
}

const TRACE: TraceIdentity = TraceIdentity {
    origin: Origin::Synthetic,
    seed: 9,
};

fn usage(number: u64) -> Usage {
    Usage {
        channel: 7,
        lane: 255,
        epoch: u64::MAX - number,
        packets: number,
        bytes: number * 1316,
        from: 10 * number,
        until: 10 * number + 10,
    }
}

fn packet(number: u64) -> TracedPacket {
    TracedPacket {
        at: number * 1000,
        channel: 3,
        length: 1316,
        content: Content::ALL[usize::try_from(number % 3).unwrap()],
    }
}

/// A closed file with `blocks` of records.
fn file<K: Kind>(identity: &K::Identity, blocks: &[Vec<K::Record>]) -> Vec<u8> {
    let mut bytes = open_file::<K>(identity, blocks).1;
    bytes.extend(open_file::<K>(identity, blocks).0.close());
    bytes
}

/// As [`file`], not closed.
fn open_file<K: Kind>(
    identity: &K::Identity,
    blocks: &[Vec<K::Record>],
) -> (RecordWriter<K>, Vec<u8>) {
    let (mut writer, mut bytes) = RecordWriter::<K>::create(identity);
    for block in blocks {
        bytes.extend(writer.block(block));
    }
    (writer, bytes)
}

/// Three blocks of usage, not closed; and where each begins.
fn usage_blocks() -> (Vec<u8>, [usize; 4]) {
    let blocks: Vec<Vec<_>> = (0..3)
        .map(|block| (0..=block).map(|n| usage(10 * block + n)).collect())
        .collect();
    let mut starts = [0; 4];
    for (count, start) in starts.iter_mut().enumerate() {
        *start = open_file::<UsageFile>(&usage_identity(), &blocks[..count])
            .1
            .len();
    }
    (open_file::<UsageFile>(&usage_identity(), &blocks).1, starts)
}

fn refused<K: Kind>(bytes: &[u8]) -> RecordError {
    RecordFile::<K>::read(bytes)
        .map(|file| file.end())
        .unwrap_err()
}

proptest! {
    #[test]
    fn int_16_what_is_written_is_read(
        blocks in prop::collection::vec(prop::collection::vec(any::<(u16, u8, u64, u64)>(), 0..40), 0..6),
        shift in 0_usize..16,
        sequence: u64,
    ) {
        let record = |&(channel, lane, epoch, packets): &(u16, u8, u64, u64)| Usage {
            channel, lane, epoch, packets, bytes: packets ^ epoch, from: epoch, until: packets,
        };
        let blocks: Vec<Vec<_>> = blocks.iter().map(|block| block.iter().map(record).collect()).collect();
        let identity = UsageIdentity { sequence, ..usage_identity() };
        // Records are read at any address.
        let mut bytes = vec![0; shift];
        bytes.extend(file::<UsageFile>(&identity, &blocks));
        let read = RecordFile::<UsageFile>::read(&bytes[shift..]).unwrap();
        prop_assert_eq!((read.identity(), read.end()), (&identity, End::Closed));
        let flat: Vec<_> = blocks.concat();
        prop_assert_eq!(read.len(), flat.len());
        let one_by_one = (0..=flat.len()).map(|index| read.get(index));
        prop_assert!(one_by_one.eq(flat.iter().copied().map(Some).chain([None])));
        prop_assert_eq!(read.records().collect::<Vec<_>>(), flat);
        prop_assert_eq!(read.blocks().count(), blocks.iter().filter(|block| !block.is_empty()).count());
    }
}

/// INT-16: nothing is parsed or copied to read a record.
#[test]
fn int_16_records_are_read_where_they_lie() {
    let bytes = file::<PacketTrace>(&TRACE, &[(0..100).map(packet).collect()]);
    let read = RecordFile::<PacketTrace>::read(&bytes).unwrap();
    let block = read.blocks().next().unwrap();
    let (start, end) = (bytes.as_ptr().addr(), bytes.as_ptr().addr() + bytes.len());
    assert!((start..end).contains(&block.as_ptr().addr()));
    assert_eq!(size_of_val(block), 100 * 13, "no byte between the fields");
    assert_eq!(
        (block[7].at.to_native(), block[7].length.to_native()),
        (7000, 1316)
    );
}

#[test]
fn the_three_kinds_come_back() {
    let request = TracedRequest {
        at: 5,
        device: 1_000_000,
        channel: 9,
        epoch: 0,
        cause: Cause::Join,
    };
    let bytes = file::<RequestTrace>(&TRACE, &[vec![request; 3]]);
    let read = RecordFile::<RequestTrace>::read(&bytes).unwrap();
    assert_eq!(read.records().collect::<Vec<_>>(), [request; 3]);
    let many: Vec<_> = (0..BLOCK_RECORDS as u64 + 5).map(packet).collect();
    let bytes = file::<PacketTrace>(&TRACE, std::slice::from_ref(&many));
    let read = RecordFile::<PacketTrace>::read(&bytes).unwrap();
    assert_eq!(read.blocks().count(), 2, "a block is bounded");
    assert!((0..many.len()).all(|index| read.get(index) == Some(many[index])));
    assert!(read.records().eq(many));
}

/// INT-16: the layout is part of the format. Who changes a record sees this test, and files of before are refused.
#[test]
fn int_16_the_layouts_are_these() {
    assert_eq!(
        [
            PacketTrace::LAYOUT,
            RequestTrace::LAYOUT,
            UsageFile::LAYOUT,
            KeyUsageFile::LAYOUT,
            SessionFile::LAYOUT
        ],
        [
            10_265_407_397_349_565_939,
            18_407_518_362_204_204_495,
            13_332_454_883_067_036_269,
            1_676_761_773_003_035_989,
            17_708_135_777_976_690_121
        ]
    );
    let bytes = file::<PacketTrace>(&TRACE, &[vec![packet(1)]]);
    assert_eq!(&bytes[..8], b"\x89SCREC\r\n");
    assert_eq!(
        bytes.len(),
        FIXED + 16 + 32 + BLOCK_HEAD + padded(13 + 8) + BLOCK_HEAD
    );
    let record = &bytes[FIXED + 48 + BLOCK_HEAD..][..13];
    assert_eq!(record, [0xe8, 3, 0, 0, 0, 0, 0, 0, 3, 0, 0x24, 5, 1]);
}

#[test]
fn sec_33_files_of_others_are_refused_with_the_reason() {
    let bytes = file::<PacketTrace>(&TRACE, &[vec![packet(1)]]);
    for foreign in [
        &b""[..],
        b"\x47",
        b"\x89PNG\r\n\x1a\n",
        b"\x89SCREC\n",
        &[0; 500],
    ] {
        assert_eq!(refused::<PacketTrace>(foreign), RecordError::Foreign);
    }
    let mut future = bytes.clone();
    future[8] = 2;
    assert_eq!(refused::<PacketTrace>(&future), RecordError::Future(2));
    let other = refused::<UsageFile>(&bytes);
    assert_eq!(
        other.to_string(),
        "this is a packet trace, wanted is a usage file"
    );
    // As if a record had another field: a header that is whole, with another layout.
    let identity = &bytes[FIXED..FIXED + 9];
    let changed = format::header(KindNumber::PacketTrace, PacketTrace::LAYOUT ^ 1, identity);
    assert!(matches!(
        refused::<PacketTrace>(&changed),
        RecordError::OtherLayout { .. }
    ));
    let same = format::header(KindNumber::PacketTrace, PacketTrace::LAYOUT, identity);
    assert_eq!(same, bytes[..same.len()]);
}

/// SEC-33, SEC-34: one bit anywhere, and the file is refused, or it counts less and says that it is torn; never other records.
#[test]
fn sec_33_34_no_altered_bit_goes_unseen() {
    let closed = file::<PacketTrace>(&TRACE, &[vec![packet(1)], vec![packet(2), packet(3)]]);
    for at in 0..closed.len() * 8 {
        let mut altered = closed.clone();
        altered[at / 8] ^= 1 << (at % 8);
        assert!(
            RecordFile::<PacketTrace>::read(&altered).is_err(),
            "bit {at}"
        );
    }
    let (open, starts) = usage_blocks();
    for at in 0..open.len() * 8 {
        let mut altered = open.clone();
        altered[at / 8] ^= 1 << (at % 8);
        match RecordFile::<UsageFile>::read(&altered) {
            Err(_) => {}
            Ok(read) => {
                assert!(
                    at / 8 >= starts[2],
                    "bit {at}: only the last block may be lost"
                );
                assert!(matches!(read.end(), End::Torn { .. }), "bit {at}");
                assert_eq!(
                    read.records().collect::<Vec<_>>(),
                    [usage(0), usage(10), usage(11)]
                );
            }
        }
    }
}

/// SEC-34: what was killed while writing keeps every whole block; a trace must be whole.
#[test]
fn sec_34_a_torn_usage_file_is_read_up_to_its_last_whole_block() {
    let (open, starts) = usage_blocks();
    for length in starts[0]..open.len() {
        let read = RecordFile::<UsageFile>::read(&open[..length]).unwrap();
        let whole = starts.iter().rposition(|&start| start <= length).unwrap();
        let torn = End::Torn {
            at: starts[whole],
            bytes: length - starts[whole],
        };
        let expected = if length == starts[whole] {
            End::Open
        } else {
            torn
        };
        assert_eq!(
            (read.blocks().count(), read.end()),
            (whole, expected),
            "{length}"
        );
    }
    let mut zeros = open.clone();
    zeros.resize(open.len() + 500, 0);
    let read = RecordFile::<UsageFile>::read(&zeros).unwrap();
    let torn = End::Torn {
        at: open.len(),
        bytes: 500,
    };
    assert_eq!((read.len(), read.end()), (6, torn));
    let trace = file::<PacketTrace>(&TRACE, &[vec![packet(1)], vec![packet(2)]]);
    for length in 8..trace.len() {
        let why = refused::<PacketTrace>(&trace[..length]);
        assert!(
            matches!(why, RecordError::Truncated { .. }),
            "{length}: {why}"
        );
    }
}

#[test]
fn sec_34_blocks_that_are_taken_out_moved_or_put_in_break_the_chain() {
    let (open, [first, second, third, end]) = usage_blocks();
    let without = [&open[..first], &open[second..]].concat();
    let broken = RecordError::ChainBroken {
        block: 0,
        at: first,
    };
    assert_eq!(refused::<UsageFile>(&without), broken);
    let twice = [&open[..third], &open[second..third]].concat();
    let broken = RecordError::ChainBroken {
        block: 2,
        at: third,
    };
    assert_eq!(refused::<UsageFile>(&twice), broken);
    // A block of the same number out of another file.
    let other = UsageIdentity {
        sequence: 8,
        ..usage_identity()
    };
    let (_, other) = open_file::<UsageFile>(&other, &[vec![usage(0)]]);
    let mixed = [&open[..first], &other[first..], &open[second..end]].concat();
    let broken = RecordError::ChainBroken {
        block: 0,
        at: first,
    };
    assert_eq!(refused::<UsageFile>(&mixed), broken);
    let trace = file::<PacketTrace>(&TRACE, &[vec![packet(1)]]);
    let longer = [&trace[..], &trace[FIXED + 48..]].concat();
    assert!(matches!(
        refused::<PacketTrace>(&longer),
        RecordError::Corrupt { block: 1, .. }
    ));
}

/// SEC-33: a block whose hash is right and whose records are none: numbers that no variant has, lengths that do not agree.
#[test]
fn sec_33_records_are_checked_even_if_the_hash_is_right() {
    let bytes = file::<PacketTrace>(&TRACE, &[vec![packet(1); 2]]);
    let start = FIXED + 48;
    let body = &bytes[start + BLOCK_HEAD..][..2 * 13 + 8];
    let mut previous = [0; 32];
    previous.copy_from_slice(&bytes[start - 32..start]);
    let forged = |records: usize, body: &[u8]| {
        let (block, _) = format::block(0, records, &previous, body);
        refused::<PacketTrace>(&[&bytes[..start], &block].concat())
    };
    assert!(
        matches!(forged(2, body), RecordError::Truncated { .. }),
        "as it was, but for its end"
    );
    let corrupt = RecordError::Corrupt {
        block: 0,
        at: start,
    };
    let mut content = body.to_vec();
    content[12] = 9;
    assert_eq!(forged(2, &content), corrupt, "no such content");
    let mut length = body.to_vec();
    length[30] = 3;
    assert_eq!(
        forged(3, &length),
        corrupt,
        "three records where there are two"
    );
    assert_eq!(forged(1, body), corrupt, "the head says one");
    assert_eq!(forged(2, &body[1..]), corrupt);
    assert_eq!(forged(2, &[]), corrupt);
    assert_eq!(forged(0, body), corrupt, "an end has no body");
}
