//! Bodies of the HTTP API. Durations are milliseconds, instants RFC 3339, bytes base64url, certificates and requests PEM.

mod approvals;
mod billing;
mod cards;
mod catalogue;
mod customers;
mod ledger;
mod licences;
mod money;
mod oidc;
mod operators;
mod sales;
mod shares;
mod status;
mod usage;
mod webhooks;

use std::net::SocketAddr;

use schemars::JsonSchema;
use sealcast_proto::ids::DeviceId;
use sealcast_proto::timing::{Timing, TimingError};
use sealcast_proto::wire::control;
use sealcast_proto::wire::link::Mode;
use serde::{Deserialize, Serialize};

use crate::id::Text;
use crate::time::Timestamp;
pub use approvals::{
    Approval, ApprovalPage, ApprovalRules, ApprovalState, Grant, GrantKind, Granted, NamedOperator,
    NamedTransfer,
};
pub use billing::{
    AccountTariff, AccountTariffs, AssignTariff, Bill, BillLine, BillPage, BillPurchase, BillState,
    BillSummary, BillingMonth, BillingMonths, Charge, ChargeKind, ChargePage, CloseMonth, Counting,
    Fraction, LineKind, NewCharge, NewTariff, Paying, Rate, Tariff, TariffPage,
};
pub use cards::{
    CardBook, CardCounts, CardDifference, CardDispute, CardPayment, CardReport, CardState,
};
pub use catalogue::{
    Availability, ChangeContent, ChangeProvider, Content, ContentFilter, ContentPage,
    ContentVersion, Download, DownloadPage, MediaKind, NewContent, NewProvider, NewVersion, Price,
    Provider, VersionState,
};
pub use customers::{
    Account, AccountPage, Certificate, CertificatePage, ChangePassword, ClaimDevice, Customer,
    Device, DevicePage, FactoryDevice, Labels, LogIn, Me, NewAccount, NewDevice, NewLogin,
    Password, Recovery, RecoveryState, SetPassword, Token, UseRecovery,
};
pub use ledger::{
    Book, BookBound, BookPage, ClosePeriod, NewBook, Transfer, TransferCommand, TransferKind,
    TransferList, TransferOutcome, TransferOutcomes, TransferPage,
};
pub use licences::{
    DeviceKeys, GiveLicence, LicenceOrigin, LicencePage, LicenceRecord, LicenceSubject,
    NamedLicence, SetLicence, SignedLicence, SignedReceipt, SignedStatusList, Signer, SignerRole,
    Signers,
};
pub use money::{AccountMoney, Money, Pay, PaymentKind};
pub use oidc::{BeginOidc, FinishOidc, LinkedIdentity, Login, OidcBegun};
pub use operators::{Operator, OperatorRole, Permit, PutOperator};
pub use sales::{
    AskLicence, BuyOffers, CertificateRecord, CertificateState, ChangeOffer, FailPurchase, Method,
    NamedRestore, NewOffer, Offer, OfferPage, OfferState, OfferSubject, OfferTerms, Purchase,
    PurchasePage, PurchaseState, RefundPurchase, RestoreCertificate, SignedPurchase,
};
pub use shares::{
    NewSplit, Parties, PartyMoney, PartyStatement, PayOut, PayOutKind, Share, Split, SplitPage,
    StatementOf,
};
pub use status::{
    AuthorityKey, EpochStatus, KeyStage, Lead, ServerStatus, SlaveHeld, SlaveStatus, Status,
};
pub use usage::{UsageFilter, UsagePage, UsageRow, UsageRun, UsageSource, UsageTaken, UsageTotals};
pub use webhooks::{
    ChangeWebhook, Delivery, DeliveryPage, DeliveryState, Disabled, NewWebhook, Replayed, Trial,
    Webhook, WebhookSecret,
};

/// Who a certificate speaks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An operator.
    Admin,
    /// A delivery server.
    Node,
    /// A device.
    Device,
    /// A slave key server.
    Slave,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Node, Self::Device, Self::Slave];

    /// As in a certificate and in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Node => "node",
            Self::Device => "device",
            Self::Slave => "slave",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// `POST /v1/enrol`: a one-time code and a key made by whoever enrols.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The code's secret.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub secret: Vec<u8>,
    /// Certificate signing request (PKCS #10, PEM): proves possession of the key.
    pub csr: String,
}

/// A certificate, new or renewed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Enrolled {
    /// Whose it is: a server number, a device id, an operator's name.
    pub subject: String,
    /// What it is.
    pub role: Role,
    /// The certificate, PEM.
    pub certificate: String,
    /// The CA's certificate, PEM.
    pub ca: String,
    /// The certificate counts until then.
    pub until: Timestamp,
    /// The authority key.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub authority: Vec<u8>,
}

