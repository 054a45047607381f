//! Continuity of a TS (ISO/IEC 13818-1 2.4.3.3): counters go on by one per payload packet of a PID; one duplicate is allowed.

use std::collections::BTreeMap;

use super::packet::{NULL_PID, PACKET, TsPacket};

#[derive(Clone, Copy, Debug)]
struct Last {
    continuity: u8,
    duplicated: bool,
}

/// Watches a stream of payloads that hold whole TS packets.
#[derive(Clone, Debug, Default)]
pub struct ContinuityChecker {
    pids: BTreeMap<u16, Last>,
    errors: u64,
    sync_losses: u64,
    packets: u64,
}

impl ContinuityChecker {
    /// Looks at a payload.
    pub fn push(&mut self, payload: &[u8]) {
        for packet in payload.chunks(PACKET) {
            match TsPacket::parse(packet) {
                Some(packet) => self.packet(packet),
                None => self.sync_losses += 1,
            }
        }
    }

    fn packet(&mut self, packet: TsPacket) {
        self.packets += 1;
        if packet.pid == NULL_PID {
            return;
        }
        let here = Last {
            continuity: packet.continuity,
            duplicated: false,
        };
        let Some(last) = self.pids.insert(packet.pid, here) else {
            return;
        };
        if packet.discontinuity {
            return;
        }
        let expected = if packet.has_payload {
            (last.continuity + 1) & 0x0F
        } else {
            last.continuity
        };
        if packet.continuity == expected {
            return;
        }
        if packet.has_payload && packet.continuity == last.continuity && !last.duplicated {
            self.pids.insert(
                packet.pid,
                Last {
                    duplicated: true,
                    ..here
                },
            );
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
    use super::*;

    fn packet(pid: u8, control: u8, continuity: u8) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[..4].copy_from_slice(&[0x47, 0, pid, control << 4 | continuity]);
        packet
    }

    fn errors(packets: &[[u8; PACKET]]) -> u64 {
        let mut checker = ContinuityChecker::default();
        packets.iter().for_each(|packet| checker.push(packet));
        checker.errors()
    }

    #[test]
    fn a_jump_is_an_error_a_duplicate_and_a_wrap_are_not() {
        assert_eq!(
            errors(&[
                packet(1, 1, 14),
                packet(1, 1, 15),
                packet(1, 1, 0),
                packet(1, 1, 0),
                packet(1, 1, 1)
            ]),
            0
        );
        assert_eq!(errors(&[packet(1, 1, 0), packet(1, 1, 2)]), 1);
        assert_eq!(
            errors(&[packet(1, 1, 0), packet(1, 1, 0), packet(1, 1, 0)]),
            1,
            "only one duplicate"
        );
        assert_eq!(
            errors(&[packet(1, 1, 0), packet(2, 1, 7), packet(1, 1, 1)]),
            0,
            "each PID counts for itself"
        );
        assert_eq!(
            errors(&[packet(1, 1, 3), packet(1, 2, 3), packet(1, 1, 4)]),
            0,
            "no payload, no step"
        );
    }
}
