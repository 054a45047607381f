//! Payments by card: each rule by itself, and random histories of a provider that loses, doubles and delays, against what must hold.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng as _;
use sealcast_domain::sales::cards::{self, Ask, Failure, Listed, Seen, Standing, Step};
use sealcast_objects::api::{CardDispute, CardState};

use super::*;

const PRICE: u64 = 499;

/// A provider: intents, what was asked under which key, and nothing else.
#[derive(Default)]
struct Provider {
    intents: BTreeMap<String, Seen>,
    keys: BTreeMap<String, String>,
}

impl Provider {
    fn ask(&mut self, due: &cards::Due) -> Option<Seen> {
        let id = match &due.ask {
            Ask::Create => match self.keys.get(&due.key()) {
                Some(known) => known.clone(),
                None => {
                    let intent = format!("pi_{}", self.intents.len());
                    let seen = Seen {
                        intent: intent.clone(),
                        purchase: Some(due.payment.purchase),
                        amount: due.payment.amount,
                        currency: due.payment.price.currency.clone(),
                        standing: Standing::Open,
                        received: 0,
                        refunded: 0,
                        dispute: None,
                        declined: None,
                    };
                    self.intents.insert(intent.clone(), seen);
                    self.keys.insert(due.key(), intent.clone());
                    intent
                }
            },
            Ask::Look(intent) => intent.clone(),
            Ask::Cancel(intent) => {
                let seen = self.intents.get_mut(intent)?;
                if seen.standing == Standing::Open {
                    seen.standing = Standing::Canceled;
                }
                intent.clone()
            }
            Ask::Refund(intent) => {
                let seen = self.intents.get_mut(intent)?;
                if seen.dispute != Some(CardDispute::Lost) {
                    seen.refunded = seen.received;
                }
                intent.clone()
            }
            Ask::Drop => return None,
        };
        self.intents.get(&id).cloned()
    }

    /// The buyer pays, if it can be.
    fn pay(&mut self, intent: &str) -> bool {
        let seen = self.intents.get_mut(intent).unwrap();
        if seen.standing == Standing::Open {
            (seen.standing, seen.received) = (Standing::Paid, seen.amount);
            return true;
        }
        false
    }

    fn net(&self) -> i64 {
        let net = |seen: &Seen| match seen.dispute {
            Some(CardDispute::Lost) => 0,
            _ => (seen.received - seen.refunded).cast_signed(),
        };
        self.intents.values().map(net).sum()
    }
}

fn apply(bench: &mut Bench, at: i64, number: u64, seen: &Seen) -> Step {
    bench
        .command(|tx| cards::seen(tx, after(at), purchase_id(number), seen))
        .unwrap()
}

fn payment(bench: &mut Bench, number: u64) -> cards::Payment {
    cards::get(bench, purchase_id(number)).unwrap()
}

fn number(id: PurchaseId) -> u64 {
    u64::try_from(u128::from_be_bytes(id.0)).unwrap()
}

/// Asks for all that is due, with no fault.
fn drive(bench: &mut Bench, provider: &mut Provider, at: i64) -> usize {
    let due = cards::due(bench, after(at), 100).unwrap();
    for one in &due {
        let id = one.payment.purchase;
        match provider.ask(one) {
            Some(seen) => {
                apply(bench, at, number(id), &seen);
            }
            None => {
                let step = bench.command(|tx| cards::refused(tx, after(at), id, "not asked"));
                step.unwrap();
            }
        }
    }
    due.len()
}

/// One purchase by card that its device has, and its open intent.
fn open(bench: &mut Bench, provider: &mut Provider, at: i64, number: u64) -> String {
    let (device, _) = bench.enrolled_device(&number.to_be_bytes());
    let offer = offer(bench, PRICE, 1);
    buy(
        bench,
        at,
        new_purchase(number, device, &[offer], Method::Card),
    );
    assert_eq!(
        drive(bench, provider, at),
        0,
        "PC-19: nothing is asked before"
    );
    receive(bench, at, number).unwrap();
    assert_eq!(payment(bench, number).state, CardState::Asked);
    drive(bench, provider, at);
    let open = payment(bench, number);
    assert_eq!(open.state, CardState::Open);
    open.intent.unwrap()
}

