//! Purchases: certificates are sent to a device in a container, and count when the device says that it has them.

use rand_core::CryptoRng;
use sealcast_objects::api::{
    CertificateRecord, CertificateState, Method, OfferState, OfferSubject, Price, Purchase,
    PurchaseState, Standing,
};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::licence::Subject;
use sealcast_objects::problem::Kind;
use sealcast_objects::purchase::{Certificate, SoldTerms};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, CertificateId, ContentId, DeviceId, OfferId, PurchaseId};

use super::{Lives, cards, offers, sum};
use crate::catalogue::contents;
use crate::ledger::Done;
use crate::{Read, Result, Row, StoreError, Tx, accounts, devices, params, read_rows, refuse};

/// Certificates of one purchase, at most.
pub const CERTIFICATES_MAX: usize = 20;

/// Purchases of one device that wait for its notice, at most.
pub const OPEN_MAX: u64 = 100;

/// What somebody wants to buy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPurchase {
    /// The purchase's id, which the buyer chose.
    pub id: PurchaseId,
    /// With which device.
    pub device: DeviceId,
    /// The shop that it is bought at; nothing: the house.
    pub shop: Option<String>,
    /// What: an offer that is named twice is bought twice.
    pub offers: Vec<OfferId>,
    /// How it is to be settled.
    pub method: Method,
}

/// Certificates that are to be signed and sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// What was asked for.
    pub new: NewPurchase,
    /// Until when the notice counts that they arrived.
    pub receive_by: Timestamp,
    /// What all of it costs.
    pub price: Price,
    /// The certificates (PC-01, PC-12).
    pub certificates: Vec<Certificate>,
}

/// Makes certificates for what somebody wants to buy.
///
/// # Errors
/// Not found: an offer, the device. Suspended: the account. Conflict: an offer that is withdrawn, a content without a file. Invalid: offers of
/// several currencies or shops, too many. Too many: purchases that wait. The store's.
pub fn draft(
    store: &mut dyn Read,
    now: Timestamp,
    new: NewPurchase,
    lives: &Lives,
    rng: &mut dyn CryptoRng,
) -> Result<Draft> {
    let device = devices::get(store, new.device)?;
    accounts::check_active(store, device.account.0)?;
    if device.standing != Standing::Active {
        let detail = format!("device {} is {}", device.id, device.standing.name());
        return refuse(Kind::Suspended, detail);
    }
    if !(1..=CERTIFICATES_MAX).contains(&new.offers.len()) {
        let detail = format!("a purchase is of 1 to {CERTIFICATES_MAX} offers: buy more after it");
        return refuse(Kind::Invalid, detail);
    }
    let open = store.first(
        "SELECT COUNT(*) FROM purchase WHERE device = $1 AND state = 'sent'",
        params![new.device.to_bytes()],
    )?;
    if open.map_or(Ok(0), |row| row.get::<u64>(0))? >= OPEN_MAX {
        let detail = format!("{OPEN_MAX} purchases wait for this device to say that it has them");
        return refuse(Kind::TooMany, detail);
    }
    let (mut certificates, mut prices) = (Vec::new(), Vec::new());
    for id in &new.offers {
        let offer = offers::get(store, *id)?;
        if offer.state == OfferState::Withdrawn {
            let detail = format!("offer {} ({}) is not sold any more", offer.id, offer.title);
            return refuse(Kind::Conflict, detail);
        }
        if offer.shop != new.shop {
            let seller = offer.shop.as_deref().unwrap_or("the house");
            let detail = format!("offer {} is sold by {seller}: buy it there", offer.id);
            return refuse(Kind::Invalid, detail);
        }
        prices.push(offer.price.clone());
        certificates.push(Certificate {
            id: CertificateId::new(now, rng),
            purchase: new.id,
            account: device.account.0,
            device: new.device,
            offer: *id,
            subject: subject(store, offer.subject)?,
            grants: offer.grants,
            terms: SoldTerms::from(offer.terms),
            price: offer.price,
            shop: offer.shop,
            generated_at: now,
            settle_by: now.after(lives.settle),
        });
    }
    let Some(price) = sum(&prices) else {
        let detail =
            "these offers are of several currencies, or cost too much: buy them one by one";
        return refuse(Kind::Invalid, detail);
    };
    if (new.method == Method::Shop) != new.shop.is_some() && price.amount > 0 {
        let detail =
            "what a shop sells is settled by the shop (method `shop`), and nothing else is";
        return refuse(Kind::Invalid, detail);
    }
    if new.method == Method::Card && price.amount > 0 {
        cards::provider_amount(&price)?;
    }
    Ok(Draft {
        new,
        receive_by: now.after(lives.receive),
        price,
        certificates,
    })
}

