//! Operators: people and machines that work with the API, and what each may do (SEC-19).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Standing;

/// What an operator is there for.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorRole {
    /// Everything, and who else may do what.
    Owner,
    /// Runs channels and servers, gives rights, keeps the ledger.
    Operator,
    /// Helps customers: accounts, devices, codes; gives no rights.
    Support,
    /// Sees everything, the audit log too, and changes nothing.
    Auditor,
    /// A shop of the house's: customers, rights, the ledger.
    Shop,
    /// A shop of somebody else's: what was bought at it, and what is due to it, and nothing else (CM-55).
    Reseller,
    /// An insurer: sees customers.
    Insurer,
}

/// What a request of an operator needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permit {
    /// To see channels, servers, epochs and what was counted.
    ReadPlant,
    /// To change them.
    RunPlant,
    /// To see accounts, devices, rights and licences.
    ReadCustomers,
    /// To add them, to give codes, to suspend and revoke.
    Care,
    /// To give rights and licences.
    Grant,
    /// To see books and transfers.
    ReadLedger,
    /// To open books and make transfers.
    Bookkeep,
    /// To see what was bought; a reseller what was bought at it.
    ReadSales,
    /// To say that what was bought at a shop is paid; a shop of its own sales.
    Settle,
    /// To see what was booked for whoever has a share; a reseller for itself.
    ReadShares,
    /// To see providers and contents.
    ReadCatalogue,
    /// To change them.
    Curate,
    /// To see the audit log.
    ReadAudit,
    /// To say who may do what, to change the authority's keys, to close a period.
    Rule,
}

impl Permit {
    /// What it is for, after "may not".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ReadPlant => "see channels and servers",
            Self::RunPlant => "change channels and servers",
            Self::ReadCustomers => "see accounts, devices, rights and licences",
            Self::Care => "change accounts and devices",
            Self::Grant => "give rights and licences",
            Self::ReadLedger => "see the ledger",
            Self::Bookkeep => "book in the ledger",
            Self::ReadSales => "see purchases",
            Self::Settle => "settle what shops sold",
            Self::ReadShares => "see statements of shares",
            Self::ReadCatalogue => "see providers and contents",
            Self::Curate => "change providers and contents",
            Self::ReadAudit => "see the audit log",
            Self::Rule => "rule over operators, authority keys and periods",
        }
    }
}

impl OperatorRole {
    /// Every role.
    pub const ALL: [Self; 7] = [
        Self::Owner,
        Self::Operator,
        Self::Support,
        Self::Auditor,
        Self::Shop,
        Self::Reseller,
        Self::Insurer,
    ];

    /// As in the API and in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::Support => "support",
            Self::Auditor => "auditor",
            Self::Shop => "shop",
            Self::Reseller => "reseller",
            Self::Insurer => "insurer",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it may.
    #[must_use]
    pub fn may(self, permit: Permit) -> bool {
        use Permit::{
            Bookkeep, Care, Curate, Grant, ReadAudit, ReadCatalogue, ReadCustomers, ReadLedger,
            ReadPlant, ReadSales, ReadShares, RunPlant, Settle,
        };
        if permit == ReadCatalogue || permit == ReadSales {
            return true;
        }
        let permits: &[Permit] = match self {
            Self::Owner => return true,
            Self::Operator => &[
                ReadPlant,
                RunPlant,
                ReadCustomers,
                Care,
                Grant,
                Curate,
                ReadLedger,
                Bookkeep,
                Settle,
                ReadShares,
            ],
            Self::Support => &[ReadPlant, ReadCustomers, Care],
            Self::Auditor => &[ReadPlant, ReadCustomers, ReadLedger, ReadAudit, ReadShares],
            Self::Shop => &[
                ReadCustomers,
                Care,
                Grant,
                ReadLedger,
                Bookkeep,
                Settle,
                ReadShares,
            ],
            Self::Reseller => &[Settle, ReadShares],
            Self::Insurer => &[ReadCustomers],
        };
        permits.contains(&permit)
    }

    /// Whether it is a machine's: what a machine does is decided by its own rules, and no second person is asked.
    #[must_use]
    pub fn is_machine(self) -> bool {
        matches!(self, Self::Shop | Self::Reseller | Self::Insurer)
    }

    /// Whether offers may be its.
    #[must_use]
    pub fn sells(self) -> bool {
        matches!(self, Self::Shop | Self::Reseller)
    }
}

/// `GET /v1/operators`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Operator {
    /// The name; in the audit log, too.
    pub name: String,
    /// What he is there for.
    pub role: OperatorRole,
    /// Whether he may act.
    pub standing: Standing,
    /// How many rights, licences and transfers he may give in a day (UTC); nothing: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants_per_day: Option<u32>,
}

/// `PUT /v1/operators/{name}`: adds one, or says anew what he may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutOperator {
    /// What he is there for.
    pub role: OperatorRole,
    /// How many rights, licences and transfers he may give in a day (UTC); nothing: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants_per_day: Option<u32>,
    /// He is to enrol anew: the key he has counts no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
}
