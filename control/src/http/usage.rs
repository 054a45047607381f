//! Usage: files that are taken in, totals, rows for bills (MD-33, MD-34, INT-03).

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::request::Parts;
use sealcast_domain::{Tx, metering};
use sealcast_objects::api::{
    Role, UsageFilter, UsagePage, UsageRun, UsageSource, UsageTaken, UsageTotals,
};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::{AccountId, DeviceId};

use super::act::Operator;
use super::error::{ApiError, Json, Query, Whole};
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::permits::{ReadPlant, RunPlant};
use super::{App, internal, now};
use crate::ca::Peer;
use crate::feed::{SlaveHandle, key_of};
use crate::usage::{Carrier, Counted, FILE_MAX, Spool, Undelivered, of_key_server};

pub(super) fn routes() -> Routes {
    Routes::of("Usage")
        .get("/v1/usage", rows, "Rows for bills")
        .post("/v1/usage", take, "Takes in a file of what was counted")
        .get("/v1/usage/totals", totals, "Totals")
        .get("/v1/usage/runs", runs, "Runs of programs that count")
        .bodies_up_to(FILE_MAX)
}

async fn rows(
    _: Operator<ReadPlant>,
    State(app): State<App>,
    pages: Pages<Place, UsageFilter>,
) -> Result<Paged<UsagePage>, ApiError> {
    let (filter, most) = (pages.filter, pages.most);
    let after = pages
        .after
        .map(|(Text(account), Text(device), channel, epoch)| (account, device, channel, epoch));
    let rows = app
        .read(move |store| metering::rows(store, &filter, after, most))
        .await?;
    pages.answer(
        rows,
        |last| (last.account, last.device, last.channel, last.first_epoch),
        |rows, next| UsagePage { rows, next },
    )
}

/// Of the last row of a page: account, device, channel, first epoch.
type Place = (Text<AccountId>, Text<DeviceId>, u16, u64);

async fn totals(
    _: Operator<ReadPlant>,
    State(app): State<App>,
    Query(filter): Query<UsageFilter>,
) -> Result<Json<UsageTotals>, ApiError> {
    Ok(Json(
        app.read(move |store| metering::totals(store, &filter))
            .await?,
    ))
}

async fn runs(
    _: Operator<ReadPlant>,
    State(app): State<App>,
) -> Result<Json<Vec<UsageRun>>, ApiError> {
    Ok(Json(app.read(|store| metering::runs(store)).await?))
}

/// A file, from who may bring it: a delivery server its own, a slave those of slaves, an operator any.
async fn take(
    bringer: Bringer,
    State(app): State<App>,
    body: Result<Whole, ApiError>,
) -> Result<Json<UsageTaken>, ApiError> {
    let Whole(body) = body?;
    let read = move || Counted::read(&body, now()).map(|counted| (counted, body));
    let read = tokio::task::spawn_blocking(read).await;
    let (counted, body) = read.map_err(internal)??;
    bringer.may_bring(&counted)?;
    Ok(Json(app.take_usage(counted, body).await?))
}

/// Who brings a file. Nobody's body is read before it is known.
pub(super) enum Bringer {
    Operator,
    Slave,
    DeliveryServer(u32),
}

impl FromRequestParts<App> for Bringer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let peer = Peer::asking(&parts.extensions);
        Ok(match &peer {
            Some(slave) if slave.role == Role::Slave => {
                app.authenticate_slave(slave).await?;
                Self::Slave
            }
            Some(node) if node.role == Role::Node => {
                Self::DeliveryServer(app.authenticate_node(node).await?.server)
            }
            _ => {
                Operator::<RunPlant>::from_request_parts(parts, app).await?;
                Self::Operator
            }
        })
    }
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
    /// Counts a file, unless it was counted before; and keeps it, where files are kept. Whoever brings it brings it again until both are done, and
    /// one that is refused is not kept.
    async fn take_usage(
        &self,
        counted: Counted,
        body: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<UsageTaken, Problem> {
        let name = counted.name().to_owned();
        let app = self.clone();
        let count = move |files: Vec<Counted>| async move {
            let count = move |tx: &mut dyn Tx| Counted::take(&files, tx, now());
            app.write(count).await
        };
        let taken = self.intake().take(counted, count).await?;
        if let Some(archive) = self.usage_archive().cloned() {
            let kept = tokio::task::spawn_blocking(move || archive.keep(&name, body.as_ref()));
            kept.await.map_err(internal)?.map_err(|error| {
                let detail = format!("the file cannot be kept in the archive: {error}");
                Problem::new(Kind::Unavailable, detail)
            })?;
        }
        Ok(taken)
    }
}

/// The master counts the files of its own key doors.
impl Carrier for App {
    async fn carry(&self, file: Vec<u8>) -> Result<(), Undelivered> {
        let read = move || Counted::read(&file, now()).map(|counted| (counted, file));
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|error| Undelivered::Later(error.to_string()))?;
        let (counted, file) = read.map_err(|problem| Undelivered::Never(problem.detail))?;
        match self.take_usage(counted, file).await {
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
            axum::routing::post(keep).layer(DefaultBodyLimit::max(FILE_MAX)),
        )
        .with_state((slave, spool))
}

type Relay = (SlaveHandle, Spool);

/// A slave behind this one.
struct Behind;

impl FromRequestParts<Relay> for Behind {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, relay: &Relay) -> Result<Self, ApiError> {
        let peer = Peer::asking(&parts.extensions);
        let Some(key) = peer.as_ref().and_then(key_of) else {
            let detail =
                "a slave takes usage files of slaves behind it only: bring this one to the master";
            return Err(Problem::new(Kind::Forbidden, detail).into());
        };
        relay.0.may_bring(key).await?;
        Ok(Self)
    }
}

async fn keep(
    _: Behind,
    State((_, spool)): State<Relay>,
    body: Result<Whole, ApiError>,
) -> Result<Json<UsageTaken>, ApiError> {
    let Whole(body) = body?;
    let kept = move || {
        let (name, records) = of_key_server(&body)?;
        let kept = spool.put(&name, &body).map(|()| records);
        kept.map_err(|error| {
            let detail = format!("the file cannot be kept here: {error}");
            Problem::new(Kind::Unavailable, detail)
        })
    };
    let kept = tokio::task::spawn_blocking(kept).await;
    Ok(Json(UsageTaken {
        records: kept.map_err(internal)??,
        before: false,
        late: 0,
    }))
}
