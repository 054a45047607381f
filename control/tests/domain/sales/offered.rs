//! What is sold, by whom, and what is in a container.

use sealcast_domain::catalogue::contents;
use sealcast_domain::operators;
use sealcast_objects::api::{
    Availability, ChangeContent, ChangeOffer, OfferState, OperatorRole, PutOperator,
};

use super::super::catalogue::{content_of, uploaded};
use super::*;

#[test]
fn offers_are_what_can_be_sold() {
    let (mut bench, device, _) = shopper(9);
    let good = new_offer(1, 100, 1);
    for (wrong, kind) in [
        (new_offer(2, 100, 1), Kind::NotFound),
        (new_offer(1, 100, 0), Kind::Invalid),
        (new_offer(1, 100, 1001), Kind::Invalid),
        (new_offer(1, u64::MAX, 1), Kind::Invalid),
        (
            NewOffer {
                title: String::new(),
                ..good.clone()
            },
            Kind::Invalid,
        ),
        (
            NewOffer {
                shop: Some("corner".to_owned()),
                ..good.clone()
            },
            Kind::NotFound,
        ),
        (
            NewOffer {
                terms: OfferTerms {
                    until: Some(T0),
                    ..OfferTerms::default()
                },
                ..good.clone()
            },
            Kind::Invalid,
        ),
        (
            NewOffer {
                terms: OfferTerms {
                    lasts_ms: Some(0),
                    ..OfferTerms::default()
                },
                ..good.clone()
            },
            Kind::Invalid,
        ),
    ] {
        told(try_offer(&mut bench, &wrong), kind);
    }
    let offer = try_offer(&mut bench, &good).unwrap();
    let change = |bench: &mut Bench, change: ChangeOffer, seen| {
        bench.command(|tx| offers::change(tx, offer.id.0, &change, seen))
    };
    buy(
        &mut bench,
        0,
        new_purchase(1, device, &[offer.id.0], Method::Balance),
    );
    let dearer = ChangeOffer {
        price: Some(euros(200)),
        ..ChangeOffer::default()
    };
    let changed = change(&mut bench, dearer.clone(), Some(1)).unwrap();
    assert_eq!((changed.price, changed.revision), (euros(200), 2));
    told(change(&mut bench, dearer, Some(1)), Kind::Conflict);
    assert_eq!(
        get(&mut bench, 1).price,
        euros(100),
        "what was bought stays"
    );
    let gone = ChangeOffer {
        state: Some(OfferState::Withdrawn),
        ..ChangeOffer::default()
    };
    change(&mut bench, gone, None).unwrap();
    let why = told(
        draft(
            &mut bench,
            0,
            new_purchase(2, device, &[offer.id.0], Method::Balance),
        ),
        Kind::Conflict,
    );
    assert!(why.contains("not sold"), "{why}");
    assert_eq!(offers::page(&mut bench, true, None, 10).unwrap(), []);
    assert_eq!(offers::page(&mut bench, false, None, 10).unwrap().len(), 1);
}

/// PC-03, PC-22, INT-02: contents and channels in one container; of a content what is its newest version when it is bought.
#[test]
fn pc_22_a_container_has_certificates_for_channels_and_contents() {
    let (mut bench, device, _) = shopper(10);
    let content = content_of(&mut bench);
    let of_content = NewOffer {
        subject: OfferSubject::Content {
            content: Text(content),
        },
        ..new_offer(1, 250, 1)
    };
    let (film, season) = (
        try_offer(&mut bench, &of_content).unwrap().id.0,
        offer(&mut bench, 100, 1),
    );
    let new = new_purchase(1, device, &[film, season, film], Method::Balance);
    let why = told(draft(&mut bench, 0, new.clone()), Kind::Conflict);
    assert!(why.contains("waits for its file"), "{why}");
    uploaded(&mut bench, (content, 1), 1);
    let draft_of = draft(&mut bench, 0, new).unwrap();
    assert_eq!(draft_of.price, euros(600));
    let subjects: Vec<_> = draft_of
        .certificates
        .iter()
        .map(|certificate| certificate.subject.to_string())
        .collect();
    let film = format!("{} version 1", Text(content));
    assert_eq!(subjects, [film.clone(), "channel 1".to_owned(), film]);
    let mut ids: Vec<_> = draft_of.certificates.iter().map(|c| c.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "PC-12");
    for (offers, what) in [(0, "1 to 20"), (21, "1 to 20")] {
        let new = new_purchase(2, device, &vec![season; offers], Method::Balance);
        let why = told(draft(&mut bench, 0, new), Kind::Invalid);
        assert!(why.contains(what), "{why}");
    }
    for number in 0..purchases::OPEN_MAX {
        buy(
            &mut bench,
            0,
            new_purchase(100 + number, device, &[season], Method::Balance),
        );
    }
    let more = new_purchase(99, device, &[season], Method::Balance);
    told(draft(&mut bench, 0, more), Kind::TooMany);
    // Withdrawn from downloads, not from those who bought it.
    let gone = ChangeContent {
        availability: Some(Availability::Withdrawn),
        ..ChangeContent::default()
    };
    bench
        .command(|tx| contents::change(tx, content, &gone, None))
        .unwrap();
}

/// CM-55, INT-13: a shop sells its own offers, takes the money, and says so.
#[test]
fn int_13_a_shop_settles_what_it_sells() {
    let (mut bench, device, account) = shopper(11);
    let put = PutOperator {
        role: OperatorRole::Shop,
        grants_per_day: None,
        anew: false,
    };
    bench
        .command(|tx| operators::put(tx, "corner", &put))
        .unwrap();
    let of_shop = NewOffer {
        shop: Some("corner".to_owned()),
        ..new_offer(1, 400, 1)
    };
    let offer = try_offer(&mut bench, &of_shop).unwrap().id.0;
    let at_house = new_purchase(1, device, &[offer], Method::Balance);
    told(draft(&mut bench, 0, at_house.clone()), Kind::Invalid);
    let at_shop = NewPurchase {
        shop: Some("corner".to_owned()),
        ..at_house
    };
    told(draft(&mut bench, 0, at_shop.clone()), Kind::Invalid);
    let by_shop = NewPurchase {
        method: Method::Shop,
        ..at_shop
    };
    buy(&mut bench, 0, by_shop);
    let waits = receive(&mut bench, 0, 1).unwrap();
    assert_eq!(waits.state, PurchaseState::Received);
    let complete = |tx: &mut Bench| settle::complete(tx, T0, purchase_id(1));
    assert_eq!(bench.command(complete).unwrap(), Done::Now);
    assert_eq!(bench.command(complete).unwrap(), Done::Before);
    let taken = ledger::get(&mut bench, sales::taken_by("corner", "EUR").id).unwrap();
    assert_eq!(taken.debited, 400);
    assert_eq!(left(&mut bench, account), 1000);
    sums_are_right(&mut bench);
}
