//! Shares: receipts are divided by fixed parts, whatever they are for, and taken back with what is paid back (CM-55, CM-56, INT-13).

use sealcast_domain::ledger::{self, NewTransfer};
use sealcast_domain::sales::purchases::{self, NewPurchase};
use sealcast_domain::sales::{Lives, offers, settle};
use sealcast_domain::{operators, shares};
use sealcast_objects::api::{
    Method, NewOffer, NewSplit, OfferSubject, OfferTerms, OperatorRole, PayOut, PayOutKind, Price,
    Purchase, PurchaseState, PutOperator, Share,
};
use sealcast_objects::month::Month;
use sealcast_objects::{PurchaseId, TransferId};

use super::*;

fn split(bench: &mut Bench, name: &str, shares: &[(&str, u32)]) -> Result<()> {
    let share = |(party, parts): &(&str, u32)| Share {
        party: (*party).to_owned(),
        parts: *parts,
    };
    let new = NewSplit {
        shares: shares.iter().map(share).collect(),
    };
    bench.command(|tx| shares::put(tx, T0, name, &new).map(|_| ()))
}

fn euros(amount: u64) -> Price {
    Price {
        amount,
        currency: "EUR".to_owned(),
    }
}

/// The corner shop sells channel 1 for that, divided so; the device has acknowledged what it bought.
fn sold(
    bench: &mut Bench,
    device: DeviceId,
    (number, amount, split): (u8, u64, Option<&str>),
) -> Purchase {
    let new = NewOffer {
        title: "A season".to_owned(),
        subject: OfferSubject::Channel { channel: 1 },
        price: euros(amount),
        grants: 1,
        terms: OfferTerms::default(),
        shop: Some("corner".to_owned()),
        split: split.map(str::to_owned),
    };
    let id = PurchaseId([number; 16]);
    let mut rng = bench.rng.clone();
    let bought = bench.command(|tx| {
        let offer = offers::add(tx, T0, &new, &mut rng)?;
        let new = NewPurchase {
            id,
            device,
            shop: Some("corner".to_owned()),
            offers: vec![offer.id.0],
            method: Method::Shop,
        };
        let draft = purchases::draft(tx, T0, new, &Lives::default(), &mut rng)?;
        purchases::put(tx, T0, &draft, b"container")?;
        purchases::receive(tx, T0, id)?;
        settle::begin(tx, T0, id)
    });
    bench.rng = rng;
    bought.unwrap()
}

fn start(seed: u64) -> (Bench, DeviceId) {
    let mut bench = Bench::new(seed);
    bench.channel(1);
    let shop = PutOperator {
        role: OperatorRole::Shop,
        grants_per_day: None,
        anew: false,
    };
    bench
        .command(|tx| operators::put(tx, "corner", &shop))
        .unwrap();
    let (device, _) = bench.enrolled_device(b"one");
    (bench, device)
}

/// Party, shares, taken, due.
fn due(bench: &mut Bench) -> Vec<(String, i64, i64, i64)> {
    let all = shares::parties(bench).unwrap().into_iter();
    all.map(|of| (of.party, of.shares, of.taken, of.due))
        .collect()
}

fn pay(bench: &mut Bench, now: Timestamp, (kind, party, amount): (PayOutKind, &str, u64)) {
    let asked = PayOut {
        kind,
        price: euros(amount),
        note: String::new(),
    };
    let id = TransferId([u8::try_from(amount % 251).unwrap(); 16]);
    let paid = bench.command(|tx| {
        let named = shares::pay_out(tx, now, (party, id), &asked)?;
        ledger::transfer(tx, now, &NewTransfer::of(named.id.0, &named.command))
    });
    paid.unwrap();
}

