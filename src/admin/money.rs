//! What accounts have paid, may buy before they pay, and owe.

use sealcast_objects::api::{AccountMoney, Pay, PaymentKind, Price, Transfer};
use sealcast_objects::id::Text;
use sealcast_objects::{AccountId, TransferId};

use super::devices::parse_id;
use super::ledger::{Named, transfers};
use super::{Api, Done};
use crate::table::table;

#[derive(Debug, clap::Subcommand)]
pub(super) enum MoneyCommand {
    /// Shows what an account has, may and owes
    Show {
        /// Which
        #[arg(value_parser = parse_id::<AccountId>)]
        account: Text<AccountId>,
    },
    /// Money came in that an account may spend
    PayIn(Payment),
    /// What came in and was not spent goes back
    PayOut(Payment),
    /// Money came in for bills: it counts for the oldest first
    PayBill(Payment),
    /// An account may buy for so much more before it pays
    Lend(Payment),
    /// For so much less
    TakeBack(Payment),
}

/// Who pays how much.
#[derive(Debug, clap::Args)]
pub(super) struct Payment {
    /// Which account
    #[arg(value_parser = parse_id::<AccountId>)]
    account: Text<AccountId>,
    /// How much, in minor units: 499 with EUR is 4.99 EUR
    amount: u64,
    /// Three letters (ISO 4217)
    currency: String,
    #[command(flatten)]
    named: Named,
}

pub(super) fn run(api: &Api, command: &MoneyCommand) -> Done {
    let (kind, payment) = match command {
        MoneyCommand::Show { account } => {
            let money: AccountMoney = api.get(&format!("/v1/accounts/{account}/money"))?;
            api.show(&money, show);
            return Ok(());
        }
        MoneyCommand::PayIn(payment) => (PaymentKind::PayIn, payment),
        MoneyCommand::PayOut(payment) => (PaymentKind::PayOut, payment),
        MoneyCommand::PayBill(payment) => (PaymentKind::PayBill, payment),
        MoneyCommand::Lend(payment) => (PaymentKind::Lend, payment),
        MoneyCommand::TakeBack(payment) => (PaymentKind::TakeBack, payment),
    };
    let id: Text<TransferId> = payment.named.id();
    let pay = Pay {
        kind,
        price: Price {
            amount: payment.amount,
            currency: payment.currency.clone(),
        },
        note: payment.named.note().to_owned(),
    };
    let path = format!("/v1/accounts/{}/payments/{id}", payment.account);
    api.give(&path, &pay, |made: &Transfer| {
        transfers(std::slice::from_ref(made))
    })
}

fn show(all: &AccountMoney) -> String {
    let row = |money: &sealcast_objects::api::Money| {
        [
            money.currency.clone(),
            money.balance.to_string(),
            money.reserved.to_string(),
            money.line.to_string(),
            money.credit.to_string(),
            money.owed.to_string(),
        ]
    };
    let rows: Vec<_> = all.money.iter().map(row).collect();
    table(
        ["CURRENCY", "BALANCE", "RESERVED", "LINE", "CREDIT", "OWED"],
        &rows,
    )
}
