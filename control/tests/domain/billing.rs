//! Bills: what was counted, licensed, charged and bought of a month, computed again at any time with the same bytes (MD-33, MD-34, MV-23,
//! MV-24, SEC-34).

mod many;
mod months;
mod reserved;

use sealcast_domain::billing::bills::{self, Kept};
use sealcast_domain::billing::owed::Filter;
use sealcast_domain::billing::{bill_id, charges, money, months as closing, owed, tariffs};
use sealcast_domain::ledger::{self, Done, NewTransfer};
use sealcast_domain::licences;
use sealcast_domain::metering::{self, File, KeyRow, SentRow};
use sealcast_domain::sales::purchases::{self, NewPurchase};
use sealcast_domain::sales::{Lives, offers, settle};
use sealcast_objects::api::{
    AssignTariff, Bill, BillState, BillSummary, ChargeKind, Counting, Fraction, LineKind, Method,
    Money, NewCharge, NewOffer, NewTariff, OfferSubject, OfferTerms, Pay, Paying, PaymentKind,
    Price, Purchase, PurchaseState, Rate, UsageSource,
};
use sealcast_objects::id::Id as _;
use sealcast_objects::licence::{EndReason, OriginKind, Subject, Terms, Validity};
use sealcast_objects::month::Month;
use sealcast_objects::{ChargeId, LicenceId, PurchaseId, TransferId};

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// When usage files of a month have come.
fn closing_time(month: Month) -> Timestamp {
    month.end().after(2 * DAY)
}

fn nineteen_percent(rates: &[Rate]) -> NewTariff {
    NewTariff {
        currency: "EUR".to_owned(),
        tax: Fraction { of: 19, parts: 100 },
        pay_within_days: 14,
        split: None,
        rates: rates.to_vec(),
    }
}

fn has(bench: &mut Bench, account: AccountId, name: &str, new: &NewTariff, paying: Paying) {
    let asked = AssignTariff {
        tariff: name.to_owned(),
        paying,
        from: None,
    };
    let assigned = bench.command(|tx| {
        tariffs::put(tx, T0, name, new)?;
        tariffs::assign(tx, T0, account, &asked)
    });
    assigned.unwrap();
}

/// Keys of these epochs that a device got at once, each asked for with one request.
fn keys(
    bench: &mut Bench,
    (device, channel, sequence): (DeviceId, u16, u64),
    given_at: Timestamp,
    epochs: std::ops::RangeInclusive<u64>,
) {
    let file = File {
        source: UsageSource::KeyServer,
        number: 0,
        boot: [7; 16],
        sequence,
        chain: [u8::try_from(sequence % 256).unwrap(); 32],
    };
    let mut session = device.to_bytes();
    session[..8].copy_from_slice(&sequence.to_be_bytes());
    let row = KeyRow {
        session,
        account: bench.account_of(device),
        device,
        channel,
        given: epochs.map(|epoch| (epoch, epoch, None)).collect(),
        answers: 1,
        since: given_at,
        until: given_at,
    };
    let taken = bench.command(|tx| metering::take_keys(tx, given_at, &[(&file, &[row])]));
    assert!(!taken.unwrap().remove(0).unwrap().before);
}

/// What a delivery server sent in each of these epochs; how many were too late.
fn sent(
    bench: &mut Bench,
    (channel, sequence): (u16, u64),
    epochs: std::ops::RangeInclusive<u64>,
    bytes: u64,
) -> u64 {
    let file = File {
        source: UsageSource::DeliveryServer,
        number: 1,
        boot: [8; 16],
        sequence,
        chain: [u8::try_from(sequence % 256).unwrap(); 32],
    };
    let rows: Vec<_> = epochs
        .map(|epoch| SentRow {
            channel,
            epoch,
            packets: bytes / 1000,
            bytes,
            since: T0,
            until: T0,
        })
        .collect();
    let taken = bench.command(|tx| metering::take_sent(tx, T0, &file, &rows));
    taken.unwrap().late
}

/// What the server does until all bills of a month are made: two accounts in a batch.
fn close(bench: &mut Bench, now: Timestamp, month: Month) {
    let closed = bench.command(|tx| closing::close(tx, now, month, false));
    assert_eq!(closed.unwrap(), Done::Now);
    make_bills(bench, now);
}

