//! A bill, from what it is made of: no store, no clock. The same on the server and wherever somebody computes it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sealcast_objects::api::{
    Bill, BillLine, BillPurchase, Charge, ChargeKind, Counting, Fraction, LicenceRecord, LineKind,
    Paying, Rate as Priced, Tariff, Transfer, UsageRow,
};
use sealcast_objects::id::Text;
use sealcast_objects::licence::{OriginKind, Subject, Validity};
use sealcast_objects::month::Month;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use super::bill_id;
use crate::ledger::Rate;
use crate::sales::{self, Booked};

/// A line is at most this, whatever a tariff says.
const LINE_MAX: u64 = 1_000_000_000_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a bill is made of.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// Whose.
    pub account: AccountId,
    /// Of this month.
    pub month: Month,
    /// The bill's number.
    pub number: u64,
    /// When it is made.
    pub issued: Timestamp,
    /// What costs what.
    pub tariff: &'a Tariff,
    /// How it is paid.
    pub paying: Paying,
    /// The account's rows of the month (INT-03).
    pub usage: &'a [UsageRow],
    /// The account's licences, of any time.
    pub licences: &'a [LicenceRecord],
    /// Its charges of the month, in the order in which they were made.
    pub charges: &'a [Charge],
    /// What was booked in the month on its balance and its credit, in order.
    pub booked: &'a [Transfer],
    /// What its balance has now.
    pub balance: u64,
}

/// The bill, which may have nothing to say.
#[must_use]
pub fn bill(of: &Basis<'_>) -> Bill {
    let terms = &of.tariff.terms;
    let mut lines: Vec<_> = (terms.rates.iter())
        .filter_map(|rate| line(of, rate))
        .collect();
    lines.extend(of.charges.iter().filter_map(correction));
    let purchases: Vec<_> = of
        .booked
        .iter()
        .filter_map(|made| purchase(of, made))
        .collect();
    let net = lines.iter().map(|line| line.amount).sum();
    let tax = part(terms.tax, net);
    let gross = net + tax;
    let from_balance = match of.paying {
        Paying::Balance => gross.min(i64::try_from(of.balance).unwrap_or(i64::MAX)),
        Paying::Invoice => 0,
    };
    let bought: i64 = purchases.iter().map(|of| of.amount).sum();
    let by_invoice: i64 = (purchases.iter())
        .filter(|of| of.paying == Paying::Invoice)
        .map(|of| of.amount)
        .sum();
    let within = Fraction {
        of: terms.tax.of,
        parts: terms.tax.parts.saturating_add(terms.tax.of),
    };
    Bill {
        id: Text(bill_id(of.account, of.month)),
        number: of.number,
        account: Text(of.account),
        month: of.month,
        issued: of.issued,
        pay_by: of.issued.after(DAY * terms.pay_within_days),
        tariff: of.tariff.name.clone(),
        paying: of.paying,
        currency: terms.currency.clone(),
        lines,
        net,
        tax_rate: terms.tax,
        tax,
        gross,
        purchases,
        purchases_tax: part(within, bought),
        from_balance,
        due: gross - from_balance + by_invoice,
    }
}

/// That part of an amount, rounded once; of what is given back, as of what is charged.
fn part(rate: Fraction, amount: i64) -> i64 {
    let rate = Rate::new(rate.of.into(), rate.parts.into());
    let part = rate.and_then(|rate| rate.apply(amount.unsigned_abs()));
    let part = i64::try_from(part.unwrap_or(0)).unwrap_or(i64::MAX);
    if amount < 0 { -part } else { part }
}

/// How many, and how they are priced.
struct Quantity {
    kind: LineKind,
    channel: Option<u16>,
    quantity: u64,
    free: u64,
    price: u64,
    per: u64,
}

impl Quantity {
    fn line(self) -> Option<BillLine> {
        let Self {
            kind,
            channel,
            quantity,
            free,
            price,
            per,
        } = self;
        if quantity == 0 {
            return None;
        }
        let paid = quantity.saturating_sub(free);
        let amount = Rate::new(price, per).and_then(|rate| rate.apply(paid));
        let amount = amount.unwrap_or(LINE_MAX).min(LINE_MAX);
        Some(BillLine {
            kind,
            channel,
            note: None,
            quantity,
            free,
            price,
            per,
            amount: i64::try_from(amount).unwrap_or(i64::MAX),
        })
    }
}