/// `POST /v1/renew`, with the certificate that is to be renewed: a signing request by the same key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// Certificate signing request, PEM.
    pub csr: String,
}

/// `POST /v1/session`, with a device's certificate.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// Channels that the device wants; empty: all that it may have.
    #[serde(default)]
    pub channels: Vec<u16>,
}

/// A session with the key doors.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SessionReply {
    /// [`sealcast_proto::door::SessionGrant`] as its bytes.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub grant: Vec<u8>,
    /// Channels that the session may have.
    pub channels: Vec<u16>,
    /// Channels that were wanted and are refused.
    pub refused: Vec<Refused>,
    /// Where the key doors are (UDP).
    pub doors: Vec<SocketAddr>,
    /// The authority key.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub authority: Vec<u8>,
    /// The key that will replace it.
    #[schemars(with = "Option<crate::bytes::Base64Url>")]
    #[serde(default, with = "option")]
    pub successor: Option<Vec<u8>>,
    /// What opens the key blocks of channels that have some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<KeyPath>,
    /// The session should be renewed after this, milliseconds.
    pub renew_after_ms: u64,
    /// The session ends after this at the latest, milliseconds.
    pub ends_after_ms: u64,
    /// The server's clock, so that a difference can be named.
    pub now: Timestamp,
    /// What the people of the account should know: somebody says that a device of theirs is lost, say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// A channel that is refused, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// Which.
    pub channel: u16,
    /// Why.
    pub why: String,
}

mod option {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    struct Bytes(#[serde(with = "crate::bytes")] Vec<u8>);

    #[expect(clippy::ref_option, reason = "the shape that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => crate::bytes::serialize(bytes, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<Bytes>::deserialize(from)?.map(|bytes| bytes.0))
    }
}

/// Where keys are generated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyMode {
    /// Mode B: at the authority.
    #[default]
    Authority,
    /// Mode A: at the delivery server.
    DeliveryServer,
}

impl From<KeyMode> for Mode {
    fn from(mode: KeyMode) -> Self {
        match mode {
            KeyMode::Authority => Self::Authority,
            KeyMode::DeliveryServer => Self::DeliveryServer,
        }
    }
}

/// A channel's key times, milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// Life of a key.
    pub lifetime_ms: u32,
    /// First preset: the next key is prepared when this remains.
    pub prepare_ahead_ms: u32,
    /// Second preset: devices fetch the next key when this remains.
    pub fetch_ahead_ms: u32,
    /// How long devices keep the previous key after its last packet.
    pub grace_ms: u32,
    /// Lives of a key that a sender goes on past the end of one.
    pub hold_max_lifetimes: u32,
}

impl From<Timing> for Times {
    fn from(timing: Timing) -> Self {
        let ms =
            |duration: std::time::Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        Self {
            lifetime_ms: ms(timing.lifetime()),
            prepare_ahead_ms: ms(timing.prepare_ahead()),
            fetch_ahead_ms: ms(timing.fetch_ahead()),
            grace_ms: ms(timing.grace()),
            hold_max_lifetimes: timing.hold_lifetimes(),
        }
    }
}

impl TryFrom<Times> for Timing {
    type Error = TimingError;

    fn try_from(times: Times) -> Result<Self, TimingError> {
        let ms = |ms: u32| std::time::Duration::from_millis(u64::from(ms));
        Self::new(
            ms(times.lifetime_ms),
            ms(times.prepare_ahead_ms),
            ms(times.fetch_ahead_ms),
            ms(times.grace_ms),
        )?
        .with_hold_max(times.hold_max_lifetimes)
    }
}

/// Whether these times fit each other (MD-14).
///
/// # Errors
/// Which relation does not hold.
pub fn check_times(times: Times) -> Result<(), TimingError> {
    Timing::try_from(times).map(|_| ())
}

/// What stands for a channel's packets besides the key that all members have (MD-03, SEC-05). A number in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum AuthLevel {
    /// 0, nothing: whoever can open packets can make some.
    #[default]
    Group,
    /// 1, signed digests: members cannot forge.
    Manifest,
}

/// There are 0 and 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no auth level {0}: 0 (none) or 1 (manifests)")]
pub struct NoAuthLevel(u8);

impl TryFrom<u8> for AuthLevel {
    type Error = NoAuthLevel;

    fn try_from(level: u8) -> Result<Self, NoAuthLevel> {
        match level {
            0 => Ok(Self::Group),
            1 => Ok(Self::Manifest),
            other => Err(NoAuthLevel(other)),
        }
    }
}

