//! Months: closed one after the other, when what belongs to them has come; nothing of them changes then.

use super::*;

fn counting(bench: &mut Bench) -> (DeviceId, AccountId) {
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let tariff = nineteen_percent(&[
        Rate::Data {
            channel: None,
            price: 1,
            per: 1000,
            free: 0,
        },
        Rate::Requests {
            channel: None,
            counting: Counting::Epoch,
            price: 1,
            per: 1,
            free: 0,
        },
    ]);
    has(bench, account, "counting", &tariff, Paying::Invoice);
    (device, account)
}

/// SEC-34: keys that become known after a month is closed are on the next bill, once; bytes of its epochs do not change any more. So the bill
/// of the closed month stays what its rows say.
#[test]
fn sec_34_what_comes_late_is_on_the_next_bill() {
    let mut bench = Bench::new(1);
    let (device, account) = counting(&mut bench);
    let (september, october) = (month("2026-09"), month("2026-10"));
    let day = at("2026-09-30T23:00:00Z");
    assert_eq!(sent(&mut bench, (1, 0), 1..=20, 1000), 0);
    keys(&mut bench, (device, 1, 0), day, 1..=10);
    close(&mut bench, closing_time(september), september);
    let before = bills::get(&mut bench, bill_id(account, september), None).unwrap();

    // 5 keys that were billed, 5 that were not; all given in September.
    keys(&mut bench, (device, 1, 1), day, 6..=15);
    assert_eq!(
        sent(&mut bench, (1, 1), 6..=15, 5000),
        5,
        "epochs up to 10 are sealed"
    );
    let rows = metering::rows(&mut bench, &Default::default(), None, 10).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row.first_epoch, row.last_epoch, row.bytes, row.since))
        .collect();
    assert_eq!(
        rows,
        [(1, 10, 10_000, day), (11, 15, 30_000, september.end())]
    );
    close(&mut bench, closing_time(october), october);
    let late = bill(&mut bench, account, october);
    assert_eq!(
        lines(&late),
        [(LineKind::Data, 30_000, 30), (LineKind::Requests, 5, 5)]
    );
    assert_eq!(
        bills::get(&mut bench, bill_id(account, september), None).unwrap(),
        before
    );
    assert_eq!(lines(&bill(&mut bench, account, september))[0].1, 10_000);
}

#[test]
fn months_are_closed_one_after_the_other_when_their_files_have_come() {
    let mut bench = Bench::new(2);
    let (device, _) = counting(&mut bench);
    let (september, october) = (month("2026-09"), month("2026-10"));
    let mut try_close =
        |now, month, anyway| bench.command(|tx| closing::close(tx, now, month, anyway));
    let why = refused(
        Kind::Conflict,
        try_close(at("2026-09-30T23:59:59Z"), september, true),
    );
    assert!(why.contains("is not over"), "{why}");
    let late = at("2027-01-01T00:00:00Z");
    let why = refused(Kind::Conflict, try_close(late, october, true));
    assert!(why.contains("2026-09 is not closed"), "{why}");
    let early = at("2026-10-01T00:00:00Z");
    let why = refused(Kind::Conflict, try_close(early, september, false));
    assert!(why.contains("may come until 2026-10-03"), "{why}");
    // File 1 of this run has come, file 0 has not.
    keys(
        &mut bench,
        (device, 1, 1),
        at("2026-09-30T23:00:00Z"),
        1..=10,
    );
    let mut try_close =
        |now, month, anyway| bench.command(|tx| closing::close(tx, now, month, anyway));
    let why = refused(Kind::Conflict, try_close(late, september, false));
    assert!(why.contains("lacks 1 of run"), "{why}");
    assert_eq!(try_close(early, september, true).unwrap(), Done::Now);
    assert_eq!(try_close(early, september, false).unwrap(), Done::Before);
    let why = refused(Kind::Conflict, try_close(late, october.next(), true));
    assert!(why.contains("2026-10 is not closed"), "{why}");
    make_bills(&mut bench, early);
    let states: Vec<_> = closing::all(&mut bench).unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(
        (states[0].month, states[0].bills, states[0].billed),
        (september, 1, Some(early))
    );
}

/// Whoever closes a month of long ago, in which nobody had a tariff, need not close all between.
#[test]
fn months_without_tariffs_need_not_be_closed() {
    let mut bench = Bench::new(6);
    let (long_ago, september) = (month("2001-01"), month("2026-09"));
    let now = closing_time(september);
    close(&mut bench, now, long_ago);
    close(&mut bench, now, month("2003-01"));
    counting(&mut bench);
    close(&mut bench, now, september);
    assert_eq!(closing::last(&mut bench).unwrap(), Some(september));
    let states = closing::all(&mut bench).unwrap();
    assert!(
        states.iter().all(|state| state.billed == Some(now)),
        "{states:?}"
    );
}

