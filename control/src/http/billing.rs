//! Billing: tariffs, charges, months that are closed, bills. The bills themselves are made by `server/billing.rs`.

use std::marker::PhantomData;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::billing::owed::{self, Filter};
use sealcast_domain::billing::{bills, charges, months, tariffs};
use sealcast_domain::ledger::Done;
use sealcast_objects::AccountId;
use sealcast_objects::api::{
    AccountTariffs, AssignTariff, Bill, BillPage, BillingMonth, BillingMonths, Charge, ChargePage,
    CloseMonth, NewCharge, NewTariff, Tariff, TariffPage,
};
use sealcast_objects::id::{BillId, ChargeId, Text};
use sealcast_objects::month::Month;
use sealcast_objects::time::Timestamp;
use serde::Deserialize;

use super::act::{Log, Operator};
use super::bearer::Person;
use super::error::{ApiError, Json, Path, Reply};
use super::grants::status;
use super::openapi::{Routes, about};
use super::pages::{Paged, Pages};
use super::permits::{Bookkeep, ReadCustomers, ReadLedger, Rule};
use super::{App, now};

pub(super) fn routes() -> Routes {
    Routes::of("Billing")
        .get("/v1/tariffs", list_tariffs, "Tariffs")
        .get("/v1/tariffs/{name}", tariff, "A tariff")
        .put(
            "/v1/tariffs/{name}",
            put_tariff,
            about("Adds a tariff, which never changes")
                .answers::<Tariff>(200)
                .answers::<Tariff>(201),
        )
        .get(
            "/v1/accounts/{id}/tariff",
            assigned,
            "Which tariff an account has, from when on",
        )
        .put(
            "/v1/accounts/{id}/tariff",
            assign,
            "Says which tariff an account has, and how it pays",
        )
        .get(
            "/v1/accounts/{id}/charges",
            list_charges,
            "What goes on an account's bills besides what was counted",
        )
        .put(
            "/v1/accounts/{id}/charges/{charge}",
            charge,
            about("Charges an account, once")
                .answers::<Charge>(200)
                .answers::<Charge>(201),
        )
        .get("/v1/billing/months", list_months, "Months that are closed")
        .get(
            "/v1/billing/months/{month}",
            month,
            "A month that is closed",
        )
        .put(
            "/v1/billing/months/{month}",
            close,
            about("Closes a month: its bills are made")
                .answers::<BillingMonth>(200)
                .answers::<BillingMonth>(201),
        )
        .get(
            "/v1/accounts/{id}/bill",
            preview,
            "What the bill of this month would be, if it ended now",
        )
        .get(
            "/v1/me/bill",
            preview_of_person,
            about("What the bill of this month would be, if it ended now").refuses(404),
        )
        .get(
            "/v1/bills",
            list_bills,
            "Bills, and what is still to be paid",
        )
        .get("/v1/bills/{id}", bill, "A bill, as it was made")
        .get("/v1/me/bills", bills_of_person, "The bills of the account")
        .get("/v1/me/bills/{id}", bill_of_person, "One of these")
}

/// A `T` as it is kept, byte for byte.
#[derive(Debug)]
pub(super) struct Kept<T>(Vec<u8>, PhantomData<T>);

