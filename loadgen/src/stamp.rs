//! What a payload carries so that a sink can verify it: which run, flow and number, when it should have been sent, and a
//! checksum over all of it.
//!
//! ```text
//! magic 4 | version 1 | kind 1 | 0 0 | run 8 | host 4 | flow 4 | sequence 8 | due 8 | filler ... | checksum 8
//! ```
//! Big-endian. Payloads of whole TS packets (188 bytes each) are such: the stamp begins behind the first header, all packets of
//! a flow have one PID, and its continuity counter is right. Payloads of other lengths begin with the stamp.

use sealcast_dataplane::ts::packet::{NULL_PID, PACKET, SYNC};
use twox_hash::XxHash3_64;

const MAGIC: [u8; 4] = *b"scLG";
const VERSION: u8 = 1;
/// Bytes of the stamp without the checksum.
const STAMP: usize = 40;
const CHECKSUM: usize = 8;
const TS_HEADER: usize = 4;
/// PIDs of flows: above those of tables, below the null packets.
const PID_FIRST: u16 = 0x100;
const PIDS: u32 = 0x1E00;

/// Bytes of the payload that says where a flow ends.
pub const END_LEN: usize = PACKET;

/// The fewest bytes of a payload of `len`'s kind: what stamp and checksum need.
#[must_use]
pub const fn length_min(len: usize) -> usize {
    if is_ts(len) && len > 0 {
        PACKET
    } else {
        STAMP + CHECKSUM
    }
}

/// Payloads of this length are TS packets.
const fn is_ts(len: usize) -> bool {
    len.is_multiple_of(PACKET)
}

/// Whose payloads they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Drawn for each run.
    pub id: u64,
    /// The boot of the host whose clock the times are of.
    pub host: u32,
}

/// What a payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One of the stream.
    Data,
    /// The flow has ended; its sequence is how many were sent.
    End,
}

/// What a payload says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Which run.
    pub run: Run,
    /// What it is.
    pub kind: Kind,
    /// Which flow of the run.
    pub flow: u32,
    /// Its number in the flow, from 0.
    pub sequence: u64,
    /// When it should have been sent: nanoseconds of the sender's boot clock.
    pub due: u64,
}

/// Why a payload is not counted as received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Not of a generator, or of a version that is not known.
    Foreign,
    /// Of a generator, and damaged.
    Corrupt,
}

impl Stamp {
    /// Writes the stamp, the TS headers and the checksum into `payload`, whose other bytes stay as they are; `continuity` is
    /// that of the first TS packet and is moved on.
    ///
    /// # Panics
    /// If the payload is shorter than [`length_min`].
    pub fn write(&self, payload: &mut [u8], continuity: &mut u8) {
        let start = if is_ts(payload.len()) {
            self.ts_headers(payload, continuity);
            TS_HEADER
        } else {
            0
        };
        let (kind, end) = (u8::from(self.kind == Kind::End), payload.len() - CHECKSUM);
        let stamp = payload[start..]
            .first_chunk_mut::<STAMP>()
            .expect("a payload has room for its stamp");
        stamp[..4].copy_from_slice(&MAGIC);
        stamp[4..8].copy_from_slice(&[VERSION, kind, 0, 0]);
        stamp[8..16].copy_from_slice(&self.run.id.to_be_bytes());
        stamp[16..20].copy_from_slice(&self.run.host.to_be_bytes());
        stamp[20..24].copy_from_slice(&self.flow.to_be_bytes());
        stamp[24..32].copy_from_slice(&self.sequence.to_be_bytes());
        stamp[32..40].copy_from_slice(&self.due.to_be_bytes());
        let (covered, checksum) = payload.split_at_mut(end);
        checksum.copy_from_slice(&XxHash3_64::oneshot(covered).to_be_bytes());
    }