/// What is bought: of a content the newest version.
fn subject(store: &mut dyn Read, of: OfferSubject) -> Result<Subject> {
    match of {
        OfferSubject::Channel { channel } => Ok(Subject::Channel(channel)),
        OfferSubject::Content {
            content: Text(content),
        } => match contents::get(store, content)?.version {
            Some(version) => Ok(Subject::Content(Text(content), version)),
            None => {
                let detail = format!("content {} waits for its file still", Text(content));
                refuse(Kind::Conflict, detail)
            }
        },
    }
}

/// Registers what is sent (PC-04, PC-21); `object` is the container, signed.
///
/// # Errors
/// The store's.
pub fn put(tx: &mut dyn Tx, now: Timestamp, draft: &Draft, object: &[u8]) -> Result<Purchase> {
    let new = &draft.new;
    let account = devices::get(tx, new.device)?.account.0;
    tx.execute(
        "INSERT INTO purchase (id, account, device, shop, method, amount, currency, state, sent, receive_by, changed, object) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'sent', $8, $9, $8, $10)",
        params![
            new.id.to_bytes(),
            account.to_bytes(),
            new.device.to_bytes(),
            new.shop.clone(),
            new.method.name(),
            draft.price.amount,
            draft.price.currency.as_str(),
            now.0,
            draft.receive_by.0,
            object
        ],
    )?;
    for certificate in &draft.certificates {
        let (channel, content, version) = match certificate.subject {
            Subject::Channel(channel) => (Some(channel), None, None),
            Subject::Content(Text(content), version) => {
                (None, Some(content.to_bytes()), Some(version))
            }
        };
        tx.execute(
            "INSERT INTO purchase_certificate (id, purchase, offer, channel, content, version, amount, grants, lasts, until, plays, \
             generated, settle_by, state, split) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'generated', \
             (SELECT split FROM offer WHERE id = $3))",
            params![
                certificate.id.to_bytes(),
                new.id.to_bytes(),
                certificate.offer.to_bytes(),
                channel,
                content,
                version,
                certificate.price.amount,
                certificate.grants,
                certificate.terms.lasts_ms,
                certificate.terms.until.map(|until| until.0),
                certificate.terms.plays,
                certificate.generated_at.0,
                certificate.settle_by.0
            ],
        )?;
    }
    get(tx, new.id)
}

fn damaged(what: &str, word: &str) -> StoreError {
    StoreError::Damaged(format!("{what} that is {word:?}"))
}

macro_rules! purchases {
    ($which:literal) => {
        concat!(
            "SELECT id, account, device, shop, method, amount, currency, state, sent, receive_by, received, changed, reason FROM purchase ",
            $which
        )
    };
}

/// Without its certificates.
fn read(row: &Row) -> std::result::Result<Purchase, StoreError> {
    let (method, state): (String, String) = (row.get(4)?, row.get(7)?);
    Ok(Purchase {
        id: Text(PurchaseId(row.get(0)?)),
        account: Text(AccountId(row.get(1)?)),
        device: Text(DeviceId(row.get(2)?)),
        shop: row.get(3)?,
        method: Method::from_name(&method).ok_or_else(|| damaged("a purchase", &method))?,
        price: Price {
            amount: row.get(5)?,
            currency: row.get(6)?,
        },
        state: PurchaseState::from_name(&state).ok_or_else(|| damaged("a purchase", &state))?,
        sent: Timestamp(row.get(8)?),
        receive_by: Timestamp(row.get(9)?),
        received: row.get::<Option<i64>>(10)?.map(Timestamp),
        changed: Timestamp(row.get(11)?),
        reason: row.get(12)?,
        certificates: Vec::new(),
    })
}

macro_rules! certificates {
    ($which:literal) => {
        concat!(
            "SELECT id, purchase, offer, channel, content, version, amount, grants, lasts, until, plays, generated, settle_by, state, \
             granted, used FROM purchase_certificate ",
            $which
        )
    };
}