/// What was gathered before somebody else made the bills is not booked again.
#[test]
fn bills_are_made_once() {
    let mut bench = Bench::new(3);
    let (device, account) = counting(&mut bench);
    keys(
        &mut bench,
        (device, 1, 0),
        at("2026-09-30T23:00:00Z"),
        1..=10,
    );
    let september = month("2026-09");
    let now = closing_time(september);
    bench
        .command(|tx| {
            closing::close(tx, now, september, true)?;
            closing::seal(tx, september, &[(1, 10)])
        })
        .unwrap();
    let pending = closing::pending(&mut bench).unwrap().unwrap();
    let gathered = bills::gather(&mut bench, pending, 2, &mut Kept::default()).unwrap();
    let mut make = || bench.command(|tx| bills::make(tx, now, pending, (&gathered, true)));
    assert_eq!(make().unwrap(), 1);
    refused(Kind::Conflict, make());
    assert_eq!(bill(&mut bench, account, september).number, 1);
    assert_eq!(sums(&mut bench, account).3, 12);
    sums_are_right(&mut bench);
}

#[test]
fn tariffs_never_change_and_begin_with_months_that_are_open() {
    let mut bench = Bench::new(4);
    let (_, account) = counting(&mut bench);
    let standard = nineteen_percent(&[Rate::Licence { price: 5 }]);
    let mut put = |name: &str, new: &NewTariff| {
        bench.command(|tx| tariffs::put(tx, T0, name, new).map(|(done, _)| done))
    };
    assert_eq!(put("standard", &standard).unwrap(), Done::Now);
    assert_eq!(put("standard", &standard).unwrap(), Done::Before);
    let dearer = nineteen_percent(&[Rate::Licence { price: 6 }]);
    let why = refused(Kind::Conflict, put("standard", &dearer));
    assert!(why.contains("choose another name"), "{why}");
    let twice = nineteen_percent(&[Rate::Licence { price: 5 }, Rate::Licence { price: 6 }]);
    let why = refused(Kind::Invalid, put("twice", &twice));
    assert!(why.contains("two rates for licence"), "{why}");
    let nowhere = Rate::Period {
        channel: Some(9),
        price: 1,
    };
    refused(
        Kind::NotFound,
        put("nowhere", &nineteen_percent(&[nowhere])),
    );
    let for_none = Rate::Data {
        channel: None,
        price: 1,
        per: 0,
        free: 0,
    };
    refused(Kind::Invalid, put("none", &nineteen_percent(&[for_none])));
    let mut no_tax = standard.clone();
    no_tax.tax.parts = 0;
    refused(Kind::Invalid, put("tax", &no_tax));
    refused(Kind::Invalid, put("two words", &standard));

    let september = month("2026-09");
    close(&mut bench, closing_time(september), september);
    let mut assign = |from: Option<&str>, tariff: &str| {
        let asked = AssignTariff {
            tariff: tariff.to_owned(),
            paying: Paying::Invoice,
            from: from.map(month),
        };
        bench.command(|tx| tariffs::assign(tx, closing_time(september), account, &asked))
    };
    let why = refused(Kind::Conflict, assign(Some("2026-09"), "standard"));
    assert!(why.contains("2026-09 is closed"), "{why}");
    refused(Kind::NotFound, assign(None, "none"));
    assert_eq!(assign(Some("2026-12"), "standard").unwrap().1.len(), 2);
    let (done, has) = assign(None, "standard").unwrap();
    assert_eq!((done, has.len()), (Done::Now, 2), "the later one is gone");
    assert_eq!(has[1].from, month("2026-10"));
    assert_eq!(assign(Some("2026-11"), "standard").unwrap().0, Done::Before);
    let before = tariffs::in_month(&has, september).unwrap();
    assert_eq!(before.tariff, "counting");
    assert_eq!(tariffs::in_month(&has, month("2026-08")), None);
}

/// SEC-34: what was changed in the store under a bill, in it, or in the ledger, is found; and one that is gone.
#[test]
fn sec_34_what_was_changed_is_found() {
    use sealcast_domain::billing::{Fault, verify};
    let changes = [
        "UPDATE key_usage SET requests = requests + 1, last_epoch = last_epoch + 1",
        "UPDATE sent_usage SET bytes = bytes + 1000 WHERE epoch = 3",
        "UPDATE transfer SET amount = amount + 1 WHERE note LIKE 'bill net%'",
        "UPDATE tariff SET terms = REPLACE(terms, '\"price\":1', '\"price\":2')",
        "DELETE FROM account_tariff",
        "UPDATE bill SET number = 2",
    ];
    for change in changes {
        let mut bench = Bench::new(5);
        let (device, account) = counting(&mut bench);
        let day = at("2026-09-30T23:00:00Z");
        sent(&mut bench, (1, 0), 1..=20, 1000);
        keys(&mut bench, (device, 1, 0), day, 1..=10);
        let september = month("2026-09");
        close(&mut bench, closing_time(september), september);
        sums_are_right(&mut bench);
        bench.damage(change, &[]);
        let faults = verify(&mut bench).unwrap();
        let id = bill_id(account, september);
        let expected = [
            Fault::Bill(id),
            Fault::Booked(id),
            Fault::Number {
                wanted: 1,
                found: 2,
            },
        ];
        assert!(!faults.is_empty(), "{change}");
        assert!(
            faults.iter().all(|fault| expected.contains(fault)),
            "{change}: {faults:?}"
        );
    }
}
