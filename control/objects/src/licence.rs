//! Licences as devices get them, signed by the server: what a device may do, with what, and how long. Also what a device signs when it has one,
//! and the list that says which of an account's count.
//!
//! One record for all origins (INT-04): a licence that was sold, moved, restored or given differs in its origin only. For a channel it holds the
//! channel, and the key doors give keys; for a content it holds the key of its file, wrapped for the device (INT-02).

use std::fmt;

use rand_core::CryptoRng;
use sealcast_crypto::{UnwrapError, WrapKeyPair, WrapPublicKey, Wrapped, wrap};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::bytes;
use crate::code::sha256;
use crate::content::ContentKey;
use crate::id::{ContentId, LicenceId, Text};
use crate::signed::Signed;
use crate::time::Timestamp;
use crate::{AccountId, DeviceId};

/// What wrapped keys of contents are for.
const PURPOSE: &str = "sealcast content key in a licence";

/// What a licence is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A channel, as it is sent.
    Channel(u16),
    /// A version of a content, as it is stored.
    Content(Text<ContentId>, u32),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "channel {channel}"),
            Self::Content(content, version) => write!(f, "{content} version {version}"),
        }
    }
}

/// Why there is a licence (INT-04).
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OriginKind {
    /// It was bought: a purchase certificate.
    Sale,
    /// A protection plan put it in the place of another one.
    Plan,
    /// It was moved from another device.
    Move,
    /// A newer version took the place of an older.
    Upgrade,
    /// A medium may be copied.
    Media,
    /// An operator gave it.
    Operator,
}

impl OriginKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Sale,
        Self::Plan,
        Self::Move,
        Self::Upgrade,
        Self::Media,
        Self::Operator,
    ];

    /// Its word in JSON and in rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Plan => "plan",
            Self::Move => "move",
            Self::Upgrade => "upgrade",
            Self::Media => "media",
            Self::Operator => "operator",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a licence allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// From when.
    pub from: Timestamp,
    /// Until when; nothing: for good.
    pub until: Option<Timestamp>,
    /// How often it may be played from the beginning; nothing: as often as one likes.
    pub plays: Option<u32>,
}

/// On which side of its period a licence is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Outside {
    /// It does not count yet.
    #[error("the licence begins at {0}")]
    Before(Timestamp),
    /// It does not count any more.
    #[error("the licence ended at {0}")]
    After(Timestamp),
}

impl Terms {
    /// Why its period forbids its use now, if it does.
    #[must_use]
    pub fn outside(&self, now: Timestamp) -> Option<Outside> {
        if now < self.from {
            return Some(Outside::Before(self.from));
        }
        let over = self.until.filter(|until| *until <= now);
        over.map(Outside::After)
    }

    /// Why it cannot be used now, if it cannot.
    #[must_use]
    pub fn why_not(&self, now: Timestamp) -> Option<String> {
        self.outside(now).map(|outside| outside.to_string())
    }
}

/// A licence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Fields", into = "Fields")]
pub struct Licence {
    /// Its id.
    pub id: LicenceId,
    /// Whose.
    pub account: AccountId,
    /// The only device that it counts for.
    pub device: DeviceId,
    /// What for.
    pub subject: Subject,
    /// What it allows.
    pub terms: Terms,
    /// Why there is one: the kind, and the id of what it came from.
    pub origin: (OriginKind, String),
    /// The licence whose place it takes.
    pub supersedes: Option<LicenceId>,
    /// The key of the content, for the device.
    pub key: Option<DeviceKey>,
    /// When it was issued.
    pub issued_at: Timestamp,
}

type Fields = (
    Text<LicenceId>,
    Text<AccountId>,
    Text<DeviceId>,
    Subject,
    (Timestamp, Option<Timestamp>, Option<u32>),
    (OriginKind, String),
    Option<Text<LicenceId>>,
    Option<DeviceKey>,
    Timestamp,
);

impl From<Fields> for Licence {
    fn from(fields: Fields) -> Self {
        let (id, account, device, subject, terms, origin, supersedes, key, issued_at) = fields;
        let (from, until, plays) = terms;
        Self {
            id: id.0,
            account: account.0,
            device: device.0,
            subject,
            terms: Terms { from, until, plays },
            origin,
            supersedes: supersedes.map(|Text(id)| id),
            key,
            issued_at,
        }
    }
}

