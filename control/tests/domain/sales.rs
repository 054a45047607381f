//! Sales: each row of the requirements by itself; what messages that are lost, doubled, late or out of order come to is in `faults`.

mod cards;
mod faults;
mod many;
mod offered;
mod parties;

use sealcast_domain::ledger::{self, Bound, Command, Done, NewBook, NewTransfer};
use sealcast_domain::licences;
use sealcast_domain::sales::grants::{self, Granting};
use sealcast_domain::sales::purchases::{self, Draft, NewPurchase};
use sealcast_domain::sales::{self, Lives, offers, restore, settle};
use sealcast_objects::api::{
    CertificateRecord, CertificateState, LicenceRecord, Method, NewOffer, Offer, OfferSubject,
    OfferTerms, Price, Purchase, PurchaseState,
};
use sealcast_objects::id::Id as _;
use sealcast_objects::licence::{EndReason, Validity};
use sealcast_objects::{BookId, CertificateId, LicenceId, OfferId, PurchaseId, TransferId};

use super::*;

const LIVES: Lives = Lives {
    receive: Duration::from_mins(15),
    settle: Duration::from_hours(1),
    grant: Duration::from_mins(30),
};
const MINUTE: i64 = 60_000;

fn euros(amount: u64) -> Price {
    Price {
        amount,
        currency: "EUR".to_owned(),
    }
}

fn new_offer(channel: u16, amount: u64, grants: u32) -> NewOffer {
    NewOffer {
        title: "A season".to_owned(),
        subject: OfferSubject::Channel { channel },
        price: euros(amount),
        grants,
        terms: OfferTerms::default(),
        shop: None,
        split: None,
    }
}

/// One that is drawn in the bench's order.
fn with_rng<T>(
    bench: &mut Bench,
    at: i64,
    command: impl FnOnce(&mut Bench, Timestamp, &mut ChaCha8Rng) -> Result<T>,
) -> Result<T> {
    let mut rng = bench.rng.clone();
    let result = bench.command(|tx| command(tx, after(at), &mut rng));
    bench.rng = rng;
    result
}

fn try_offer(bench: &mut Bench, new: &NewOffer) -> Result<Offer> {
    with_rng(bench, 0, |tx, now, rng| offers::add(tx, now, new, rng))
}

fn offer(bench: &mut Bench, amount: u64, grants: u32) -> OfferId {
    try_offer(bench, &new_offer(1, amount, grants))
        .unwrap()
        .id
        .0
}

fn purchase_id(number: u64) -> PurchaseId {
    PurchaseId(u128::from(number).to_be_bytes())
}

fn licence_id(number: u64) -> LicenceId {
    LicenceId(u128::from(number).to_be_bytes())
}

fn new_purchase(number: u64, device: DeviceId, offers: &[OfferId], method: Method) -> NewPurchase {
    NewPurchase {
        id: purchase_id(number),
        device,
        shop: None,
        offers: offers.to_vec(),
        method,
    }
}

fn draft(bench: &mut Bench, at: i64, new: NewPurchase) -> Result<Draft> {
    with_rng(bench, at, |tx, now, rng| {
        purchases::draft(tx, now, new, &LIVES, rng)
    })
}

fn buy(bench: &mut Bench, at: i64, new: NewPurchase) -> Purchase {
    let draft = draft(bench, at, new).unwrap();
    bench
        .command(|tx| purchases::put(tx, after(at), &draft, b"container"))
        .unwrap()
}

/// The device says that it has the certificates.
fn receive(bench: &mut Bench, at: i64, number: u64) -> Result<Purchase> {
    bench.command(|tx| {
        purchases::receive(tx, after(at), purchase_id(number))?;
        settle::begin(tx, after(at), purchase_id(number))
    })
}

fn get(bench: &mut Bench, number: u64) -> Purchase {
    purchases::get(bench, purchase_id(number)).unwrap()
}