fn names(step: &Step) -> Vec<&'static str> {
    step.acts.iter().map(|act| act.name).collect()
}

fn even(bench: &mut Bench, provider: &Provider) {
    for book in cards::books(bench).unwrap() {
        assert_eq!(book.booked, book.paid);
        assert_eq!(book.booked, provider.net());
    }
    for seen in provider.intents.values() {
        let listed = cards::difference(bench, seen, "").unwrap();
        assert_eq!(listed, Listed::Even, "{seen:?}");
    }
}

#[test]
fn pc_05_pc_19_a_card_is_asked_after_the_notice_and_its_word_settles_once() {
    let mut bench = Bench::new(5);
    bench.channel(1);
    let mut provider = Provider::default();
    let intent = open(&mut bench, &mut provider, 0, 1);
    assert!(provider.pay(&intent));
    let seen = provider.intents[&intent].clone();
    let step = apply(&mut bench, 1000, 1, &seen);
    assert_eq!(names(&step), ["card.pay", "purchase.settle"]);
    assert_eq!(get(&mut bench, 1).state, PurchaseState::Settled);
    for _ in 0..3 {
        assert!(apply(&mut bench, 2000, 1, &seen).acts.is_empty());
    }
    even(&mut bench, &provider);
    // An operator pays it back: so is the card, and only then.
    let refund = bench.command(|tx| settle::refund(tx, after(3000), purchase_id(1), "asked for"));
    refund.unwrap();
    assert_eq!(payment(&mut bench, 1).state, CardState::Returning);
    drive(&mut bench, &mut provider, 3000);
    assert_eq!(payment(&mut bench, 1).state, CardState::Returned);
    assert_eq!(provider.net(), 0);
    even(&mut bench, &provider);
    sums_are_right(&mut bench);
}

#[test]
fn pc_28_a_card_that_pays_too_late_has_it_back() {
    let mut bench = Bench::new(28);
    bench.channel(1);
    let mut provider = Provider::default();
    let intent = open(&mut bench, &mut provider, 0, 1);
    keep_house(&mut bench, 61 * MINUTE);
    assert_eq!(get(&mut bench, 1).state, PurchaseState::Failed);
    assert!(provider.pay(&intent));
    let seen = provider.intents[&intent].clone();
    let step = apply(&mut bench, 61 * MINUTE, 1, &seen);
    assert_eq!(names(&step), ["card.late"]);
    let held = ledger::get(&mut bench, sales::unclaimed("EUR").id).unwrap();
    assert_eq!(held.credited - held.debited, PRICE);
    even(&mut bench, &provider);
    drive(&mut bench, &mut provider, 61 * MINUTE);
    assert_eq!(payment(&mut bench, 1).state, CardState::Returned);
    assert_eq!(get(&mut bench, 1).state, PurchaseState::Failed);
    let held = ledger::get(&mut bench, sales::unclaimed("EUR").id).unwrap();
    assert_eq!(held.credited, held.debited);
    even(&mut bench, &provider);
    sums_are_right(&mut bench);
}

