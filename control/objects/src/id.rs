//! Ids as people and JSON see them: a prefix that says what it is, and a UUIDv7 in hexadecimal (sorted by time of making).
//! An id is a label, never a proof (SEC-02).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use rand_core::CryptoRng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use sealcast_proto::ids::{AccountId, DeviceId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Builder;

use crate::time::Timestamp;

/// A type of id.
pub trait Id: Copy {
    /// Stands before the number, with an underscore.
    const PREFIX: &'static str;

    /// The id of these bytes.
    fn from_bytes(bytes: [u8; 16]) -> Self;

    /// Its bytes.
    fn to_bytes(self) -> [u8; 16];

    /// A new one.
    fn new(now: Timestamp, rng: &mut dyn CryptoRng) -> Self {
        let mut random = [0; 10];
        rng.fill_bytes(&mut random);
        let millis = u64::try_from(now.0).unwrap_or(0);
        let uuid = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        Self::from_bytes(uuid.into_bytes())
    }

    /// As text.
    fn text(self) -> String {
        Text(self).to_string()
    }
}

macro_rules! id {
    ($($name:ident $prefix:literal),* $(,)?) => {$(
        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
            fn to_bytes(self) -> [u8; 16] {
                self.0
            }
        }
    )*};
}
id!(
    AccountId "acc", DeviceId "dev", BookId "book", TransferId "trf", ApprovalId "apr", ProviderId "prov", ContentId "cont",
    RecoveryId "rec", WebhookId "whk", LicenceId "lic", OfferId "off", PurchaseId "pur", CertificateId "pc",
    ChargeId "chg", BillId "bill"
);

/// Names a book of the ledger. Whoever opens it chooses: random, or derived from what it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BookId(pub [u8; 16]);

/// Names a transfer of the ledger. Whoever commands it chooses, once for what is meant: a retry has the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransferId(pub [u8; 16]);

/// Names something that waits for a second person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ApprovalId(pub [u8; 16]);

/// Names who supplies contents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProviderId(pub [u8; 16]);

/// Names a content, in all its versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContentId(pub [u8; 16]);

/// Names a recovery of a lost device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecoveryId(pub [u8; 16]);

/// Names where events are sent to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WebhookId(pub [u8; 16]);

/// Names a licence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LicenceId(pub [u8; 16]);

/// Names something that is sold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OfferId(pub [u8; 16]);

/// Names a purchase: the container of its certificates. Whoever buys chooses it, once for what is meant: a retry has the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PurchaseId(pub [u8; 16]);

/// Names a purchase certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CertificateId(pub [u8; 16]);

/// Names a charge. Whoever charges chooses it, once for what is meant: a retry has the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChargeId(pub [u8; 16]);

/// Names a bill: derived from its account and month.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BillId(pub [u8; 16]);

/// An id in its text form, for display, parsing and JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Text<I>(pub I);

/// It is no id of this type.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text:?} is no {prefix} id: it looks like {prefix}_ and 32 hexadecimal digits")]
pub struct NoId<I> {
    text: String,
    prefix: &'static str,
    kind: PhantomData<I>,
}

impl<I: Id> fmt::Display for Text<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = u128::from_be_bytes(self.0.to_bytes());
        write!(f, "{}_{number:032x}", I::PREFIX)
    }
}

impl<I: Id> FromStr for Text<I> {
    type Err = NoId<I>;

    fn from_str(text: &str) -> Result<Self, NoId<I>> {
        let digits = text
            .strip_prefix(I::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .filter(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        let no_id = || NoId {
            text: text.to_owned(),
            prefix: I::PREFIX,
            kind: PhantomData,
        };
        number
            .map(|number| Self(I::from_bytes(number.to_be_bytes())))
            .ok_or_else(no_id)
    }
}

impl<I: Id> Serialize for Text<I> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de, I: Id> Deserialize<'de> for Text<I> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(|error: NoId<I>| serde::de::Error::custom(error.to_string()))
    }
}

impl<I: Id> JsonSchema for Text<I> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_id", I::PREFIX).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": format!("^{}_[0-9a-f]{{32}}$", I::PREFIX)})
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn sec_02_ids_name_their_type_and_come_back() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let first = DeviceId::new(Timestamp(1_790_000_000_000), rng);
        let second = DeviceId::new(Timestamp(1_790_000_000_001), rng);
        assert!(first.text() < second.text(), "sorted by time");
        assert_eq!(first.text().parse(), Ok(Text(first)));
        assert!(first.text().parse::<Text<AccountId>>().is_err());
        for wrong in ["", "dev_", "dev_12", "dev_+0000000000000000000000000000001"] {
            assert!(wrong.parse::<Text<DeviceId>>().is_err(), "{wrong}");
        }
    }
}