impl<T> IntoResponse for Kept<T> {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

async fn list_tariffs(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    pages: Pages<String>,
) -> Result<Paged<TariffPage>, ApiError> {
    let (after, most) = (pages.after.clone(), pages.most);
    let tariffs = app
        .read(move |store| tariffs::page(store, after.as_deref(), most))
        .await?;
    pages.answer(
        tariffs,
        |last| last.name.clone(),
        |tariffs, next| TariffPage { tariffs, next },
    )
}

async fn tariff(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Reply<Tariff> {
    Ok(Json(
        app.read(move |store| tariffs::get(store, &name)).await?,
    ))
}

async fn put_tariff(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(new): Json<NewTariff>,
) -> Result<(StatusCode, Json<Tariff>), ApiError> {
    let now = now();
    let put = operator.act_if(&app, Log::Both, move |tx| {
        let (done, tariff) = tariffs::put(tx, now, &name, &new)?;
        let act = Act::on("tariff.put", &tariff.name)
            .with("currency", &tariff.terms.currency)
            .with("rates", tariff.terms.rates.len());
        Ok((
            (status(done), Json(tariff)),
            (done == Done::Now).then_some(act),
        ))
    });
    Ok(put.await?)
}

async fn assigned(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Reply<AccountTariffs> {
    let tariffs = app
        .read(move |store| tariffs::of_account(store, id))
        .await?;
    Ok(Json(AccountTariffs { tariffs }))
}

async fn assign(
    operator: Operator<Bookkeep>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    Json(asked): Json<AssignTariff>,
) -> Reply<AccountTariffs> {
    let now = now();
    let assigned = operator.act_if(&app, Log::Both, move |tx| {
        let (done, tariffs) = tariffs::assign(tx, now, id, &asked)?;
        let from = asked.from.unwrap_or_else(|| Month::of(now));
        let act = Act::on("tariff.assign", Text(id))
            .with("tariff", &asked.tariff)
            .with("paying", asked.paying.name())
            .with("from", from);
        Ok((
            AccountTariffs { tariffs },
            (done == Done::Now).then_some(act),
        ))
    });
    Ok(Json(assigned.await?))
}

async fn list_charges(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    pages: Pages<(Timestamp, Text<ChargeId>)>,
) -> Result<Paged<ChargePage>, ApiError> {
    let after = pages.after.map(|(at, Text(id))| (at, id));
    let most = pages.most;
    let charges = app
        .read(move |store| charges::page(store, id, after, most))
        .await?;
    pages.answer(
        charges,
        |last| (last.at, last.id),
        |charges, next| ChargePage { charges, next },
    )
}

async fn charge(
    operator: Operator<Bookkeep>,
    State(app): State<App>,
    Path((Text(account), Text(id))): Path<(Text<AccountId>, Text<ChargeId>)>,
    Json(new): Json<NewCharge>,
) -> Result<(StatusCode, Json<Charge>), ApiError> {
    let now = now();
    let charged = operator.act_if(&app, Log::Both, move |tx| {
        let (done, charge) = charges::put(tx, now, (account, id), &new)?;
        let mut act = Act::on("charge.put", charge.id)
            .with("account", charge.account)
            .with("kind", new.kind.name())
            .with("note", format_args!("{:?}", new.note));
        if let Some(amount) = new.amount {
            act = act.with("amount", amount);
        }
        Ok((
            (status(done), Json(charge)),
            (done == Done::Now).then_some(act),
        ))
    });
    Ok(charged.await?)
}

async fn list_months(_: Operator<ReadLedger>, State(app): State<App>) -> Reply<BillingMonths> {
    let months = app.read(|store| months::all(store)).await?;
    Ok(Json(BillingMonths { months }))
}

async fn month(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Path(month): Path<Month>,
) -> Reply<BillingMonth> {
    Ok(Json(
        app.read(move |store| months::get(store, month)).await?,
    ))
}

async fn close(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(month): Path<Month>,
    Json(CloseMonth { anyway }): Json<CloseMonth>,
) -> Result<(StatusCode, Json<BillingMonth>), ApiError> {
    let now = now();
    let closed = operator.act_if(&app, Log::Both, move |tx| {
        let done = months::close(tx, now, month, anyway)?;
        let act = Act::on("month.close", month).with("anyway", anyway);
        let closed = Json(months::get(tx, month)?);
        Ok(((status(done), closed), (done == Done::Now).then_some(act)))
    });
    Ok(closed.await?)
}

/// Whose, and when.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Of {
    /// Of this account.
    #[serde(default)]
    account: Option<Text<AccountId>>,
    /// Of this month.
    #[serde(default)]
    month: Option<Month>,
}

impl App {
    async fn bills<F>(
        &self,
        filter: Filter,
        pages: Pages<u64, F>,
    ) -> Result<Paged<BillPage>, ApiError> {
        let (after, most, now) = (pages.after.unwrap_or(0), pages.most, now());
        let bills = self
            .read(move |store| owed::page(store, now, filter, after, most))
            .await?;
        pages.answer(
            bills,
            |last| last.number,
            |bills, next| BillPage { bills, next },
        )
    }
}

async fn list_bills(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    pages: Pages<u64, Of>,
) -> Result<Paged<BillPage>, ApiError> {
    let filter = Filter {
        account: pages.filter.account.map(|Text(id)| id),
        month: pages.filter.month,
    };
    app.bills(filter, pages).await
}

async fn bills_of_person(
    person: Person,
    State(app): State<App>,
    pages: Pages<u64>,
) -> Result<Paged<BillPage>, ApiError> {
    let filter = Filter {
        account: Some(person.account),
        month: None,
    };
    app.bills(filter, pages).await
}

async fn preview(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Reply<Bill> {
    let now = now();
    Ok(Json(
        app.read(move |store| bills::preview(store, now, id))
            .await?,
    ))
}

async fn preview_of_person(person: Person, State(app): State<App>) -> Reply<Bill> {
    let (now, id) = (now(), person.account);
    Ok(Json(
        app.read(move |store| bills::preview(store, now, id))
            .await?,
    ))
}

async fn bill(
    _: Operator<ReadLedger>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<BillId>>,
) -> Result<Kept<Bill>, ApiError> {
    let kept = app.read(move |store| bills::get(store, id, None)).await?;
    Ok(Kept(kept, PhantomData))
}

async fn bill_of_person(
    person: Person,
    State(app): State<App>,
    Path(Text(id)): Path<Text<BillId>>,
) -> Result<Kept<Bill>, ApiError> {
    let account = Some(person.account);
    let kept = app
        .read(move |store| bills::get(store, id, account))
        .await?;
    Ok(Kept(kept, PhantomData))
}