/// And the purchase that it is of.
fn read_certificate(row: &Row) -> std::result::Result<(PurchaseId, CertificateRecord), StoreError> {
    let subject = match (row.get(3)?, row.get::<Option<[u8; 16]>>(4)?) {
        (Some(channel), None) => Subject::Channel(channel),
        (None, Some(content)) => Subject::Content(Text(ContentId(content)), row.get(5)?),
        _ => return Err(StoreError::Damaged("a certificate of nothing".to_owned())),
    };
    let terms = SoldTerms {
        lasts_ms: row.get(8)?,
        until: row.get::<Option<i64>>(9)?.map(Timestamp),
        plays: row.get(10)?,
    };
    let state: String = row.get(13)?;
    let record = CertificateRecord {
        id: Text(CertificateId(row.get(0)?)),
        offer: Text(OfferId(row.get(2)?)),
        subject: subject.into(),
        amount: row.get(6)?,
        grants: row.get(7)?,
        terms: terms.into(),
        state: CertificateState::from_name(&state)
            .ok_or_else(|| damaged("a certificate", &state))?,
        generated: Timestamp(row.get(11)?),
        settle_by: Timestamp(row.get(12)?),
        granted: row.get(14)?,
        used: row.get(15)?,
    };
    Ok((PurchaseId(row.get(1)?), record))
}

/// A certificate, and the purchase that it is of.
///
/// # Errors
/// Not found; the store's.
pub fn certificate(
    store: &mut dyn Read,
    id: CertificateId,
) -> Result<(PurchaseId, CertificateRecord)> {
    match store.first(certificates!("WHERE id = $1"), params![id.to_bytes()])? {
        Some(row) => Ok(read_certificate(&row)?),
        None => refuse(
            Kind::NotFound,
            format!("there is no purchase certificate {}", Text(id)),
        ),
    }
}

fn with_certificates(store: &mut dyn Read, mut purchase: Purchase) -> Result<Purchase> {
    let rows = store.query(
        certificates!("WHERE purchase = $1 ORDER BY id"),
        params![purchase.id.0.to_bytes()],
    )?;
    purchase.certificates = read_rows(&rows, |row| Ok(read_certificate(row)?.1))?;
    Ok(purchase)
}

/// A purchase, if there is one of this id.
///
/// # Errors
/// The store's.
pub fn find(store: &mut dyn Read, id: PurchaseId) -> Result<Option<Purchase>> {
    let row = store.first(purchases!("WHERE id = $1"), params![id.to_bytes()])?;
    let purchase = row.as_ref().map(read).transpose()?;
    purchase
        .map(|purchase| with_certificates(store, purchase))
        .transpose()
}

/// A purchase.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: PurchaseId) -> Result<Purchase> {
    match find(store, id)? {
        Some(purchase) => Ok(purchase),
        None => refuse(Kind::NotFound, format!("there is no purchase {}", Text(id))),
    }
}

/// The container as it was sent, signed.
///
/// # Errors
/// Not found; the store's.
pub fn object(store: &mut dyn Read, id: PurchaseId) -> Result<Vec<u8>> {
    let sql = "SELECT object FROM purchase WHERE id = $1";
    match store.first(sql, params![id.to_bytes()])? {
        Some(row) => Ok(row.get(0)?),
        None => refuse(Kind::NotFound, format!("there is no purchase {}", Text(id))),
    }
}

/// Which purchases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// With this device.
    pub device: Option<DeviceId>,
    /// Bought at this shop.
    pub shop: Option<String>,
}

/// At most `most` purchases after `after`, in the order of their ids.
///
/// # Errors
/// The store's.
pub fn page(
    store: &mut dyn Read,
    filter: Filter,
    after: Option<PurchaseId>,
    most: u32,
) -> Result<Vec<Purchase>> {
    let rows = store.query(
        purchases!(
            "WHERE id > $1 AND (account = $2 OR $2 IS NULL) AND (device = $3 OR $3 IS NULL) AND (shop = $4 OR $4 IS NULL) ORDER BY id LIMIT $5"
        ),
        params![
            after.map_or([0; 16], PurchaseId::to_bytes),
            filter.account.map(AccountId::to_bytes),
            filter.device.map(DeviceId::to_bytes),
            filter.shop,
            most
        ],
    )?;
    let found = read_rows(&rows, read)?.into_iter();
    found
        .map(|purchase| with_certificates(store, purchase))
        .collect()
}