fn request(
    bench: &mut Bench,
    at: i64,
    device: DeviceId,
    certificate: CertificateId,
    licence: u64,
) -> Result<LicenceRecord> {
    bench.command(|tx| {
        let device = devices::get(tx, device)?;
        let id = licence_id(licence);
        let granting = grants::request(tx, after(at), &device, certificate, id, &LIVES)?;
        match granting {
            Granting::Before(licence) => Ok(*licence),
            Granting::New(new) => {
                licences::issue(tx, after(at), &new, b"licence")?;
                licences::get(tx, id)
            }
        }
    })
}

fn has(bench: &mut Bench, at: i64, device: DeviceId, licence: u64) -> Result<bool> {
    bench.command(|tx| grants::receive(tx, after(at), device, licence_id(licence)))
}

/// What housekeeping does from time to time.
fn keep_house(bench: &mut Bench, at: i64) {
    let floors = bench.command(|tx| {
        purchases::expire(tx, after(at), 1000)?;
        ledger::expire(tx, after(at), 1000)?;
        grants::end_unreceived(tx, after(at), 1000)
    });
    floors.unwrap();
}

/// An account has paid this much before it buys.
fn pay_in(bench: &mut Bench, account: AccountId, amount: u64) {
    fill(
        bench,
        (account, 0x80),
        &sales::balance(account, "EUR"),
        amount,
    );
}

/// An account may buy for this much before it pays.
fn lend(bench: &mut Bench, account: AccountId, amount: u64) {
    fill(
        bench,
        (account, 0x40),
        &sales::credit(account, "EUR"),
        amount,
    );
}

fn fill(bench: &mut Bench, (account, mark): (AccountId, u8), book: &NewBook, amount: u64) {
    let bank = NewBook {
        id: BookId(*b"sealcast's bank!"),
        unit: "EUR".to_owned(),
        bound: Bound::Free,
    };
    let mut id = account.to_bytes();
    id[0] ^= mark;
    let new = NewTransfer {
        id: TransferId(id),
        command: Command::Move {
            debit: bank.id,
            credit: book.id,
            amount,
        },
        note: String::new(),
    };
    let paid = bench.command(|tx| {
        ledger::open(tx, T0, &bank)?;
        ledger::open(tx, T0, book)?;
        ledger::transfer(tx, T0, &new)
    });
    assert_eq!(paid.unwrap().0, Done::Now);
}

/// What an account has left of it.
fn left(bench: &mut Bench, account: AccountId) -> u64 {
    let book = ledger::get(bench, sales::balance(account, "EUR").id).unwrap();
    book.credited - book.debited
}

fn told(result: Result<impl std::fmt::Debug>, kind: Kind) -> String {
    match result.unwrap_err() {
        Error::Refused(problem) => {
            assert_eq!(problem.kind, kind, "{problem}");
            problem.detail
        }
        Error::Store(error) => unreachable!("{error}"),
    }
}

/// A device in good standing with ten euros, channel 1.
fn shopper(seed: u64) -> (Bench, DeviceId, AccountId) {
    let mut bench = Bench::new(seed);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    pay_in(&mut bench, account, 1000);
    (bench, device, account)
}

fn only(purchase: &Purchase) -> &CertificateRecord {
    assert_eq!(purchase.certificates.len(), 1);
    &purchase.certificates[0]
}

fn sums_are_right(bench: &mut Bench) {
    bench.flush();
    assert_eq!(ledger::verify(bench).unwrap(), []);
}

