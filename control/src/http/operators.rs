//! Administration: operators.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use sealcast_domain::audit::Act;
use sealcast_domain::operators;
use sealcast_objects::api::{Grant, NewCode, Operator as OperatorRow, PutOperator, SetStanding};

use super::App;
use super::act::{Answered, Once, Operator};
use super::codes::{CodeLife, check_name};
use super::error::{ApiError, Json, Path, Query, Reply};
use super::grants::Given;
use super::permits::{ReadPlant, Rule};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/operators", get(list))
        .route("/v1/operators/{name}", put(put_operator).patch(set))
        .route("/v1/operators/{name}/code", post(code))
}

async fn list(_: Operator<ReadPlant>, State(app): State<App>) -> Reply<Vec<OperatorRow>> {
    Ok(Json(app.read(|store| operators::list(store)).await?))
}

async fn put_operator(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(put): Json<PutOperator>,
) -> Result<Given, ApiError> {
    check_name("operator", &name)?;
    Ok(operator.give(&app, Grant::Operator { name, put }).await?)
}

async fn set(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Reply<OperatorRow> {
    let set = operator.act(&app, move |tx| {
        let set = operators::set_standing(tx, &name, standing)?;
        let act = Act::on("operator.set", name).with("standing", standing.name());
        Ok((set, act))
    });
    let set = set.await?;
    app.operators_changed().await?;
    Ok(Json(set))
}

/// A code for one who has not enrolled; a former code of his counts no more.
async fn code(
    once: Once<Rule>,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(life): Query<CodeLife>,
) -> Result<Answered<NewCode>, ApiError> {
    let code = life.code(&app);
    let given = once.act(&app, &(), move |tx| {
        operators::check_new(tx, &name)?;
        code.give_operator(tx, &name)
    });
    Ok(given.await?)
}
