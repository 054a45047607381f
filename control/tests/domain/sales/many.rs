//! Many sales with random faults: what holds of all of them at the end.

use rand_core::Rng as _;

use super::parties::{Fault, Message, World};
use super::*;

/// Sales of one run of the suite; `SEALCAST_SALES` says another number.
const SALES: usize = 100_000;
/// Each message of the first three of its kind is at fault with one chance in so many.
const CHANCE: u64 = 12;
const DEVICES: u64 = 40;
const GRANTS: u32 = 3;
const PRICE: u64 = 7;

fn faults(rng: &mut ChaCha8Rng) -> Vec<(usize, usize, Fault)> {
    let mut faults = Vec::new();
    for kind in 0..Message::KINDS {
        for number in 0..3 {
            if rng.next_u64().is_multiple_of(CHANCE) {
                let which = usize::try_from(rng.next_u64() % Fault::ALL.len() as u64).unwrap();
                faults.push((kind, number, Fault::ALL[which]));
            }
        }
    }
    faults
}

/// Every purchase, page by page.
fn all_purchases(bench: &mut Bench) -> Vec<Purchase> {
    let mut all: Vec<Purchase> = Vec::new();
    loop {
        let after = all.last().map(|last| last.id.0);
        let page = purchases::page(bench, purchases::Filter::default(), after, 1000).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[expect(clippy::print_stdout, reason = "what happened is told")]
#[test]
fn many_sales_with_faults_charge_what_they_settle_and_grant_no_more_than_was_sold() {
    let count = std::env::var("SEALCAST_SALES").map_or(SALES, |count| count.parse().unwrap());
    // A hundredth on a database server.
    let (seed, count) = (7, size(size(count)));
    let mut bench = Bench::new(seed);
    bench.channel(1);
    let offer = offer(&mut bench, PRICE, GRANTS);
    let devices: Vec<_> = (0..DEVICES)
        .map(|number| {
            let (device, account) = bench.enrolled_device(&number.to_be_bytes());
            // Some run out of money.
            let enough = if number % 8 == 0 { 500 } else { 1 << 40 };
            pay_in(&mut bench, account, enough);
            lend(&mut bench, account, 1 << 40);
            (device, account, enough)
        })
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut number, mut now) = (1, 0);
    let (mut unpaid, mut cards) = (0, 0);
    for _ in 0..count {
        let (device, account, _) = devices[usize::try_from(rng.next_u64() % DEVICES).unwrap()];
        let method = match rng.next_u64() % 3 {
            0 => Method::Card,
            1 => Method::Invoice,
            _ if left(&mut bench, account) < PRICE => {
                unpaid += 1;
                continue;
            }
            _ => Method::Balance,
        };
        let wanted = usize::try_from(1 + rng.next_u64() % u64::from(GRANTS)).unwrap();
        let faults = faults(&mut rng);
        let of = (device, offer);
        let mut world = World::new(&mut bench, (number, now), of, (method, wanted), faults);
        world.run();
        assert_eq!(world.has(), wanted);
        now = world.now + 1;
        number = world.begun(number).last().unwrap() + 1000;
        cards += world.charged.len() as u64;
    }
    keep_house(&mut bench, now + 100 * MINUTE);
    sums_are_right(&mut bench);

    let all = all_purchases(&mut bench);
    let (mut settled, mut expired, mut licences_had) = (0, 0, 0);
    for purchase in &all {
        let is_settled = purchase.state == PurchaseState::Settled;
        settled += u64::from(is_settled);
        expired += u64::from(purchase.state == PurchaseState::Expired);
        assert!(!is_settled || purchase.received.is_some(), "PC-19");
        let certificate = only(purchase);
        let origin = certificate.id.to_string();
        let had = licences::of_origin(&mut bench, &origin).unwrap();
        assert!(is_settled || had.is_empty(), "PC-07: {origin}");
        let received = had
            .iter()
            .filter(|licence| licence.received.is_some())
            .count();
        let valid = had
            .iter()
            .filter(|licence| licence.validity == Validity::Valid)
            .count();
        assert_eq!(received, certificate.used as usize, "{origin}");
        assert_eq!(valid, received, "what was not acknowledged is over");
        assert!(
            certificate.used <= certificate.granted.unwrap_or(0),
            "PC-29"
        );
        licences_had += received;
    }
    let income = ledger::get(&mut bench, sales::income("EUR").id).unwrap();
    assert_eq!(income.credited, settled * PRICE, "charged what is settled");
    let by_card = ledger::get(&mut bench, sales::cards("EUR").id).unwrap();
    assert_eq!(by_card.debited, cards * PRICE);
    println!(
        "{count} sales (seed {seed}), {} purchases: {settled} settled, {expired} expired, {unpaid} not begun for want of money; {licences_had} licences",
        all.len()
    );
    assert!(expired > 0, "no fault was of any weight");
}