impl From<Licence> for Fields {
    fn from(licence: Licence) -> Self {
        let terms = licence.terms;
        (
            Text(licence.id),
            Text(licence.account),
            Text(licence.device),
            licence.subject,
            (terms.from, terms.until, terms.plays),
            licence.origin,
            licence.supersedes.map(Text),
            licence.key,
            licence.issued_at,
        )
    }
}

impl Signed for Licence {
    const TYPE: &'static str = "application/vnd.sealcast.licence+cbor";
}

/// The key of a content, wrapped for one licence, device and content (SEC-17).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceKey(
    #[serde(with = "bytes")] Vec<u8>,
    #[serde(with = "bytes")] Vec<u8>,
);

/// What a wrapped key belongs to, as deterministic CBOR.
fn belongs((id, device): (LicenceId, DeviceId), (content, version): (ContentId, u32)) -> Vec<u8> {
    let mut to = Vec::new();
    let fields = (Text(id), Text(device), Text(content), version);
    ciborium::into_writer(&fields, &mut to).expect("writing to memory");
    to
}

impl DeviceKey {
    /// Wraps the key of this version of a content for a licence and its device, whose public key is `to`.
    #[must_use]
    pub fn wrap(
        to: &WrapPublicKey,
        licence: (LicenceId, DeviceId),
        content: (ContentId, u32),
        key: &ContentKey,
        rng: &mut dyn CryptoRng,
    ) -> Self {
        let belongs = belongs(licence, content);
        let wrapped = wrap(to, PURPOSE.as_bytes(), &belongs, key.as_bytes(), rng);
        Self(wrapped.enc, wrapped.ciphertext)
    }

    /// The key, for the device of that licence.
    ///
    /// # Errors
    /// [`UnwrapError`]: it is another device's, or of another licence or content.
    pub fn unwrap(
        &self,
        own: &WrapKeyPair,
        licence: (LicenceId, DeviceId),
        content: (ContentId, u32),
    ) -> Result<ContentKey, UnwrapError> {
        let wrapped = Wrapped {
            enc: self.0.clone(),
            ciphertext: self.1.clone(),
        };
        let belongs = belongs(licence, content);
        let key = own.unwrap(PURPOSE.as_bytes(), &belongs, &wrapped)?;
        let key = key.as_slice().try_into().map_err(|_| UnwrapError)?;
        Ok(ContentKey::from_bytes(Zeroizing::new(key)))
    }
}

/// Signed by a device that has a licence (PC-27): only then it counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LicenceReceipt(pub Text<LicenceId>, pub Text<DeviceId>, pub [u8; 32]);

impl LicenceReceipt {
    /// For the licence with this id, as these bytes say it.
    #[must_use]
    pub fn of(id: LicenceId, device: DeviceId, licence: &[u8]) -> Self {
        Self(Text(id), Text(device), sha256(licence))
    }
}

impl Signed for LicenceReceipt {
    const TYPE: &'static str = "application/vnd.sealcast.licence-receipt+cbor";
}

/// Whether a licence counts.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// It does.
    Valid,
    /// Not now; it may again.
    Suspended,
    /// Never again.
    Invalid,
}

impl Validity {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Valid, Self::Suspended, Self::Invalid];

    /// Its word in JSON and in rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suspended => "suspended",
            Self::Invalid => "invalid",
        }
    }

    /// The one of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Why a licence does not count any more.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Its period is over.
    Expired,
    /// It was paid back.
    Refunded,
    /// The device lost it, and another took its place.
    Lost,
    /// Another content took its place.
    Alternate,
    /// A newer version took its place.
    Upgraded,
    /// It was moved to another device.
    Moved,
    /// A repair put another in its place.
    Repaired,
    /// The device never said that it has it.
    NotReceived,
    /// Its device is revoked, or another took the device's place.
    DeviceReplaced,
    /// An operator said so.
    Revoked,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Expired,
        Self::Refunded,
        Self::Lost,
        Self::Alternate,
        Self::Upgraded,
        Self::Moved,
        Self::Repaired,
        Self::NotReceived,
        Self::DeviceReplaced,
        Self::Revoked,
    ];

    /// Its word in JSON and in rows.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Refunded => "refunded",
            Self::Lost => "lost",
            Self::Alternate => "alternate",
            Self::Upgraded => "upgraded",
            Self::Moved => "moved",
            Self::Repaired => "repaired",
            Self::NotReceived => "not-received",
            Self::DeviceReplaced => "device-replaced",
            Self::Revoked => "revoked",
        }
    }

    /// The reason of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// One line of a [`StatusList`]: which licence, whether it counts, and since when and why it does not.