/// PC-01, PC-02, PC-03, PC-04, PC-05, PC-06, PC-07, PC-08, PC-09, PC-12, PC-13, PC-17, PC-19, PC-21, PC-23, CM-59: certificate, notice, settlement, licence, notice, count.
#[test]
fn pc_01_pc_09_a_purchase_is_paid_when_it_has_arrived_and_licences_are_counted_when_they_have() {
    let (mut bench, device, account) = shopper(1);
    let offer = offer(&mut bench, 499, 2);
    let bought = buy(
        &mut bench,
        0,
        new_purchase(1, device, &[offer], Method::Balance),
    );
    assert_eq!(bought.state, PurchaseState::Sent);
    let certificate = only(&bought).clone();
    assert_eq!(certificate.state, CertificateState::Generated);
    assert_eq!(certificate.granted, None, "no settlement info yet");
    let id = certificate.id.0;
    // PC-07, PC-19: neither settlement nor licence before the notice.
    let why = told(request(&mut bench, 0, device, id, 1), Kind::Conflict);
    assert!(why.contains("has not said"), "{why}");
    let early = bench.command(|tx| settle::complete(tx, T0, purchase_id(1)));
    told(early, Kind::Conflict);
    assert_eq!(left(&mut bench, account), 1000);

    let settled = receive(&mut bench, MINUTE, 1).unwrap();
    assert_eq!(settled.state, PurchaseState::Settled);
    assert_eq!(settled.received, Some(after(MINUTE)));
    assert_eq!(only(&settled).granted, Some(2), "PC-06");
    assert_eq!(left(&mut bench, account), 501);
    // PC-23: a second notice finds nothing to do.
    assert_eq!(receive(&mut bench, 2 * MINUTE, 1).unwrap(), settled);
    assert_eq!(left(&mut bench, account), 501);

    for (number, used) in [(1, 1), (2, 2)] {
        let licence = request(&mut bench, 3 * MINUTE, device, id, number).unwrap();
        assert_eq!(licence.id.0, licence_id(number));
        assert_eq!(licence.origin.id, id.text(), "INT-04");
        // PC-30: until the device has it, the same again, whatever it is asked for as.
        for again in [number, 77] {
            let same = request(&mut bench, 4 * MINUTE, device, id, again).unwrap();
            assert_eq!(same, licence);
        }
        assert_eq!(only(&get(&mut bench, 1)).used, used - 1);
        assert!(has(&mut bench, 5 * MINUTE, device, number).unwrap());
        assert!(!has(&mut bench, 6 * MINUTE, device, number).unwrap());
        assert_eq!(only(&get(&mut bench, 1)).used, used, "PC-09");
    }
    let state = only(&get(&mut bench, 1)).state;
    assert_eq!(state, CertificateState::Used, "PC-08");
    let why = told(
        request(&mut bench, 7 * MINUTE, device, id, 3),
        Kind::Conflict,
    );
    assert!(why.contains("were had"), "PC-29: {why}");
    let missing = CertificateId([9; 16]);
    told(request(&mut bench, 0, device, missing, 4), Kind::NotFound);
    sums_are_right(&mut bench);
}

/// PC-14, PC-25, PC-28, PC-32: what did not arrive in time is not paid, and a notice that is late is told to buy again.
#[test]
fn pc_25_pc_28_what_nobody_said_in_time_to_have_is_not_paid() {
    let (mut bench, device, account) = shopper(2);
    let offer = offer(&mut bench, 499, 1);
    let both = [offer, offer];
    buy(
        &mut bench,
        0,
        new_purchase(1, device, &both, Method::Balance),
    );
    let due = purchases::next_due(&mut bench).unwrap();
    assert_eq!(due, Some(after(15 * MINUTE)));
    // Late, before and after it was looked after.
    for _ in 0..2 {
        let why = told(receive(&mut bench, 15 * MINUTE, 1), Kind::Conflict);
        assert!(why.contains("buy it again"), "{why}");
        keep_house(&mut bench, 15 * MINUTE);
    }
    let over = get(&mut bench, 1);
    assert_eq!(over.state, PurchaseState::Expired, "PC-32: all of it");
    assert_eq!(left(&mut bench, account), 1000);
    let states = |of: &Purchase| -> Vec<_> { of.certificates.iter().map(|c| c.state).collect() };
    assert_eq!(states(&over), [CertificateState::Generated; 2]);
    keep_house(&mut bench, 60 * MINUTE);
    let over = get(&mut bench, 1);
    assert_eq!(states(&over), [CertificateState::Expired; 2], "PC-14");
    assert_eq!(purchases::next_due(&mut bench).unwrap(), None);
    let id = over.certificates[0].id.0;
    let why = told(
        request(&mut bench, 61 * MINUTE, device, id, 1),
        Kind::Conflict,
    );
    assert!(why.contains("in time"), "{why}");
    buy(
        &mut bench,
        61 * MINUTE,
        new_purchase(2, device, &both, Method::Balance),
    );
    let again = receive(&mut bench, 62 * MINUTE, 2).unwrap();
    assert_eq!(again.state, PurchaseState::Settled);
    assert_eq!(left(&mut bench, account), 2);
}

