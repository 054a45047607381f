//! What was used is reserved in the balance of who pays by it, until it is billed.

use super::*;
use sealcast_domain::billing::reserved::{self, UsedUp};

/// What the server does once a day: two accounts in a batch. Whose balance is used up.
pub(super) fn reserve(bench: &mut Bench, now: Timestamp) -> Vec<UsedUp> {
    let (mut kept, mut after, mut told) = (Kept::default(), None, Vec::new());
    for _ in 0..1000 {
        let wanted = reserved::gather(bench, now, after, 2, &mut kept).unwrap();
        after = wanted.last().map(|of| of.account());
        let last = wanted.len() < 2;
        told.extend(
            bench
                .command(|tx| reserved::reserve(tx, now, &wanted))
                .unwrap(),
        );
        if last {
            return told;
        }
    }
    unreachable!("accounts have no end");
}

/// Balance, reserved.
fn has_left(bench: &mut Bench, account: AccountId) -> (u64, u64) {
    let money = has_money(bench, account);
    (money.balance, money.reserved)
}

/// One cent for a key, without tax.
fn counting(bench: &mut Bench, paying: Paying) -> (DeviceId, AccountId) {
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let tariff = NewTariff {
        tax: Fraction { of: 0, parts: 1 },
        ..nineteen_percent(&[Rate::Requests {
            channel: None,
            counting: Counting::Epoch,
            price: 1,
            per: 1,
            free: 0,
        }])
    };
    has(bench, account, "counting", &tariff, paying);
    (device, account)
}

/// MD-34: what was used cannot be spent on something else or be paid out; it pays the bill, and what belongs to the month after stays reserved.
#[test]
fn md_34_what_was_used_is_reserved_until_it_is_billed() {
    let mut bench = Bench::new(1);
    let (device, account) = counting(&mut bench, Paying::Balance);
    let (september, now) = (month("2026-09"), at("2026-09-24T08:00:00Z"));
    pay(&mut bench, now, account, (PaymentKind::PayIn, 1000, 1)).unwrap();
    keys(&mut bench, (device, 1, 0), now, 1..=300);
    assert_eq!(reserve(&mut bench, now), []);
    assert_eq!(has_left(&mut bench, account), (700, 300));
    // The same day again, and the next with more.
    assert_eq!(reserve(&mut bench, now), []);
    assert_eq!(has_left(&mut bench, account), (700, 300));
    let next = now.after(DAY);
    keys(&mut bench, (device, 1, 1), next, 301..=400);
    reserve(&mut bench, next);
    assert_eq!(has_left(&mut bench, account), (600, 400));

    let bought = buy(&mut bench, next, device, (1, 601, Method::Balance));
    assert_eq!(bought.state, PurchaseState::Failed);
    let out = pay(&mut bench, next, account, (PaymentKind::PayOut, 601, 2));
    refused(Kind::Conflict, out);
    assert_eq!(
        bills::preview(&mut bench, next, account)
            .unwrap()
            .from_balance,
        400
    );

    // Some of October is used before September is billed.
    let october = at("2026-10-02T08:00:00Z");
    keys(&mut bench, (device, 1, 2), october, 401..=450);
    reserve(&mut bench, october);
    assert_eq!(has_left(&mut bench, account), (550, 450));
    close(&mut bench, closing_time(september), september);
    let made = bill(&mut bench, account, september);
    assert_eq!((made.gross, made.from_balance, made.due), (400, 400, 0));
    assert_eq!(has_left(&mut bench, account), (550, 50));
    reserve(&mut bench, closing_time(september));
    assert_eq!(has_left(&mut bench, account), (550, 50));
    sums_are_right(&mut bench);
}

/// A balance that is used up is told once, until it was enough again; what it lacks is owed when it is billed.
#[test]
fn a_balance_that_is_used_up_is_told_once() {
    let mut bench = Bench::new(2);
    let (device, account) = counting(&mut bench, Paying::Balance);
    let now = at("2026-09-24T08:00:00Z");
    let used_up = |lacks| UsedUp {
        account,
        currency: "EUR".to_owned(),
        lacks,
    };
    keys(&mut bench, (device, 1, 0), now, 1..=100);
    assert_eq!(reserve(&mut bench, now), [used_up(100)], "nothing was paid");
    pay(&mut bench, now, account, (PaymentKind::PayIn, 30, 1)).unwrap();
    assert_eq!(reserve(&mut bench, now), []);
    assert_eq!(has_left(&mut bench, account), (0, 30));
    pay(&mut bench, now, account, (PaymentKind::PayIn, 100, 2)).unwrap();
    assert_eq!(reserve(&mut bench, now), []);
    assert_eq!(has_left(&mut bench, account), (30, 100));
    keys(&mut bench, (device, 1, 1), now, 101..=140);
    assert_eq!(reserve(&mut bench, now), [used_up(10)]);
    assert_eq!(has_left(&mut bench, account), (0, 130));
    let september = month("2026-09");
    close(&mut bench, closing_time(september), september);
    let made = bill(&mut bench, account, september);
    assert_eq!((made.gross, made.from_balance, made.due), (140, 130, 10));
    assert_eq!(has_left(&mut bench, account), (0, 0));
    assert_eq!(sums(&mut bench, account).3, 10, "owed");
    sums_are_right(&mut bench);
}

/// Who pays by invoice has nothing reserved, from the next day on if the way of paying is changed; neither has what an operator released.
#[test]
fn what_is_not_paid_from_the_balance_is_not_reserved() {
    let mut bench = Bench::new(3);
    let (device, account) = counting(&mut bench, Paying::Balance);
    let now = at("2026-09-24T08:00:00Z");
    pay(&mut bench, now, account, (PaymentKind::PayIn, 1000, 1)).unwrap();
    keys(&mut bench, (device, 1, 0), now, 1..=100);
    reserve(&mut bench, now);
    assert_eq!(has_left(&mut bench, account), (900, 100));

    let balance = sealcast_domain::sales::balance(account, "EUR");
    let made = ledger::transfers(&mut bench, Some(balance.id), 0, 10).unwrap();
    let of = made.last().unwrap().id.0;
    let new = NewTransfer {
        id: TransferId([9; 16]),
        command: ledger::Command::Void { of },
        note: "by hand".to_owned(),
    };
    bench.command(|tx| ledger::transfer(tx, now, &new)).unwrap();
    assert_eq!(has_left(&mut bench, account), (1000, 0));
    reserve(&mut bench, now.after(DAY));
    assert_eq!(has_left(&mut bench, account), (900, 100));

    let asked = AssignTariff {
        tariff: "counting".to_owned(),
        paying: Paying::Invoice,
        from: None,
    };
    bench
        .command(|tx| tariffs::assign(tx, now, account, &asked))
        .unwrap();
    reserve(&mut bench, now.after(2 * DAY));
    assert_eq!(has_left(&mut bench, account), (1000, 0));
}
