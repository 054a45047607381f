//! What is in a wallet, for people and for programs.

use sealcast_objects::api::CardPayment;
use sealcast_objects::id::{PurchaseId, Text};
use sealcast_terminal::wallet::{Judgement, Order, Stage, Synced};
use serde_json::{Value, json};

use crate::admin::sales::price;
use crate::table::{or_dash, table};

/// Licences as JSON: `refusal` where one may not be used.
pub(super) fn judgements(licences: &[Judgement]) -> Value {
    let one = |of: &Judgement| {
        let mut json =
            json!({"id": of.id, "usable": of.valid.is_ok(), "acknowledged": of.acknowledged});
        if let Some(licence) = &of.licence {
            json["subject"] = json!(sealcast_objects::api::LicenceSubject::from(licence.subject));
            json["from"] = json!(licence.terms.from);
            json["until"] = json!(licence.terms.until);
            json["origin"] = json!({"kind": licence.origin.0, "id": licence.origin.1});
        }
        match &of.valid {
            Ok(valid) => json["plays_left"] = json!(valid.plays_left),
            Err(refusal) => {
                json["refusal"] = json!({"reason": refusal.name(), "detail": refusal.to_string()});
            }
        }
        json
    };
    licences.iter().map(one).collect()
}

/// Licences as a table.
pub(super) fn licences(licences: &[Judgement]) -> String {
    let row = |of: &Judgement| {
        let says = of.licence.as_ref();
        let usable = match &of.valid {
            Ok(_) => "yes".to_owned(),
            Err(refusal) => format!("no: {refusal}"),
        };
        [
            of.id.to_string(),
            or_dash(says.map(|licence| licence.subject)),
            or_dash(says.and_then(|licence| licence.terms.until)),
            or_dash(of.valid.as_ref().ok().and_then(|valid| valid.plays_left)),
            usable,
        ]
    };
    let rows: Vec<_> = licences.iter().map(row).collect();
    table(["LICENCE", "FOR", "UNTIL", "PLAYS", "USABLE"], &rows)
}

/// What a synchronization came to.
pub(super) fn synced(synced: &Synced, all: &[Judgement]) -> String {
    let mut text = format!(
        "{} new licences; list {} of those that count, good until {}\n",
        synced.new.len(),
        synced.list,
        or_dash(synced.until)
    );
    for licence in &synced.elsewhere {
        text += &format!("{licence} is for another wallet of this device\n");
    }
    text + "\n" + &licences(all)
}

/// A payment by card: how it stands, and what it is paid with.
pub(super) fn card(payment: &CardPayment) -> String {
    let mut text = format!(
        "{}: {}, {}",
        payment.purchase,
        price(&payment.price),
        payment.state.name()
    );
    let lines = [
        ("client secret", &payment.client_secret),
        ("publishable key", &payment.publishable_key),
        ("not taken last", &payment.declined),
    ];
    for (what, said) in lines {
        if let Some(said) = said {
            text += &format!("\n{what}: {said}");
        }
    }
    text
}

/// Purchases as JSON.
pub(super) fn orders_json(orders: &[(Text<PurchaseId>, &Order)]) -> Value {
    let one = |(id, order): &(Text<PurchaseId>, &Order)| {
        let certificates: Vec<_> = order
            .grants
            .iter()
            .map(|grant| {
                json!({"certificate": grant.certificate, "licence": grant.had.then_some(grant.licence)})
            })
            .collect();
        let why = match &order.stage {
            Stage::Failed(why) => Some(why),
            _ => None,
        };
        json!({
            "purchase": id, "stage": order.stage.name(), "why": why, "method": order.method, "begun": order.begun,
            "offers": order.items, "certificates": certificates,
        })
    };
    orders.iter().map(one).collect()
}

/// Purchases as a table, a line for each certificate.
pub(super) fn orders(orders: &[(Text<PurchaseId>, &Order)]) -> String {
    let mut rows = Vec::new();
    for (id, order) in orders {
        let prices: Vec<_> = order.items.iter().map(|item| price(&item.price)).collect();
        let stage = match &order.stage {
            Stage::Failed(why) => format!("failed: {why}"),
            stage => stage.name().to_owned(),
        };
        let row = |certificate, licence| {
            let prices = prices.join(" + ");
            [id.to_string(), prices, certificate, licence, stage.clone()]
        };
        if order.grants.is_empty() {
            rows.push(row("-".to_owned(), "-".to_owned()));
        }
        for grant in &order.grants {
            let licence = or_dash(grant.had.then_some(grant.licence));
            rows.push(row(grant.certificate.to_string(), licence));
        }
    }
    table(
        ["PURCHASE", "PRICE", "CERTIFICATE", "LICENCE", "STANDS"],
        &rows,
    )
}
