//! Key trees: who has which position, who may have the next root (MV-15, INT-05).

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::rand_core::Rng as _;
use sealcast_domain::billing::tariffs;
use sealcast_domain::key_trees::{self, SPREAD};
use sealcast_objects::api::{AssignTariff, Fraction, NewTariff, Paying, Rate, Standing};

use super::*;

const CHANNEL: u16 = 1;

fn with_blocks(id: u16) -> Channel {
    Channel {
        key_block_permille: 10,
        ..channel(id)
    }
}

fn bench(seed: u64) -> Bench {
    let mut bench = Bench::new(seed);
    channels::add(&mut bench, &with_blocks(CHANNEL)).unwrap();
    key_trees::renew(&mut bench, T0, CHANNEL, b"sealed").unwrap();
    bench
}

fn position(tx: &mut Bench, device: DeviceId) -> Option<u32> {
    key_trees::place(tx, CHANNEL, device)
        .unwrap()
        .map(|place| place.position)
}

/// Positions of the newest generation that may have the next root.
fn covered(tx: &mut Bench) -> BTreeSet<u32> {
    let newest = key_trees::of_channel(tx, CHANNEL).unwrap().remove(0);
    let gone = key_trees::gone(tx, CHANNEL, newest.generation).unwrap();
    (0..newest.given)
        .filter(|position| !gone.contains(position))
        .collect()
}

/// MV-15: one after the other, each to one device, mapped from its leaf.
#[test]
fn mv_15_positions_are_given_densely_and_a_device_keeps_its_own() {
    let tx = &mut bench(1);
    let devices: Vec<_> = (0..5).map(|_| tx.device(None)).collect();
    for (index, device) in (0..).zip(devices.iter().rev()) {
        assert_eq!(position(tx, *device), Some(index));
    }
    for (index, device) in (0..).zip(&devices) {
        assert_eq!(position(tx, *device), Some(4 - index), "the same again");
    }
    assert_eq!(covered(tx), (0..5).collect());
    assert_eq!(position(tx, DeviceId([9; 16])), None, "no such device");
    tx.channel(2);
    assert_eq!(
        key_trees::place(tx, 2, devices[0]).unwrap(),
        None,
        "no tree"
    );
}

/// INT-05, SEC-11: whatever takes a right away takes the account's positions out of the next block, and nobody else's.
#[test]
fn int_05_sec_11_what_takes_a_right_takes_the_position_until_the_device_is_back() {
    let tx = &mut bench(2);
    let (one, other) = (tx.device(None), tx.device(None));
    let account = tx.account_of(one);
    let second = tx.device(Some(account));
    for device in [one, second, other] {
        tx.right(device, CHANNEL);
        position(tx, device);
    }
    assert_eq!(covered(tx), BTreeSet::from([0, 1, 2]));
    tx.channel(2);
    tx.right(one, 2);
    assert_eq!(covered(tx).len(), 3, "a right more takes nothing");
    rights::set_standing(tx, T0, one, CHANNEL, Standing::Revoked).unwrap();
    assert_eq!(
        covered(tx),
        BTreeSet::from([2]),
        "the account's, as its cookies"
    );
    // The other device of the account opens a session: it may still have the channel.
    assert_eq!(position(tx, second), Some(1));
    assert_eq!(covered(tx), BTreeSet::from([1, 2]));
    accounts::set_standing(tx, T0, account, Standing::Suspended).unwrap();
    assert_eq!(covered(tx), BTreeSet::from([2]));
    let ends = after(1000);
    rights::put(tx, T0, &new_right(other, CHANNEL, None, Some(ends))).unwrap();
    position(tx, other);
    rights::end_periods(tx, ends).unwrap();
    assert_eq!(covered(tx), BTreeSet::new(), "its period is over");
}

