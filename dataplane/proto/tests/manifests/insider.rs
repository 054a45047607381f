//! MD-02, MD-03, SEC-05: whoever holds every decipher half and every packet can read the channel, and nothing he makes is taken for the
//! delivery server's.

use std::time::Duration;

use sealcast_crypto::{LaneSecret, PacketDigest, SealKey, SigningKey, Span};
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::{Ctr, Time};
use sealcast_proto::limits::{CTR_FIRST, HEADER_LEN, OVERHEAD};
use sealcast_proto::receiver::{Missing, Verify, VerifyConfig};
use sealcast_proto::sender::ManifestConfig;
use sealcast_proto::wire::header::PacketHeader;
use sealcast_proto::wire::manifest::{List, sign};

use crate::world::{GROUP, World, kid, root, us};

/// What a member's decipher half makes of a lane.
fn lane_secret(lane: usize) -> LaneSecret {
    root(1).prk().lane_secret(kid(lane, 1).value())
}

/// A packet that a member seals himself.
fn forge(lane: usize, ctr: u64, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; payload.len() + OVERHEAD];
    PacketHeader {
        kid: kid(lane, 1),
        ctr: Ctr(ctr),
    }
    .write(&mut packet);
    packet[HEADER_LEN..HEADER_LEN + payload.len()].copy_from_slice(payload);
    let span = Span {
        offset: 0,
        header_len: HEADER_LEN,
        payload_len: payload.len(),
        ctr,
    };
    SealKey::new(&lane_secret(lane)).seal(&mut packet, &[span]);
    packet
}

/// Manifests that a member signs, with a key of his own.
fn forge_manifest(lane: usize, first: u64, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut list = List::new(kid(lane, 1), Ctr(first));
    packets
        .iter()
        .for_each(|packet| list.push(&PacketDigest::of(packet)));
    let insider = SigningKey::from_seed(&[66; 32]);
    sign(
        vec![list],
        GROUP,
        &insider,
        &lane_secret(lane).manifest_key(),
    )
    .remove(0)
}

fn world(verify: Verify, missing: Missing) -> World {
    let ms = Duration::from_millis;
    let config = VerifyConfig {
        verify,
        missing,
        ..VerifyConfig::default()
    };
    World::new(ManifestConfig::new(64, ms(20), ms(5)).unwrap(), config)
}

fn at(ms: u64) -> Time {
    us(ms * 1000)
}

fn numbers(range: std::ops::Range<u64>) -> (Vec<u64>, Vec<Vec<u8>>) {
    (range.collect(), Vec::new())
}