fn line(of: &Basis<'_>, rate: &Priced) -> Option<BillLine> {
    let pieces = |kind, quantity, price| Quantity {
        kind,
        channel: None,
        quantity,
        free: 0,
        price,
        per: 1,
    };
    let quantity = match *rate {
        Priced::Data {
            channel,
            price,
            per,
            free,
        } => Quantity {
            kind: LineKind::Data,
            channel,
            quantity: counted(of, LineKind::Data, channel, |row| row.bytes),
            free,
            price,
            per,
        },
        Priced::Requests {
            channel,
            counting,
            price,
            per,
            free,
        } => Quantity {
            kind: LineKind::Requests,
            channel,
            quantity: counted(of, LineKind::Requests, channel, |row| match counting {
                Counting::Literal => row.requests,
                Counting::Epoch => row.last_epoch - row.first_epoch + 1,
            }),
            free,
            price,
            per,
        },
        Priced::Period { channel, price } => Quantity {
            kind: LineKind::Period,
            channel,
            quantity: licensed_days(of, channel),
            free: 0,
            price,
            per: of.month.days(),
        },
        Priced::Licence { price } => pieces(LineKind::Licence, supplied(of), price),
        Priced::MoveCertificate { price } => pieces(
            LineKind::MoveCertificate,
            charged(of, ChargeKind::MoveCertificate),
            price,
        ),
        Priced::Premium { price } => {
            pieces(LineKind::Premium, charged(of, ChargeKind::Premium), price)
        }
    };
    quantity.line()
}

/// Whether a rate for this channel, or for all without one of their own, is the one for `channel`.
fn is_for(of: &Basis<'_>, kind: LineKind, rate: Option<u16>, channel: u16) -> bool {
    let mut rates = of.tariff.terms.rates.iter();
    let mut has_own = || rates.any(|own| own.kind() == kind && own.channel() == Some(channel));
    match rate {
        Some(rate) => rate == channel,
        None => !has_own(),
    }
}

/// What the rows of a rate's channels add up to.
fn counted(
    of: &Basis<'_>,
    kind: LineKind,
    rate: Option<u16>,
    count: impl Fn(&UsageRow) -> u64,
) -> u64 {
    let mut sums = BTreeMap::<u16, u64>::new();
    for row in of.usage {
        let sum = sums.entry(row.channel).or_default();
        *sum = sum.saturating_add(count(row));
    }
    sums.into_iter()
        .filter(|(channel, _)| is_for(of, kind, rate, *channel))
        .fold(0, |all, (_, sum)| all.saturating_add(sum))
}

/// Days of the month on which a device had a licence for a channel of this rate, added up over devices and channels. A licence counts from when
/// its device said that it has it, until it ends.
fn licensed_days(of: &Basis<'_>, rate: Option<u16>) -> u64 {
    let (start, end) = (of.month.start(), of.month.end());
    let mut days = BTreeSet::<(DeviceId, u16, i64)>::new();
    for licence in of.licences {
        let Subject::Channel(channel) = licence.subject.into() else {
            continue;
        };
        if !is_for(of, LineKind::Period, rate, channel) {
            continue;
        }
        let Some((from, until)) = in_force(licence) else {
            continue;
        };
        let (from, until) = (from.max(start), until.min(end));
        if from < until {
            let (first, last) = (from.day(), Timestamp(until.0 - 1).day());
            days.extend((first..=last).map(|day| (licence.device.0, channel, day)));
        }
    }
    days.len() as u64
}

/// From when until when a licence was in force, or suspended; nothing if its device never had it.
fn in_force(licence: &LicenceRecord) -> Option<(Timestamp, Timestamp)> {
    let from = licence.received?.max(licence.from);
    let ended = match licence.validity {
        Validity::Invalid => licence.changed,
        Validity::Valid | Validity::Suspended => None,
    };
    let ends = [licence.until, ended].into_iter().flatten().min();
    Some((from, ends.unwrap_or(Timestamp(i64::MAX))))
}

/// Licences that devices got in the month, but those that were bought.
fn supplied(of: &Basis<'_>) -> u64 {
    let in_month = |at: Timestamp| (of.month.start()..of.month.end()).contains(&at);
    let supplied = of.licences.iter().filter(|licence| {
        licence.origin.kind != OriginKind::Sale && licence.received.is_some_and(in_month)
    });
    supplied.count() as u64
}

fn charged(of: &Basis<'_>, kind: ChargeKind) -> u64 {
    let of_kind = of.charges.iter().filter(|made| made.charge.kind == kind);
    of_kind.count() as u64
}

fn correction(made: &Charge) -> Option<BillLine> {
    Some(BillLine {
        kind: LineKind::Correction,
        channel: None,
        note: Some(made.charge.note.clone()),
        quantity: 1,
        free: 0,
        price: made.charge.amount?.unsigned_abs(),
        per: 1,
        amount: made.charge.amount?,
    })
}

/// What a transfer of the account's books was for, if it was for a purchase.
fn purchase(of: &Basis<'_>, made: &Transfer) -> Option<BillPurchase> {
    let currency = &of.tariff.terms.currency;
    let its = [made.debit.0, made.credit.0];
    let books = [
        (sales::balance(of.account, currency).id, Paying::Balance),
        (sales::credit(of.account, currency).id, Paying::Invoice),
    ];
    let (_, paying) = books.into_iter().find(|(book, _)| its.contains(book))?;
    let amount = i64::try_from(made.amount).ok()?;
    let (purchase, amount) = match sales::booked(made)? {
        Booked::Bought(purchase) => (purchase, amount),
        Booked::PaidBack(purchase) => (purchase, -amount),
    };
    Some(BillPurchase {
        purchase: Text(purchase),
        at: made.at,
        paying,
        amount,
    })
}