fn make_bills(bench: &mut Bench, now: Timestamp) {
    let mut kept = Kept::default();
    for _ in 0..1000 {
        let Some(pending) = closing::pending(bench).unwrap() else {
            return;
        };
        if pending.sealed {
            let gathered = bills::gather(bench, pending, 2, &mut kept).unwrap();
            let last = gathered.len() < 2;
            bench
                .command(|tx| bills::make(tx, now, pending, (&gathered, last)))
                .unwrap();
        } else {
            let epochs = closing::last_epochs(bench, pending.month).unwrap();
            bench
                .command(|tx| closing::seal(tx, pending.month, &epochs))
                .unwrap();
        }
    }
    unreachable!("bills of a month have no end");
}

fn bill(bench: &mut Bench, account: AccountId, month: Month) -> Bill {
    let bytes = bills::get(bench, bill_id(account, month), None).unwrap();
    let bill: Bill = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(bills::to_bytes(&bill).unwrap(), bytes, "canonical");
    bill
}

/// Each line in short: what, how many, and what it comes to.
fn lines(bill: &Bill) -> Vec<(LineKind, u64, i64)> {
    let short = bill
        .lines
        .iter()
        .map(|line| (line.kind, line.quantity, line.amount));
    short.collect()
}

fn pay(
    bench: &mut Bench,
    now: Timestamp,
    account: AccountId,
    (kind, amount, number): (PaymentKind, u64, u8),
) -> Result<Done> {
    let asked = Pay {
        kind,
        price: Price {
            amount,
            currency: "EUR".to_owned(),
        },
        note: "statement 7".to_owned(),
    };
    bench.command(|tx| {
        let named = money::pay(tx, now, (account, TransferId([number; 16])), &asked)?;
        let new = NewTransfer::of(named.id.0, &named.command);
        Ok(ledger::transfer(tx, now, &new)?.0)
    })
}