/// Injects, alters, replays, reorders across lanes, passes one lane's packet off as another's; before, between and after the genuine ones.
#[test]
fn md_02_md_03_sec_05_an_insider_with_every_decipher_half_can_make_nothing_that_is_delivered() {
    let mut world = world(Verify::ThenDeliver, Missing::Drop);
    let (packets, due) = world.seal(at(1), 100);
    assert!(due.is_empty());
    let lanes = |index: usize| index % 2;
    let ctr = |index: usize| CTR_FIRST + index as u64;
    for (index, packet) in packets.iter().enumerate() {
        // In place of each packet, under its own number, ahead of it: injected or altered.
        world.arrive(at(1), 0, &forge(lanes(index), ctr(index), b"altered!"));
        // The same number under the other lane's key: a number that is not its.
        world.arrive(
            at(1),
            0,
            &forge(1 - lanes(index), ctr(index), &(index as u64).to_be_bytes()),
        );
        // The genuine content, moved to another number of its own lane.
        world.arrive(
            at(1),
            0,
            &forge(lanes(index), ctr(index + 2), &(index as u64).to_be_bytes()),
        );
        // The genuine packet with another lane, or another number, in its header fails at its tag.
        let mut renamed = packet.clone();
        renamed[1] ^= 3;
        world.arrive(at(1), 0, &renamed);
        let mut renumbered = packet.clone();
        renumbered[11] ^= 2;
        world.arrive(at(1), 0, &renumbered);
        world.arrive(at(1), 0, packet);
        // And again: a replay.
        world.arrive(at(1), 0, packet);
    }
    // He signs for his packets himself.
    let own: Vec<_> = (0..50)
        .map(|index| forge(0, CTR_FIRST + 2 * index, b"altered!"))
        .collect();
    world.arrive(at(2), 0, &forge_manifest(0, CTR_FIRST, &own));
    assert_eq!(world.receiver.discards().of(Discard::BadSignature), 1);
    assert_eq!(
        world.take_delivered(),
        numbers(0..0),
        "nothing before a manifest"
    );
    // What was signed for one lane holds for no other.
    for mut manifest in world.last(at(3)) {
        let genuine = manifest.clone();
        manifest[2] ^= 3;
        world.arrive(at(3), 0, &manifest);
        world.arrive(at(3), 0, &genuine);
    }
    assert_eq!(world.take_delivered(), numbers(0..100));
    // Late ones, now that the numbers are proven.
    for (index, packet) in packets.iter().enumerate() {
        world.arrive(at(4), 0, &forge(lanes(index), ctr(index), b"too late"));
        world.arrive(at(4), 0, packet);
    }
    world.poll(at(500));
    world.finish();
    assert_eq!(world.take_delivered(), numbers(0..0));
    let counts = world.receiver.stats().verify;
    let discards = world.receiver.discards();
    assert_eq!((counts.verified, counts.alarmed), (100, 0));
    assert!(counts.forged >= 190, "{counts:?}");
    assert_eq!(counts.forged, discards.of(Discard::Forged));
    assert_eq!(discards.of(Discard::BadTag), 200);
    assert_eq!(
        discards.of(Discard::BadMac),
        4,
        "a manifest moved to another lane is no member's"
    );
    assert!(
        discards.of(Discard::Unverified) >= 100,
        "numbers of another lane are listed by nobody"
    );
    let (forged, delivered, unverified) = world.alarms();
    assert!(
        forged > 0 && delivered == 0 && unverified > 0,
        "people are told"
    );
}

/// The genuine stream goes on whatever a member plants ahead of it.
#[test]
fn sec_05_packets_planted_far_ahead_do_not_stop_the_stream() {
    let mut world = world(Verify::ThenDeliver, Missing::Drop);
    for ahead in 0..500 {
        world.arrive(
            at(1),
            0,
            &forge(0, CTR_FIRST + 100_000 + 8192 * ahead, b"planted!"),
        );
        world.arrive(at(1), 0, &forge(0, CTR_FIRST + 2 * ahead, b"planted!"));
    }
    for turn in 0..20 {
        let (packets, due) = world.seal(at(2 + turn), 50);
        packets
            .iter()
            .chain(&due)
            .for_each(|datagram| world.arrive(at(2 + turn), 0, datagram));
    }
    for manifest in world.last(at(30)) {
        world.arrive(at(30), 0, &manifest);
    }
    assert_eq!(world.take_delivered(), numbers(0..1000));
}

/// Lanes are proven one after the other: whoever joins begins with the first packet that came, whichever lane is proven first, and whatever a
/// member plants before it.
#[test]
fn sec_05_nothing_is_late_for_a_receiver_that_has_just_joined() {
    for planted in [false, true] {
        let mut world = world(Verify::ThenDeliver, Missing::Drop);
        world.seal(at(1), 128); // before it joined
        if planted {
            world.arrive(at(2), 0, &forge(1, CTR_FIRST + 101, b"planted!"));
        }
        let (packets, due) = world.seal(at(2), 128);
        assert_eq!(due.len(), 2);
        let came = packets.iter().chain(due.iter().rev());
        came.for_each(|datagram| world.arrive(at(2), 0, datagram));
        if planted {
            assert_eq!(world.take_delivered(), numbers(0..0));
            world.poll(at(300));
        }
        assert_eq!(world.take_delivered(), numbers(128..256));
        assert_eq!(world.receiver.discards().of(Discard::Late), 0);
    }
}

