//! Any message of a sale may be lost, doubled, late or overtaken, and any two: the end is the same, one charge and the licences that were bought.

use super::parties::{Fault, Message, World};
use super::*;

/// Licences of each sale here.
const WANTED: usize = 2;
/// What it costs.
const PRICE: u64 = 10;

/// What was charged for the sale beginning at `first`, and how many licences count.
fn check(bench: &mut Bench, (device, account): (DeviceId, AccountId), before: u64, what: &str) {
    let all = licences::page(bench, by(device), None, 100).unwrap();
    let counting = all
        .iter()
        .filter(|licence| licence.validity == Validity::Valid && licence.received.is_some());
    assert_eq!(counting.count(), WANTED, "{what}");
    assert_eq!(before - left(bench, account), PRICE, "{what}: charged once");
}

fn by(device: DeviceId) -> licences::Filter {
    licences::Filter {
        device: Some(device),
        ..licences::Filter::default()
    }
}

/// What two faults come to, each to the first or second message of its kind.
fn pairs() -> Vec<Vec<(usize, usize, Fault)>> {
    let one = |kind| Fault::ALL.map(|fault| (kind, fault));
    let all: Vec<_> = (0..Message::KINDS).flat_map(one).collect();
    let mut pairs = vec![Vec::new()];
    for (index, &(kind, fault)) in all.iter().enumerate() {
        for &(other, second) in &all[index..] {
            // Two of one kind: the first and the one after it.
            let which = usize::from(other == kind);
            pairs.push(vec![(kind, 0, fault), (other, which, second)]);
        }
    }
    pairs
}

#[test]
fn pc_30_any_two_faults_of_messages_come_to_one_charge_and_the_licences_that_were_bought() {
    let mut bench = Bench::new(1);
    bench.channel(1);
    let offer = offer(&mut bench, PRICE, WANTED.try_into().unwrap());
    let pairs = pairs();
    let every = if size(10) == 10 { 1 } else { 10 };
    let (mut number, mut now) = (1, 0);
    let (mut bought_again, mut lost) = (0, 0);
    for faults in pairs.iter().step_by(every) {
        for method in [Method::Balance, Method::Card] {
            let what = format!("{method:?} {faults:?}");
            let (device, account) = bench.enrolled_device(what.as_bytes());
            pay_in(&mut bench, account, 1000);
            let mut world = World::new(
                &mut bench,
                (number, now),
                (device, offer),
                (method, WANTED),
                faults.clone(),
            );
            world.run();
            assert_eq!(world.has(), WANTED, "{what}");
            now = world.now + 1;
            let (begun, charged) = (world.begun(number), world.charged.clone());
            let begun_more = begun.len() > 1;
            let mut paid = 0;
            for one in begun {
                let state = purchases::find(&mut bench, purchase_id(one)).unwrap();
                let settled = state.is_some_and(|one| one.state == PurchaseState::Settled);
                assert_eq!(
                    method == Method::Card && settled,
                    charged.contains(&one),
                    "{what}"
                );
                paid += u64::from(settled);
                number = number.max(one + 1);
            }
            number += 1000;
            assert_eq!(paid, 1, "{what}");
            let all = licences::page(&mut bench, by(device), None, 100).unwrap();
            lost += all.iter().filter(|one| one.received.is_none()).count();
            bought_again += usize::from(begun_more);
            if method == Method::Balance {
                check(&mut bench, (device, account), 1000, &what);
            }
        }
    }
    sums_are_right(&mut bench);
    assert!(bought_again > 0 && lost > 0, "no fault was of any weight");
}