/// INT-05: a new generation beside the former one, which goes when it has spread; positions are given anew.
#[test]
fn int_05_a_new_generation_spreads_and_the_former_one_goes() {
    let tx = &mut bench(3);
    let devices: Vec<_> = (0..4).map(|_| tx.device(None)).collect();
    for device in &devices {
        position(tx, *device);
    }
    let made = after(5000);
    assert_eq!(
        key_trees::renew(tx, made, CHANNEL, b"other")
            .unwrap()
            .generation,
        2
    );
    refused(
        Kind::Conflict,
        key_trees::renew(tx, made, CHANNEL, b"third"),
    );
    assert_eq!(position(tx, devices[3]), Some(0), "given anew");
    assert_eq!(covered(tx), BTreeSet::from([0]));
    assert_eq!(key_trees::of_channel(tx, CHANNEL).unwrap().len(), 2);
    assert_eq!(key_trees::gone(tx, CHANNEL, 1).unwrap(), [0; 0]);
    // Whoever loses his right loses both.
    let account = tx.account_of(devices[3]);
    accounts::set_standing(tx, T0, account, Standing::Suspended).unwrap();
    assert_eq!(key_trees::gone(tx, CHANNEL, 1).unwrap(), [3]);
    assert_eq!(key_trees::count_gone(tx, CHANNEL, 2).unwrap(), 1);
    let spread = made.after(SPREAD);
    assert_eq!(
        key_trees::end_former(tx, spread.before(Duration::from_millis(1))).unwrap(),
        0
    );
    assert_eq!(key_trees::end_former(tx, spread).unwrap(), 1);
    let left = key_trees::of_channel(tx, CHANNEL).unwrap();
    assert_eq!((left.len(), left[0].generation), (1, 2));
    assert_eq!(
        key_trees::renew(tx, spread, CHANNEL, b"third")
            .unwrap()
            .generation,
        3
    );
    channels::remove(tx, CHANNEL).unwrap();
    assert_eq!(key_trees::of_channel(tx, CHANNEL).unwrap(), []);
}

/// MV-15, INT-05: over random histories no position is ever two devices', and exactly those are covered who have opened a session since something
/// was taken from their account.
#[test]
fn mv_15_int_05_no_position_is_given_twice_in_any_history() {
    for seed in 0..20 {
        let tx = &mut bench(seed);
        let mut rng = tx.rng.clone();
        let mut below = |bound: usize| rng.next_u32() as usize % bound;
        let devices: Vec<_> = (0..12).map(|_| tx.device(None)).collect();
        let (mut of, mut entitled) = (BTreeMap::new(), BTreeSet::new());
        for _ in 0..80 {
            let device = devices[below(devices.len())];
            if below(3) > 0 {
                let position = position(tx, device).unwrap();
                assert_eq!(
                    *of.entry(device).or_insert(position),
                    position,
                    "seed {seed}"
                );
                entitled.insert(position);
            } else {
                tx.right(device, CHANNEL);
                rights::put(tx, T0, &new_right(device, CHANNEL, None, Some(after(9)))).unwrap();
                of.get(&device).map(|position| entitled.remove(position));
            }
            assert_eq!(covered(tx), entitled, "seed {seed}");
        }
        let given: BTreeSet<_> = of.values().collect();
        assert_eq!(given.len(), of.len(), "seed {seed}");
        assert!(
            given
                .into_iter()
                .copied()
                .eq(0..u32::try_from(of.len()).unwrap())
        );
    }
}

fn by(rates: &[Rate]) -> NewTariff {
    NewTariff {
        currency: "EUR".to_owned(),
        tax: Fraction { of: 0, parts: 1 },
        pay_within_days: 14,
        split: None,
        rates: rates.to_vec(),
    }
}

fn data(channel: Option<u16>) -> Rate {
    Rate::Data {
        channel,
        price: 1,
        per: 1000,
        free: 0,
    }
}

/// MD-33, MD-34: what is not asked for is not counted, so it is not charged either: other tariffs are refused, from either side.
#[test]
fn md_33_md_34_a_channel_with_key_blocks_is_charged_by_period_only() {
    let tx = &mut bench(4);
    tx.channel(2);
    let account = {
        let device = tx.device(None);
        tx.account_of(device)
    };
    let put = |tx: &mut Bench, name: &str, rates: &[Rate]| {
        tx.command(|tx| tariffs::put(tx, T0, name, &by(rates)))
    };
    let assign = |tx: &mut Bench, name: &str| {
        let asked = AssignTariff {
            tariff: name.to_owned(),
            paying: Paying::Invoice,
            from: None,
        };
        tx.command(|tx| tariffs::assign(tx, T0, account, &asked))
    };
    let period = Rate::Period {
        channel: Some(CHANNEL),
        price: 5,
    };
    put(tx, "months", &[period, data(Some(2))]).unwrap();
    assign(tx, "months").unwrap();
    let why = refused(Kind::Conflict, put(tx, "bytes", &[data(Some(CHANNEL))]));
    assert!(why.contains("channel 1 has key blocks"), "{why}");
    put(tx, "all", &[data(None)]).unwrap();
    let why = refused(Kind::Conflict, assign(tx, "all"));
    assert!(why.contains("by period or licence"), "{why}");
    let why = refused(Kind::Conflict, channels::change(tx, &with_blocks(2)));
    assert!(why.contains("tariff months: channel 2"), "{why}");
    put(tx, "other", &[]).unwrap();
    assign(tx, "other").unwrap();
    channels::change(tx, &with_blocks(2)).unwrap();
    let most = Channel {
        key_block_permille: 1001,
        ..channel(3)
    };
    refused(Kind::Invalid, channels::add(tx, &most));
}
