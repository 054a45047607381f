//! Administration: operators.

use axum::extract::State;
use sealcast_domain::audit::Act;
use sealcast_domain::operators;
use sealcast_objects::api::{
    Grant, NamedOperator, NewCode, Operator as OperatorRow, PutOperator, SetStanding,
};

use super::App;
use super::act::{Answered, Once, Operator};
use super::codes::{CodeLife, check_name};
use super::error::{ApiError, Json, Path, Query, Reply};
use super::grants::Given;
use super::openapi::Routes;
use super::permits::{ReadPlant, Rule};

pub(super) fn routes() -> Routes {
    Routes::of("Operators")
        .get("/v1/operators", list, "All operators")
        .put(
            "/v1/operators/{name}",
            put_operator,
            "An operator and his role",
        )
        .patch("/v1/operators/{name}", set, "An operator's standing")
        .post(
            "/v1/operators/{name}/code",
            code,
            "A code with which he enrols",
        )
}

async fn list(_: Operator<ReadPlant>, State(app): State<App>) -> Reply<Vec<OperatorRow>> {
    Ok(Json(app.read(|store| operators::list(store)).await?))
}

async fn put_operator(
    operator: Operator<Rule>,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(put): Json<PutOperator>,
) -> Result<Given<OperatorRow>, ApiError> {
    check_name("operator", &name)?;
    let grant = Grant::Operator(NamedOperator { name, put });
    Ok(operator.give(&app, grant).await?)
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
