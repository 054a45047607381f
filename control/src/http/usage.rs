//! Usage: files that are taken in, totals, rows for bills (MD-33, MD-34, INT-03).

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Extension, Router};
use sealcast_domain::metering;
use sealcast_objects::api::{
    Role, UsageFilter, UsagePage, UsageRun, UsageSource, UsageTaken, UsageTotals,
};
use sealcast_objects::problem::{Kind, Problem};

use super::admin::Operator;
use super::error::{ApiError, Json, Query};
use super::{App, internal, now};
use crate::ca::Peer;
use crate::feed::SlaveHandle;
use crate::usage::{Carrier, Counted, FILE_MAX, Spool, Undelivered, is_of_key_server};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(
            "/v1/usage",
            get(rows).post(take).layer(DefaultBodyLimit::max(FILE_MAX)),
        )
        .route("/v1/usage/totals", get(totals))
        .route("/v1/usage/runs", get(runs))
}

async fn rows(
    _: Operator,
    State(app): State<App>,
    Query(filter): Query<UsageFilter>,
) -> Result<Json<UsagePage>, ApiError> {
    Ok(Json(
        app.read(move |store| metering::rows(store, &filter))
            .await?,
    ))
}

async fn totals(
    _: Operator,
    State(app): State<App>,
    Query(filter): Query<UsageFilter>,
) -> Result<Json<UsageTotals>, ApiError> {
    Ok(Json(
        app.read(move |store| metering::totals(store, &filter))
            .await?,
    ))
}

async fn runs(_: Operator, State(app): State<App>) -> Result<Json<Vec<UsageRun>>, ApiError> {
    Ok(Json(app.read(|store| metering::runs(store)).await?))
}

/// A file, from who may bring it: a delivery server its own, a slave those of slaves, an operator any.
async fn take(
    State(app): State<App>,
    Extension(peer): Extension<Option<Peer>>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<UsageTaken>, ApiError> {
    let bringer = app.authenticate_bringer(peer).await?;
    let body = body?;
    let counted = tokio::task::spawn_blocking(move || Counted::read(&body, now())).await;
    let counted = counted.map_err(internal)??;
    bringer.may_bring(&counted)?;
    Ok(Json(app.take_usage(counted).await?))
}

/// Who brings a file.
enum Bringer {
    Operator,
    Slave,
    DeliveryServer(u32),
}

impl Bringer {
    fn may_bring(&self, counted: &Counted) -> Result<(), Problem> {
        let file = counted.file();
        let may = match self {
            Self::Operator => true,
            Self::Slave => file.source == UsageSource::KeyServer,
            Self::DeliveryServer(server) => {
                file.source == UsageSource::DeliveryServer && file.number == *server
            }
        };
        if may {
            return Ok(());
        }
        let detail = format!(
            "a file of {} {} must come from itself, or from an operator",
            file.source.name(),
            file.number
        );
        Err(Problem::new(Kind::Forbidden, detail))
    }
}

impl App {
    async fn authenticate_bringer(&self, peer: Option<Peer>) -> Result<Bringer, Problem> {
        match &peer {
            Some(slave) if slave.role == Role::Slave => {
                self.authenticate_slave(slave).await?;
                Ok(Bringer::Slave)
            }
            Some(node) if node.role == Role::Node => Ok(Bringer::DeliveryServer(
                self.authenticate_node(node).await?.server,
            )),
            _ => {
                self.authenticate_operator(&peer).await?;
                Ok(Bringer::Operator)
            }
        }
    }

    /// Counts a file, unless it was counted before.
    async fn take_usage(&self, counted: Counted) -> Result<UsageTaken, Problem> {
        self.write(move |tx| match &counted {
            Counted::Keys(file, rows) => metering::take_keys(tx, now(), file, rows),
            Counted::Sent(file, rows) => metering::take_sent(tx, now(), file, rows),
        })
        .await
    }
}

/// The master counts the files of its own key doors.
impl Carrier for App {
    async fn carry(&self, file: Vec<u8>) -> Result<(), Undelivered> {
        let counted = tokio::task::spawn_blocking(move || Counted::read(&file, now())).await;
        let counted = counted.map_err(|error| Undelivered::Later(error.to_string()))?;
        let counted = counted.map_err(|problem| Undelivered::Never(problem.detail))?;
        match self.take_usage(counted).await {
            Ok(_) => Ok(()),
            Err(problem) if problem.kind == Kind::Conflict => {
                Err(Undelivered::Never(problem.detail))
            }
            Err(problem) => Err(Undelivered::Later(problem.detail)),
        }
    }
}

/// What a slave does with files of slaves behind it: it keeps them until the next one up has them.
pub(super) fn relay(slave: SlaveHandle, spool: Spool) -> Router {
    Router::new()
        .route(
            "/v1/usage",
            post(keep).layer(DefaultBodyLimit::max(FILE_MAX)),
        )
        .with_state((slave, spool))
}

async fn keep(
    State((slave, spool)): State<(SlaveHandle, Spool)>,
    Extension(peer): Extension<Option<Peer>>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<UsageTaken>, ApiError> {
    let Some(peer) = peer.filter(|peer| peer.role == Role::Slave) else {
        let detail =
            "a slave takes usage files of slaves behind it only: bring this one to the master";
        return Err(Problem::new(Kind::Forbidden, detail).into());
    };
    slave.may_bring(&peer).await?;
    let body = body?;
    let kept = move || {
        let name = is_of_key_server(&body)?;
        spool.put(&name, &body).map_err(|error| {
            Problem::new(
                Kind::Unavailable,
                format!("the file cannot be kept here: {error}"),
            )
        })
    };
    tokio::task::spawn_blocking(kept)
        .await
        .map_err(internal)??;
    Ok(Json(UsageTaken {
        records: 0,
        before: false,
    }))
}