/// PC-33: what cannot be paid has no grants, and its certificates count for nothing; by whatever method.
#[test]
fn pc_33_what_cannot_be_paid_gives_no_licence() {
    let (mut bench, device, account) = shopper(3);
    let (dear, cheap) = (offer(&mut bench, 1001, 1), offer(&mut bench, 1000, 1));
    buy(
        &mut bench,
        0,
        new_purchase(1, device, &[dear], Method::Balance),
    );
    let failed = receive(&mut bench, 0, 1).unwrap();
    assert_eq!(failed.state, PurchaseState::Failed);
    assert!(failed.reason.as_ref().unwrap().contains("too small"));
    let id = only(&failed).id.0;
    let why = told(request(&mut bench, 0, device, id, 1), Kind::Conflict);
    assert!(why.contains("too small"), "{why}");
    // The money stays where it was.
    buy(
        &mut bench,
        0,
        new_purchase(2, device, &[cheap], Method::Balance),
    );
    receive(&mut bench, 0, 2).unwrap();
    assert_eq!(left(&mut bench, account), 0);
    // A card that is refused, and one that is charged too late.
    for number in [3, 4] {
        let new = new_purchase(number, device, &[cheap], Method::Card);
        buy(&mut bench, 0, new);
        let waits = receive(&mut bench, 0, number).unwrap();
        assert_eq!(waits.state, PurchaseState::Received);
        let id = only(&waits).id.0;
        let why = told(request(&mut bench, 0, device, id, number), Kind::Conflict);
        assert!(why.contains("being settled"), "{why}");
    }
    let refused = |tx: &mut Bench| settle::fail(tx, T0, purchase_id(3), "the card was refused");
    assert_eq!(bench.command(refused).unwrap(), Done::Now);
    assert_eq!(bench.command(refused).unwrap(), Done::Before);
    let charged = bench.command(|tx| settle::complete(tx, T0, purchase_id(3)));
    told(charged, Kind::Conflict);
    let late = bench.command(|tx| settle::complete(tx, after(60 * MINUTE), purchase_id(4)));
    assert_eq!(late.unwrap(), Done::Now);
    assert_eq!(get(&mut bench, 4).state, PurchaseState::Failed, "too late");
    sums_are_right(&mut bench);
}

#[test]
fn pc_05_what_others_settle_counts_by_their_word_once() {
    let (mut bench, device, account) = shopper(4);
    let offer = offer(&mut bench, 700, 3);
    // Nobody lends by himself.
    buy(
        &mut bench,
        0,
        new_purchase(9, device, &[offer], Method::Invoice),
    );
    let failed = receive(&mut bench, 0, 9).unwrap();
    assert_eq!(failed.state, PurchaseState::Failed);
    assert!(failed.reason.unwrap().contains("credit"));
    lend(&mut bench, account, 1000);
    for (number, method) in [(1, Method::Card), (2, Method::Invoice)] {
        let new = new_purchase(number, device, &[offer], method);
        buy(&mut bench, 0, new);
        receive(&mut bench, 0, number).unwrap();
        let complete = |tx: &mut Bench| settle::complete(tx, T0, purchase_id(number));
        let first = bench.command(complete).unwrap();
        let inside = method == Method::Invoice;
        assert_eq!(first, if inside { Done::Before } else { Done::Now });
        assert_eq!(bench.command(complete).unwrap(), Done::Before);
        assert_eq!(only(&get(&mut bench, number)).granted, Some(3));
    }
    let sum = |bench: &mut Bench, book: NewBook| {
        let book = ledger::get(bench, book.id).unwrap();
        (book.debited, book.credited)
    };
    assert_eq!(sum(&mut bench, sales::cards("EUR")), (700, 0));
    assert_eq!(sum(&mut bench, sales::credit(account, "EUR")), (700, 1000));
    assert_eq!(sum(&mut bench, sales::income("EUR")), (0, 1400));
    assert_eq!(left(&mut bench, account), 1000);
    sums_are_right(&mut bench);
}