#[test]
fn pc_33_what_no_card_pays_gives_no_licence_and_is_canceled() {
    let mut bench = Bench::new(33);
    bench.channel(1);
    let mut provider = Provider::default();
    let intent = open(&mut bench, &mut provider, 0, 1);
    let declined = provider.intents.get_mut(&intent).unwrap();
    declined.declined = Some("the card is expired".to_owned());
    let declined = declined.clone();
    let step = apply(&mut bench, 1000, 1, &declined);
    assert_eq!(names(&step), ["card.decline"]);
    let told = payment(&mut bench, 1).tell();
    assert_eq!(told.declined.as_deref(), Some("the card is expired"));
    assert!(apply(&mut bench, 2000, 1, &declined).acts.is_empty());
    keep_house(&mut bench, 61 * MINUTE);
    drive(&mut bench, &mut provider, 61 * MINUTE);
    assert_eq!(payment(&mut bench, 1).state, CardState::Canceled);
    assert!(!provider.pay(&intent), "nobody can pay it any more");
    // The provider will not make one at all.
    let (device, _) = bench.enrolled_device(b"another");
    let offer = offer(&mut bench, PRICE, 1);
    let new = new_purchase(2, device, &[offer], Method::Card);
    buy(&mut bench, 0, new);
    receive(&mut bench, 0, 2).unwrap();
    let refused = bench.command(|tx| cards::refused(tx, after(1), purchase_id(2), "too small"));
    assert_eq!(names(&refused.unwrap()), ["card.cancel", "purchase.fail"]);
    let failed = get(&mut bench, 2);
    assert_eq!(failed.state, PurchaseState::Failed);
    assert_eq!(failed.reason.as_deref(), Some("too small"));
    even(&mut bench, &provider);
}

#[test]
fn sec_27_what_does_not_fit_the_purchase_settles_nothing() {
    let mut bench = Bench::new(27);
    bench.channel(1);
    let mut provider = Provider::default();
    let lies: [fn(&mut Seen); 6] = [
        |seen| seen.amount -= 1,
        |seen| seen.currency = "USD".to_owned(),
        |seen| seen.purchase = None,
        |seen| seen.purchase = Some(purchase_id(99)),
        |seen| seen.received -= 1,
        |seen| seen.intent = "pi_another".to_owned(),
    ];
    for (number, lie) in (1..).zip(lies) {
        let intent = open(&mut bench, &mut provider, 0, number);
        provider.pay(&intent);
        let right = provider.intents[&intent].clone();
        let mut wrong = right.clone();
        lie(&mut wrong);
        let step = apply(&mut bench, 1000, number, &wrong);
        assert_eq!(names(&step), ["card.trouble"], "{number}");
        assert!(apply(&mut bench, 1000, number, &wrong).acts.is_empty());
        assert_eq!(get(&mut bench, number).state, PurchaseState::Received);
        let counts = cards::counts(&mut bench).unwrap();
        assert_eq!(counts.troubled, 1, "{number}");
        // What is right counts all the same.
        apply(&mut bench, 2000, number, &right);
        assert_eq!(get(&mut bench, number).state, PurchaseState::Settled);
        assert_eq!(cards::counts(&mut bench).unwrap().troubled, 0);
    }
    even(&mut bench, &provider);
    // What nobody knows here is told.
    let mut stray = provider.intents.values().next().unwrap().clone();
    stray.purchase = Some(purchase_id(1234));
    let listed = cards::difference(&mut bench, &stray, "pur_1234").unwrap();
    assert!(matches!(listed, Listed::Differs(_)), "{listed:?}");
}

#[test]
fn sec_27_refunds_and_disputes_at_the_provider_end_the_purchase() {
    let mut bench = Bench::new(7);
    bench.channel(1);
    let mut provider = Provider::default();
    for number in 1..=3 {
        let intent = open(&mut bench, &mut provider, 0, number);
        provider.pay(&intent);
        apply(&mut bench, 1000, number, &provider.intents[&intent].clone());
        let seen = provider.intents.get_mut(&intent).unwrap();
        match number {
            1 => seen.refunded = seen.received,
            2 => seen.refunded = 1,
            _ => seen.dispute = Some(CardDispute::Open),
        }
        let seen = seen.clone();
        let step = apply(&mut bench, 2000, number, &seen);
        let acts: &[_] = match number {
            1 => &["card.return", "purchase.refund"],
            2 => &["card.trouble"],
            _ => &["card.dispute"],
        };
        assert_eq!(names(&step), acts);
    }
    let states = [1, 2, 3].map(|number| get(&mut bench, number).state);
    let settled = PurchaseState::Settled;
    assert_eq!(states, [PurchaseState::Refunded, settled, settled]);
    assert_eq!(cards::counts(&mut bench).unwrap().disputed, 1);
    let intent = payment(&mut bench, 3).intent.unwrap();
    let seen = provider.intents.get_mut(&intent).unwrap();
    seen.dispute = Some(CardDispute::Lost);
    let seen = seen.clone();
    let step = apply(&mut bench, 3000, 3, &seen);
    assert_eq!(
        names(&step),
        ["card.dispute", "card.return", "purchase.refund"]
    );
    assert_eq!(get(&mut bench, 3).state, PurchaseState::Refunded);
    sums_are_right(&mut bench);
}

