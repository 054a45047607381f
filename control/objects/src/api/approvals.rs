//! What needs a second person (SEC-19): it is asked for by one operator and approved by another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cursor, NamedLicence, NamedRestore, NewRight, Permit, PutOperator, TransferCommand};
use crate::TransferId;
use crate::id::{ApprovalId, Text};
use crate::time::Timestamp;

/// What may need a second person.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum GrantKind {
    /// A right.
    Right,
    /// A licence.
    Licence,
    /// A purchase certificate that counts again; always.
    Restore,
    /// A transfer of the ledger.
    Transfer,
    /// An operator's role, and that he enrols anew; always, while there are other rules.
    Operator,
    /// These rules themselves; always, while there are others.
    Rules,
}

impl GrantKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Right,
        Self::Licence,
        Self::Restore,
        Self::Transfer,
        Self::Operator,
        Self::Rules,
    ];

    /// As in the API and in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Licence => "licence",
            Self::Restore => "restore",
            Self::Transfer => "transfer",
            Self::Operator => "operator",
            Self::Rules => "rules",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What an operator must be permitted who asks for it or approves it.
    #[must_use]
    pub fn permit(self) -> Permit {
        match self {
            Self::Right | Self::Licence | Self::Restore => Permit::Grant,
            Self::Transfer => Permit::Bookkeep,
            Self::Operator | Self::Rules => Permit::Rule,
        }
    }
}

/// Something that is given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "body", rename_all = "kebab-case")]
pub enum Grant {
    /// As by `PUT /v1/rights`.
    #[schemars(title = "GrantRight")]
    Right(NewRight),
    /// As by `PUT /v1/licences/{id}`.
    #[schemars(title = "GrantLicence")]
    Licence(NamedLicence),
    /// As by `PUT /v1/purchase-certificates/{id}/grants`.
    #[schemars(title = "GrantRestore")]
    Restore(NamedRestore),
    /// As by `PUT /v1/transfers/{id}`.
    #[schemars(title = "GrantTransfer")]
    Transfer(NamedTransfer),
    /// As by `PUT /v1/operators/{name}`.
    #[schemars(title = "GrantOperator")]
    Operator(NamedOperator),
    /// As by `PUT /v1/approval-rules`.
    #[schemars(title = "GrantRules")]
    Rules(ApprovalRules),
}

/// A transfer that is to be made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NamedTransfer {
    /// The transfer's id.
    pub id: Text<TransferId>,
    /// What is commanded.
    pub command: TransferCommand,
}

/// What an operator is to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NamedOperator {
    /// Whose.
    pub name: String,
    /// What he is to be.
    pub put: PutOperator,
}

impl Grant {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> GrantKind {
        match self {
            Self::Right(_) => GrantKind::Right,
            Self::Licence(_) => GrantKind::Licence,
            Self::Restore(_) => GrantKind::Restore,
            Self::Transfer(_) => GrantKind::Transfer,
            Self::Operator(_) => GrantKind::Operator,
            Self::Rules(_) => GrantKind::Rules,
        }
    }
}

/// `GET` and `PUT /v1/approval-rules`: which kinds need a second person. What machines (shops, insurers) do never does.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRules {
    /// The kinds.
    pub second_person: Vec<GrantKind>,
}

/// Where an approval stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalState {
    /// It waits for a second person.
    Open,
    /// It was approved and done.
    Approved,
    /// It was refused, or taken back.
    Refused,
    /// Nobody decided in time.
    Expired,
}

/// Something that waits, or waited, for a second person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Its id.
    pub id: Text<ApprovalId>,
    /// What is to be given.
    pub grant: Grant,
    /// Who asked, as the audit log names him.
    pub asked_by: String,
    /// Why.
    pub reason: String,
    /// The number of the case, if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub case: String,
    /// When.
    pub asked_at: Timestamp,
    /// It can be approved until then.
    pub until: Timestamp,
    /// Where it stands.
    pub state: ApprovalState,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
}

/// `GET /v1/approvals`: a page, in the order in which they were asked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalPage {
    /// The approvals.
    pub approvals: Vec<Approval>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// The answer where something is given: done (200), or it waits for a second person (202).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Granted<T> {
    /// It waits.
    Waits(Box<Approval>),
    /// It is done.
    Done(T),
}