/// SEC-26, MV-25: a certificate is of use to the devices of its account, in good standing, and to nobody else.
#[test]
fn sec_26_a_certificate_is_for_devices_of_its_account() {
    let (mut bench, device, account) = shopper(5);
    let offer = offer(&mut bench, 0, 2);
    buy(
        &mut bench,
        0,
        new_purchase(1, device, &[offer], Method::Balance),
    );
    let id = only(&receive(&mut bench, 0, 1).unwrap()).id.0;
    let (stranger, _) = bench.enrolled_device(b"stranger");
    told(request(&mut bench, 0, stranger, id, 1), Kind::NotFound);
    let beside = bench.device(Some(account));
    bench.enrol(beside, b"beside");
    let (first, second) = (
        request(&mut bench, 0, device, id, 1).unwrap(),
        request(&mut bench, 0, beside, id, 2).unwrap(),
    );
    assert_ne!(first.id, second.id);
    assert_eq!(second.device.0, beside);
    // What another device has is not said to be had by this one.
    told(has(&mut bench, 0, device, 2), Kind::NotFound);
    assert!(has(&mut bench, 0, beside, 2).unwrap());
    // Under an id that another device's licence has: its own, which waits for its notice.
    assert_eq!(request(&mut bench, 0, device, id, 2).unwrap(), first);
}

/// PC-30, PC-28: a licence of which nobody said in time to have it ends, and its grant is free again.
#[test]
fn pc_30_a_licence_that_got_lost_costs_no_grant() {
    let (mut bench, device, _) = shopper(6);
    let offer = offer(&mut bench, 100, 1);
    buy(
        &mut bench,
        0,
        new_purchase(1, device, &[offer], Method::Balance),
    );
    let id = only(&receive(&mut bench, 0, 1).unwrap()).id.0;
    let lost = request(&mut bench, 0, device, id, 1).unwrap();
    assert_eq!(lost.receive_by, Some(after(30 * MINUTE)));
    told(has(&mut bench, 30 * MINUTE, device, 1), Kind::Conflict);
    told(
        request(&mut bench, 30 * MINUTE, device, id, 1),
        Kind::Conflict,
    );
    let other = request(&mut bench, 30 * MINUTE, device, id, 2).unwrap();
    keep_house(&mut bench, 30 * MINUTE);
    let lost = licences::get(&mut bench, licence_id(1)).unwrap();
    assert_eq!(
        (lost.validity, lost.reason),
        (Validity::Invalid, Some(EndReason::NotReceived))
    );
    assert!(has(&mut bench, 31 * MINUTE, device, 2).unwrap());
    assert_eq!(other.validity, Validity::Valid);
    let due = licences::next_unreceived(&mut bench).unwrap();
    assert_eq!(due, None, "what was received stays");
    keep_house(&mut bench, 100 * MINUTE);
    let kept = licences::get(&mut bench, licence_id(2)).unwrap();
    assert_eq!(kept.validity, Validity::Valid);
    sums_are_right(&mut bench);
}

