//! What servers, devices and operators of sealcast say to each other over HTTPS. No IO.
//!
//! | room | what |
//! |---|---|
//! | [`id`] | ids as text: a type prefix and a UUIDv7 |
//! | [`month`] | months of the calendar, for bills |
//! | [`time`] | instants of the wall clock, for people and rights; never for keys |
//! | [`code`] | one-time enrolment codes that carry the fingerprint of the CA key |
//! | [`api`] | bodies of the HTTP API |
//! | [`content`] | files of contents: a header, and sealed segments of 64 KiB |
//! | [`signed`] | signed objects (COSE_Sign1) |
//! | [`device_keys`] | what devices sign and are wrapped to with |
//! | [`licence`] | licences, their receipts, and the list of which are valid: signed |
//! | [`purchase`] | purchase certificates, their container, and the notice that they arrived: signed |
//! | [`audit`] | the audit log: entries, their chain, the signed head |
//! | [`events`] | the audit log as webhooks and readers of events get it |
//! | [`interop`] | what packagers of other software ask for |
//! | [`object`] | objects that are objects |
//! | [`problem`] | errors of the HTTP API (RFC 9457) |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod api;
pub mod audit;
pub mod bytes;
pub mod code;
pub mod content;
pub mod device_keys;
pub mod events;
pub mod id;
pub mod interop;
pub mod licence;
pub mod month;
pub mod object;
pub mod problem;
pub mod purchase;
pub mod signed;
pub mod time;

pub use id::{
    ApprovalId, BillId, BookId, CertificateId, ChargeId, ContentId, LicenceId, OfferId, ProviderId,
    PurchaseId, RecoveryId, TransferId, WebhookId,
};
pub use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, ServerId};
