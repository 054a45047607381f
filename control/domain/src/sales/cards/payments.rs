//! Rows of payments: what is to be asked, and when.

use std::time::Duration;

use sealcast_objects::PurchaseId;
use sealcast_objects::api::{CardDispute, CardPayment, CardState, Price, PurchaseState};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

/// Events of the provider are remembered for so long: it sends each for three days at most.
const REMEMBER: Duration = Duration::from_secs(30 * 24 * 3600);

/// A payment by card, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payment {
    /// The purchase that it is for.
    pub purchase: PurchaseId,
    /// What it costs.
    pub price: Price,
    /// Where it stands.
    pub of: PurchaseState,
    /// What the provider is to take, in its minor units.
    pub amount: u64,
    /// What the provider calls it.
    pub intent: Option<String>,
    /// What the buyer pays with, sealed.
    pub secret: Option<Vec<u8>>,
    /// Where the payment stands.
    pub state: CardState,
    /// Part of the key of what is asked.
    pub round: u32,
    /// Calls that failed since one that did not.
    pub failures: u32,
    /// Why the card was not taken last.
    pub declined: Option<String>,
    /// What a person must look at.
    pub trouble: Option<String>,
    /// Whether it was disputed.
    pub dispute: Option<CardDispute>,
    /// When the provider was to be asked first.
    pub began: Timestamp,
    /// Since when it stands there.
    pub changed: Timestamp,
}

/// What the provider is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// An intent.
    Create,
    /// Where it stands.
    Look(String),
    /// Not to take it any more.
    Cancel(String),
    /// To give it back, all of it.
    Refund(String),
    /// Nothing: it was never asked, and need not be.
    Drop,
}

/// Something to ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// The payment.
    pub payment: Payment,
    /// What for.
    pub ask: Ask,
}

impl Due {
    /// The key under which the provider does it once.
    #[must_use]
    pub fn key(&self) -> String {
        let what = match self.ask {
            Ask::Create => "create",
            Ask::Look(_) | Ask::Drop => "look",
            Ask::Cancel(_) => "cancel",
            Ask::Refund(_) => "refund",
        };
        let Payment {
            purchase, round, ..
        } = self.payment;
        format!("sealcast-{}-{what}-{round}", purchase.text())
    }
}

impl Payment {
    /// What the provider is to be asked for, when it is asked next.
    #[must_use]
    pub fn ask(&self) -> Ask {
        let waits = self.of == PurchaseState::Received;
        match (&self.intent, self.state) {
            (None, CardState::Asked) if waits => Ask::Create,
            (None, _) => Ask::Drop,
            (Some(intent), CardState::Open | CardState::Asked) if !waits => {
                Ask::Cancel(intent.clone())
            }
            (Some(intent), CardState::Returning) => Ask::Refund(intent.clone()),
            (Some(intent), _) => Ask::Look(intent.clone()),
        }
    }

    /// For the API, without secrets.
    #[must_use]
    pub fn tell(&self) -> CardPayment {
        CardPayment {
            purchase: Text(self.purchase),
            price: self.price.clone(),
            state: self.state,
            intent: self.intent.clone(),
            client_secret: None,
            publishable_key: None,
            declined: self.declined.clone(),
            dispute: self.dispute,
            trouble: self.trouble.clone(),
            changed: self.changed,
        }
    }
}

macro_rules! payments {
    ($which:literal) => {
        concat!(
            "SELECT c.purchase, p.amount, p.currency, p.state, c.amount, c.intent, c.secret, c.state, c.round, c.failures, c.declined, \
             c.trouble, c.dispute, c.began, c.changed FROM card_payment c JOIN purchase p ON p.id = c.purchase ",
            $which
        )
    };
}

fn word<T>(from: fn(&str) -> Option<T>, word: &str) -> std::result::Result<T, StoreError> {
    from(word).ok_or_else(|| StoreError::Damaged(format!("a payment by card that is {word:?}")))
}

fn read(row: &Row) -> std::result::Result<Payment, StoreError> {
    let dispute: Option<String> = row.get(12)?;
    Ok(Payment {
        purchase: PurchaseId(row.get(0)?),
        price: Price {
            amount: row.get(1)?,
            currency: row.get(2)?,
        },
        of: word(PurchaseState::from_name, &row.get::<String>(3)?)?,
        amount: row.get(4)?,
        intent: row.get(5)?,
        secret: row.get(6)?,
        state: word(CardState::from_name, &row.get::<String>(7)?)?,
        round: row.get(8)?,
        failures: row.get(9)?,
        declined: row.get(10)?,
        trouble: row.get(11)?,
        dispute: dispute
            .map(|of| word(CardDispute::from_name, &of))
            .transpose()?,
        began: Timestamp(row.get(13)?),
        changed: Timestamp(row.get(14)?),
    })
}

