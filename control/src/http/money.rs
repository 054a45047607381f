//! The money of accounts: what was paid, what may be bought before it is paid, what is owed.

use axum::extract::State;
use sealcast_domain::billing::money;
use sealcast_objects::AccountId;
use sealcast_objects::api::{AccountMoney, Grant, Pay, Transfer};
use sealcast_objects::id::{Text, TransferId};

use super::act::Operator;
use super::bearer::Person;
use super::error::{ApiError, Json, Path, Reply};
use super::grants::Given;
use super::openapi::{Routes, about};
use super::permits::{Bookkeep, ReadCustomers};
use super::{App, now};

pub(super) fn routes() -> Routes {
    Routes::of("Billing")
        .get(
            "/v1/accounts/{id}/money",
            money,
            "What an account has, may and owes",
        )
        .put(
            "/v1/accounts/{id}/payments/{transfer}",
            pay,
            about("An account paid, or may buy before it pays").answers::<Transfer>(201),
        )
        .get(
            "/v1/me/money",
            of_person,
            "What the account has, may and owes",
        )
}

async fn money(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Reply<AccountMoney> {
    Ok(Json(
        app.read(move |store| money::of_account(store, id)).await?,
    ))
}

async fn of_person(person: Person, State(app): State<App>) -> Reply<AccountMoney> {
    let id = person.account;
    Ok(Json(
        app.read(move |store| money::of_account(store, id)).await?,
    ))
}

/// The books are opened first, so that the transfer itself is one as any other: given, or waiting for a second person.
async fn pay(
    operator: Operator<Bookkeep>,
    State(app): State<App>,
    Path((Text(account), Text(id))): Path<(Text<AccountId>, Text<TransferId>)>,
    Json(pay): Json<Pay>,
) -> Result<Given<Transfer>, ApiError> {
    let now = now();
    let transfer = app
        .write(move |tx| money::pay(tx, now, (account, id), &pay))
        .await?;
    Ok(operator.give(&app, Grant::Transfer(transfer)).await?)
}