impl From<AuthLevel> for u8 {
    fn from(level: AuthLevel) -> Self {
        match level {
            AuthLevel::Group => 0,
            AuthLevel::Manifest => 1,
        }
    }
}

impl From<AuthLevel> for control::AuthLevel {
    fn from(level: AuthLevel) -> Self {
        match level {
            AuthLevel::Group => Self::Group,
            AuthLevel::Manifest => Self::Manifest,
        }
    }
}

/// A channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its number.
    pub id: u16,
    /// For people.
    pub name: String,
    /// Who generates its keys.
    #[serde(default)]
    pub mode: KeyMode,
    /// Its key times.
    #[serde(deserialize_with = "crate::object::deserialize")]
    pub times: Times,
    /// Its auth level: 0, none; 1, manifests, so that members cannot forge.
    #[serde(default)]
    #[schemars(with = "u8", range(max = 1))]
    pub auth_level: AuthLevel,
    /// Thousandths of the channel's bytes that its key blocks may take; 0: none are sent, and devices ask key doors.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub key_block_permille: u16,
}

/// Thousandths of a channel's bytes that its key blocks take if nothing else is said.
pub const KEY_BLOCK_PERMILLE: u16 = 10;

/// What a device holds of the key tree of a channel.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct KeyPath {
    /// The channel.
    pub channel: u16,
    /// [`sealcast_proto::key_block::Path`] as its bytes.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub path: Vec<u8>,
}

impl std::fmt::Debug for KeyPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPath")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// A generation of a channel's key tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct KeyTreeStatus {
    /// Its number.
    pub generation: u32,
    /// Positions that it has.
    pub positions: u32,
    /// Positions that have been given to devices.
    pub given: u32,
    /// Of these, those that get no more keys until their device opens a session, if it may.
    pub gone: u32,
    /// When it was made. Three days after its successor was made it is removed.
    pub made_at: Timestamp,
}

/// Whether somebody may act.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A code was made, nobody has enrolled with it.
    New,
    /// In good standing.
    Active,
    /// For a while, by the operator.
    Suspended,
    /// For ever.
    Revoked,
}

impl Standing {
    /// As in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// The standing of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::New, Self::Active, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|standing| standing.name() == name)
    }
}

/// `PATCH` of a node, device or right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStanding {
    /// The standing it gets: `active`, `suspended` or `revoked`.
    pub standing: Standing,
}

/// A delivery server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its number.
    pub server: u32,
    /// For people.
    pub name: String,
    /// Whether it may act.
    pub standing: Standing,
    /// Channels that it may send; `None`: all.
    pub channels: Option<Vec<u16>>,
}

/// `POST /v1/nodes`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNode {
    /// Its number.
    pub server: u32,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Channels that it may send; missing: all.
    #[serde(default)]
    pub channels: Option<Vec<u16>>,
}

/// A slave key server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Slave {
    /// Its number.
    pub slave: u32,
    /// For people.
    pub name: String,
    /// Whether it may be fed.
    pub standing: Standing,
    /// Names and addresses under which others reach it.
    pub hosts: Vec<String>,
}

/// `POST /v1/slaves`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSlave {
    /// Its number, from 1 on.
    pub slave: u32,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// Names and addresses under which others reach it: its certificate holds for them.
    pub hosts: Vec<String>,
}

/// A new enrolment code; shown once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewCode {
    /// Who enrols with it: a server number, a device id.
    pub subject: String,
    /// The code.
    pub code: String,
    /// It counts until then.
    pub until: Timestamp,
}

/// Where the next page of a list begins: `after` of the request for it. Opaque; counts for this list only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Cursor(pub String);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A right of a device to a channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Right {
    /// Whose.
    pub device: Text<DeviceId>,
    /// To what.
    pub channel: u16,
    /// From when on.
    pub from: Timestamp,
    /// Until when; `None`: for good.
    pub until: Option<Timestamp>,
    /// Whether it counts.
    pub standing: Standing,
    /// Version of the account's rights at its last change.
    pub rights_version: u64,
}

/// `GET /v1/rights`: a page, in the order of devices and channels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RightPage {
    /// The rights.
    pub rights: Vec<Right>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// `PUT /v1/rights`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRight {
    /// Whose.
    pub device: Text<DeviceId>,
    /// To what.
    pub channel: u16,
    /// From when on; missing: now.
    #[serde(default)]
    pub from: Option<Timestamp>,
    /// Until when; missing: for good.
    #[serde(default)]
    pub until: Option<Timestamp>,
}
