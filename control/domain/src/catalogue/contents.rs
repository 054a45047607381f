//! Contents, as people see them.

use rand_core::CryptoRng;
use sealcast_objects::api::{
    Availability, ChangeContent, Content, ContentFilter, MediaKind, NewContent, Price,
};
use sealcast_objects::id::{Id, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{ContentId, ProviderId};

use super::{GENRE, NAME, check_text, providers, versions};
use crate::{Read, Result, Row, StoreError, Tx, check_revision, params, read_rows, refuse};

macro_rules! contents {
    ($which:literal) => {
        concat!(
            "SELECT id, provider, title, genre, kind, amount, currency, availability, version, revision, added FROM content ",
            $which
        )
    };
}

fn read(row: &Row) -> std::result::Result<Content, StoreError> {
    let (kind, availability): (String, String) = (row.get(4)?, row.get(7)?);
    let amount: Option<u64> = row.get(5)?;
    let currency: Option<String> = row.get(6)?;
    Ok(Content {
        id: Text(ContentId(row.get(0)?)),
        provider: Text(ProviderId(row.get(1)?)),
        title: row.get(2)?,
        genre: row.get(3)?,
        kind: MediaKind::from_name(&kind)
            .ok_or_else(|| StoreError::Damaged(format!("a content of kind {kind:?}")))?,
        price: amount
            .zip(currency)
            .map(|(amount, currency)| Price { amount, currency }),
        availability: Availability::from_name(&availability)
            .ok_or_else(|| StoreError::Damaged(format!("a content that is {availability:?}")))?,
        version: row.get(8)?,
        revision: row.get(9)?,
        added: Timestamp(row.get(10)?),
    })
}

/// A price in some currency that a column can hold.
pub(crate) fn check_price(price: &Price) -> Result<()> {
    let currency = price.currency.as_bytes();
    if currency.len() != 3 || !currency.iter().all(u8::is_ascii_uppercase) {
        let detail = format!(
            "{:?} is no currency: three capital letters (ISO 4217), EUR",
            price.currency
        );
        return refuse(Kind::Invalid, detail);
    }
    if price.amount > i64::MAX.cast_unsigned() {
        return refuse(Kind::Invalid, format!("a price of {}", price.amount));
    }
    Ok(())
}

/// Adds a content and its first version, which waits for its file.
///
/// # Errors
/// Invalid: a text, the price. Suspended: the provider. Not found; the store's.
pub fn add(
    tx: &mut dyn Tx,
    now: Timestamp,
    new: &NewContent,
    rng: &mut dyn CryptoRng,
) -> Result<Content> {
    let provider = providers::active(tx, new.provider.0)?;
    check_text("a title", &new.title, NAME)?;
    check_text("a genre", &new.genre, GENRE)?;
    new.price.as_ref().map(check_price).transpose()?;
    let id = ContentId::new(now, rng);
    let (amount, currency) = columns(new.price.as_ref());
    tx.execute(
        "INSERT INTO content (id, provider, title, genre, kind, amount, currency, availability, last_version, revision, added) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 1, $9)",
        params![
            id.to_bytes(),
            provider.id.0.to_bytes(),
            new.title.as_str(),
            new.genre.as_str(),
            new.kind.name(),
            amount,
            currency,
            Availability::Offered.name(),
            now.0
        ],
    )?;
    versions::add(tx, now, id, &new.format)?;
    get(tx, id)
}

fn columns(price: Option<&Price>) -> (Option<u64>, Option<String>) {
    price
        .map(|price| (price.amount, price.currency.clone()))
        .unzip()
}

/// One content.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: ContentId) -> Result<Content> {
    let row = store.first(contents!("WHERE id = $1"), params![id.to_bytes()])?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(Kind::NotFound, format!("there is no content {}", Text(id))),
    }
}

/// At most `most` contents that the filter leaves, in the order of their ids, those after `after`.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    filter: &ContentFilter,
    after: Option<ContentId>,
    most: u32,
) -> Result<Vec<Content>> {
    let after = after.map_or([0; 16], Id::to_bytes);
    let rows = store.query(
        contents!(
            "WHERE id > $1 AND (provider = $2 OR $2 IS NULL) AND (genre = $3 OR $3 IS NULL) AND (kind = $4 OR $4 IS NULL) \
             AND (availability = $5 OR $5 IS NULL) ORDER BY id LIMIT $6"
        ),
        params![
            after,
            filter.provider.map(|Text(id)| id.to_bytes()),
            filter.genre.clone(),
            filter.kind.map(MediaKind::name),
            filter.availability.map(Availability::name),
            most
        ],
    )?;
    read_rows(&rows, read)
}

/// Changes what is said of a content, if it is still of revision `expected`; nothing: whatever it is. What is the same already is no change.
///
/// # Errors
/// Invalid: nothing is to be changed, a text, the price. Conflict: another revision. Suspended: the provider's contents are not offered again.
/// Not found; the store's.
pub fn change(
    tx: &mut dyn Tx,
    id: ContentId,
    change: &ChangeContent,
    expected: Option<u64>,
) -> Result<Content> {
    let is = get(tx, id)?;
    check_revision("the content", expected, is.revision)?;
    if *change == ChangeContent::default() {
        return refuse(Kind::Invalid, "name what is to be changed");
    }
    let mut to = is.clone();
    if let Some(title) = &change.title {
        check_text("a title", title, NAME)?;
        to.title.clone_from(title);
    }
    if let Some(genre) = &change.genre {
        check_text("a genre", genre, GENRE)?;
        to.genre.clone_from(genre);
    }
    if let Some(price) = &change.price {
        check_price(price)?;
        to.price = Some(price.clone());
    }
    if let Some(availability) = change.availability {
        if availability == Availability::Offered {
            providers::active(tx, is.provider.0)?;
        }
        to.availability = availability;
    }
    if to == is {
        return Ok(is);
    }
    let (amount, currency) = columns(to.price.as_ref());
    tx.execute(
        "UPDATE content SET title = $1, genre = $2, amount = $3, currency = $4, availability = $5, revision = $6 WHERE id = $7",
        params![
            to.title,
            to.genre,
            amount,
            currency,
            to.availability.name(),
            is.revision + 1,
            id.to_bytes()
        ],
    )?;
    get(tx, id)
}
