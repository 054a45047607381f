//! A network that loses, repeats and reorders, and nobody who forges: no alarm is false.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::Time;
use sealcast_proto::receiver::{Missing, Verify, VerifyConfig};
use sealcast_proto::sender::ManifestConfig;

use crate::world::{World, us};

/// Datagrams of 10,000 that are lost, or repeated.
const LOST: u64 = 150;
const REPEATED: u64 = 200;
/// Microseconds by which datagrams are late.
const LATE: u64 = 3000;
/// Microseconds from packet to packet.
const PACE: u64 = 20;
const BATCH: u64 = 24;
/// Packets by which one is late, at most.
const REORDERED: u64 = LATE / PACE;
/// Packets of one epoch.
const EPOCH: u64 = 24_000;

/// A datagram under way: when it arrives, its place in the order of sending, its leg, its bytes.
type UnderWay = Reverse<(Time, u64, usize, Vec<u8>)>;

#[derive(Default)]
struct Network {
    under_way: BinaryHeap<UnderWay>,
    sent: u64,
}

impl Network {
    /// Sends over each leg; whether any copy will arrive.
    fn send(&mut self, now: Time, legs: usize, datagram: &[u8], rng: &mut ChaCha8Rng) -> bool {
        let mut arrives = false;
        for leg in 0..legs {
            let copies = match rng.next_u64() % 10_000 {
                ..LOST => 0,
                LOST..REPEATED => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let at = now.after(Duration::from_micros(rng.next_u64() % LATE));
                self.sent += 1;
                self.under_way
                    .push(Reverse((at, self.sent, leg, datagram.to_vec())));
                arrives = true;
            }
        }
        arrives
    }

    fn next_due(&mut self, until: Time) -> Option<UnderWay> {
        let due = self
            .under_way
            .peek()
            .is_some_and(|Reverse((at, ..))| *at <= until);
        due.then(|| self.under_way.pop()).flatten()
    }

    fn deliver(&mut self, until: Time, world: &mut World) {
        while let Some(Reverse((at, _, leg, datagram))) = self.next_due(until) {
            world.arrive(at, leg, &datagram);
        }
        world.poll(until);
    }
}

struct Case {
    seed: u64,
    legs: usize,
    per_signature: u16,
    verify: Verify,
    missing: Missing,
}

/// Runs so many packets; says how many were without manifests.
fn run(case: &Case, packets: u64) -> u64 {
    let ms = Duration::from_millis;
    let manifests = ManifestConfig::new(case.per_signature, ms(20), ms(5)).unwrap();
    let verify = VerifyConfig {
        verify: case.verify,
        missing: case.missing,
        ..VerifyConfig::default()
    };
    let mut world = World::new(manifests, verify);
    let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
    let mut network = Network::default();
    let (mut sent, mut now, mut lost) = (0, us(1000), BTreeSet::new());
    let (mut first, mut last) = (None, None);
    let mut delivered = 0;
    let mut check = |world: &mut World, lost: &BTreeSet<u64>| {
        let (numbers, others) = world.take_delivered();
        assert_eq!(others.len(), 0, "seed {}", case.seed);
        for number in numbers {
            assert!(
                last < Some(number) && !lost.contains(&number),
                "seed {}: {number} after {last:?}",
                case.seed
            );
            first.get_or_insert(number);
            last = Some(number);
            delivered += 1;
        }
    };
    while sent < packets {
        if sent > 0 && sent.is_multiple_of(EPOCH) {
            world.epoch(now, 1 + sent / EPOCH);
        }
        let (sealed, due) = world.seal(now, BATCH);
        for (number, packet) in (sent..).zip(sealed) {
            if !network.send(now, case.legs, &packet, &mut rng) {
                lost.insert(number);
            }
        }
        for datagram in due {
            network.send(now, case.legs, &datagram, &mut rng);
        }
        sent += BATCH;
        now = us(1000 + sent * PACE);
        network.deliver(now, &mut world);
        check(&mut world, &lost);
    }
    for datagram in world.last(now) {
        network.send(now, case.legs, &datagram, &mut rng);
    }
    network.deliver(now.after(ms(500)), &mut world);
    world.finish();
    check(&mut world, &lost);
    let (stats, discards) = (world.receiver.stats(), *world.receiver.discards());
    let counts = stats.verify;
    assert!(
        stats.switches + 1 >= packets / EPOCH,
        "seed {}: keys changed",
        case.seed
    );
    assert_eq!(
        (counts.forged, counts.alarmed),
        (0, 0),
        "seed {}: no false alarm",
        case.seed
    );
    for cause in [
        Discard::Forged,
        Discard::BadMac,
        Discard::BadSignature,
        Discard::SignatureBound,
        Discard::BadTag,
    ] {
        assert_eq!(
            discards.of(cause),
            0,
            "seed {}: {}",
            case.seed,
            cause.name()
        );
    }
    // A receiver begins with the oldest that it has when it can prove something: what comes later and is older is late. From then on nothing is missing but what was lost or had no
    // manifest.
    let first = first.expect("something was delivered");
    assert!(
        first <= 2 * u64::from(case.per_signature) && discards.of(Discard::Late) <= REORDERED,
        "seed {}: {first}, {discards:?}",
        case.seed
    );
    let lost = lost.range(first..).count() as u64;
    let missing = sent - first - delivered - lost;
    let dropped = discards.of(Discard::Unverified);
    assert!(
        missing <= dropped,
        "seed {}: {missing} missing, {discards:?}",
        case.seed
    );
    assert!(case.missing == Missing::Drop && case.verify == Verify::ThenDeliver || dropped == 0);
    counts.unverified
}

#[test]
fn sec_05_no_alarm_is_false_under_loss_reorder_and_duplicates() {
    let wanted = std::env::var("SEALCAST_MANIFEST_PACKETS")
        .map_or(1_000_000, |text| text.parse().expect("a number"));
    let case = |seed, legs, per_signature, verify, missing| Case {
        seed,
        legs,
        per_signature,
        verify,
        missing,
    };
    let cases = [
        case(1, 1, 64, Verify::ThenDeliver, Missing::Drop),
        case(2, 2, 64, Verify::ThenDeliver, Missing::Drop),
        case(3, 1, 512, Verify::ThenDeliver, Missing::Deliver),
        case(4, 2, 512, Verify::ThenDeliver, Missing::Drop),
        case(5, 1, 64, Verify::AfterDelivery, Missing::Drop),
        case(6, 2, 100, Verify::AfterDelivery, Missing::Drop),
    ];
    let each = (wanted / cases.len() as u64 + 1).next_multiple_of(BATCH);
    let unverified: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .map(|case| scope.spawn(move || run(case, each)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no case fails"))
            .collect()
    });
    println!(
        "{} packets; without manifests, by case: {unverified:?}",
        each * cases.len() as u64
    );
    // A manifest's two copies are lost together now and then on one leg, four copies on two legs hardly ever.
    assert!(
        unverified[0] > 0 && unverified[0] < each / 100,
        "{unverified:?}"
    );
    assert!(unverified[1] < each / 1000, "{unverified:?}");
}