#[test]
fn sec_05_what_was_delivered_first_is_an_alarm_when_it_turns_out_to_be_forged() {
    let mut world = world(Verify::AfterDelivery, Missing::Drop);
    let (packets, _) = world.seal(at(1), 64);
    for (index, packet) in packets.iter().enumerate() {
        if index == 10 {
            world.arrive(at(1), 0, &forge(0, CTR_FIRST + 10, b"altered!"));
        }
        world.arrive(at(1), 0, packet);
    }
    let (delivered, others) = world.take_delivered();
    assert_eq!(
        (delivered.len(), others),
        (63, vec![b"altered!".to_vec()]),
        "it was first under its number"
    );
    world.poll(at(2));
    assert_eq!(world.alarms(), (0, 0, 0));
    for manifest in world.last(at(3)) {
        world.arrive(at(3), 0, &manifest);
    }
    world.poll(at(3));
    assert_eq!(world.alarms(), (1, 1, 0));
    let counts = world.receiver.stats().verify;
    assert_eq!(
        (
            counts.verified,
            counts.forged,
            counts.alarmed,
            counts.unverified
        ),
        (63, 1, 1, 0)
    );
    // Once its manifest is there, a number is not delivered again.
    world.arrive(at(4), 0, &forge(1, CTR_FIRST + 11, b"altered!"));
    assert_eq!(world.take_delivered(), numbers(0..0));
}

/// All manifests of a batch are lost: what then happens is a setting, and counted.
#[test]
fn sec_05_packets_without_manifests_are_dropped_or_delivered_as_set() {
    for (verify, missing, delivered) in [
        (Verify::ThenDeliver, Missing::Drop, 0),
        (Verify::ThenDeliver, Missing::Deliver, 64),
        (Verify::AfterDelivery, Missing::Drop, 64),
    ] {
        let mut world = world(verify, missing);
        let (packets, _) = world.seal(at(1), 64);
        packets
            .iter()
            .for_each(|packet| world.arrive(at(1), 0, packet));
        drop(world.last(at(2)));
        world.poll(at(100));
        assert_eq!(world.alarms(), (0, 0, 0), "they may still come");
        let due = world.receiver.next_timeout().unwrap();
        assert!(due <= at(101), "a packet waits for 100 ms");
        world.poll(at(130));
        assert_eq!(
            world.take_delivered().0.len(),
            delivered,
            "{verify:?} {missing:?}"
        );
        assert_eq!(world.alarms(), (0, 0, 64));
        let dropped = world.receiver.discards().of(Discard::Unverified);
        assert_eq!(dropped, 64 - delivered.min(64) as u64);
        assert_eq!(world.receiver.stats().verify.unverified, 64);
    }
}

/// SEC-10: outsiders cost no signature check, and members a bounded number.
#[test]
fn sec_10_signature_checks_on_manifests_are_bounded() {
    let mut world = world(Verify::ThenDeliver, Missing::Drop);
    let (packets, _) = world.seal(at(1), 2);
    packets
        .iter()
        .for_each(|packet| world.arrive(at(1), 0, packet));
    let before = world.receiver.stats().signature_checks;
    let mut outsider = world.last(at(1));
    outsider
        .iter_mut()
        .for_each(|manifest| *manifest.last_mut().unwrap() ^= 1);
    outsider
        .iter()
        .for_each(|manifest| world.arrive(at(1), 0, manifest));
    assert_eq!(world.receiver.stats().signature_checks, before);
    assert_eq!(
        world.receiver.discards().of(Discard::BadMac),
        outsider.len() as u64
    );
    for at_ms in 0..1000 {
        for index in 0..5 {
            let packet = vec![
                index,
                u8::try_from(at_ms % 251).unwrap(),
                u8::try_from(at_ms / 251).unwrap(),
            ];
            world.arrive(at(1 + at_ms), 0, &forge_manifest(0, CTR_FIRST, &[packet]));
        }
    }
    let checks = world.receiver.stats().signature_checks - before;
    assert!(
        (300..=410).contains(&checks),
        "{checks} checks in a second: 200 at once, 200 per second"
    );
    assert_eq!(
        world.receiver.discards().of(Discard::SignatureBound),
        5000 - checks
    );
}
