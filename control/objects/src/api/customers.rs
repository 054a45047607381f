//! Accounts, who stands behind them, and their devices.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Cursor, LinkedIdentity, Role, Standing};
use crate::id::{RecoveryId, Text};
use crate::time::Timestamp;
use crate::{AccountId, DeviceId};

/// An account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// Its id.
    pub id: Text<AccountId>,
    /// For people.
    pub name: String,
    /// Whether its devices may act.
    pub standing: Standing,
    /// Version of its rights: every change counts one.
    pub rights_version: u64,
}

/// `GET /v1/accounts`: a page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AccountPage {
    /// The accounts, in the order in which they were added.
    pub accounts: Vec<Account>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `POST /v1/accounts`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// For people.
    pub name: String,
}

/// `GET` and `PUT /v1/accounts/{id}/customer`: who stands behind an account (MV-02, MV-03). Sealed in the store; `DELETE` erases it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// The person or company.
    pub name: String,
    /// Where mail reaches them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// A telephone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phone: String,
    /// Street, town, as it stands on a letter.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// ISO 3166-1, two capital letters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// Anything else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Customer(..)")
    }
}

/// Ids that parts of a device bear: for people and for binding, never a proof (SEC-02).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Of the player software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Of its drive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<String>,
    /// Of its card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
}

impl Labels {
    /// Each that there is, with its kind.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("client", &self.client),
            ("drive", &self.drive),
            ("card", &self.card),
        ];
        all.into_iter()
            .filter_map(|(kind, value)| Some((kind, value.as_deref()?)))
    }

    /// The label of a kind, to be set.
    pub fn of_mut(&mut self, kind: &str) -> Option<&mut Option<String>> {
        match kind {
            "client" => Some(&mut self.client),
            "drive" => Some(&mut self.drive),
            "card" => Some(&mut self.card),
            _ => None,
        }
    }
}

/// A device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Its id.
    pub id: Text<DeviceId>,
    /// Whose.
    pub account: Text<AccountId>,
    /// For people.
    pub name: String,
    /// Whether it may act.
    pub standing: Standing,
    /// Its place in the key tree: its own for ever (MV-15).
    pub leaf: u32,
    /// What its parts bear.
    #[serde(default, deserialize_with = "crate::object::deserialize")]
    pub labels: Labels,
    /// The device whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Text<DeviceId>>,
}

/// `GET /v1/devices`: a page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DevicePage {
    /// The devices, in the order in which they were added.
    pub devices: Vec<Device>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `POST /v1/devices`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// Whose; missing: a new account of the same name.
    #[serde(default)]
    pub account: Option<Text<AccountId>>,
    /// For people.
    pub name: String,
    /// What its parts bear.
    #[serde(default, deserialize_with = "crate::object::deserialize")]
    pub labels: Labels,
}

/// A certificate that was issued (MV-16, MV-21).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Counted from 1.
    pub number: u64,
    /// What the subject is.
    pub role: Role,
    /// Whose: a device id, a server number, an operator's name.
    pub subject: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// It counts until then, if nothing ends it before.
    pub until: Timestamp,
}

/// `GET /v1/certificates`: a page, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CertificatePage {
    /// The certificates.
    pub certificates: Vec<Certificate>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// One line of a factory's register: a device, and the key that was put into it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FactoryDevice {
    /// Who made it.
    pub maker: String,
    /// What stands on its case.
    pub serial: String,
    /// SHA-256 of the public key's SubjectPublicKeyInfo, 32 bytes.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub key_hash: Vec<u8>,
}

/// `POST /v1/factory-devices/claim`: a device of a register becomes an account's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimDevice {
    /// Who made it.
    pub maker: String,
    /// What stands on its case. A label: whoever reads it can claim the device, and only the device can enrol.
    pub serial: String,
    /// Whose; missing: a new account of the same name.
    #[serde(default)]
    pub account: Option<Text<AccountId>>,
    /// For people.
    pub name: String,
}

/// Where a recovery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryState {
    /// Its code was not used yet.
    Open,
    /// The lost device is suspended; the account's others can object.
    Waiting,
    /// Another device took the place: the code enrols it.
    Done,
    /// Somebody objected, or an operator.
    Refused,
    /// The code was not used in time.
    Expired,
}

impl RecoveryState {
    /// As in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Open,
            Self::Waiting,
            Self::Done,
            Self::Refused,
            Self::Expired,
        ]
        .into_iter()
        .find(|state| state.name() == name)
    }
}

/// Another device takes the place of a lost one (SEC-03).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Recovery {
    /// Its id.
    pub id: Text<RecoveryId>,
    /// Whose.
    pub account: Text<AccountId>,
    /// What was lost.
    pub device: Text<DeviceId>,
    /// Where it stands.
    pub state: RecoveryState,
    /// When it was begun, by an operator.
    pub made_at: Timestamp,
    /// Its code can be used until then.
    pub until: Timestamp,
    /// The place can be taken from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
    /// What took the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Text<DeviceId>>,
}

/// `POST /v1/recoveries/use`: what the holder of a code says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UseRecovery {
    /// The code's secret.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub secret: Vec<u8>,
}

/// A password. Never shown, and wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// `POST /v1/accounts/{id}/login`: the name with which a person logs in; the answer is a code with which the password is set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLogin {
    /// An e-mail address or whatever else names the person; compared without regard to case.
    pub name: String,
}

/// `POST /v1/login/password`: sets the password, once, by a code.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// The code's secret.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub secret: Vec<u8>,
    /// The new password.
    pub password: Password,
}

/// `POST /v1/login`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Password,
}

/// `POST /v1/me/password`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one that there is.
    pub old: Password,
    /// The one that is to be.
    pub new: Password,
}

/// A token: `Authorization: Bearer`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Whoever has it acts for the account, or the operator.
    pub token: String,
    /// It counts until then.
    pub until: Timestamp,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(.., {})", self.until)
    }
}

/// `GET /v1/me`: the account that a token acts for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The account.
    pub account: Account,
    /// With what its person logs in.
    pub login: String,
    /// Identities at providers with which he does, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<LinkedIdentity>,
    /// Who stands behind it, as it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Customer>,
}
