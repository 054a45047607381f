//! Purchases as devices get them, signed by the server: certificates that licences are had for, the container they come in, and the notice
//! that a device signs when it has them (PC-10, PC-11, PC-22).

use serde::{Deserialize, Serialize};

use crate::api::Price;
use crate::code::sha256;
use crate::id::{CertificateId, OfferId, PurchaseId, Text};
use crate::licence::{Subject, Terms};
use crate::signed::Signed;
use crate::time::Timestamp;
use crate::{AccountId, DeviceId};

/// What each licence allows that is had for a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "TermsFields", into = "TermsFields")]
pub struct SoldTerms {
    /// How long, from its issue, in milliseconds; nothing: for good.
    pub lasts_ms: Option<u64>,
    /// Until when, however late it is issued.
    pub until: Option<Timestamp>,
    /// How often it may be played.
    pub plays: Option<u32>,
}

type TermsFields = (Option<u64>, Option<Timestamp>, Option<u32>);

impl From<TermsFields> for SoldTerms {
    fn from((lasts_ms, until, plays): TermsFields) -> Self {
        Self {
            lasts_ms,
            until,
            plays,
        }
    }
}

impl From<SoldTerms> for TermsFields {
    fn from(terms: SoldTerms) -> Self {
        (terms.lasts_ms, terms.until, terms.plays)
    }
}

impl SoldTerms {
    /// Those of a licence that is issued now.
    #[must_use]
    pub fn beginning(self, now: Timestamp) -> Terms {
        let ends = self
            .lasts_ms
            .map(|ms| Timestamp(now.0.saturating_add_unsigned(ms)));
        Terms {
            from: now,
            until: ends.into_iter().chain(self.until).min(),
            plays: self.plays,
        }
    }
}

/// A purchase certificate: who holds it may have licences for it, once it is settled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
pub struct Certificate {
    /// Its id (PC-12).
    pub id: CertificateId,
    /// The purchase that it is of.
    pub purchase: PurchaseId,
    /// Whose: devices of this account may have licences for it.
    pub account: AccountId,
    /// The device that bought it.
    pub device: DeviceId,
    /// What was bought.
    pub offer: OfferId,
    /// What the licences are for (PC-03).
    pub subject: Subject,
    /// How many there are to be.
    pub grants: u32,
    /// What each allows.
    pub terms: SoldTerms,
    /// What it costs.
    pub price: Price,
    /// Who sells it; nothing: the house.
    pub shop: Option<String>,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Unless it is settled by then, it counts no more (PC-14).
    pub settle_by: Timestamp,
}

type Fields = (
    (Text<CertificateId>, Text<PurchaseId>),
    (Text<AccountId>, Text<DeviceId>),
    (Text<OfferId>, Subject, u32, SoldTerms),
    (u64, String),
    Option<String>,
    (Timestamp, Timestamp),
);

impl From<Fields> for Certificate {
    fn from((ids, whose, what, price, shop, times): Fields) -> Self {
        let (offer, subject, grants, terms) = what;
        let (amount, currency) = price;
        Self {
            id: ids.0.0,
            purchase: ids.1.0,
            account: whose.0.0,
            device: whose.1.0,
            offer: offer.0,
            subject,
            grants,
            terms,
            price: Price { amount, currency },
            shop,
            generated_at: times.0,
            settle_by: times.1,
        }
    }
}

impl From<Certificate> for Fields {
    fn from(of: Certificate) -> Self {
        (
            (Text(of.id), Text(of.purchase)),
            (Text(of.account), Text(of.device)),
            (Text(of.offer), of.subject, of.grants, of.terms),
            (of.price.amount, of.price.currency),
            of.shop,
            (of.generated_at, of.settle_by),
        )
    }
}

impl Signed for Certificate {
    const TYPE: &'static str = "application/vnd.sealcast.purchase-certificate+cbor";
}

/// Certificates that were bought together, each signed by itself (PC-22).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Container(
    /// The purchase.
    pub Text<PurchaseId>,
    /// Until when the notice counts that they arrived (PC-25).
    pub Timestamp,
    /// The certificates.
    pub Vec<Object>,
);

/// A signed object inside another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Object(#[serde(with = "crate::bytes")] pub Vec<u8>);

impl Signed for Container {
    const TYPE: &'static str = "application/vnd.sealcast.purchase+cbor";
}

/// Signed by the device that has them (PC-11, PC-20): only then anything is settled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PurchaseReceipt(pub Text<PurchaseId>, pub Text<DeviceId>, pub [u8; 32]);

impl PurchaseReceipt {
    /// For the container that these bytes are.
    #[must_use]
    pub fn of(id: PurchaseId, device: DeviceId, container: &[u8]) -> Self {
        Self(Text(id), Text(device), sha256(container))
    }
}

impl Signed for PurchaseReceipt {
    const TYPE: &'static str = "application/vnd.sealcast.purchase-receipt+cbor";
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::SigningKey;

    use super::*;
    use crate::ContentId;
    use crate::signed::{sign, verify};

    #[test]
    fn pc_10_pc_22_certificates_come_back_from_their_container_as_they_were_signed() {
        let key = SigningKey::from_seed(&[7; 32]);
        let certificate = |id: u8| Certificate {
            id: CertificateId([id; 16]),
            purchase: PurchaseId([2; 16]),
            account: AccountId([3; 16]),
            device: DeviceId([4; 16]),
            offer: OfferId([5; 16]),
            subject: Subject::Content(Text(ContentId([6; 16])), 2),
            grants: 3,
            terms: SoldTerms {
                lasts_ms: Some(48 * 3_600_000),
                until: None,
                plays: None,
            },
            price: Price {
                amount: 499,
                currency: "EUR".to_owned(),
            },
            shop: Some("corner".to_owned()),
            generated_at: Timestamp(1_790_000_000_000),
            settle_by: Timestamp(1_790_000_600_000),
        };
        let signed = [1, 2].map(|id| Object(sign(&certificate(id), &key)));
        let container = Container(
            Text(PurchaseId([2; 16])),
            Timestamp(1_790_000_300_000),
            signed.to_vec(),
        );
        let bytes = sign(&container, &key);
        let back = verify::<Container>(&bytes, &key.verifying_key()).unwrap();
        assert_eq!(back, container);
        for (Object(bytes), id) in back.2.iter().zip([1, 2]) {
            assert_eq!(
                verify::<Certificate>(bytes, &key.verifying_key()),
                Ok(certificate(id))
            );
        }
    }

    #[test]
    fn terms_begin_when_a_licence_is_issued_and_end_with_what_ends_first() {
        let (now, hour) = (Timestamp(1000), 3_600_000);
        let terms = |lasts_ms, until: Option<i64>| {
            let until = until.map(Timestamp);
            let sold = SoldTerms {
                lasts_ms,
                until,
                plays: Some(2),
            };
            let terms = sold.beginning(now);
            assert_eq!((terms.from, terms.plays), (now, Some(2)));
            terms.until.map(|until| until.0)
        };
        assert_eq!(terms(None, None), None);
        assert_eq!(terms(Some(hour), None), Some(3_601_000));
        assert_eq!(terms(Some(hour), Some(2000)), Some(2000));
        assert_eq!(terms(Some(hour), Some(9_000_000)), Some(3_601_000));
        assert_eq!(terms(Some(u64::MAX), None), Some(i64::MAX));
    }
}
