//! The authority key is succeeded: whoever was told of two keys believes either, and no other (SEC-10).

use sealcast_crypto::{SigningKey, VerifyingKey};
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::Epoch;
use sealcast_proto::receiver::FetchOn;
use sealcast_proto::sender::{self, Hold, Rejection};

use crate::bench::{Bench, at};

/// Seeds of the authority's key, of the one that replaces it, and of somebody else's.
const FORMER: u8 = 7;
const LATTER: u8 = 8;
const STRANGER: u8 = 9;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn keys(authority: u8, successor: Option<u8>) -> (VerifyingKey, Option<VerifyingKey>) {
    let successor = successor.map(|seed| key(seed).verifying_key());
    (key(authority).verifying_key(), successor)
}

/// Who signs, what was told, and whether it counts.
fn cases() -> impl Iterator<Item = (u8, (u8, Option<u8>), bool)> {
    let told = [(FORMER, None), (FORMER, Some(LATTER)), (LATTER, None)];
    told.into_iter().flat_map(|(authority, successor)| {
        [FORMER, LATTER, STRANGER].map(|signer| {
            let counts = signer == authority || Some(signer) == successor;
            (signer, (authority, successor), counts)
        })
    })
}

#[test]
fn sec_10_a_sender_believes_certificates_of_either_key_and_no_other() {
    for (signer, told, counts) in cases() {
        let mut bench = Bench::new(Hold::Hold, FetchOn::default());
        bench.keys = keys(told.0, told.1);
        bench.tell_keys(0);
        bench.authority = key(signer);
        bench.cipher(0, 1, 10_000, true);
        let current = bench.sender.current(at(1)).map(|(epoch, _)| epoch);
        assert_eq!(current.is_some(), counts, "{signer} {told:?}");
        let rejected = sender::Event::Rejected {
            why: Rejection::Certificate,
        };
        assert_eq!(bench.events.contains(&rejected), !counts);
    }
}

#[test]
fn sec_10_a_sender_obeys_and_forwards_notices_of_either_key_and_no_other() {
    for (signer, told, counts) in cases() {
        let mut bench = Bench::started(Hold::Hold, FetchOn::default());
        bench.cipher(6_100, 2, 13_900, false);
        bench.keys = keys(told.0, told.1);
        bench.tell_keys(6_500);
        bench.authority = key(signer);
        bench.announce(7_000, 1, 3_000);
        let forwarded = bench.multicast.iter().any(|datagram| datagram[0] == 1);
        assert_eq!(forwarded, counts, "{signer} {told:?}");
        bench.announce(9_900, 1, 100);
        bench.poll(10_100);
        let current = bench.sender.current(at(10_100)).map(|(epoch, _)| epoch);
        assert_eq!(current, Some(Epoch(if counts { 2 } else { 1 })));
    }
}

/// Of what counts a second copy is known; what does not count is looked at each time.
fn is_believed(bench: &mut Bench, datagram: &[u8]) -> bool {
    let counted = |bench: &Bench| {
        let of = |cause| bench.receiver.discards().of(cause);
        (of(Discard::Known), of(Discard::BadSignature))
    };
    let (known, bad) = counted(bench);
    bench.arrive(7_000, datagram);
    bench.arrive(7_010, datagram);
    match counted(bench) {
        after if after == (known + 1, bad) => true,
        after if after == (known, bad + 2) => false,
        after => unreachable!("{after:?}"),
    }
}

#[test]
fn sec_10_a_receiver_believes_certificates_and_notices_of_either_key_and_no_other() {
    for (signer, told, counts) in cases() {
        let mut bench = Bench::started(Hold::Hold, FetchOn::default());
        let (authority, successor) = keys(told.0, told.1);
        bench.receiver.set_authority(authority, successor);
        bench.authority = key(signer);
        let certificate = bench.certificate(2, 5);
        let notice = bench.notice(1, 3_000, &bench.authority);
        for datagram in [certificate, notice] {
            let believed = is_believed(&mut bench, &datagram);
            assert_eq!(believed, counts, "{signer} {told:?}");
        }
    }
}

/// What the sender multicast reaches the receiver.
fn relay(bench: &mut Bench, ms: u64) {
    for datagram in std::mem::take(&mut bench.multicast) {
        bench.arrive(ms, &datagram);
    }
}

/// One change of epochs, from `current` on, with a packet before it and one after.
fn change(bench: &mut Bench, current: u64) {
    let start = 10_000 * (current - 1);
    let packet = |bench: &mut Bench, ms: u64| {
        let before = bench.delivered.len();
        let packet = bench.seal(ms, b"content").unwrap();
        relay(bench, ms);
        bench.arrive(ms, &packet);
        assert_eq!(bench.delivered.len(), before + 1, "at {ms} ms");
    };
    packet(bench, start + 5_000);
    bench.cipher(start + 6_100, current + 1, 13_900, false);
    bench.announce(start + 7_000, current, 3_000);
    relay(bench, start + 7_001);
    bench.poll(start + 8_400);
    let (number, _) = bench.requests()[0];
    let next = Some((current + 1, 11_600));
    bench.grant(start + 8_400, number, (current, 1_600), next);
    packet(bench, start + 9_900);
    bench.announce(start + 9_910, current, 90);
    bench.poll(start + 10_100);
    packet(bench, start + 10_200);
    let (epoch, _) = bench.receiver.current(at(start + 10_200)).unwrap();
    assert_eq!(epoch, Epoch(current + 1));
    let refused = bench.receiver.discards().of(Discard::BadSignature);
    assert_eq!(refused, 0, "everything that was sent was believed");
}

/// Name the successor, sign with it, name it alone: with an epoch between the steps nobody loses a packet.
#[test]
fn sec_10_a_succession_in_three_steps_loses_nothing() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let steps = [
        (FORMER, (FORMER, None)),
        (FORMER, (FORMER, Some(LATTER))),
        (LATTER, (FORMER, Some(LATTER))),
        (LATTER, (LATTER, None)),
    ];
    for (epoch, (signer, told)) in (1..).zip(steps) {
        bench.authority = key(signer);
        bench.keys = keys(told.0, told.1);
        bench.tell_keys(10_000 * (epoch - 1) + 1_000);
        change(&mut bench, epoch);
    }
    // From here on the former key counts for nothing.
    bench.authority = key(FORMER);
    let late = bench.certificate(9, 5);
    bench.arrive(45_000, &late);
    assert_eq!(bench.receiver.discards().of(Discard::BadSignature), 1);
}
