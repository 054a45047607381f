//! What answers of the provider come to.

use std::time::Duration;

use sealcast_objects::PurchaseId;
use sealcast_objects::api::{CardDispute, CardState, Purchase, PurchaseState};
use sealcast_objects::id::Text;
use sealcast_objects::time::Timestamp;

use super::payments::{self, Payment, add, put};
use super::{Failure, Seen, Standing, Step, provider_amount};
use crate::audit::Act;
use crate::sales::{Step as Named, cards, purchases, settle, unclaimed};
use crate::{Result, Tx};

/// An open payment is looked at no more often than this, even if no event comes,
const POLL: Duration = Duration::from_secs(5);
/// and at least this often.
const POLL_MOST: Duration = Duration::from_secs(600);
/// Calls that fail are made again after this, twice as long each time,
const AGAIN: Duration = Duration::from_secs(1);
/// and at least this often.
const AGAIN_MOST: Duration = Duration::from_secs(600);
/// So many failures in a row are an alarm.
const ALARM: u32 = 5;

/// What a device has is to be paid by card: the provider is to be asked for an intent (PC-19).
pub(in crate::sales) fn begin(tx: &mut dyn Tx, now: Timestamp, purchase: &Purchase) -> Result<()> {
    // What cards cannot pay was refused when it was bought.
    let amount = provider_amount(&purchase.price)?;
    add(tx, now, purchase.id.0, amount)
}

/// The purchase was paid back: so is the card.
pub(in crate::sales) fn give_back(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId) -> Result<()> {
    match payments::find(tx, id)? {
        Some(mut payment) if payment.state == CardState::Paid => {
            (payment.state, payment.changed) = (CardState::Returning, now);
            put(tx, &payment, Some(now))
        }
        _ => Ok(()),
    }
}

fn act(name: &'static str, payment: &Payment) -> Act {
    let act = Act::on(name, Text(payment.purchase));
    match &payment.intent {
        Some(intent) => act.with("intent", intent),
        None => act,
    }
}

fn with_price(act: Act, payment: &Payment) -> Act {
    act.with("amount", payment.price.amount)
        .with("currency", &payment.price.currency)
}

/// What differs between a payment and what the provider says of it.
fn mismatch(payment: &Payment, seen: &Seen) -> Option<String> {
    if payment.intent.as_ref().is_some_and(|of| *of != seen.intent) {
        return Some(format!("the provider has another intent, {}", seen.intent));
    }
    if seen.purchase != Some(payment.purchase) {
        return Some("the provider has it for another purchase".to_owned());
    }
    let is = (seen.amount, seen.currency.as_str());
    let should = (payment.amount, payment.price.currency.as_str());
    if is != should {
        return Some(format!(
            "the provider has it for {} {} of its units: it should be {} {}",
            is.0, is.1, should.0, should.1
        ));
    }
    if seen.standing == Standing::Paid && seen.received != payment.amount {
        return Some(format!(
            "a card paid {} of {}",
            seen.received, payment.amount
        ));
    }
    None
}

/// The provider says how an intent stands; in answer to anything, or unasked.
///
/// # Errors
/// Not found: the purchase has no payment by card. The store's.
pub fn seen(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId, seen: &Seen) -> Result<Step> {
    let mut payment = payments::get(tx, id)?;
    let mut step = Step::default();
    if let Some(why) = mismatch(&payment, seen) {
        return differs(tx, now, payment, (seen, why));
    }
    if payment.intent.is_none() {
        payment.intent = Some(seen.intent.clone());
        step.acts.push(act("card.open", &payment));
    }
    let before = (payment.failures, payment.trouble.take());
    payment.failures = 0;
    if payment.dispute != seen.dispute && seen.dispute.is_some() {
        payment.dispute = seen.dispute;
        let words = payment.dispute.map_or("", CardDispute::name);
        step.acts
            .push(with_price(act("card.dispute", &payment), &payment).with("state", words));
    }
    match (payment.state, seen.standing) {
        (
            CardState::Asked | CardState::Open | CardState::Canceled | CardState::Wrong,
            Standing::Open,
        ) => open(tx, now, payment, (seen, step)),
        (
            CardState::Asked | CardState::Open | CardState::Canceled | CardState::Wrong,
            Standing::Paid,
        ) => take(tx, now, payment, (seen, step)),
        (CardState::Asked | CardState::Open | CardState::Wrong, Standing::Canceled) => {
            let why = "the card payment was canceled";
            cancel(tx, now, payment, (why, step))
        }
        (CardState::Paid, Standing::Paid) => keep(tx, now, payment, (seen, step)),
        (CardState::Returning, Standing::Paid) if seen.net() == 0 => {
            returned(tx, now, payment, step)
        }
        (CardState::Returning, Standing::Paid) => {
            (payment.failures, payment.trouble) = before;
            put(tx, &payment, Some(now))?;
            let why = "the provider has not given it back yet".to_owned();
            let waits = failed(tx, now, id, (&Failure::Failing(why), u8::MAX))?;
            step.acts.extend(waits.acts);
            Ok(step)
        }
        (CardState::Returned, Standing::Paid) if seen.net() > 0 => {
            let why = "the provider gave it back, and now has it again: see why the refund failed";
            troubled(tx, now, payment, (why.to_owned(), step))
        }
        (CardState::Returned, Standing::Paid) | (CardState::Canceled, Standing::Canceled) => {
            put(tx, &payment, None)?;
            Ok(step)
        }
        (CardState::Paid | CardState::Returning | CardState::Returned, _) => {
            let why = "a card has paid, and the provider says that none has";
            troubled(tx, now, payment, (why.to_owned(), step))
        }
    }
}

