//! Switches of a channel of 4 Mbit/s.

use std::collections::BTreeSet;
use std::time::Duration;

use sealcast_proto::timing::Timing;

use crate::world::{MILLION, World, generation, scattered};

/// Entitled positions, spread over the tree, and one that is not.
fn members(gone: &BTreeSet<u32>, count: u32) -> Vec<u32> {
    let spread = (0..).map(|index| index * (MILLION / count) + 17);
    let entitled = spread.take_while(|position| *position < MILLION);
    entitled
        .filter(|position| !gone.contains(position))
        .collect()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// INT-05, SEC-11: a switch costs no request; whoever loses the block asks a key door; whoever is gone gets no later epoch; nobody loses a
/// packet.
#[test]
fn int_05_sec_11_a_switch_costs_no_request_and_who_is_gone_gets_no_later_epoch() {
    let gone = scattered(100, 7);
    let mut world = World::new(Timing::default(), gone.clone(), 10);
    let members = members(&gone, 40);
    let path = generation(&gone);
    for position in &members {
        world.join(*position, Some(&path));
    }
    let without = world.devices.len();
    world.join(3, None);
    world.run(ms(5_000));
    let joined = world.sent;
    let asked = |world: &World| -> Vec<u64> {
        world.devices.iter().map(|device| device.requests).collect()
    };
    let to_join = asked(&world);
    // One of a hundred loses the block of the first switch.
    world.devices[5].loses = Some(2);
    world.run(ms(70_000));
    assert_eq!(world.epoch, 2);
    for (index, requests) in asked(&world).into_iter().enumerate() {
        let expected = u64::from(index == 5 || index == without);
        assert_eq!(requests - to_join[index], expected, "device {index}");
    }
    // One is revoked before the second change is announced, one after.
    let (early, late) = (10, 11);
    world.gone.insert(world.devices[early].position);
    world.run(ms(35_000));
    world.gone.insert(world.devices[late].position);
    world.run(ms(40_000));
    let switched = world.devices[early].delivered;
    assert_eq!(world.epoch, 3);
    assert_eq!(
        world.roots(late),
        world.roots(0),
        "what was announced before is open to it"
    );
    world.run(ms(50_000));
    assert_eq!(world.epoch, 4);
    assert_eq!(
        world.devices[early].delivered, switched,
        "nothing after the change"
    );
    assert_eq!(world.roots(early) + 1, world.roots(late));
    let first_lost = world.sent - joined;
    for (index, device) in world.devices.iter().enumerate() {
        let lost = world.sent - device.delivered;
        match index {
            _ if index == early || index == late => assert!(lost > 1000 && lost < first_lost),
            // The last packet may wait to be in order; what was sent before joining nobody has.
            _ => assert!(lost < 40, "device {index} lost {lost} of {}", world.sent),
        }
        if ![5, early, late, without].contains(&index) {
            let asked = device.requests - to_join[index];
            assert_eq!((asked, world.roots(index)), (0, 3), "device {index}");
        }
    }
    let bytes: usize = world
        .blocks
        .iter()
        .map(|(_, datagram)| datagram.len())
        .sum();
    println!(
        "3 switches, {} devices of {MILLION} positions, 100 gone: {} datagrams of key blocks, {:.2} % of the channel",
        world.devices.len(),
        world.blocks.len(),
        100.0 * bytes as f64 / (world.sent * 1344) as f64
    );
    assert!(bytes as u64 <= world.sent * 1316 / 100, "the cap holds");
}

/// INT-05: a block that would take more than its share is off, and devices ask key doors; nobody loses.
#[test]
fn int_05_ten_thousand_scattered_revocations_turn_the_block_off_and_nobody_loses() {
    let gone = scattered(10_000, 8);
    let mut world = World::new(Timing::default(), gone.clone(), 10);
    let path = generation(&gone);
    for position in members(&gone, 30) {
        world.join(position, Some(&path));
    }
    world.run(ms(5_000));
    let to_join: Vec<_> = world.devices.iter().map(|device| device.requests).collect();
    world.run(ms(125_000));
    assert_eq!((world.epoch, world.off.as_slice()), (3, &[2, 3][..]));
    assert!(world.blocks.is_empty());
    for (index, device) in world.devices.iter().enumerate() {
        let asked = device.requests - to_join[index];
        assert_eq!((asked, world.roots(index)), (2, 0));
        assert!(world.sent - device.delivered < 40);
    }
}

/// INT-05: epochs of a second, a thousand that are gone: the block is on the air in each, nobody asks, nobody loses.
#[test]
fn int_05_epochs_of_a_second_cost_no_request_and_no_packet() {
    let gone = scattered(1000, 9);
    let timing = Timing::new(ms(1000), ms(700), ms(250), ms(200)).unwrap();
    let mut world = World::new(timing, gone.clone(), 1000);
    let path = generation(&gone);
    for position in members(&gone, 12) {
        world.join(position, Some(&path));
    }
    world.run(ms(900));
    let to_join: Vec<_> = world.devices.iter().map(|device| device.requests).collect();
    world.run(ms(11_300));
    assert_eq!((world.epoch, world.off.len()), (13, 0));
    for epoch in 2..=13 {
        let on_air = world.blocks.iter().filter(|(of, _)| *of == epoch).count();
        assert!(on_air > 300, "epoch {epoch}: {on_air} datagrams");
    }
    for (index, device) in world.devices.iter().enumerate() {
        let asked = device.requests - to_join[index];
        assert_eq!((asked, world.roots(index)), (0, 12), "device {index}");
        assert!(world.sent - device.delivered < 40, "device {index}");
    }
}

/// INT-05: a late joiner without a key door gets the epoch in use from the carousel; what was recorded before opens for nobody who came later.
#[test]
fn int_05_a_late_joiner_is_served_by_the_carousel_and_a_newcomer_opens_nothing_recorded() {
    let gone = BTreeSet::new();
    let mut world = World::new(Timing::default(), gone.clone(), 10);
    let path = generation(&gone);
    world.join(77, Some(&path));
    world.run(ms(61_000));
    let recorded = world.blocks.clone();
    assert!(recorded.iter().all(|(epoch, _)| *epoch == 2) && !recorded.is_empty());
    // The door refuses him: only the block, which was made before, can have brought the key.
    world.gone.insert(500_000);
    world.join(500_000, Some(&path));
    let joiner = world.devices.len() - 1;
    world.run(ms(3_000));
    assert_eq!(world.roots(joiner), 1);
    assert!(world.devices[joiner].delivered > 500);
    // A position that was given away after the recording.
    let mut later = generation(&BTreeSet::new());
    later.given += 1;
    world.join(MILLION, Some(&later));
    let newcomer = world.devices.len() - 1;
    world.gone.insert(MILLION);
    for (_, datagram) in recorded {
        world.replay(newcomer, &datagram);
    }
    world.run(ms(2_000));
    assert_eq!(
        (world.roots(newcomer), world.devices[newcomer].delivered),
        (0, 0)
    );
}