#[test]
fn sec_27_an_event_counts_once_and_is_a_hint_only() {
    let mut bench = Bench::new(8);
    bench.channel(1);
    let mut provider = Provider::default();
    let intent = open(&mut bench, &mut provider, 0, 1);
    let hear = |bench: &mut Bench, id: &str| {
        let about = (Some(intent.as_str()), None);
        bench
            .command(|tx| cards::hear(tx, after(1), id, about))
            .unwrap()
    };
    assert!(cards::due(&mut bench, after(1), 9).unwrap().is_empty());
    assert!(hear(&mut bench, "evt_1"));
    assert_eq!(cards::due(&mut bench, after(1), 9).unwrap().len(), 1);
    drive(&mut bench, &mut provider, 1);
    assert!(!hear(&mut bench, "evt_1"));
    assert!(cards::due(&mut bench, after(1), 9).unwrap().is_empty());
    assert_eq!(get(&mut bench, 1).state, PurchaseState::Received);
    // An answer that never comes is asked for under the same key, one that failed under another.
    hear(&mut bench, "evt_2");
    let due = cards::due(&mut bench, after(1), 9).unwrap().remove(0);
    let fail = |bench: &mut Bench, failure: Failure| {
        let failed = bench.command(|tx| cards::failed(tx, after(1), purchase_id(1), (&failure, 9)));
        failed.unwrap();
        let far = after(1000 * MINUTE);
        cards::due(bench, far, 9).unwrap().remove(0).key()
    };
    let silent = Failure::Silent("lost".to_owned());
    assert_eq!(fail(&mut bench, silent.clone()), due.key());
    assert_ne!(
        fail(&mut bench, Failure::Failing("500".to_owned())),
        due.key()
    );
    for _ in 0..3 {
        fail(&mut bench, silent.clone());
    }
    assert_eq!(cards::counts(&mut bench).unwrap().troubled, 1);
}

/// What each step must keep.
fn holds(bench: &mut Bench, last: u64) {
    for number in 1..=last {
        let purchase = get(bench, number);
        if purchase.state == PurchaseState::Settled {
            assert!(purchase.received.is_some(), "settled without a notice");
            assert_eq!(payment(bench, number).state, CardState::Paid);
        }
        if cards::find(bench, purchase_id(number)).unwrap().is_some() {
            assert!(purchase.received.is_some(), "asked without a notice");
        }
        for one in &purchase.certificates {
            let counts = one.state == CertificateState::Settled;
            assert_eq!(counts, purchase.state == PurchaseState::Settled);
        }
    }
}

/// One thing that the provider is asked for, and what the way to it and back does.
fn faulty(bench: &mut Bench, provider: &mut Provider, at: i64, fault: u64) {
    for one in cards::due(bench, after(at), 3).unwrap() {
        let id = one.payment.purchase;
        let failure = match fault {
            // Killed before the call, or after it.
            0 => return,
            1 => {
                provider.ask(&one);
                return;
            }
            2 => Failure::Silent("lost on its way".to_owned()),
            3 => {
                provider.ask(&one);
                Failure::Silent("the answer was lost".to_owned())
            }
            4 => {
                provider.ask(&one);
                Failure::Failing("500, and done".to_owned())
            }
            _ => {
                match provider.ask(&one) {
                    Some(seen) => drop(apply(bench, at, number(id), &seen)),
                    None => drop(bench.command(|tx| cards::refused(tx, after(at), id, "no"))),
                }
                continue;
            }
        };
        let failed = bench.command(|tx| cards::failed(tx, after(at), id, (&failure, 7)));
        failed.unwrap();
    }
}