/// The payment of a purchase, if it is one by card that its device has.
///
/// # Errors
/// The store's.
pub fn find(store: &mut dyn Read, id: PurchaseId) -> Result<Option<Payment>> {
    let row = store.first(payments!("WHERE c.purchase = $1"), params![id.to_bytes()])?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// The payment of a purchase.
///
/// # Errors
/// Not found: there is none (yet). The store's.
pub fn get(store: &mut dyn Read, id: PurchaseId) -> Result<Payment> {
    match find(store, id)? {
        Some(payment) => Ok(payment),
        None => refuse(
            Kind::NotFound,
            format!(
                "there is no payment by card for {}: it is another method's, or its device has not said that it has it",
                Text(id)
            ),
        ),
    }
}

/// Writes down that the provider is to be asked; it was not before.
pub(super) fn add(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId, amount: u64) -> Result<()> {
    tx.execute(
        "INSERT INTO card_payment (purchase, amount, state, round, failures, next_at, began, changed) \
         VALUES ($1, $2, 'asked', 0, 0, $3, $3, $3) ON CONFLICT (purchase) DO NOTHING",
        params![id.to_bytes(), amount, now.0],
    )?;
    Ok(())
}

/// Writes down where a payment stands, and when the provider is to be asked again.
pub(super) fn put(tx: &mut dyn Tx, payment: &Payment, next: Option<Timestamp>) -> Result<()> {
    tx.execute(
        "UPDATE card_payment SET intent = $1, state = $2, round = $3, failures = $4, next_at = $5, declined = $6, trouble = $7, \
         dispute = $8, changed = $9 WHERE purchase = $10",
        params![
            payment.intent.clone(),
            payment.state.name(),
            payment.round,
            payment.failures,
            next.map(|at| at.0),
            payment.declined.clone(),
            payment.trouble.clone(),
            payment.dispute.map(CardDispute::name),
            payment.changed.0,
            payment.purchase.to_bytes()
        ],
    )?;
    Ok(())
}

/// Keeps what the buyer pays with, sealed.
///
/// # Errors
/// The store's.
pub fn keep_secret(tx: &mut dyn Tx, id: PurchaseId, sealed: &[u8]) -> Result<()> {
    tx.execute(
        "UPDATE card_payment SET secret = $1 WHERE purchase = $2",
        params![sealed, id.to_bytes()],
    )?;
    Ok(())
}

/// What is to be asked now, at most `most`, the longest due first.
///
/// # Errors
/// The store's.
pub fn due(store: &mut dyn Read, now: Timestamp, most: u32) -> Result<Vec<Due>> {
    let rows = store.query(
        payments!("WHERE c.next_at <= $1 ORDER BY c.next_at, c.purchase LIMIT $2"),
        params![now.0, most],
    )?;
    let due = read_rows(&rows, read)?.into_iter().map(|payment| Due {
        ask: payment.ask(),
        payment,
    });
    Ok(due.collect())
}

/// When the next one is due.
///
/// # Errors
/// The store's.
pub fn next_due(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let sql = "SELECT MIN(next_at) FROM card_payment WHERE next_at IS NOT NULL";
    let row = store.first(sql, &[])?;
    let at = row.map_or(Ok(None), |row| row.get::<Option<i64>>(0))?;
    Ok(at.map(Timestamp))
}

/// The provider is to be asked of this one now.
///
/// # Errors
/// The store's.
pub fn look(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId) -> Result<()> {
    tx.execute(
        "UPDATE card_payment SET next_at = $1 WHERE purchase = $2 AND (next_at IS NULL OR next_at > $1)",
        params![now.0, id.to_bytes()],
    )?;
    Ok(())
}

/// An event of the provider speaks of an intent or a purchase: it is asked how that stands. `false`: the event was taken before.
///
/// # Errors
/// The store's.
pub fn hear(
    tx: &mut dyn Tx,
    now: Timestamp,
    event: &str,
    (intent, purchase): (Option<&str>, Option<PurchaseId>),
) -> Result<bool> {
    let new = tx.execute(
        "INSERT INTO card_event (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
        params![event, now.0],
    )?;
    if new == 0 {
        return Ok(false);
    }
    let by_intent = match intent {
        Some(intent) => tx.first(
            "SELECT purchase FROM card_payment WHERE intent = $1",
            params![intent],
        )?,
        None => None,
    };
    let named = by_intent.map(|row| row.get(0)).transpose()?.map(PurchaseId);
    for id in named.into_iter().chain(purchase) {
        look(tx, now, id)?;
    }
    Ok(true)
}

/// Forgets events that are long over, and that nobody sends again.
///
/// # Errors
/// The store's.
pub fn forget_events(tx: &mut dyn Tx, now: Timestamp) -> Result<()> {
    tx.execute(
        "DELETE FROM card_event WHERE at < $1",
        params![now.before(REMEMBER).0],
    )?;
    Ok(())
}