    /// The end of a flow is in null packets: it is none of the stream's.
    fn ts_headers(&self, payload: &mut [u8], continuity: &mut u8) {
        let pid = match self.kind {
            Kind::Data => PID_FIRST + u16::try_from(self.flow % PIDS).unwrap_or(0),
            Kind::End => NULL_PID,
        };
        let [high, low] = pid.to_be_bytes();
        for packet in payload.chunks_exact_mut(PACKET) {
            packet[..TS_HEADER].copy_from_slice(&[SYNC, high, low, 0x10 | *continuity]);
            if self.kind == Kind::Data {
                *continuity = (*continuity + 1) & 0x0F;
            }
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Refused`], for whatever bytes there are.
    pub fn read(payload: &[u8]) -> Result<Self, Refused> {
        if payload.len() < length_min(payload.len()) {
            return Err(Refused::Foreign);
        }
        let start = if is_ts(payload.len()) { TS_HEADER } else { 0 };
        let (covered, checksum) = payload
            .split_last_chunk::<CHECKSUM>()
            .ok_or(Refused::Foreign)?;
        let stamp = covered
            .get(start..)
            .and_then(|rest| rest.first_chunk::<STAMP>());
        let stamp = stamp.ok_or(Refused::Foreign)?;
        if stamp[..4] != MAGIC {
            return Err(Refused::Foreign);
        }
        if XxHash3_64::oneshot(covered) != u64::from_be_bytes(*checksum) {
            return Err(Refused::Corrupt);
        }
        let kind = match stamp[4..8] {
            [VERSION, 0, 0, 0] => Kind::Data,
            [VERSION, 1, 0, 0] => Kind::End,
            _ => return Err(Refused::Foreign),
        };
        let long = |at: usize| u64::from_be_bytes(std::array::from_fn(|index| stamp[at + index]));
        let short = |at: usize| u32::from_be_bytes(std::array::from_fn(|index| stamp[at + index]));
        Ok(Self {
            run: Run {
                id: long(8),
                host: short(16),
            },
            kind,
            flow: short(20),
            sequence: long(24),
            due: long(32),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sealcast_dataplane::ts::check::ContinuityChecker;

    use super::*;

    fn stamp(sequence: u64) -> Stamp {
        Stamp {
            run: Run { id: 9, host: 3 },
            kind: Kind::Data,
            flow: 5,
            sequence,
            due: 77,
        }
    }

    #[test]
    fn a_stream_is_ts_with_right_counters() {
        let (mut checker, mut continuity) = (ContinuityChecker::default(), 0);
        for sequence in 0..100 {
            let mut payload = [0xEE; 1316];
            stamp(sequence).write(&mut payload, &mut continuity);
            checker.push(&payload);
            let mut end = [0xEE; END_LEN];
            Stamp {
                kind: Kind::End,
                ..stamp(sequence)
            }
            .write(&mut end, &mut continuity);
            assert_eq!(Stamp::read(&end).map(|stamp| stamp.kind), Ok(Kind::End));
            checker.push(&end);
        }
        assert_eq!(
            (checker.errors(), checker.sync_losses(), checker.packets()),
            (0, 0, 800)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            len in 48_usize..2000, id: u64, host: u32, flow: u32, sequence: u64, due: u64, filler: u8,
        ) {
            let mut payload = vec![filler; len];
            let stamp = Stamp { run: Run { id, host }, kind: Kind::Data, flow, sequence, due };
            stamp.write(&mut payload, &mut 0);
            prop_assert_eq!(Stamp::read(&payload), Ok(stamp));
        }

        #[test]
        fn no_changed_bit_goes_unseen(len in 48_usize..1500, at: prop::sample::Index, bit in 0_u8..8) {
            let mut payload = vec![0xA5; len];
            stamp(1).write(&mut payload, &mut 0);
            payload[at.index(len)] ^= 1 << bit;
            prop_assert!(Stamp::read(&payload).is_err());
        }

        #[test]
        fn a_cut_or_lengthened_payload_is_refused(len in 60_usize..1500, cut in 1_usize..12) {
            let mut payload = vec![0xA5; len];
            stamp(1).write(&mut payload, &mut 0);
            prop_assert!(Stamp::read(&payload[..len - cut]).is_err());
            payload.resize(len + cut, 0);
            prop_assert!(Stamp::read(&payload).is_err());
        }

        #[test]
        fn any_bytes_are_survived(payload in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(Stamp::read(&payload), Err(Refused::Foreign));
        }
    }

    #[test]
    fn a_damaged_payload_is_told_from_a_foreign_one() {
        let mut payload = [0; 1316];
        stamp(1).write(&mut payload, &mut 0);
        payload[700] ^= 1;
        assert_eq!(Stamp::read(&payload), Err(Refused::Corrupt));
        payload[TS_HEADER] ^= 1;
        assert_eq!(Stamp::read(&payload), Err(Refused::Foreign));
    }
}
