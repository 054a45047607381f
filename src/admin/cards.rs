//! Payments by card: how they stand, and how they compare with the card provider's.

use reqwest::Method;
use sealcast_objects::api::{CardDispute, CardPayment, CardReport};
use sealcast_objects::id::{PurchaseId, Text};

use super::devices::parse_id;
use super::sales::price;
use super::{Api, Done};
use crate::table::{or_dash, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum CardsCommand {
    /// Shows how payments compared with the card provider's, when they were compared last
    Show,
    /// Compares them now, and mends what can be mended
    Reconcile,
    /// Shows the payment of a purchase
    Payment {
        /// Which
        #[arg(value_parser = parse_id::<PurchaseId>)]
        purchase: Text<PurchaseId>,
    },
}

pub(super) fn run(api: &Api, command: &CardsCommand) -> Done {
    match command {
        CardsCommand::Show => {
            let report: CardReport = api.get("/v1/payments/cards")?;
            api.show(&report, show);
        }
        CardsCommand::Reconcile => {
            let path = "/v1/payments/cards/reconcile";
            let report: CardReport = api.call(Method::POST, path, None::<&()>)?;
            api.show(&report, show);
        }
        CardsCommand::Payment { purchase } => {
            let payment: CardPayment = api.get(&format!("/v1/purchases/{purchase}/card"))?;
            api.show(&payment, show_payment);
        }
    }
    Ok(())
}

fn show(report: &CardReport) -> String {
    let even = if report.is_even() {
        "nothing differs"
    } else {
        "something differs: see below"
    };
    let part = if report.complete {
        ""
    } else {
        " (there are more: the oldest were not looked at)"
    };
    let counts = &report.counts;
    let mut text = format!(
        "{}: {even}\n{} payments of the provider looked at{part}, {} mended\n{} open, {} being given back, {} in trouble, {} disputed\n",
        report.at,
        report.looked_at,
        report.mended,
        counts.open,
        counts.returning,
        counts.troubled,
        counts.disputed
    );
    let books: Vec<_> = report
        .books
        .iter()
        .map(|book| {
            [
                book.currency.clone(),
                book.booked.to_string(),
                book.paid.to_string(),
            ]
        })
        .collect();
    text.push_str(&table(["CURRENCY", "LEDGER", "PAYMENTS"], &books));
    if !report.differences.is_empty() {
        let rows: Vec<_> = report
            .differences
            .iter()
            .map(|one| [one.intent.clone(), one.purchase.clone(), one.what.clone()])
            .collect();
        text.push('\n');
        text.push_str(&table(["INTENT", "PURCHASE", "WHAT"], &rows));
    }
    text
}

fn show_payment(payment: &CardPayment) -> String {
    let row = [
        payment.purchase.to_string(),
        payment.state.name().to_owned(),
        price(&payment.price),
        or_dash(payment.intent.as_ref()),
        or_dash(payment.dispute.map(CardDispute::name)),
        or_dash(payment.declined.as_ref()),
        or_dash(payment.trouble.as_ref()),
    ];
    table(
        [
            "PURCHASE", "STATE", "PRICE", "INTENT", "DISPUTE", "DECLINED", "TROUBLE",
        ],
        &[row],
    )
}
