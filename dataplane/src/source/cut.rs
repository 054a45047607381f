//! Cuts a byte stream into payloads of 7 TS packets. Every byte comes out once, in order: what is no TS packet becomes a payload
//! of its own, so that packets after it stand at the begin of a payload again.

use std::io::{self, Read};

use crate::ts::packet::{PACKET, PER_PAYLOAD, SYNC};

/// Bytes of a full payload.
pub(super) const PAYLOAD: usize = PACKET * PER_PAYLOAD;
/// What must be seen to decide: a payload, and two packets more to be sure of a sync byte.
const WINDOW: usize = PAYLOAD + 2 * PACKET;
/// Bytes read at once.
const BUFFER: usize = 1 << 18;

/// Reads until `buffer` is full or the input ends; returns how much.
pub(super) fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What a payload holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    /// Whole TS packets.
    Packets,
    /// Whole TS packets, or none, and a piece of one, bytes: the end.
    Partial(usize),
    /// No TS packets.
    Unsynced,
}

/// A byte stream that is being cut.
#[derive(Debug)]
pub(super) struct Cutter<R> {
    input: R,
    /// What has been read and not given out starts at `start`.
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
}

impl<R: Read> Cutter<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            start: 0,
            ended: false,
        }
    }

    /// Forgets what was read, and gives the input to be set back.
    pub(super) fn restart(&mut self) -> &mut R {
        self.buffer.clear();
        self.start = 0;
        self.ended = false;
        &mut self.input
    }

    /// What comes next, without taking it: [`WINDOW`] or more, less only before the end.
    pub(super) fn peek(&mut self) -> io::Result<&[u8]> {
        let have = self.buffer.len() - self.start;
        if have < WINDOW && !self.ended {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.resize(BUFFER, 0);
            let read = read_full(&mut self.input, &mut self.buffer[have..])?;
            self.buffer.truncate(have + read);
            self.ended = self.buffer.len() < BUFFER;
        }
        Ok(&self.buffer[self.start..])
    }

    /// Appends the next payload to `out`; `None` at the end.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> io::Result<Option<Cut>> {
        let have = self.peek()?;
        if have.is_empty() {
            return Ok(None);
        }
        let (length, cut) = first(have);
        out.extend_from_slice(&have[..length]);
        self.start += length;
        Ok(Some(cut))
    }
}

/// The first payload of `have`, which is not empty, and [`WINDOW`] or more unless the input ends there.
fn first(have: &[u8]) -> (usize, Cut) {
    let packets = have
        .chunks_exact(PACKET)
        .take(PER_PAYLOAD)
        .take_while(|packet| packet[0] == SYNC)
        .count();
    let length = packets * PACKET;
    let rest = have.len() - length;
    if packets < PER_PAYLOAD && (1..PACKET).contains(&rest) {
        (have.len(), Cut::Partial(rest))
    } else if packets > 0 {
        (length, Cut::Packets)
    } else {
        let end = have.len().min(PAYLOAD);
        let synced = (1..end).find(|&at| is_synced(&have[at..]));
        (synced.unwrap_or(end), Cut::Unsynced)
    }
}

/// Whether packets begin here: one, and two more if there is so much.
pub(super) fn is_synced(have: &[u8]) -> bool {
    have.len() >= PACKET
        && have
            .iter()
            .step_by(PACKET)
            .take(3)
            .all(|&byte| byte == SYNC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packets(count: usize) -> Vec<u8> {
        let mut packet = [1; PACKET];
        packet[0] = SYNC;
        packet.repeat(count)
    }

    fn cuts(bytes: &[u8]) -> Vec<(usize, Cut)> {
        let (mut cutter, mut out, mut cuts) = (Cutter::new(bytes), Vec::new(), Vec::new());
        loop {
            let before = out.len();
            match cutter.next(&mut out).unwrap() {
                Some(cut) => cuts.push((out.len() - before, cut)),
                None => break,
            }
        }
        assert!(out == bytes, "every byte once, in order");
        cuts
    }

    #[test]
    fn payloads_have_seven_packets_the_last_what_is_left() {
        assert_eq!(cuts(&packets(7)), [(1316, Cut::Packets)]);
        assert_eq!(
            cuts(&packets(16)),
            [
                (1316, Cut::Packets),
                (1316, Cut::Packets),
                (376, Cut::Packets)
            ]
        );
        assert_eq!(cuts(&[]), []);
    }

    #[test]
    fn a_piece_at_the_end_comes_with_the_packets_before_it() {
        let piece = |packets_before| [packets(packets_before), vec![SYNC, 1, 1]].concat();
        assert_eq!(cuts(&piece(3)), [(567, Cut::Partial(3))]);
        assert_eq!(
            cuts(&piece(7)),
            [(1316, Cut::Packets), (3, Cut::Partial(3))]
        );
    }

    #[test]
    fn packets_after_rubbish_begin_a_payload() {
        let rubbish = |length| [packets(9), vec![0; length], packets(9)].concat();
        assert_eq!(
            cuts(&rubbish(100)),
            [
                (1316, Cut::Packets),
                (376, Cut::Packets),
                (100, Cut::Unsynced),
                (1316, Cut::Packets),
                (376, Cut::Packets)
            ]
        );
        let long = cuts(&rubbish(3000));
        assert_eq!(
            long[2..5],
            [1316, 1316, 368].map(|length| (length, Cut::Unsynced))
        );
    }

    #[test]
    fn one_wrong_sync_byte_costs_one_packet() {
        let mut bytes = packets(21);
        bytes[4 * PACKET] = 0;
        assert_eq!(
            cuts(&bytes),
            [
                (752, Cut::Packets),
                (188, Cut::Unsynced),
                (1316, Cut::Packets),
                (1316, Cut::Packets),
                (376, Cut::Packets)
            ]
        );
    }

    proptest! {
        #[test]
        fn every_byte_comes_out_once(parts in prop::collection::vec((0_usize..40, prop::collection::vec(any::<u8>(), 0..400)), 0..30)) {
            let bytes: Vec<_> = parts.into_iter().flat_map(|(count, rubbish)| [packets(count), rubbish].concat()).collect();
            for (length, _) in cuts(&bytes) {
                prop_assert!((1..=PAYLOAD).contains(&length));
            }
        }
    }
}