/// PC-15, PC-16, PC-31, SEC-20: what was deleted counts again, for no less than is recorded.
#[test]
fn pc_15_pc_16_a_certificate_is_restored_for_no_less_than_is_recorded() {
    let (mut bench, device, account) = shopper(7);
    let offer = offer(&mut bench, 100, 1);
    buy(
        &mut bench,
        0,
        new_purchase(1, device, &[offer], Method::Balance),
    );
    let id = only(&receive(&mut bench, 0, 1).unwrap()).id.0;
    request(&mut bench, 0, device, id, 1).unwrap();
    has(&mut bench, 0, device, 1).unwrap();
    let restore =
        |bench: &mut Bench, granted| bench.command(|tx| restore::restore(tx, T0, id, granted));
    assert_eq!(restore(&mut bench, 1).unwrap().0, Done::Before);
    told(restore(&mut bench, 0), Kind::Invalid);
    let (done, restored) = restore(&mut bench, 2).unwrap();
    assert_eq!(done, Done::Now);
    assert_eq!(
        (restored.state, restored.granted, restored.used),
        (CertificateState::Settled, Some(2), 1)
    );
    assert_eq!(restore(&mut bench, 2).unwrap().0, Done::Before);
    told(restore(&mut bench, 1), Kind::Invalid);
    request(&mut bench, 0, device, id, 2).unwrap();
    has(&mut bench, 0, device, 2).unwrap();
    told(request(&mut bench, 0, device, id, 3), Kind::Conflict);
    assert_eq!(left(&mut bench, account), 900, "nothing is charged for it");
    // One that expired before it was settled, though the money came another way.
    buy(
        &mut bench,
        0,
        new_purchase(2, device, &[offer], Method::Card),
    );
    receive(&mut bench, 0, 2).unwrap();
    keep_house(&mut bench, 60 * MINUTE);
    let late = only(&get(&mut bench, 2)).clone();
    assert_eq!(late.state, CertificateState::Expired);
    let restored = bench.command(|tx| restore::restore(tx, T0, late.id.0, 1));
    assert_eq!(restored.unwrap().1.state, CertificateState::Settled);
    request(&mut bench, 0, device, late.id.0, 4).unwrap();
    sums_are_right(&mut bench);
}

#[test]
fn a_purchase_that_is_paid_back_ends_its_licences_and_gives_no_others() {
    let (mut bench, device, account) = shopper(8);
    let offer = offer(&mut bench, 300, 3);
    buy(
        &mut bench,
        0,
        new_purchase(1, device, &[offer], Method::Balance),
    );
    let refund =
        |bench: &mut Bench| bench.command(|tx| settle::refund(tx, T0, purchase_id(1), "asked for"));
    told(refund(&mut bench), Kind::Conflict);
    let id = only(&receive(&mut bench, 0, 1).unwrap()).id.0;
    request(&mut bench, 0, device, id, 1).unwrap();
    has(&mut bench, 0, device, 1).unwrap();
    request(&mut bench, 0, device, id, 2).unwrap();
    let may = |bench: &mut Bench| rights::entitled(bench, T0, device, &[]).unwrap().channels;
    assert_eq!(may(&mut bench), [1]);
    let (done, floors) = refund(&mut bench).unwrap();
    assert_eq!(done, Done::Now);
    assert_eq!(floors.last().unwrap().version, bench.version(account));
    assert!(may(&mut bench).is_empty());
    assert_eq!(left(&mut bench, account), 1000);
    assert_eq!(refund(&mut bench).unwrap().0, Done::Before);
    for number in [1, 2] {
        let ended = licences::get(&mut bench, licence_id(number)).unwrap();
        assert_eq!(ended.reason, Some(EndReason::Refunded));
    }
    told(has(&mut bench, 0, device, 2), Kind::Conflict);
    let why = told(request(&mut bench, 0, device, id, 3), Kind::Conflict);
    assert!(why.contains("paid back"), "{why}");
    let restored = bench.command(|tx| restore::restore(tx, T0, id, 5));
    told(restored, Kind::Conflict);
    sums_are_right(&mut bench);
}
