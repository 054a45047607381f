//! How income is divided, and what is due to those who have a share.

use std::str::FromStr;

use reqwest::Method;
use sealcast_objects::TransferId;
use sealcast_objects::api::{
    NewSplit, Parties, PartyMoney, PartyStatement, PayOut, PayOutKind, Price, Share, Split,
    SplitPage, Transfer,
};
use sealcast_objects::id::Text;
use sealcast_objects::month::Month;

use super::ledger::{Named, transfers};
use super::{Api, Done};
use crate::table::{self, Page, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum SplitCommand {
    /// Lists splits
    List(Page),
    /// Shows a split
    Show {
        /// Its name
        name: String,
    },
    /// Adds a split, which never changes: other shares are another split
    Put {
        /// Its name: letters, digits, '-', '_', '.'
        name: String,
        /// Who gets how many parts of the sum of all: house=70 corner=30
        #[arg(required = true, value_name = "PARTY=PARTS")]
        shares: Vec<PartOf>,
    },
}

/// What one party gets.
#[derive(Clone, Debug)]
pub(super) struct PartOf(Share);

impl FromStr for PartOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: write PARTY=PARTS, house=70");
        let (party, parts) = text.split_once('=').ok_or_else(wrong)?;
        Ok(Self(Share {
            party: party.to_owned(),
            parts: parts.parse().map_err(|_| wrong())?,
        }))
    }
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum PartyCommand {
    /// Lists what is due to whom
    List,
    /// Shows what was booked for a party in a month
    Statement {
        /// Its name
        name: String,
        /// Which month, 2026-11
        month: Month,
        /// As CSV
        #[arg(long)]
        csv: bool,
    },
    /// Pays shares out
    PayOut(Payment),
    /// What a shop took is handed over
    HandOver(Payment),
    /// What a shop took is counted as paid out to it: no money moves
    Offset(Payment),
}

/// Who is paid how much.
#[derive(Debug, clap::Args)]
pub(super) struct Payment {
    /// The party's name
    name: String,
    /// How much, in minor units: 499 with EUR is 4.99 EUR
    amount: u64,
    /// Three letters (ISO 4217)
    currency: String,
    #[command(flatten)]
    named: Named,
}

pub(super) fn splits(api: &Api, command: &SplitCommand) -> Done {
    let show = |split: &Split| show_splits(std::slice::from_ref(split));
    match command {
        SplitCommand::List(page) => {
            let page: SplitPage = api.get(&page.of("/v1/splits", &[]))?;
            api.show(&page, |page| {
                table::page(&show_splits(&page.splits), page.next.as_ref())
            });
        }
        SplitCommand::Show { name } => {
            let split: Split = api.get(&format!("/v1/splits/{name}"))?;
            api.show(&split, show);
        }
        SplitCommand::Put { name, shares } => {
            let new = NewSplit {
                shares: shares.iter().map(|PartOf(share)| share.clone()).collect(),
            };
            let path = format!("/v1/splits/{name}");
            let split: Split = api.call(Method::PUT, &path, Some(&new))?;
            api.show(&split, show);
        }
    }
    Ok(())
}

pub(super) fn parties(api: &Api, command: &PartyCommand) -> Done {
    let (kind, payment) = match command {
        PartyCommand::List => {
            let parties: Parties = api.get("/v1/parties")?;
            api.show(&parties, |all| show_parties(&all.parties));
            return Ok(());
        }
        PartyCommand::Statement { name, month, csv } => {
            let path = format!("/v1/parties/{name}/statements/{month}");
            let statement: PartyStatement = api.get(&path)?;
            if *csv {
                print!("{}", as_csv(&statement));
            } else {
                api.show(&statement, show_statement);
            }
            return Ok(());
        }
        PartyCommand::PayOut(payment) => (PayOutKind::Share, payment),
        PartyCommand::HandOver(payment) => (PayOutKind::HandOver, payment),
        PartyCommand::Offset(payment) => (PayOutKind::Offset, payment),
    };
    let id: Text<TransferId> = payment.named.id();
    let pay = PayOut {
        kind,
        price: Price {
            amount: payment.amount,
            currency: payment.currency.clone(),
        },
        note: payment.named.note().to_owned(),
    };
    let path = format!("/v1/parties/{}/payouts/{id}", payment.name);
    api.give(&path, &pay, |made: &Transfer| {
        transfers(std::slice::from_ref(made))
    })
}

fn show_splits(splits: &[Split]) -> String {
    let row = |split: &Split| {
        let shares = split.shares.iter();
        let shares: Vec<_> = shares
            .map(|share| format!("{}={}", share.party, share.parts))
            .collect();
        [
            split.name.clone(),
            shares.join(" "),
            split.added.to_string(),
        ]
    };
    let rows: Vec<_> = splits.iter().map(row).collect();
    table(["SPLIT", "SHARES", "ADDED"], &rows)
}

fn show_parties(parties: &[PartyMoney]) -> String {
    let row = |of: &PartyMoney| {
        [
            of.party.clone(),
            of.currency.clone(),
            of.shares.to_string(),
            of.taken.to_string(),
            of.due.to_string(),
        ]
    };
    let rows: Vec<_> = parties.iter().map(row).collect();
    table(["PARTY", "CURRENCY", "SHARES", "TAKEN", "DUE"], &rows)
}

fn show_statement(statement: &PartyStatement) -> String {
    let mut text = format!("{} in {}\n", statement.party, statement.month);
    for of in &statement.currencies {
        text += &format!(
            "\n{}: due before {}, after {}\n{}",
            of.currency,
            of.before,
            of.after,
            transfers(&of.transfers)
        );
    }
    text
}

fn as_csv(statement: &PartyStatement) -> String {
    let mut text = "party,month,currency,number,transfer,at,debit,credit,amount,note\n".to_owned();
    for of in &statement.currencies {
        for made in &of.transfers {
            // Whoever paid chose the note: quotes in it are doubled (RFC 4180).
            let note = made.note.replace('"', "\"\"");
            text += &format!(
                "{},{},{},{},{},{},{},{},{},\"{note}\"\n",
                statement.party,
                statement.month,
                of.currency,
                made.number,
                made.id,
                made.at,
                made.debit,
                made.credit,
                made.amount
            );
        }
    }
    text
}
