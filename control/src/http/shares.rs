//! How income is divided, and what is due to those who have a share.

use axum::extract::State;
use axum::http::StatusCode;
use sealcast_domain::audit::Act;
use sealcast_domain::ledger::Done;
use sealcast_domain::shares;
use sealcast_objects::api::{
    Grant, NewSplit, OperatorRole, Parties, PartyStatement, PayOut, Split, SplitPage, Transfer,
};
use sealcast_objects::id::{Text, TransferId};
use sealcast_objects::month::Month;
use sealcast_objects::problem::{Kind, Problem};

use super::act::{Log, Operator};
use super::error::{ApiError, Json, Path, Reply};
use super::grants::{Given, status};
use super::openapi::{Routes, about};
use super::pages::{Paged, Pages};
use super::permits::{Bookkeep, ReadLedger, ReadShares, Rule};
use super::{App, now};

pub(super) fn routes() -> Routes {
    Routes::of("Billing")
        .get("/v1/splits", list, "How income is divided")
        .get("/v1/splits/{name}", one, "A split")
        .put(
            "/v1/splits/{name}",
            put,
            about("Adds a split, which never changes")
                .answers::<Split>(200)
                .answers::<Split>(201),
        )
        .get("/v1/parties", parties, "What is due to whom")
        .get(
            "/v1/parties/{name}/statements/{month}",
            statement,
            "What was booked for a party in a month",
        )
        .put(
            "/v1/parties/{name}/payouts/{transfer}",
            pay_out,
            about("A party is paid, or hands over").answers::<Transfer>(201),
        )
}

async fn list(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    pages: Pages<String>,
) -> Result<Paged<SplitPage>, ApiError> {
    let (after, most) = (pages.after.clone(), pages.most);
    let splits = app
        .read(move |store| shares::page(store, after.as_deref(), most))
        .await?;
    pages.answer(
        splits,
        |last| last.name.clone(),
        |splits, next| SplitPage { splits, next },
    )
}

async fn one(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Reply<Split> {
    Ok(Json(
        app.read(move |store| shares::get(store, &name)).await?,
    ))
}

async fn put(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(new): Json<NewSplit>,
) -> Result<(StatusCode, Json<Split>), ApiError> {
    let now = now();
    let put = operator.act_if(&app, Log::Both, move |tx| {
        let (done, split) = shares::put(tx, now, &name, &new)?;
        let act = Act::on("split.put", &split.name).with("parties", split.shares.len());
        Ok((
            (status(done), Json(split)),
            (done == Done::Now).then_some(act),
        ))
    });
    Ok(put.await?)
}

async fn parties(_: Operator<ReadLedger>, State(app): State<App>) -> Reply<Parties> {
    let parties = app.read(|store| shares::parties(store)).await?;
    Ok(Json(Parties { parties }))
}

async fn statement(
    operator: Operator<ReadShares>,
    State(app): State<App>,
    Path((name, month)): Path<(String, Month)>,
) -> Reply<PartyStatement> {
    if operator.role() == OperatorRole::Reseller && name != operator.name() {
        let detail = format!(
            "{} sees its own statements, and there is no other",
            operator.name()
        );
        return Err(Problem::new(Kind::NotFound, detail).into());
    }
    Ok(Json(
        app.read(move |store| shares::statement(store, &name, month))
            .await?,
    ))
}

/// The books are opened first, so that the transfer itself is one as any other.
async fn pay_out(
    operator: Operator<Bookkeep>,
    State(app): State<App>,
    Path((name, Text(id))): Path<(String, Text<TransferId>)>,
    Json(pay): Json<PayOut>,
) -> Result<Given<Transfer>, ApiError> {
    let now = now();
    let transfer = app
        .write(move |tx| shares::pay_out(tx, now, (&name, id), &pay))
        .await?;
    Ok(operator.give(&app, Grant::Transfer(transfer)).await?)
}
