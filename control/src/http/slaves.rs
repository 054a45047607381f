//! Slaves: administration, where they stand, and the master as their parent.

use axum::extract::State;
use sealcast_domain::audit::Act;
use sealcast_domain::slaves;
use sealcast_objects::api::{NewCode, NewSlave, Role, SetStanding, Slave, SlaveHeld, SlaveStatus};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::authority::SlaveQuorum;
use sealcast_proto::door::Update;
use sealcast_proto::feed::SlaveState;
use sealcast_proto::ids::{ChannelId, ConnId, SlaveId};
use sealcast_proto::wire::feed::{FromParent, SlaveKey, ToParent};
use sealcast_proto::wire::link::Frame;
use tokio::sync::mpsc;

use super::act::{Answered, Once, Operator, listed};
use super::codes::CodeLife;
use super::error::{ApiError, Json, Path, Query};
use super::openapi::Routes;
use super::permits::{ReadPlant, RunPlant};
use super::{App, internal, problem};
use crate::ca::Peer;
use crate::feed::{Parent, key_of};

pub(super) fn routes() -> Routes {
    Routes::of("Plant")
        .get("/v1/slaves", list, "All slaves")
        .post("/v1/slaves", put, "A slave, new or with another code")
        .patch("/v1/slaves/{slave}", set, "A slave's standing")
}

async fn list(
    _: Operator<ReadPlant>,
    State(app): State<App>,
) -> Result<Json<Vec<Slave>>, ApiError> {
    Ok(Json(app.read(|store| slaves::list(store)).await?))
}

async fn put(
    once: Once<RunPlant>,
    State(app): State<App>,
    Query(life): Query<CodeLife>,
    Json(new): Json<NewSlave>,
) -> Result<Answered<NewCode>, ApiError> {
    let (code, asked) = (life.code(&app), new.clone());
    let put = once.act(&app, &asked, move |tx| {
        slaves::put(tx, &new)?;
        let code = code.give(tx, Role::Slave, &new.slave.to_string())?;
        let act = Act::on("slave.put", new.slave).with("hosts", listed(&new.hosts));
        Ok((code, act))
    });
    Ok(put.await?)
}

async fn set(
    operator: Operator<RunPlant>,
    State(app): State<App>,
    Path(slave): Path<u32>,
    Json(SetStanding { standing }): Json<SetStanding>,
) -> Result<Json<Slave>, ApiError> {
    let set = operator.act(&app, move |tx| {
        slaves::set_standing(tx, slave, standing)?;
        let act = Act::on("slave.set", slave).with("standing", standing.name());
        Ok((slaves::get(tx, slave)?, act))
    });
    let known = set.await?;
    app.slaves_changed().await?;
    Ok(Json(known))
}

/// Where the slaves stand.
pub(super) struct Slaves(Vec<(u32, Option<SlaveState>)>);

impl Slaves {
    pub(super) fn status(&self) -> Vec<SlaveStatus> {
        let status = |(slave, state): &(u32, Option<SlaveState>)| SlaveStatus {
            slave: *slave,
            linked: state.is_some(),
            parent: state
                .as_ref()
                .and_then(|state| state.parent)
                .map(|parent| parent.0),
            leased: state.as_ref().is_some_and(|state| state.leased),
            doors: state
                .as_ref()
                .map_or_else(Vec::new, |state| state.doors.clone()),
        };
        self.0.iter().map(status).collect()
    }

    pub(super) fn holding(&self, channel: ChannelId) -> Vec<SlaveHeld> {
        let held = |(slave, state): &(u32, Option<SlaveState>)| SlaveHeld {
            slave: *slave,
            epoch: state
                .as_ref()
                .and_then(|state| state.held.get(&channel))
                .map(|epoch| epoch.0),
        };
        self.0.iter().map(held).collect()
    }
}

impl App {
    pub(super) async fn slave_states(&self) -> Result<Slaves, Problem> {
        let active = self.read(|store| slaves::roster(store)).await?;
        let linked = self.publisher().slaves();
        let state = |slave: u32| {
            let mut linked = linked.iter();
            let found = linked.find(|(id, _)| *id == SlaveId(slave));
            (slave, found.map(|(_, state)| state.clone()))
        };
        Ok(Slaves(
            active.into_iter().map(|(slave, _)| state(slave)).collect(),
        ))
    }

    /// The feed and the authority hear of all slaves as they are.
    pub(crate) async fn slaves_changed(&self) -> Result<(), Problem> {
        let _in_order = self.in_order().await;
        let active = self.store().read(|store| slaves::roster(store)).await;
        let active = active.map_err(problem)?;
        self.publisher().tell(Update::Roster(roster(&active)));
        let quorum = SlaveQuorum {
            known: active.iter().map(|(slave, _)| SlaveId(*slave)).collect(),
            needed: self.slaves_needed(),
        };
        self.authority().set_slaves(quorum).await.map_err(internal)
    }

    pub(crate) async fn authenticate_slave(&self, peer: &Peer) -> Result<Slave, Problem> {
        let Some(SlaveKey {
            slave: SlaveId(slave),
            ..
        }) = key_of(peer)
        else {
            let detail = "the certificate names no slave";
            return Err(Problem::new(Kind::Unauthenticated, detail));
        };
        let key = peer.public_key.clone();
        self.store()
            .read(move |store| slaves::authenticate(store, slave, &key))
            .await
            .map_err(problem)
    }
}

/// Slaves as the feed knows them.
pub(crate) fn roster(active: &[(u32, [u8; 32])]) -> Vec<SlaveKey> {
    let key = |(slave, key): &(u32, [u8; 32])| SlaveKey {
        slave: SlaveId(*slave),
        key: *key,
    };
    active.iter().map(key).collect()
}

/// The master feeds slaves.
impl Parent for App {
    fn conn(&self) -> ConnId {
        self.authority().conn()
    }

    async fn linked(
        &self,
        conn: ConnId,
        peer: &Peer,
        key: SlaveKey,
        outbox: mpsc::Sender<Frame<FromParent>>,
    ) -> Result<(), Problem> {
        self.authenticate_slave(peer).await?;
        // The roster may lag behind the store for a moment.
        if self.publisher().linked(conn, key, outbox) {
            Ok(())
        } else {
            let detail = "this slave is only just becoming known: try again";
            Err(Problem::new(Kind::Forbidden, detail))
        }
    }

    async fn message(&self, conn: ConnId, message: ToParent) -> bool {
        match self.publisher().handle(conn, message) {
            Some(up) => self.authority().slave(up).await.is_ok(),
            None => true,
        }
    }

    async fn gone(&self, conn: ConnId) {
        for up in self.publisher().unlinked(conn) {
            let _ = self.authority().slave(up).await;
        }
    }
}