/// CM-55, CM-56: a shop takes the money, its share and another's are theirs, and what is paid back takes the shares back.
#[test]
fn cm_55_cm_56_int_13_receipts_are_divided_by_fixed_parts() {
    let (mut bench, device) = start(1);
    split(
        &mut bench,
        "thirds",
        &[("house", 1), ("corner", 1), ("studio", 1)],
    )
    .unwrap();
    let waits = sold(&mut bench, device, (1, 1000, Some("thirds")));
    assert_eq!(waits.state, PurchaseState::Received, "the shop settles it");
    assert_eq!(due(&mut bench), []);
    for _ in 0..2 {
        bench
            .command(|tx| settle::complete(tx, T0, waits.id.0))
            .unwrap();
    }
    // 333.33 each: what is left goes to the first of equals.
    let expected = [
        ("corner".to_owned(), 333, 1000, -667),
        ("studio".to_owned(), 333, 0, 333),
    ];
    assert_eq!(due(&mut bench), expected);
    let later = T0.after(Duration::from_hours(24 * 30));
    pay(&mut bench, later, (PayOutKind::Offset, "corner", 333));
    pay(&mut bench, later, (PayOutKind::HandOver, "corner", 600));
    pay(&mut bench, later, (PayOutKind::Share, "studio", 300));
    let expected = [
        ("corner".to_owned(), 0, 67, -67),
        ("studio".to_owned(), 33, 0, 33),
    ];
    assert_eq!(due(&mut bench), expected);
    // Statements of both months go together.
    let (first, second) = (Month::of(T0), Month::of(later));
    for (party, sums, counts) in [
        ("corner", [(0, -667), (-667, -67)], [2, 2]),
        ("studio", [(0, 333), (333, 33)], [1, 1]),
    ] {
        for (index, month) in [first, second].into_iter().enumerate() {
            let told = shares::statement(&mut bench, party, month).unwrap();
            let of = &told.currencies[0];
            assert_eq!((of.before, of.after), sums[index], "{party} {month}");
            assert_eq!(of.transfers.len(), counts[index], "{party} {month}");
        }
    }
    for _ in 0..2 {
        bench
            .command(|tx| settle::refund(tx, later, waits.id.0, "it is not as told"))
            .unwrap();
    }
    let expected = [
        ("corner".to_owned(), -333, -933, 600),
        ("studio".to_owned(), -300, 0, -300),
    ];
    assert_eq!(due(&mut bench), expected);
    bench.flush();
    assert_eq!(ledger::verify(&mut bench).unwrap(), []);
}

/// INT-13: whatever the parts and amounts are, nothing is lost and nobody gets more than a unit beyond the exact share.
#[test]
fn int_13_nothing_is_lost_in_any_split() {
    let (mut bench, device) = start(2);
    let splits: [&[(&str, u32)]; 4] = [
        &[("a", 1)],
        &[("house", 70), ("a", 30)],
        &[("a", 3), ("b", 3), ("c", 1)],
        &[("a", 999), ("house", 1), ("b", 4_000_000_000)],
    ];
    let mut number = 0;
    let mut sums = std::collections::BTreeMap::<&str, (u128, u128)>::new();
    for (index, parts) in splits.into_iter().enumerate() {
        let name = format!("split-{index}");
        split(&mut bench, &name, parts).unwrap();
        for amount in [1, 2, 3, 99, 100, 1001] {
            number += 1;
            let bought = sold(&mut bench, device, (number, amount, Some(&name)));
            bench
                .command(|tx| settle::complete(tx, T0, bought.id.0))
                .unwrap();
            let whole: u128 = parts.iter().map(|(_, part)| u128::from(*part)).sum();
            for (party, part) in parts {
                let exact = u128::from(amount) * u128::from(*part);
                let sum = sums.entry(party).or_default();
                sum.0 += exact / whole;
                sum.1 += exact.div_ceil(whole);
            }
        }
    }
    for (party, shares, ..) in due(&mut bench) {
        if party == "corner" {
            continue;
        }
        let (least, most) = sums[party.as_str()];
        let shares = u128::try_from(shares).unwrap();
        assert!(
            (least..=most).contains(&shares),
            "{party}: {least} {shares} {most}"
        );
    }
    bench.flush();
    assert_eq!(ledger::verify(&mut bench).unwrap(), []);
}

/// What a shop without a share takes is due to the house all the same.
#[test]
fn a_shop_without_a_share_owes_what_it_took() {
    let (mut bench, device) = start(4);
    let waits = sold(&mut bench, device, (1, 1000, None));
    bench
        .command(|tx| settle::complete(tx, T0, waits.id.0))
        .unwrap();
    assert_eq!(due(&mut bench), [("corner".to_owned(), 0, 1000, -1000)]);
    pay(&mut bench, T0, (PayOutKind::HandOver, "corner", 1000));
    assert_eq!(due(&mut bench), [("corner".to_owned(), 0, 0, 0)]);
}

#[test]
fn splits_never_change_and_name_each_party_once() {
    let (mut bench, _) = start(3);
    split(&mut bench, "halves", &[("house", 1), ("corner", 1)]).unwrap();
    split(&mut bench, "halves", &[("house", 1), ("corner", 1)]).unwrap();
    let other = split(&mut bench, "halves", &[("house", 2), ("corner", 1)]);
    assert!(refused(Kind::Conflict, other).contains("choose another name"));
    for wrong in [
        &[][..],
        &[("house", 0)],
        &[("corner", 1), ("corner", 2)],
        &[("two words", 1)],
    ] {
        refused(Kind::Invalid, split(&mut bench, "wrong", wrong));
    }
    let nobody = PayOut {
        kind: PayOutKind::Share,
        price: euros(1),
        note: String::new(),
    };
    let paid =
        bench.command(|tx| shares::pay_out(tx, T0, ("corner", TransferId([1; 16])), &nobody));
    refused(Kind::NotFound, paid);
}
