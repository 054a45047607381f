//! What is replayed is what the trace says.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use sealcast_dataplane::source::Due;
use sealcast_proto::records::{Cause, Content, RequestTrace, TracedRequest};

use super::replay::{BadSpeed, Replay, ReplayError, Speed, Until};
use super::*;
use crate::schedule::Shape;
use crate::stamp;

const WHOLE: Part = Part { index: 0, of: 1 };

fn traced(at: u64, channel: u16, length: u16) -> TracedPacket {
    TracedPacket {
        at,
        channel,
        length,
        content: Content::Opaque,
    }
}

fn write<K: sealcast_proto::records::Kind<Identity = TraceIdentity>>(
    folder: &Path,
    records: &[K::Record],
) -> PathBuf {
    let (path, mut bytes) = (folder.join("trace"), Vec::new());
    let identity = TraceIdentity {
        origin: Origin::Synthetic,
        seed: 1,
    };
    let mut file = TraceFile::<K, _>::create(&mut bytes, &identity).unwrap();
    records
        .iter()
        .for_each(|&record| file.push(record).unwrap());
    file.finish().unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn opened(records: &[TracedPacket]) -> Packets {
    let folder = tempfile::tempdir().unwrap();
    // The file may go: it has been read.
    Packets::open(&write::<PacketTrace>(folder.path(), records)).unwrap()
}

fn times(rounds: u32) -> Until {
    Until::Rounds(NonZeroU32::new(rounds).unwrap())
}

fn slots(replay: &Replay, part: Part) -> Vec<(u64, u32, usize)> {
    let due = |slot: Slot| match slot.due {
        Due::At(due) => (due, slot.flow, slot.len),
        Due::Now => panic!("a trace has times"),
    };
    replay.schedule(part).map(due).collect()
}

prop_compose! {
    /// Datagrams in order, of several moments, some at once.
    fn packets()(
        found in prop::collection::vec((0_u64..5_000_000, 1_u16..9, 0_u16..1500), 1..80),
        start in 0_u64..1_000_000,
    ) -> Vec<TracedPacket> {
        let mut at = start;
        let mut packets: Vec<_> = found.into_iter().map(|(gap, channel, length)| {
            // Every fourth comes together with the one before.
            at += if gap % 4 == 0 { 0 } else { gap };
            traced(at, channel, length)
        }).collect();
        packets.push(traced(at + 1000, 1, 100));
        packets
    }
}

proptest! {
    #[test]
    fn int_16_what_is_replayed_is_the_trace_scaled_repeated_and_shared_out(
        packets in packets(), thousandths in 1_u64..5000, rounds in 1_u32..4, of in 1_u32..5,
    ) {
        let speed = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        let trace = opened(&packets);
        let replay = Replay::new(trace.clone(), speed.parse().unwrap(), times(rounds)).unwrap();
        let period = u128::from(trace.period());
        let (first, last) = (packets[0].at, packets[packets.len() - 1].at);
        prop_assert!(period > u128::from(last - first), "rounds do not touch");
        let expected: Vec<_> = (0..u128::from(rounds)).flat_map(|round| packets.iter().map(move |packet| {
            let at = u128::from(packet.at) + round * period;
            let length = usize::from(packet.length);
            let least = stamp::length_min(length);
            let due = u64::try_from(at * 1000 / u128::from(thousandths)).unwrap();
            (due, u32::from(packet.channel - 1), length.max(least))
        })).collect();
        let whole = slots(&replay, WHOLE);
        prop_assert_eq!(&whole, &expected);
        prop_assert!(whole.is_sorted_by_key(|slot| slot.0));
        prop_assert!(whole.iter().all(|slot| u128::from(slot.0) < replay.duration().as_nanos()));
        let mut parts = Vec::new();
        for index in 0..of {
            let part = slots(&replay, Part { index, of });
            prop_assert!(part.iter().all(|slot| slot.1 % of == index));
            prop_assert!(part.is_sorted_by_key(|slot| slot.0));
            parts.extend(part);
        }
        let mut sorted = whole.clone();
        parts.sort_unstable();
        sorted.sort_unstable();
        prop_assert_eq!(parts, sorted, "nothing lost, nothing twice");
        // For a time: the same, cut off.
        let cut = Duration::from_nanos(whole[whole.len() / 2].0.max(1));
        let timed = Replay::new(trace, speed.parse().unwrap(), Until::Time(cut)).unwrap();
        let before: Vec<_> = whole.into_iter().filter(|slot| u128::from(slot.0) < cut.as_nanos()).collect();
        prop_assert_eq!(slots(&timed, WHOLE), before);
    }
}

/// A trace of several blocks, and the shapes that `make` writes: they go on after a round as they would have anyway.
#[test]
fn a_constant_rate_stays_constant_over_rounds() {
    for shape in [Shape::Constant, Shape::Bursts(10)] {
        let traffic = Traffic {
            shape,
            rate: Rate::Packets(20_000),
            len: 188,
            flows: 1,
            duration: Duration::from_secs(1),
            seed: 1,
        };
        let packets: Vec<_> = traffic.schedule(WHOLE).map(packet).collect();
        let replay = Replay::new(opened(&packets), Speed::default(), times(3)).unwrap();
        let longer = Traffic {
            duration: Duration::from_secs(3),
            ..traffic
        };
        assert!(
            replay.schedule(WHOLE).eq(longer.schedule(WHOLE)),
            "{shape:?}"
        );
        assert_eq!(replay.duration().as_secs(), 3);
    }
}

#[test]
fn short_datagrams_are_raised_and_counted() {
    let trace = opened(&[
        traced(0, 1, 0),
        traced(1, 3, 47),
        traced(2, 3, 48),
        traced(3, 3, 1316),
    ]);
    assert_eq!(
        (trace.raised(), trace.longest(), trace.flows()),
        (2, 1316, 3)
    );
    let replay = Replay::new(trace, Speed::default(), times(1)).unwrap();
    let lengths: Vec<_> = replay.schedule(WHOLE).map(|slot| slot.len).collect();
    assert_eq!(lengths, [48, 48, 48, 1316]);
    // The second of three cores has no datagrams: it must not look for them for ever.
    let endless = Replay::new(
        replay.packets().clone(),
        Speed::default(),
        Until::Time(Duration::from_secs(30 * 24 * 3600)),
    );
    let nothing = endless.unwrap().schedule(Part { index: 1, of: 3 }).next();
    assert_eq!(nothing, None);
}

#[test]
fn a_speed_is_a_decimal_number() {
    let factor = |text: &str| text.parse::<Speed>().map(Speed::factor);
    for (text, expected) in [("2", 2.0), ("0.5", 0.5), ("0.001", 0.001), ("1000", 1000.0)] {
        assert_eq!(factor(text), Ok(expected), "{text}");
    }
    let wrong = [
        "",
        "0",
        "-1",
        "+1",
        "1.",
        ".5",
        "0.0005",
        "1e3",
        "1000.001",
        "2x",
        "99999999999999999999",
    ];
    for text in wrong {
        assert_eq!(factor(text), Err(BadSpeed), "{text}");
    }
}

#[test]
fn what_cannot_be_repeated_is_told() {
    let moment = opened(&[traced(7, 1, 100), traced(7, 2, 100)]);
    let replay = |trace: &Packets, until| Replay::new(trace.clone(), Speed::default(), until);
    let once = replay(&moment, times(1)).unwrap();
    assert_eq!(slots(&once, WHOLE), [(7, 0, 100), (7, 1, 100)]);
    let day = Duration::from_secs(24 * 3600);
    for until in [times(2), Until::Time(day)] {
        assert_eq!(replay(&moment, until).unwrap_err(), ReplayError::OneMoment);
    }
    let long = opened(&[traced(0, 1, 100), traced(u64::MAX, 1, 100)]);
    for until in [times(1), times(u32::MAX), Until::Time(Duration::ZERO)] {
        let said = replay(&long, until).unwrap_err().to_string();
        assert!(said.contains("at most 30 days"), "{said}");
    }
    // Its first day can be.
    let first = replay(&long, Until::Time(day)).unwrap();
    assert_eq!(slots(&first, WHOLE), [(0, 0, 100)]);
}

#[test]
fn int_16_files_that_are_no_whole_packet_trace_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refused = |path: &Path| Packets::open(path).unwrap_err().to_string();
    let good = fs::read(write::<PacketTrace>(
        folder,
        &[traced(0, 1, 1316), traced(5, 1, 1316)],
    ))
    .unwrap();
    let bytes = |bytes: &[u8]| {
        let path = folder.join("bytes");
        fs::write(&path, bytes).unwrap();
        refused(&path)
    };
    let future = [&good[..8], &2_u16.to_le_bytes(), &good[10..]].concat();
    let mut damaged = good.clone();
    damaged[good.len() - 130] ^= 1;
    let cases = [
        (bytes(&[]), "the file is empty"),
        (bytes(b"\x47 no trace"), "no record file of sealcast"),
        (bytes(&good[..good.len() - 5]), "cut off"),
        (bytes(&future), "format version 2"),
        (bytes(&damaged), "damaged"),
        (refused(folder), "it is a folder"),
        (refused(&folder.join("none")), "No such file"),
    ];
    for (said, words) in cases {
        assert!(said.contains(words), "{said}");
    }
    let request = TracedRequest {
        at: 0,
        device: 0,
        channel: 1,
        epoch: 0,
        cause: Cause::Join,
    };
    let said = refused(&write::<RequestTrace>(folder, &[request]));
    assert!(said.contains("wanted is a packet trace"), "{said}");
    let packets: [(&[TracedPacket], &str); 5] = [
        (&[], "holds no datagrams"),
        (
            &[traced(5, 1, 100), traced(4, 1, 100)],
            "record 1 of the trace goes back in time",
        ),
        (&[traced(0, 0, 100)], "has the channel 0"),
        (&[traced(0, 1, 65_508)], "longer than a UDP datagram"),
        (&[traced(0, 4097, 100)], "at most 4096 are replayed"),
    ];
    for (packets, words) in packets {
        let said = refused(&write::<PacketTrace>(folder, packets));
        assert!(said.contains(words), "{said}");
    }
}
