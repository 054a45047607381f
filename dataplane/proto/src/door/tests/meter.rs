//! MD-33, MD-34: what doors note is what they gave.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::records::KeyUsage;

/// Everything that counts: requests by session and number, epochs by device and channel, answers.
#[derive(PartialEq, Eq, Debug, Default)]
struct Sums {
    requests: BTreeSet<(SessionId, u64)>,
    epochs: BTreeSet<(DeviceId, ChannelId, Epoch)>,
    answers: u64,
}

impl Sums {
    fn add(&mut self, given: &KeysGiven) {
        self.requests.insert((given.session, given.number));
        let epochs = [Some(given.current), given.next];
        let epochs = epochs.into_iter().flatten();
        self.epochs
            .extend(epochs.map(|epoch| (given.device, given.channel, epoch)));
        self.answers += 1;
    }

    fn of(records: &[KeyUsage]) -> Self {
        let mut sums = Self::default();
        for record in records {
            let before = sums.answers;
            for (number, current, next) in record.given() {
                sums.add(&KeysGiven {
                    session: SessionId(record.session),
                    account: AccountId(record.account),
                    device: DeviceId(record.device),
                    channel: ChannelId(record.channel),
                    number,
                    current,
                    next,
                });
            }
            sums.answers = before + u64::from(record.answers);
            assert!(record.from <= record.until);
        }
        sums
    }
}

proptest! {
    /// However numbers and epochs come, also far apart and asked again under another epoch: records hold them all.
    #[test]
    fn md_34_records_hold_every_request_and_every_epoch(
        steps in prop::collection::vec((0_u8..3, 0_u16..2, 0_u64..40, 1_u64..30, prop::option::of(prop_oneof![Just(1_u64), 2_u64..400]), any::<bool>()), 0..200),
    ) {
        let (mut meter, mut sums, mut records) = (KeyMeter::default(), Sums::default(), Vec::new());
        for (now, (session, channel, number, epoch, after, fetch)) in steps.into_iter().enumerate() {
            let given = KeysGiven {
                session: SessionId([session; 16]),
                account: ACCOUNT,
                device: DeviceId([session; 16]),
                channel: ChannelId(channel),
                number: number << (number % 3 * 31),
                current: Epoch(epoch << (epoch % 2 * 40)),
                next: after.map(|after| Epoch((epoch << (epoch % 2 * 40)) + after)),
            };
            meter.add(given, Time(now as u64));
            sums.add(&given);
            if fetch {
                records.extend(meter.fetch());
                prop_assert!(meter.is_empty());
            }
        }
        records.extend(meter.fetch());
        prop_assert_eq!(Sums::of(&records), sums);
    }

    /// A record of hostile bytes gives numbers or nothing.
    #[test]
    fn a_record_of_any_bytes_can_be_read(number_base: u64, epoch_base: u64, current: [u8; 16], next: [u8; 16]) {
        let record = KeyUsage {
            session: [0; 16], account: [0; 16], device: [0; 16], channel: 0,
            number_base, epoch_base, current, next, answers: 0, from: 9, until: 3,
        };
        prop_assert!(record.given().count() <= crate::records::REQUESTS);
    }
}

/// A device asks three doors, each request up to three times; refusals and requests that are dropped count nothing.
#[test]
fn md_33_md_34_what_doors_note_is_what_they_gave() {
    let mut doors = [Bench::new(), Bench::new(), Bench::new()];
    let mut sessions: BTreeMap<u8, Session> =
        (1..=3).map(|id| (id, doors[0].session(id))).collect();
    for bench in &mut doors {
        assert!(
            bench.door.given().is_none(),
            "nothing is noted that nobody fetches"
        );
        bench.door.note_given();
    }
    let mut seen = Sums::default();
    for number in 0..60_u64 {
        for (&id, session) in &mut sessions {
            let epoch =
                [None, Some(3), Some(4), Some(5), Some(9)][usize::try_from(number % 5).unwrap()];
            for round in 0..=usize::try_from(number % 3).unwrap() {
                let bench = &mut doors[(round + usize::from(id)) % 3];
                bench.now = bench.now.after(ms(300));
                let wanted = wanted(number, epoch);
                let datagram = session.request(bench.now, &wanted, &mut bench.rng);
                let (outcome, reply) = bench.knock(&datagram);
                assert_eq!(bench.knock(&datagram).0, Outcome::Replayed);
                let Answer::Granted { granted, .. } = session.handle(&reply).unwrap() else {
                    assert_ne!(outcome, Outcome::Granted);
                    continue;
                };
                seen.add(&KeysGiven {
                    session: SessionId([id; 16]),
                    account: ACCOUNT,
                    device: DeviceId([id; 16]),
                    channel: CHANNEL,
                    number: granted.number,
                    current: granted.current.epoch,
                    next: granted.next.map(|next| next.epoch),
                });
            }
        }
    }
    let mut records = Vec::new();
    for bench in &mut doors {
        let mut meter = KeyMeter::default();
        for given in bench.door.given().unwrap().drain(..) {
            meter.add(given, bench.now);
        }
        records.extend(meter.fetch());
    }
    let noted = Sums::of(&records);
    assert_eq!(noted, seen);
    assert_eq!(
        noted.requests.len(),
        3 * 48,
        "a request that is asked again is one"
    );
    assert!(
        noted.answers > 144 && records.len() < 144,
        "and several share a record"
    );
}