pub type StatusEntry = (
    Text<LicenceId>,
    Validity,
    Option<(Timestamp, Option<EndReason>)>,
);

/// Which licences of an account count (INT-15, SEC-21). A device uses none that is not on it as valid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatusList(
    /// Whose.
    pub Text<AccountId>,
    /// Rises with each change of the account's rights: an older list counts no more. The key doors count by the same number.
    pub u64,
    /// When it was issued.
    pub Timestamp,
    /// Until when a device may go by it.
    pub Timestamp,
    /// The licences.
    pub Vec<StatusEntry>,
);

impl Signed for StatusList {
    const TYPE: &'static str = "application/vnd.sealcast.status-list+cbor";
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::SigningKey;

    use super::*;
    use crate::signed::{sign, verify};
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    fn licence() -> Licence {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let (id, device, content) = (LicenceId([1; 16]), DeviceId([3; 16]), ContentId([4; 16]));
        let pair = WrapKeyPair::generate(rng);
        let key = ContentKey::new(rng);
        let key = DeviceKey::wrap(pair.public(), (id, device), (content, 2), &key, rng);
        Licence {
            id,
            account: AccountId([2; 16]),
            device,
            subject: Subject::Content(Text(content), 2),
            terms: Terms {
                from: Timestamp(1_790_000_000_000),
                until: None,
                plays: Some(3),
            },
            origin: (OriginKind::Sale, "pc_1".to_owned()),
            supersedes: Some(LicenceId([9; 16])),
            key: Some(key),
            issued_at: Timestamp(1_790_000_000_001),
        }
    }

    #[test]
    fn int_02_int_04_a_licence_comes_back_as_it_was_signed() {
        let key = SigningKey::from_seed(&[7; 32]);
        let licence = licence();
        let bytes = sign(&licence, &key);
        assert!(bytes.len() < 1700, "{}", bytes.len());
        assert_eq!(verify(&bytes, &key.verifying_key()), Ok(licence.clone()));
        let of_channel = Licence {
            subject: Subject::Channel(5),
            key: None,
            supersedes: None,
            ..licence
        };
        let bytes = sign(&of_channel, &key);
        assert_eq!(verify(&bytes, &key.verifying_key()), Ok(of_channel));
    }

    #[test]
    fn sec_17_the_key_in_a_licence_is_for_that_licence_device_and_content() {
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let pair = WrapKeyPair::generate(rng);
        let key = ContentKey::new(rng);
        let (licence, content) = (
            (LicenceId([1; 16]), DeviceId([2; 16])),
            (ContentId([3; 16]), 4),
        );
        let wrapped = DeviceKey::wrap(pair.public(), licence, content, &key, rng);
        let opened = wrapped.unwrap(&pair, licence, content).unwrap();
        assert_eq!(opened.as_bytes(), key.as_bytes());
        let others = [
            ((LicenceId([9; 16]), licence.1), content),
            ((licence.0, DeviceId([9; 16])), content),
            (licence, (ContentId([9; 16]), content.1)),
            (licence, (content.0, 5)),
        ];
        for (licence, content) in others {
            assert!(wrapped.unwrap(&pair, licence, content).is_err());
        }
        let other = WrapKeyPair::generate(rng);
        assert!(wrapped.unwrap(&other, licence, content).is_err());
    }

    #[test]
    fn words_come_back() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::from_name(reason.name()), Some(reason));
            let json = serde_json::to_value(reason).unwrap();
            assert_eq!(json, reason.name());
        }
        for validity in Validity::ALL {
            assert_eq!(Validity::from_name(validity.name()), Some(validity));
            assert_eq!(serde_json::to_value(validity).unwrap(), validity.name());
        }
        for kind in OriginKind::ALL {
            assert_eq!(OriginKind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn terms_say_why_not() {
        let terms = Terms {
            from: Timestamp(1000),
            until: Some(Timestamp(2000)),
            plays: None,
        };
        assert!(terms.why_not(Timestamp(999)).unwrap().contains("begins"));
        assert_eq!(terms.why_not(Timestamp(1000)), None);
        assert_eq!(terms.why_not(Timestamp(1999)), None);
        assert!(terms.why_not(Timestamp(2000)).unwrap().contains("ended"));
    }
}
