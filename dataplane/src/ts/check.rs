//! Continuity of a TS (ISO/IEC 13818-1 2.4.3.3): counters go on by one per payload packet of a PID; one duplicate is allowed.

use super::packet::{NULL_PID, PACKET, SYNC, TsPacket};

const PIDS: usize = 1 << 13;

/// What is known of a PID, in one byte: counter, [`SEEN`], [`DUPLICATED`].
type Last = u8;
const COUNTER: Last = 0x0F;
const SEEN: Last = 0x80;
const DUPLICATED: Last = 0x40;

/// Watches a stream of payloads that hold whole TS packets. 8 KiB, nothing allocated after its creation.
#[derive(Clone, Debug)]
pub struct ContinuityChecker {
    pids: Box<[Last]>,
    errors: u64,
    sync_losses: u64,
    packets: u64,
}

impl Default for ContinuityChecker {
    fn default() -> Self {
        Self {
            pids: vec![0; PIDS].into_boxed_slice(),
            errors: 0,
            sync_losses: 0,
            packets: 0,
        }
    }
}

impl ContinuityChecker {
    /// Looks at a payload; whether there is a clock reference in it.
    pub fn push(&mut self, payload: &[u8]) -> bool {
        let mut clocked = false;
        for packet in payload.chunks(PACKET) {
            if self.is_next(packet) {
                continue;
            }
            match TsPacket::parse(packet) {
                Some(packet) => {
                    clocked |= packet.pcr.is_some();
                    self.packet(packet);
                }
                None => self.sync_losses += 1,
            }
        }
        clocked
    }

    /// Whether it is what most packets are: whole, without an adaptation field, and next of its PID. Then it is counted.
    fn is_next(&mut self, packet: &[u8]) -> bool {
        let Some(&[SYNC, high, low, control, ..]) = packet.first_chunk::<PACKET>() else {
            return false;
        };
        let pid = usize::from(high & 0x1F) << 8 | usize::from(low);
        let last = &mut self.pids[pid];
        let next = *last & SEEN | last.wrapping_add(1) & COUNTER;
        if control & 0x30 != 0x10 || next != SEEN | control & COUNTER {
            return false;
        }
        *last = next;
        self.packets += 1;
        true
    }

    fn packet(&mut self, packet: TsPacket) {
        self.packets += 1;
        if packet.pid == NULL_PID {
            return;
        }
        let Some(last) = self.pids.get_mut(usize::from(packet.pid)) else {
            return;
        };
        let before = *last;
        *last = SEEN | packet.continuity;
        if before & SEEN == 0 || packet.discontinuity {
            return;
        }
        let counter = before & COUNTER;
        let step = u8::from(packet.has_payload);
        if packet.continuity == (counter + step) & COUNTER {
            // A packet without payload does not end a row of duplicates.
            if !packet.has_payload {
                *last |= before & DUPLICATED;
            }
        } else if packet.has_payload && packet.continuity == counter && before & DUPLICATED == 0 {
            *last |= DUPLICATED;
        } else {
            self.errors += 1;
        }
    }

    /// Jumps of a counter.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Pieces of 188 bytes that were no TS packet.
    #[must_use]
    pub fn sync_losses(&self) -> u64 {
        self.sync_losses
    }

    /// TS packets seen.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(pid: u16, control: u8, continuity: u8) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        let [high, low] = pid.to_be_bytes();
        packet[..4].copy_from_slice(&[0x47, high, low, control << 4 | continuity]);
        packet
    }

    fn errors(packets: &[[u8; PACKET]]) -> u64 {
        let mut checker = ContinuityChecker::default();
        for packet in packets {
            assert!(!checker.push(packet), "no clock");
        }
        checker.errors()
    }

    #[test]
    fn a_jump_is_an_error_a_wrap_is_not() {
        let wrap = [packet(1, 1, 14), packet(1, 1, 15), packet(1, 1, 0)];
        assert_eq!(errors(&wrap), 0);
        assert_eq!(errors(&[packet(1, 1, 0), packet(1, 1, 2)]), 1);
        let two = [packet(1, 1, 0), packet(2, 1, 7), packet(1, 1, 1)];
        assert_eq!(errors(&two), 0, "each PID counts for itself");
        let no_payload = [packet(1, 1, 3), packet(1, 2, 3), packet(1, 1, 4)];
        assert_eq!(errors(&no_payload), 0, "no payload, no step");
        assert_eq!(errors(&[packet(1, 1, 3), packet(1, 2, 4)]), 1);
    }

    #[test]
    fn one_duplicate_is_allowed() {
        let row = |count| vec![packet(1, 1, 0); count];
        assert_eq!(errors(&row(2)), 0);
        assert_eq!(errors(&row(3)), 1);
        let goes_on = [row(2), vec![packet(1, 1, 1), packet(1, 1, 1)]].concat();
        assert_eq!(errors(&goes_on), 0, "one of each");
    }

    #[test]
    fn null_packets_and_announced_jumps_are_no_errors() {
        let null = [packet(NULL_PID, 1, 0), packet(NULL_PID, 1, 9)];
        assert_eq!(errors(&null), 0);
        let mut announced = packet(1, 3, 9);
        announced[4..6].copy_from_slice(&[1, 0x80]);
        assert_eq!(errors(&[packet(1, 1, 0), announced, packet(1, 1, 10)]), 0);
    }

    #[test]
    fn what_is_no_packet_is_counted() {
        let mut checker = ContinuityChecker::default();
        checker.push(&[&packet(1, 1, 0)[..], &[0; PACKET], &[0x47; 40]].concat());
        assert_eq!((checker.packets(), checker.sync_losses()), (1, 2));
    }

    proptest! {
        /// What is found at a glance is what a whole look finds.
        #[test]
        fn the_short_way_changes_nothing(
            stream in prop::collection::vec((0_u16..3, 0_u8..4, 0_u8..4, any::<bool>()), 1..200),
        ) {
            let (mut short, mut long) = (ContinuityChecker::default(), ContinuityChecker::default());
            let mut counters = [0_u8; 3];
            for (pid, control, jump, whole) in stream {
                let counter = &mut counters[usize::from(pid)];
                *counter = (*counter + 1 + u8::from(jump == 0)) % 16;
                let pid = if pid == 2 { NULL_PID } else { pid };
                let packet = packet(pid, control, *counter);
                let packet = &packet[..if whole { PACKET } else { 100 }];
                short.push(packet);
                match TsPacket::parse(packet) {
                    Some(packet) => long.packet(packet),
                    None => long.sync_losses += 1,
                }
                prop_assert_eq!(
                    (short.errors, short.packets, short.sync_losses),
                    (long.errors, long.packets, long.sync_losses)
                );
            }
        }

        #[test]
        fn a_lost_packet_is_an_error(length in 3_usize..100, lost in 1_usize..98) {
            let stream: Vec<_> = (0..length).map(|index| packet(7, 1, u8::try_from(index % 16).unwrap())).collect();
            prop_assert_eq!(errors(&stream), 0);
            let lost = 1 + lost % (length - 2);
            let rest = [&stream[..lost], &stream[lost + 1..]].concat();
            prop_assert_eq!(errors(&rest), 1);
        }

        #[test]
        fn any_bytes_are_survived(payload in prop::collection::vec(any::<u8>(), 0..1400)) {
            let mut checker = ContinuityChecker::default();
            checker.push(&payload);
            prop_assert_eq!(checker.packets() + checker.sync_losses(), payload.len().div_ceil(PACKET) as u64);
        }
    }
}
