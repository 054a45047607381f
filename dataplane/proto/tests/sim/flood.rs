//! Forged control datagrams at full rate: the bound on signature checks holds, and a genuine certificate gets through.

use std::net::IpAddr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_crypto::SigningKey;
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::{Epoch, GroupId, Lane, ServerId, Term, Time};
use sealcast_proto::limits::SIGNATURE_CHECKS_PER_SECOND;
use sealcast_proto::receiver::{ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, sign};

use super::world::{CHANNEL, forged, timing};

/// SEC-10: 20,000 forged Notices a second for ten seconds, from many addresses.
#[test]
fn sec_10_a_flood_of_forged_notices_is_bounded_and_a_certificate_gets_through() {
    let (authority, forger) = (
        SigningKey::from_seed(&[1; 32]),
        SigningKey::from_seed(&[2; 32]),
    );
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut receiver = Receiver::new(
        ReceiverConfig::new(CHANNEL, timing()),
        ParkingBudget::default(),
        Time(0),
    );
    receiver.set_authority(authority.verifying_key(), None);
    let certificate = LaneCertificate {
        channel: CHANNEL,
        term: Term {
            number: 1,
            instance: 1,
        },
        group: GroupId(5),
        follows: None,
        server: ServerId(1),
        server_key: authority.verifying_key(),
        first_lane: Lane::new(1).unwrap(),
        lanes: 1,
        first_epoch: Epoch(1),
        last_epoch: Epoch(1),
        auth: AuthLevel::Group,
    };
    let genuine = sign(&certificate, &authority);
    let forgeries: Vec<_> = (0..500)
        .map(|index| {
            forged(
                &forger,
                Epoch(1 + index),
                Term {
                    number: 2 + index,
                    instance: 7,
                },
                true,
            )
        })
        .collect();
    let mut through = None;
    for step in 0..200_000_u64 {
        let now = Time(step * 50_000);
        let mut datagram = forgeries[usize::try_from(rng.next_u64() % 500).unwrap()].clone();
        let from = IpAddr::from([
            10,
            6,
            rng.next_u64().to_be_bytes()[0],
            rng.next_u64().to_be_bytes()[0],
        ]);
        let segment = datagram.len();
        receiver.handle_batch(now, from, 0, &mut datagram, segment, &mut rng, &mut |_| {});
        let before = receiver.discards().of(Discard::Known);
        // A delivery server repeats its certificate every 250 ms, from second 5 on.
        if step >= 100_000 && step % 5_000 == 0 {
            let (mut datagram, segment) = (genuine.clone(), genuine.len());
            receiver.handle_batch(
                now,
                IpAddr::from([10, 0, 0, 1]),
                0,
                &mut datagram,
                segment,
                &mut rng,
                &mut |_| {},
            );
            if receiver.discards().of(Discard::Known) > before && through.is_none() {
                through = Some(step);
            }
        }
        let seconds = step / 20_000 + 1;
        assert!(
            receiver.stats().signature_checks <= seconds * u64::from(SIGNATURE_CHECKS_PER_SECOND)
        );
    }
    // The second copy is known: so the first one was verified.
    assert!(
        through.is_some_and(|step| step <= 140_000),
        "not within 2 s: {through:?}"
    );
    assert!(
        receiver.discards().of(Discard::SignatureBound) > 190_000,
        "{:?}",
        receiver.discards()
    );
    assert_eq!(receiver.next_epoch(), None, "forged Notices change nothing");
}