fn has_money(bench: &mut Bench, account: AccountId) -> Money {
    let mut all = money::of_account(bench, account).unwrap().money;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Balance, line, credit, owed.
fn sums(bench: &mut Bench, account: AccountId) -> (u64, u64, u64, i64) {
    let Money {
        balance,
        line,
        credit,
        owed,
        ..
    } = has_money(bench, account);
    (balance, line, credit, owed)
}

/// Something is bought, and paid as soon as it has arrived.
fn buy(
    bench: &mut Bench,
    now: Timestamp,
    device: DeviceId,
    (number, amount, method): (u8, u64, Method),
) -> Purchase {
    let new = NewOffer {
        title: "A season".to_owned(),
        subject: OfferSubject::Channel { channel: 1 },
        price: Price {
            amount,
            currency: "EUR".to_owned(),
        },
        grants: 1,
        terms: OfferTerms::default(),
        shop: None,
        split: None,
    };
    let id = PurchaseId([number; 16]);
    let mut rng = bench.rng.clone();
    let bought = bench.command(|tx| {
        let offer = offers::add(tx, now, &new, &mut rng)?;
        let new = NewPurchase {
            id,
            device,
            shop: None,
            offers: vec![offer.id.0],
            method,
        };
        let draft = purchases::draft(tx, now, new, &Lives::default(), &mut rng)?;
        purchases::put(tx, now, &draft, b"container")?;
        purchases::receive(tx, now, id)?;
        settle::begin(tx, now, id)
    });
    bench.rng = rng;
    bought.unwrap()
}

/// A device with a licence for channel 1, which it has got.
fn licensed(
    bench: &mut Bench,
    device: DeviceId,
    (number, from, until): (u8, Timestamp, Option<Timestamp>),
    origin: OriginKind,
) -> LicenceId {
    let id = LicenceId([number; 16]);
    let new = licences::NewLicence {
        id,
        device,
        subject: Subject::Channel(1),
        terms: Terms {
            from,
            until,
            plays: None,
        },
        origin: (origin, "somewhere".to_owned()),
        supersedes: None,
        receive_by: None,
    };
    let issued = bench.command(|tx| {
        licences::issue(tx, from, &new, b"licence")?;
        licences::receive(tx, from, device, id)
    });
    assert!(issued.unwrap());
    id
}

fn all_bills(bench: &mut Bench, now: Timestamp) -> Vec<BillSummary> {
    owed::page(bench, now, Filter::default(), 0, 1000).unwrap()
}

fn sums_are_right(bench: &mut Bench) {
    bench.flush();
    assert_eq!(ledger::verify(bench).unwrap(), []);
    assert_eq!(sealcast_domain::billing::verify(bench).unwrap(), []);
}

/// MD-33, MD-34: bytes beyond those that are free, requests by key and literally, each channel by its own rate or by that of all.
#[test]
fn md_33_md_34_a_bill_is_what_was_counted() {
    let mut bench = Bench::new(1);
    for channel in 1..=3 {
        bench.channel(channel);
    }
    let (device, account) = bench.enrolled_device(b"one");
    let data = |channel, price, free| Rate::Data {
        channel,
        price,
        per: 1_000_000,
        free,
    };
    let requests = |channel, counting, price| Rate::Requests {
        channel,
        counting,
        price,
        per: 10,
        free: 0,
    };
    let tariff = nineteen_percent(&[
        data(Some(1), 7, 2_000_000),
        data(None, 3, 0),
        requests(None, Counting::Epoch, 5),
        requests(Some(3), Counting::Literal, 100),
    ]);
    has(&mut bench, account, "standard", &tariff, Paying::Invoice);
    for channel in 1..=3 {
        sent(
            &mut bench,
            (channel, u64::from(channel) - 1),
            1..=100,
            500_000,
        );
        let given = at("2026-09-22T10:00:00Z");
        keys(
            &mut bench,
            (device, channel, u64::from(channel) - 1),
            given,
            11..=20,
        );
    }
    // The same keys again, by other requests: what counts keys does not see them.
    keys(
        &mut bench,
        (device, 3, 3),
        at("2026-09-22T11:00:00Z"),
        16..=20,
    );
    let september = month("2026-09");
    close(&mut bench, closing_time(september), september);
    let bill = bill(&mut bench, account, september);
    let expected = [
        // 5,000,000 - 2,000,000 at 7 for a million; 10,000,000 at 3.
        (LineKind::Data, 5_000_000, 21),
        (LineKind::Data, 10_000_000, 30),
        (LineKind::Requests, 20, 10),
        (LineKind::Requests, 15, 150),
    ];
    assert_eq!(lines(&bill), expected);
    // 211 x 19 % = 40.09.
    assert_eq!(
        (bill.net, bill.tax, bill.gross, bill.due),
        (211, 40, 251, 251)
    );
    assert_eq!(bill.pay_by, closing_time(september).after(14 * DAY));
    assert_eq!(sums(&mut bench, account), (0, 0, 0, 251));
    sums_are_right(&mut bench);
}

/// MV-23, MV-24: licences and move certificates have prices of their own; a premium, too. What was bought was paid then.
#[test]
fn mv_23_mv_24_what_is_supplied_is_charged_each_at_its_own_price() {
    let mut bench = Bench::new(2);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let tariff = nineteen_percent(&[
        Rate::Licence { price: 50 },
        Rate::MoveCertificate { price: 120 },
        Rate::Premium { price: 99 },
    ]);
    has(&mut bench, account, "standard", &tariff, Paying::Invoice);
    let day = at("2026-09-23T00:00:00Z");
    licensed(&mut bench, device, (1, day, None), OriginKind::Operator);
    licensed(&mut bench, device, (2, day, None), OriginKind::Sale);
    let charge = |kind| NewCharge {
        kind,
        amount: None,
        note: "from one box to the other".to_owned(),
    };
    for (number, kind) in [
        (1, ChargeKind::MoveCertificate),
        (2, ChargeKind::MoveCertificate),
        (3, ChargeKind::Premium),
    ] {
        let put = |bench: &mut Bench| {
            let of = (account, ChargeId([number; 16]));
            bench.command(|tx| charges::put(tx, day, of, &charge(kind)))
        };
        assert_eq!(put(&mut bench).unwrap().0, Done::Now);
        assert_eq!(put(&mut bench).unwrap().0, Done::Before, "once");
    }
    let other = bench.command(|tx| {
        charges::put(
            tx,
            day,
            (account, ChargeId([1; 16])),
            &charge(ChargeKind::Premium),
        )
    });
    refused(Kind::Conflict, other);
    let september = month("2026-09");
    close(&mut bench, closing_time(september), september);
    let expected = [
        (LineKind::Licence, 1, 50),
        (LineKind::MoveCertificate, 2, 240),
        (LineKind::Premium, 1, 99),
    ];
    let bill = bill(&mut bench, account, september);
    assert_eq!(lines(&bill), expected);
}

/// A month of a licence costs its price; a part of one, its days, whatever hour it begins and ends. Suspended, it is paid on; ended, it is not.
#[test]
fn licences_are_charged_by_the_days_of_a_month() {
    let mut bench = Bench::new(3);
    bench.channel(1);
    let (first, account) = bench.enrolled_device(b"one");
    let second = bench.device(Some(account));
    let tariff = nineteen_percent(&[Rate::Period {
        channel: Some(1),
        price: 1000,
    }]);
    has(&mut bench, account, "months", &tariff, Paying::Invoice);
    // Two licences of one device on the same days count once: 9 + 8 days of September, which has 30.
    let from = at("2026-09-22T23:59:59Z");
    licensed(&mut bench, first, (1, from, None), OriginKind::Operator);
    licensed(&mut bench, first, (2, from, None), OriginKind::Sale);
    let from = at("2026-09-23T00:00:00Z");
    let third = licensed(&mut bench, second, (3, from, None), OriginKind::Operator);
    let (september, october) = (month("2026-09"), month("2026-10"));
    close(&mut bench, closing_time(september), september);
    let billed = bill(&mut bench, account, september);
    assert_eq!(lines(&billed), [(LineKind::Period, 17, 567)]);
    assert_eq!(billed.lines[0].per, 30, "the days of the month");

    let mut set = |at: Timestamp, validity, reason| {
        let set = bench.command(|tx| licences::set(tx, at, third, validity, reason));
        set.unwrap();
    };
    set(at("2026-10-05T01:00:00Z"), Validity::Suspended, None);
    set(
        at("2026-10-10T12:00:00Z"),
        Validity::Invalid,
        Some(EndReason::Revoked),
    );
    close(&mut bench, closing_time(october), october);
    let billed = bill(&mut bench, account, october);
    assert_eq!(lines(&billed), [(LineKind::Period, 31 + 10, 1323)]);
}

/// Who pays from a balance owes what it lacks. Beyond the line nothing is bought, though bills may go beyond it, and payments count for that first.
#[test]
fn what_a_balance_lacks_is_owed_and_no_line_grows_by_it() {
    let mut bench = Bench::new(4);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let tariff = nineteen_percent(&[Rate::Premium { price: 1000 }]);
    has(&mut bench, account, "standard", &tariff, Paying::Balance);
    let day = at("2026-09-23T00:00:00Z");
    let premium = NewCharge {
        kind: ChargeKind::Premium,
        amount: None,
        note: "September".to_owned(),
    };
    bench
        .command(|tx| charges::put(tx, day, (account, ChargeId([1; 16])), &premium))
        .unwrap();
    pay(&mut bench, day, account, (PaymentKind::PayIn, 300, 1)).unwrap();
    pay(&mut bench, day, account, (PaymentKind::Lend, 500, 2)).unwrap();
    assert_eq!(sums(&mut bench, account), (300, 500, 500, 0));
    let bought = buy(&mut bench, day, device, (1, 100, Method::Invoice));
    assert_eq!(bought.state, PurchaseState::Settled);
    assert_eq!(sums(&mut bench, account), (300, 500, 400, 100));

    let september = month("2026-09");
    let now = closing_time(september);
    close(&mut bench, now, september);
    let billed = bill(&mut bench, account, september);
    // 1000 + 190: 300 from the balance, 890 owed; and 100 by invoice, of which 15.97 is tax.
    assert_eq!(
        (billed.gross, billed.from_balance, billed.due),
        (1190, 300, 990)
    );
    assert_eq!((billed.purchases.len(), billed.purchases_tax), (1, 16));
    assert_eq!(sums(&mut bench, account), (0, 500, 0, 990));
    let bought = buy(&mut bench, now, device, (2, 1, Method::Invoice));
    assert_eq!(bought.state, PurchaseState::Failed, "the line is used up");

    pay(&mut bench, now, account, (PaymentKind::PayBill, 600, 3)).unwrap();
    assert_eq!(sums(&mut bench, account), (0, 500, 110, 390));
    let again = pay(&mut bench, now, account, (PaymentKind::PayBill, 600, 3));
    assert_eq!(again.unwrap(), Done::Before);
    let bought = buy(&mut bench, now, device, (3, 111, Method::Invoice));
    assert_eq!(bought.state, PurchaseState::Failed, "no more than the line");
    let bought = buy(&mut bench, now, device, (4, 110, Method::Invoice));
    assert_eq!(bought.state, PurchaseState::Settled);
    assert_eq!(sums(&mut bench, account), (0, 500, 0, 500));
    let more = pay(&mut bench, now, account, (PaymentKind::TakeBack, 1, 5));
    refused(Kind::Conflict, more);
    pay(&mut bench, now, account, (PaymentKind::PayBill, 700, 6)).unwrap();
    assert_eq!(sums(&mut bench, account), (0, 500, 700, -200));
    sums_are_right(&mut bench);
}

/// A correction goes on the bill of its own month, with its tax; what is given back lowers what is owed.
#[test]
fn corrections_are_lines_of_the_next_bill() {
    let mut bench = Bench::new(5);
    bench.channel(1);
    let (_, account) = bench.enrolled_device(b"one");
    let tariff = nineteen_percent(&[Rate::Premium { price: 1000 }]);
    has(&mut bench, account, "standard", &tariff, Paying::Invoice);
    let correct = |bench: &mut Bench, at, number, amount| {
        let new = NewCharge {
            kind: ChargeKind::Correction,
            amount,
            note: "an outage on the 23rd".to_owned(),
        };
        bench.command(|tx| charges::put(tx, at, (account, ChargeId([number; 16])), &new))
    };
    let day = at("2026-09-23T00:00:00Z");
    correct(&mut bench, day, 1, Some(2000)).unwrap();
    let why = refused(Kind::Invalid, correct(&mut bench, day, 2, None));
    assert!(why.contains("has an amount"), "{why}");
    refused(Kind::Invalid, correct(&mut bench, day, 2, Some(0)));
    let (september, october) = (month("2026-09"), month("2026-10"));
    close(&mut bench, closing_time(september), september);
    correct(&mut bench, at("2026-10-23T00:00:00Z"), 3, Some(-500)).unwrap();
    // By a clock that went back: the month is closed, it counts for the next.
    correct(&mut bench, day, 4, Some(-100)).unwrap();
    close(&mut bench, closing_time(october), october);
    let first = bill(&mut bench, account, september);
    assert_eq!((first.gross, first.due), (2380, 2380));
    let second = bill(&mut bench, account, october);
    assert_eq!(
        lines(&second),
        [
            (LineKind::Correction, 1, -100),
            (LineKind::Correction, 1, -500)
        ]
    );
    assert_eq!((second.net, second.tax, second.due), (-600, -114, -714));
    assert_eq!(sums(&mut bench, account), (0, 0, 0, 2380 - 714));
    // What is given back pays for the oldest bill.
    let now = closing_time(october).after(30 * DAY);
    let open: Vec<_> = all_bills(&mut bench, now)
        .iter()
        .map(|bill| (bill.open, bill.state))
        .collect();
    assert_eq!(
        open,
        [(2380 - 714, BillState::Overdue), (0, BillState::Paid)]
    );
    sums_are_right(&mut bench);
}

/// Reminders come when a bill is due, and some days apart; a payment for the oldest bill ends its own.
#[test]
fn bills_that_are_not_paid_are_told_of() {
    let mut bench = Bench::new(6);
    bench.channel(1);
    let (_, account) = bench.enrolled_device(b"one");
    let tariff = nineteen_percent(&[Rate::Premium { price: 1000 }]);
    has(&mut bench, account, "standard", &tariff, Paying::Invoice);
    let premium = NewCharge {
        kind: ChargeKind::Premium,
        amount: None,
        note: "a month".to_owned(),
    };
    let (september, october) = (month("2026-09"), month("2026-10"));
    for (number, of) in [(1, september), (2, october)] {
        let id = (account, ChargeId([number; 16]));
        bench
            .command(|tx| charges::put(tx, of.start(), id, &premium))
            .unwrap();
        close(&mut bench, closing_time(of), of);
    }
    let due = closing_time(september).after(14 * DAY);
    let mut told = |now| {
        let told = bench.command(|tx| owed::remind(tx, now, 10)).unwrap();
        told.iter()
            .map(|bill| (bill.month, bill.reminders, bill.open))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(Timestamp(due.0 - 1)), []);
    assert_eq!(told(due), [(september, 1, 1190)]);
    assert_eq!(told(due.after(6 * DAY)), []);
    assert_eq!(told(due.after(7 * DAY)), [(september, 2, 1190)]);
    pay(&mut bench, due, account, (PaymentKind::PayBill, 1500, 1)).unwrap();
    let later = due.after(60 * DAY);
    let mut told = |now| bench.command(|tx| owed::remind(tx, now, 10)).unwrap();
    let reminded = told(later);
    assert_eq!(reminded.len(), 1, "September is paid: {reminded:?}");
    assert_eq!((reminded[0].month, reminded[0].open), (october, 880));
    assert_eq!(
        owed::next_due(&mut bench).unwrap(),
        Some(later.after(7 * DAY))
    );
}
