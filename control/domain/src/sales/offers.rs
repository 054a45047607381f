//! Offers: what is sold, for how much.

use rand_core::CryptoRng;
use sealcast_objects::api::{
    ChangeOffer, NewOffer, Offer, OfferState, OfferSubject, OfferTerms, Price,
};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{ContentId, OfferId};

use crate::catalogue::{NAME, check_price, check_text, contents};
use crate::{
    Read, Result, Row, StoreError, Tx, channels, check_revision, operators, params, read_rows,
    refuse, shares,
};

/// Licences of one offer, at most.
pub const GRANTS_MAX: u32 = 1000;

macro_rules! offers {
    ($which:literal) => {
        concat!(
            "SELECT id, shop, title, channel, content, amount, currency, grants, lasts, until, plays, state, revision, added, split FROM offer ",
            $which
        )
    };
}

fn read(row: &Row) -> std::result::Result<Offer, StoreError> {
    let subject = match (row.get(3)?, row.get::<Option<[u8; 16]>>(4)?) {
        (Some(channel), None) => OfferSubject::Channel { channel },
        (None, Some(content)) => OfferSubject::Content {
            content: Text(ContentId(content)),
        },
        _ => return Err(StoreError::Damaged("an offer of nothing".to_owned())),
    };
    let state: String = row.get(11)?;
    Ok(Offer {
        id: Text(OfferId(row.get(0)?)),
        title: row.get(2)?,
        subject,
        price: Price {
            amount: row.get(5)?,
            currency: row.get(6)?,
        },
        grants: row.get(7)?,
        terms: OfferTerms {
            lasts_ms: row.get(8)?,
            until: row.get::<Option<i64>>(9)?.map(Timestamp),
            plays: row.get(10)?,
        },
        shop: row.get(1)?,
        state: OfferState::from_name(&state)
            .ok_or_else(|| StoreError::Damaged(format!("an offer that is {state:?}")))?,
        revision: row.get(12)?,
        added: Timestamp(row.get(13)?),
        split: row.get(14)?,
    })
}

fn check(store: &mut dyn Read, now: Timestamp, new: &NewOffer) -> Result<()> {
    check_text("a title", &new.title, NAME)?;
    check_price(&new.price)?;
    match new.subject {
        OfferSubject::Channel { channel } => {
            channels::get(store, channel)?;
        }
        OfferSubject::Content {
            content: Text(content),
        } => {
            contents::get(store, content)?;
        }
    }
    if !(1..=GRANTS_MAX).contains(&new.grants) {
        let detail = format!(
            "an offer is for 1 to {GRANTS_MAX} licences, not {}",
            new.grants
        );
        return refuse(Kind::Invalid, detail);
    }
    let OfferTerms {
        lasts_ms,
        until,
        plays,
    } = new.terms;
    let most = i64::MAX.cast_unsigned();
    if lasts_ms.is_some_and(|ms| ms == 0 || ms > most) || plays == Some(0) {
        return refuse(
            Kind::Invalid,
            "a licence lasts for a millisecond at least, and is for one play at least",
        );
    }
    if until.is_some_and(|until| until <= now) {
        return refuse(
            Kind::Invalid,
            "its licences would be over before they begin",
        );
    }
    if let Some(split) = &new.split {
        shares::get(store, split)?;
    }
    if let Some(shop) = &new.shop
        && !operators::get(store, shop)?.role.sells()
    {
        return refuse(Kind::Invalid, format!("operator {shop} is no shop"));
    }
    Ok(())
}

/// Adds an offer.
///
/// # Errors
/// Invalid: a text, the price, the terms, an operator who is no shop. Not found: the channel, the content, the shop, the split. The store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    new: &NewOffer,
    rng: &mut dyn CryptoRng,
) -> Result<Offer> {
    check(tx, now, new)?;
    let id = OfferId::new(now, rng);
    let (channel, content) = match new.subject {
        OfferSubject::Channel { channel } => (Some(channel), None),
        OfferSubject::Content {
            content: Text(content),
        } => (None, Some(content.to_bytes())),
    };
    tx.execute(
        "INSERT INTO offer (id, shop, title, channel, content, amount, currency, grants, lasts, until, plays, state, revision, added, split) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13, $14)",
        params![
            id.to_bytes(),
            new.shop.clone(),
            new.title.as_str(),
            channel,
            content,
            new.price.amount,
            new.price.currency.as_str(),
            new.grants,
            new.terms.lasts_ms,
            new.terms.until.map(|until| until.0),
            new.terms.plays,
            OfferState::Offered.name(),
            now.0,
            new.split.clone()
        ],
    )?;
    get(tx, id)
}

/// Changes an offer; what was bought stays as it was. `expected`: the revision that the asker saw.
///
/// # Errors
/// Invalid: a text, the price. Conflict (412): it was changed meanwhile. Not found; the store's.
pub fn change(
    tx: &mut dyn Tx,
    id: OfferId,
    change: &ChangeOffer,
    expected: Option<u64>,
) -> Result<Offer> {
    let known = get(tx, id)?;
    check_revision("the offer", expected, known.revision)?;
    let title = change.title.as_ref().unwrap_or(&known.title);
    let price = change.price.as_ref().unwrap_or(&known.price);
    let state = change.state.unwrap_or(known.state);
    check_text("a title", title, NAME)?;
    check_price(price)?;
    tx.execute(
        "UPDATE offer SET title = $1, amount = $2, currency = $3, state = $4, revision = revision + 1 WHERE id = $5",
        params![
            title.as_str(),
            price.amount,
            price.currency.as_str(),
            state.name(),
            id.to_bytes()
        ],
    )?;
    get(tx, id)
}

/// An offer.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: OfferId) -> Result<Offer> {
    match store.first(offers!("WHERE id = $1"), params![id.to_bytes()])? {
        Some(row) => Ok(read(&row)?),
        None => refuse(Kind::NotFound, format!("there is no offer {}", Text(id))),
    }
}

/// At most `most` offers after `after`, in the order of their ids; those that are sold only, if asked for.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    offered: bool,
    after: Option<OfferId>,
    most: u32,
) -> Result<Vec<Offer>> {
    let only = offered.then(|| OfferState::Offered.name());
    let rows = store.query(
        offers!("WHERE id > $1 AND (state = $2 OR $2 IS NULL) ORDER BY id LIMIT $3"),
        params![after.map_or([0; 16], OfferId::to_bytes), only, most],
    )?;
    read_rows(&rows, read)
}