/// The provider's charges less refunds are what the ledger has for cards, whatever gets lost, doubled or late (SEC-27, PC-28, PC-33).
#[test]
fn sec_27_on_every_seed_the_ledger_has_what_the_provider_has() {
    let mut ends = BTreeSet::new();
    for seed in 0..size(60).max(20) as u64 {
        let mut bench = Bench::new(seed);
        bench.channel(1);
        let mut provider = Provider::default();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let offer = offer(&mut bench, PRICE, 1);
        let (mut last, mut at) = (0, 0);
        let mut old = Vec::new();
        for _ in 0..120 {
            at += i64::try_from(rng.next_u64() % 400_000).unwrap();
            let some = 1 + rng.next_u64() % last.max(1);
            let intent = cards::find(&mut bench, purchase_id(some)).unwrap();
            let intent = intent.and_then(|payment| payment.intent);
            match rng.next_u64() % 10 {
                0 | 1 if last < 12 => {
                    last += 1;
                    let (device, _) = bench.enrolled_device(&last.to_be_bytes());
                    let new = new_purchase(last, device, &[offer], Method::Card);
                    buy(&mut bench, at, new);
                }
                2 | 3 if last > 0 => drop(receive(&mut bench, at, some)),
                4 => keep_house(&mut bench, at),
                5 => {
                    if let Some(intent) = intent {
                        provider.pay(&intent);
                    }
                }
                6 if last > 0 => {
                    let id = purchase_id(some);
                    let now = after(at);
                    let _ = bench.command(|tx| settle::refund(tx, now, id, "asked for"));
                }
                7 => {
                    if let Some(seen) = intent.and_then(|intent| provider.intents.get_mut(&intent))
                    {
                        old.push(seen.clone());
                        if seen.standing == Standing::Paid && rng.next_u64().is_multiple_of(3) {
                            seen.refunded = seen.received;
                        }
                        let about = (Some(seen.intent.as_str()), None);
                        let event = format!("evt_{}", rng.next_u64() % 50);
                        bench
                            .command(|tx| cards::hear(tx, after(at), &event, about))
                            .unwrap();
                    }
                }
                _ => faulty(&mut bench, &mut provider, at, rng.next_u64() % 8),
            }
            holds(&mut bench, last);
        }
        // In the end everything is looked at, and nothing gets lost.
        for _ in 0..40 {
            at += 20 * MINUTE;
            keep_house(&mut bench, at);
            drive(&mut bench, &mut provider, at);
            for seen in provider.intents.values() {
                if cards::difference(&mut bench, seen, "").unwrap() != Listed::Even {
                    let id = seen.purchase.unwrap();
                    bench.command(|tx| cards::look(tx, after(at), id)).unwrap();
                }
            }
        }
        holds(&mut bench, last);
        even(&mut bench, &provider);
        sums_are_right(&mut bench);
        for number in 1..=last {
            let paid = provider
                .intents
                .values()
                .filter(|seen| seen.purchase == Some(purchase_id(number)) && seen.received > 0);
            assert!(paid.count() <= 1, "seed {seed}: a card was charged twice");
            let payment = cards::find(&mut bench, purchase_id(number)).unwrap();
            ends.extend(payment.map(|payment| payment.state.name()));
        }
    }
    assert!(
        ends.contains("paid") && ends.contains("returned"),
        "{ends:?}"
    );
    assert!(ends.contains("canceled"), "{ends:?}");
}