/// The device says that it has the certificates (PC-13, PC-19). A second notice finds nothing to do (PC-23, PC-24).
///
/// # Errors
/// Not found. Conflict: it comes too late, nothing is paid (PC-28). The store's.
pub fn receive(tx: &mut dyn Tx, now: Timestamp, id: PurchaseId) -> Result<Done> {
    let purchase = get(tx, id)?;
    match purchase.state {
        PurchaseState::Sent if now < purchase.receive_by => {}
        PurchaseState::Sent | PurchaseState::Expired => {
            let detail = format!(
                "{} was sent at {}, and its notice counted until {}: nothing was paid, buy it again",
                purchase.id, purchase.sent, purchase.receive_by
            );
            return refuse(Kind::Conflict, detail);
        }
        _ => return Ok(Done::Before),
    }
    tx.execute(
        "UPDATE purchase SET state = 'received', received = $1, changed = $1 WHERE id = $2",
        params![now.0, id.to_bytes()],
    )?;
    Ok(Done::Now)
}

/// Brings a purchase to an end or a step further, for a reason where that is worth knowing.
pub(super) fn set(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: PurchaseId,
    state: PurchaseState,
    reason: Option<&str>,
) -> Result<()> {
    tx.execute(
        "UPDATE purchase SET state = $1, changed = $2, reason = $3 WHERE id = $4",
        params![state.name(), now.0, reason, id.to_bytes()],
    )?;
    Ok(())
}

/// Says of the certificates of a purchase that are not settled where they stand.
pub(super) fn set_certificates(
    tx: &mut dyn Tx,
    of: PurchaseId,
    state: CertificateState,
) -> Result<()> {
    tx.execute(
        "UPDATE purchase_certificate SET state = $1 WHERE purchase = $2 AND state <> 'expired'",
        params![state.name(), of.to_bytes()],
    )?;
    Ok(())
}

/// What nobody said in time to have (PC-25, PC-32), and what was not settled in time (PC-14), counts no more; at most `most` of each. How many.
///
/// # Errors
/// The store's.
pub fn expire(tx: &mut dyn Tx, now: Timestamp, most: u32) -> Result<usize> {
    let unsaid = tx.query(
        "SELECT id FROM purchase WHERE state = 'sent' AND receive_by <= $1 ORDER BY receive_by, id LIMIT $2",
        params![now.0, most],
    )?;
    for row in &unsaid {
        let id = PurchaseId(row.get(0)?);
        let why = "its device did not say in time that it has it";
        set(tx, now, id, PurchaseState::Expired, Some(why))?;
    }
    let unsettled = tx.query(
        "SELECT id, purchase FROM purchase_certificate WHERE state = 'generated' AND settle_by <= $1 ORDER BY settle_by, id LIMIT $2",
        params![now.0, most],
    )?;
    for row in &unsettled {
        tx.execute(
            "UPDATE purchase_certificate SET state = 'expired' WHERE id = $1",
            params![row.get::<[u8; 16]>(0)?],
        )?;
        let of = PurchaseId(row.get(1)?);
        if get(tx, of)?.state == PurchaseState::Received {
            let why = "it was not settled in time";
            set(tx, now, of, PurchaseState::Failed, Some(why))?;
        }
    }
    Ok(unsaid.len() + unsettled.len())
}

/// When the next one is to be looked after.
///
/// # Errors
/// The store's.
pub fn next_due(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let due = [
        store.first(
            "SELECT MIN(receive_by) FROM purchase WHERE state = 'sent'",
            &[],
        )?,
        store.first(
            "SELECT MIN(settle_by) FROM purchase_certificate WHERE state = 'generated'",
            &[],
        )?,
    ];
    let mut next = None;
    for row in due.iter().flatten() {
        let at: Option<i64> = row.get(0)?;
        next = next.into_iter().chain(at).min();
    }
    Ok(next.map(Timestamp))
}

/// How what the certificates of a purchase brought is divided: the certificate, the split, what it cost.
pub(super) fn splits(
    store: &mut dyn Read,
    id: PurchaseId,
) -> Result<Vec<(CertificateId, String, u64)>> {
    let rows = store.query(
        "SELECT id, split, amount FROM purchase_certificate WHERE purchase = $1 AND split IS NOT NULL ORDER BY id",
        params![id.to_bytes()],
    )?;
    read_rows(&rows, |row| {
        Ok((CertificateId(row.get(0)?), row.get(1)?, row.get(2)?))
    })
}
