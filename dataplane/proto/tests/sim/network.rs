//! The multicast network, which loses, doubles and reorders; what senders put into it, and what an outsider does.

use std::net::IpAddr;

use rand_chacha::rand_core::Rng as _;
use sealcast_crypto::{SigningKey, Span};
use sealcast_proto::ids::{Epoch, GroupId, Lane, Remaining, ServerId, Term};
use sealcast_proto::limits::{HEADER_LEN, OVERHEAD};
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, Notice, sign};

use super::super::witness::{payload, read};
use super::{CHANNEL, Event, ReceiverNode, World};

impl World {
    pub(super) fn produce(&mut self, index: usize) {
        let now = self.now(self.senders[index].clock);
        let node = &mut self.senders[index];
        let content = payload(index, node.run_of_sender, node.number);
        let mut packet = vec![0; content.len() + OVERHEAD];
        packet[HEADER_LEN..HEADER_LEN + content.len()].copy_from_slice(&content);
        let mut spans = [Span {
            offset: 0,
            header_len: HEADER_LEN,
            payload_len: content.len(),
            ctr: 0,
        }];
        if node.machine.seal(now, 0, &mut packet, &mut spans).is_err() {
            return;
        }
        node.number += 1;
        let run = node.run;
        self.drain_sender(index);
        self.wire.sealed(run, &packet, &content);
        for receiver in 0..self.receivers.len() {
            if self.chance(self.scenario.loss) {
                continue;
            }
            let copies = 1 + u64::from(self.chance(self.scenario.duplicates));
            for _ in 0..copies {
                let due = self.tick + 1 + self.below(self.scenario.jitter + 1);
                let event = Event::Datagram {
                    receiver,
                    source: source(index),
                    bytes: packet.clone(),
                    content: Some(read(&content)),
                };
                self.schedule(due, event);
            }
        }
    }

    pub(super) fn multicast_control(&mut self, index: usize, datagram: &[u8]) {
        let notice = datagram[0] == 1;
        if notice {
            self.check_announcer(index, datagram);
        }
        let (loss, delay) = if notice {
            (self.scenario.notice_loss, self.scenario.notice_delay)
        } else {
            (self.scenario.certificate_loss, 0)
        };
        for receiver in 0..self.receivers.len() {
            if !self.chance(loss) {
                // Never behind the packets that need it, as on a real wire.
                let due = self.tick + 1 + self.below(delay + 1);
                self.schedule(
                    due,
                    Event::Datagram {
                        receiver,
                        source: source(index),
                        bytes: datagram.to_vec(),
                        content: None,
                    },
                );
            }
        }
    }

    /// An outsider sends what looks genuine but for the signature.
    pub(super) fn forge(&mut self, receiver: usize) {
        if self.below(100) >= self.scenario.forged {
            return;
        }
        self.totals.forged += 1;
        let key = SigningKey::from_seed(&[66; 32]);
        let epoch = Epoch(1 + self.below(200));
        let term = Term {
            number: self.below(1000),
            instance: self.rng.next_u64(),
        };
        // Forged certificates can delay genuine ones, and then not every arrival counts.
        let notice = self.scenario.every_arrival_counts() || self.below(2) == 0;
        let bytes = forged(&key, epoch, term, notice);
        let source = IpAddr::from([10, 9, 9, u8::try_from(self.below(200)).expect("small")]);
        self.schedule(
            self.tick,
            Event::Datagram {
                receiver,
                source,
                bytes,
                content: None,
            },
        );
    }

    pub(super) fn arrive(
        &mut self,
        index: usize,
        source: IpAddr,
        mut bytes: Vec<u8>,
        content: Option<(usize, u32, u32)>,
    ) {
        if self.tick < self.receivers[index].asleep_until {
            return;
        }
        let now = self.now(self.receivers[index].clock);
        // Whoever joins does not know whether what comes first was sent first.
        let joins = matches!(content, Some((_, 0, number)) if number < 4);
        // After waking, certificates come again within a quarter of a second.
        let settled = self.tick > self.receivers[index].asleep_until + 60;
        // What a killed run sent last may arrive behind the first packet of the run that took over.
        let over =
            matches!(content, Some((sender, run, _)) if run != self.senders[sender].run_of_sender);
        let follows =
            content.is_none_or(|(sender, run, _)| !self.unfollowed.contains(&(sender, run)));
        let owed = self.scenario.every_arrival_counts() && !joins && !over && settled && follows;
        let ReceiverNode {
            machine, delivery, ..
        } = &mut self.receivers[index];
        if let Some(content) = content {
            let epoch = bytes[4..7]
                .iter()
                .fold(0_u64, |epoch, &byte| epoch << 8 | u64::from(byte));
            let held = |held: Option<Epoch>| held.is_some_and(|held| held.0 & 0xFF_FFFF == epoch);
            let current = machine.current(now).map(|(epoch, _)| epoch);
            delivery.arrive(
                epoch,
                held(current) || held(machine.next_epoch()),
                content,
                owed,
            );
        }
        let segment = bytes.len();
        machine.handle_batch(
            now,
            source,
            0,
            &mut bytes,
            segment,
            &mut self.rng,
            &mut |bytes| delivery.deliver(bytes),
        );
        self.drain_receiver(index);
    }
}

fn source(sender: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(sender).expect("few") + 1])
}

/// A Notice or certificate, signed by somebody else's key.
pub fn forged(key: &SigningKey, epoch: Epoch, term: Term, notice: bool) -> Vec<u8> {
    if notice {
        let notice = Notice {
            channel: CHANNEL,
            term,
            current: epoch,
            next: epoch.successor(),
            current_commitment: None,
            next_commitment: None,
            revision: 1,
            remaining: Remaining(1),
        };
        return sign(&notice, key);
    }
    let certificate = LaneCertificate {
        channel: CHANNEL,
        term,
        group: GroupId(term.instance | 1),
        follows: None,
        server: ServerId(1),
        server_key: key.verifying_key(),
        first_lane: Lane::new(1).expect("1"),
        lanes: 1,
        first_epoch: epoch,
        last_epoch: epoch,
        auth: AuthLevel::Group,
    };
    sign(&certificate, key)
}