/// The provider says what cannot be: nothing is settled by it.
fn differs(
    tx: &mut dyn Tx,
    now: Timestamp,
    mut payment: Payment,
    (seen, why): (&Seen, String),
) -> Result<Step> {
    let step = Step::default();
    // Another intent for a purchase that has one is a difference of the comparison; the payment stays what it is.
    let own = payment.intent.as_ref().is_none_or(|of| *of == seen.intent);
    let open = matches!(
        payment.state,
        CardState::Asked | CardState::Open | CardState::Canceled | CardState::Wrong
    );
    if !own || !open {
        return troubled(tx, now, payment, (why, step));
    }
    payment.intent = Some(seen.intent.clone());
    if seen.standing == Standing::Canceled || seen.standing == Standing::Paid && seen.net() == 0 {
        let ended = "the card payment was not as it should be, and is over";
        payment.trouble = None;
        return cancel(tx, now, payment, (ended, step));
    }
    if payment.state != CardState::Wrong {
        (payment.state, payment.changed) = (CardState::Wrong, now);
    }
    troubled(tx, now, payment, (why, step))
}

/// Somebody must look at it; told once.
fn troubled(
    tx: &mut dyn Tx,
    _now: Timestamp,
    mut payment: Payment,
    (why, mut step): (String, Step),
) -> Result<Step> {
    let known = payments::get(tx, payment.purchase)?.trouble;
    payment.trouble = Some(why);
    if payment.trouble != known {
        let why = payment.trouble.as_deref().unwrap_or_default();
        step.acts
            .push(act("card.trouble", &payment).with("why", format_args!("{why:?}")));
    }
    put(tx, &payment, None)?;
    Ok(step)
}

/// The buyer can pay; if it is over meanwhile, nobody shall.
fn open(
    tx: &mut dyn Tx,
    now: Timestamp,
    mut payment: Payment,
    (seen, mut step): (&Seen, Step),
) -> Result<Step> {
    if payment.state != CardState::Open {
        (payment.state, payment.changed) = (CardState::Open, now);
    }
    if payment.of != PurchaseState::Received {
        // Nothing that is under way can be canceled: a little later.
        put(tx, &payment, Some(now.after(POLL)))?;
        return Ok(step);
    }
    if seen.declined.is_some() && payment.declined != seen.declined {
        let why = seen.declined.as_deref().unwrap_or_default();
        step.acts
            .push(act("card.decline", &payment).with("why", format_args!("{why:?}")));
    }
    payment.declined.clone_from(&seen.declined);
    let age = now.since(payment.began) / 4;
    let mut next = now.after(age.clamp(POLL, POLL_MOST));
    // What is not paid by then is canceled soon.
    let of = purchases::get(tx, payment.purchase)?.certificates;
    for by in of.iter().map(|one| one.settle_by).filter(|by| *by >= now) {
        next = next.min(by.after(AGAIN));
    }
    put(tx, &payment, Some(next))?;
    Ok(step)
}

/// A card has paid: the purchase counts; or, if it came too late, the card is to have it back (PC-28).
fn take(
    tx: &mut dyn Tx,
    now: Timestamp,
    mut payment: Payment,
    (seen, mut step): (&Seen, Step),
) -> Result<Step> {
    let (id, before) = (payment.purchase, payment.of);
    if before == PurchaseState::Received && seen.net() == payment.amount {
        settle::complete(tx, now, id)?;
    }
    let purchase = purchases::get(tx, id)?;
    payment.of = purchase.state;
    (payment.changed, payment.declined) = (now, None);
    if purchase.state == PurchaseState::Settled {
        payment.state = CardState::Paid;
        step.acts
            .push(with_price(act("card.pay", &payment), &payment));
        step.acts
            .push(act("purchase.settle", &payment).with("state", purchase.state.name()));
        put(tx, &payment, None)?;
        return Ok(step);
    }
    payment.state = CardState::Returning;
    let currency = &payment.price.currency;
    let books = (&cards(currency), &unclaimed(currency));
    settle::moves(tx, now, (Named::Unclaimed, id), books, payment.price.amount)?;
    step.acts.push(
        with_price(act("card.late", &payment), &payment).with("state", purchase.state.name()),
    );
    if before == PurchaseState::Received {
        // It was given back before we heard of it, or it is too late just now.
        let why = "the card has it back: buy it again";
        settle::fail(tx, now, id, why)?;
        step.acts
            .push(act("purchase.fail", &payment).with("why", format_args!("{why:?}")));
    }
    if seen.net() == 0 {
        payment.of = purchases::get(tx, id)?.state;
        return returned(tx, now, payment, step);
    }
    put(tx, &payment, Some(now))?;
    Ok(step)
}

/// Nothing was paid, and nothing will be (PC-33).
fn cancel(
    tx: &mut dyn Tx,
    now: Timestamp,
    mut payment: Payment,
    (why, mut step): (&str, Step),
) -> Result<Step> {
    (payment.state, payment.changed) = (CardState::Canceled, now);
    put(tx, &payment, None)?;
    step.acts.push(act("card.cancel", &payment));
    if payment.of == PurchaseState::Received {
        settle::fail(tx, now, payment.purchase, why)?;
        step.acts
            .push(act("purchase.fail", &payment).with("why", format_args!("{why:?}")));
    }
    Ok(step)
}

/// It is paid; whoever gave it back at the provider has ended the purchase.
fn keep(
    tx: &mut dyn Tx,
    now: Timestamp,
    mut payment: Payment,
    (seen, mut step): (&Seen, Step),
) -> Result<Step> {
    if seen.net() == 0 {
        let why = if seen.dispute == Some(CardDispute::Lost) {
            "the card's holder disputed it, and has the money back"
        } else {
            "it was paid back at the card provider"
        };
        (payment.state, payment.changed) = (CardState::Returned, now);
        put(tx, &payment, None)?;
        let (_, floors) = settle::refund(tx, now, payment.purchase, why)?;
        step.floors = floors;
        step.acts
            .push(with_price(act("card.return", &payment), &payment));
        step.acts
            .push(act("purchase.refund", &payment).with("why", format_args!("{why:?}")));
        return Ok(step);
    }
    if seen.refunded > 0 {
        let why = format!(
            "{} of {} were given back at the provider: give back the rest, or book the part by hand",
            seen.refunded, seen.received
        );
        return troubled(tx, now, payment, (why, step));
    }
    put(tx, &payment, None)?;
    Ok(step)
}

/// The card has it back.
fn returned(tx: &mut dyn Tx, now: Timestamp, mut payment: Payment, mut step: Step) -> Result<Step> {
    (payment.state, payment.changed) = (CardState::Returned, now);
    if payment.of != PurchaseState::Refunded {
        let currency = &payment.price.currency;
        let books = (&unclaimed(currency), &cards(currency));
        let of = (Named::Returned, payment.purchase);
        settle::moves(tx, now, of, books, payment.price.amount)?;
    }
    put(tx, &payment, None)?;
    step.acts
        .push(with_price(act("card.return", &payment), &payment));
    Ok(step)
}

/// The provider did not do what it was asked for, and may do it later. `jitter` spreads those that fail together.
///
/// # Errors
/// Not found; the store's.
pub fn failed(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: PurchaseId,
    (failure, jitter): (&Failure, u8),
) -> Result<Step> {
    let mut payment = payments::get(tx, id)?;
    let mut step = Step::default();
    payment.failures = payment.failures.saturating_add(1);
    let why = match failure {
        Failure::Silent(why) => why,
        Failure::Failing(why) => {
            payment.round = payment.round.saturating_add(1);
            why
        }
    };
    if payment.failures == ALARM {
        step.acts
            .push(act("card.trouble", &payment).with("why", format_args!("{why:?}")));
    }
    if payment.failures >= ALARM {
        payment.trouble = Some(why.clone());
    }
    let wait = AGAIN
        .saturating_mul(1 << payment.failures.min(16))
        .min(AGAIN_MOST);
    let wait = wait / 2 + wait * u32::from(jitter) / 512;
    put(tx, &payment, Some(now.after(wait)))?;
    Ok(step)
}

/// The provider will not make an intent, for this reason; or none is needed any more.
///
/// # Errors
/// Not found; the store's.
pub fn refused(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId, why: &str) -> Result<Step> {
    let payment = payments::get(tx, id)?;
    if matches!(payment.state, CardState::Asked) {
        return cancel(tx, now, payment, (why, Step::default()));
    }
    put(tx, &payment, None)?;
    Ok(Step::default())
}
