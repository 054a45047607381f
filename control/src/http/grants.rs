//! What is given: at once, or when a second person has approved it (SEC-19).

use std::collections::BTreeSet;
use std::sync::mpsc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use sealcast_domain::accounts::Floor;
use sealcast_domain::approvals::{self, Decision};
use sealcast_domain::audit::Act;
use sealcast_domain::ledger::{self, Done, NewTransfer};
use sealcast_domain::{Error, Read, Tx, operators, rights};
use sealcast_objects::api::{
    Approval, ApprovalPage, ApprovalRules, ApprovalState, Grant, GrantKind, NewRight,
    Operator as OperatorRow, Right, Transfer,
};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{ApprovalId, DeviceId};
use serde::Deserialize;

use super::act::{Answered, Log, Once, Operator, failed, operator_of};
use super::error::{ApiError, Json, Path, Query, Reply};
use super::permits::{Any, Needed, ReadPlant, Rule};
use super::{Answer, App, now, page};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/approvals", get(list))
        .route("/v1/approvals/{id}", get(one))
        .route("/v1/approvals/{id}/approve", post(approve))
        .route("/v1/approvals/{id}/refuse", post(refuse))
        .route("/v1/approval-rules", get(rules).put(set_rules))
}

/// What came of a grant that was carried out.
#[derive(Debug)]
pub(super) enum Outcome {
    Right(Right, Option<Floor>),
    Transfer(Box<Transfer>, Done),
    Operator(OperatorRow),
    Rules(ApprovalRules),
}

/// The answer to a request that gives something.
#[derive(Debug)]
pub(super) enum Given {
    Done(Outcome),
    Waits(Box<Approval>),
}

impl IntoResponse for Given {
    fn into_response(self) -> Response {
        match self {
            Self::Waits(approval) => (StatusCode::ACCEPTED, Json(approval)).into_response(),
            Self::Done(Outcome::Right(right, _)) => Json(right).into_response(),
            Self::Done(Outcome::Transfer(made, done)) => {
                let status = match done {
                    Done::Now => StatusCode::CREATED,
                    Done::Before => StatusCode::OK,
                };
                (status, Json(made)).into_response()
            }
            Self::Done(Outcome::Operator(operator)) => Json(operator).into_response(),
            Self::Done(Outcome::Rules(rules)) => Json(rules).into_response(),
        }
    }
}

impl<P: Needed> Operator<P> {
    /// Gives this, or asks for a second person where the rules want one.
    pub(super) async fn give(&self, app: &App, grant: Grant) -> Answer<Given> {
        let (now, limited) = (now(), self.limited());
        if app.needs_second(grant.kind()) && !self.is_machine() {
            return self.ask(app, now, grant).await;
        }
        let name = self.name().to_owned();
        let log = match grant {
            // These come in thousands.
            Grant::Transfer { .. } => Log::Audit,
            Grant::Right(_) | Grant::Operator { .. } | Grant::Rules(_) => Log::Both,
        };
        let carried = self.act_if(app, log, move |tx| {
            carry_out(tx, now, &grant, limited.then_some(&name))
        });
        let outcome = carried.await?;
        app.tell_given(&outcome).await?;
        Ok(Given::Done(outcome))
    }

    async fn ask(&self, app: &App, now: Timestamp, grant: Grant) -> Answer<Given> {
        let (asked, mut rng) = (self.asked(&grant)?, app.fork_rng());
        let asking = self.act_if(app, Log::Both, move |tx| {
            let (approval, new) = approvals::ask(tx, now, &asked, &mut rng)?;
            let act = new.then(|| {
                Act::on("approval.ask", Text(approval.id)).with("for", grant.kind().name())
            });
            Ok((shown(approval, now)?, act))
        });
        Ok(Given::Waits(Box::new(asking.await?)))
    }
}

/// Does what is to be given; `limited`: whose limit it counts for.
fn carry_out(
    tx: &mut dyn Tx,
    now: Timestamp,
    grant: &Grant,
    limited: Option<&String>,
) -> Result<(Outcome, Option<Act>), Error> {
    let (outcome, act) = match grant {
        Grant::Right(new) => give_right(tx, now, new)?,
        Grant::Transfer { id, command } => {
            let (done, made) = ledger::transfer(tx, now, &NewTransfer::of(id.0, command))?;
            if done == Done::Before {
                return Ok((Outcome::Transfer(Box::new(made), done), None));
            }
            let act = ledger::act(&made);
            (Outcome::Transfer(Box::new(made), done), act)
        }
        Grant::Operator { name, put } => {
            let operator = operators::put(tx, name, put)?;
            let mut act = Act::on("operator.put", name).with("role", put.role.name());
            if let Some(most) = put.grants_per_day {
                act = act.with("grants_per_day", most);
            }
            if put.anew {
                act = act.with("anew", true);
            }
            return Ok((Outcome::Operator(operator), Some(act)));
        }
        Grant::Rules(rules) => return put_rules(tx, rules),
    };
    if let Some(name) = limited {
        operators::count_grant(tx, now, name)?;
    }
    Ok((outcome, Some(act)))
}

fn give_right(tx: &mut dyn Tx, now: Timestamp, new: &NewRight) -> Result<(Outcome, Act), Error> {
    let (device, channel) = (new.device.0, new.channel);
    // A period that ended is told before the right begins anew.
    let had = rights::list(tx, Some(device))?
        .iter()
        .any(|right| right.channel == channel);
    let floor = rights::put(tx, now, new)?;
    let right = find_right(tx, device, channel)?;
    let mut act = on_right("right.give", device, channel).with("from", right.from);
    if let Some(until) = right.until {
        act = act.with("until", until);
    }
    Ok((Outcome::Right(right, had.then_some(floor)), act))
}

pub(super) fn on_right(name: &'static str, device: DeviceId, channel: u16) -> Act {
    Act::on(name, Text(device)).with("channel", channel)
}

pub(super) fn find_right(
    store: &mut dyn Read,
    device: DeviceId,
    channel: u16,
) -> sealcast_domain::Result<Right> {
    let found = rights::list(store, Some(device))?
        .into_iter()
        .find(|right| right.channel == channel);
    found.ok_or_else(|| {
        let detail = format!("device {} has no right to channel {channel}", Text(device));
        Problem::new(Kind::NotFound, detail).into()
    })
}

/// Rules that nobody could follow are refused: a second person needs to be there for each kind, and for the rules themselves.
fn put_rules(tx: &mut dyn Tx, rules: &ApprovalRules) -> Result<(Outcome, Option<Act>), Error> {
    let kinds: BTreeSet<_> = rules.second_person.iter().copied().collect();
    let needed = kinds.iter().copied().chain([GrantKind::Rules]);
    for kind in needed.filter(|_| !kinds.is_empty()) {
        operators::check_two_may(tx, kind.permit())?;
    }
    approvals::set_rules(tx, &kinds)?;
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let act = Act::on("approval-rules.set", names.join(","));
    let rules = ApprovalRules {
        second_person: kinds.into_iter().collect(),
    };
    Ok((Outcome::Rules(rules), Some(act)))
}

impl App {
    /// Tells those who must know of what was given.
    async fn tell_given(&self, outcome: &Outcome) -> Result<(), Problem> {
        match outcome {
            Outcome::Right(_, Some(floor)) => self.tell_floor(*floor),
            Outcome::Right(_, None) | Outcome::Transfer(..) => {}
            Outcome::Operator(_) | Outcome::Rules(_) => self.operators_changed().await?,
        }
        Ok(())
    }
}

/// As the API shows it.
fn shown(approval: approvals::Approval, now: Timestamp) -> Result<Approval, Error> {
    let grant = serde_json::from_str(&approval.asked.body).map_err(failed)?;
    let state = match &approval.decision {
        Some(Decision { approved: true, .. }) => ApprovalState::Approved,
        Some(_) => ApprovalState::Refused,
        None if approval.until <= now => ApprovalState::Expired,
        None => ApprovalState::Open,
    };
    let (decided_by, decided_at) = approval
        .decision
        .map(|decision| (decision.by, decision.at))
        .unzip();
    Ok(Approval {
        id: Text(approval.id),
        grant,
        asked_by: approval.asked.by,
        reason: approval.asked.reason,
        case: approval.asked.case,
        asked_at: approval.asked_at,
        until: approval.until,
        state,
        decided_by,
        decided_at,
    })
}

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pages {
    #[serde(default)]
    after: Option<Text<ApprovalId>>,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list(
    _: Operator<ReadPlant>,
    State(app): State<App>,
    Query(Pages { after, limit }): Query<Pages>,
) -> Reply<ApprovalPage> {
    let (now, most) = (now(), page::size(limit));
    let approvals: Vec<Approval> = app
        .read(move |store| {
            let found = approvals::page(store, after.map(|Text(id)| id), most)?;
            found.into_iter().map(|found| shown(found, now)).collect()
        })
        .await?;
    let next = page::next(&approvals, most, |last| last.id);
    Ok(Json(ApprovalPage { approvals, next }))
}

async fn one(
    _: Operator<ReadPlant>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ApprovalId>>,
) -> Reply<Approval> {
    let now = now();
    Ok(Json(
        app.read(move |store| shown(approvals::get(store, id)?, now))
            .await?,
    ))
}

async fn approve(
    once: Once<Any>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ApprovalId>>,
) -> Result<Answered<Approval>, ApiError> {
    let (by, role, now) = (once.actor(), once.role(), now());
    let (outcome_in, outcome) = mpsc::channel();
    let name = once.name().to_owned();
    let approved = once.act(&app, &(), move |tx| {
        let approval = shown(approvals::decide(tx, now, id, &by, true)?, now)?;
        let permit = approval.grant.kind().permit();
        operators::check_permit(&name, role, permit)?;
        let asker = operator_of(&approval.asked_by);
        if let Some(asker) = &asker {
            operators::check_may(tx, asker, permit)?;
        }
        let (outcome, act) = carry_out(tx, now, &approval.grant, asker.as_ref())?;
        // Nobody waits for it when the transaction fails.
        let _ = outcome_in.send(outcome);
        let act = act.unwrap_or_else(|| Act::on("approval.approve", approval.id));
        let act = act
            .with("asked_by", &approval.asked_by)
            .with("approval", approval.id)
            .because(&approval.reason, &approval.case);
        Ok((approval, act))
    });
    let approved = approved.await?;
    if let Ok(outcome) = outcome.try_recv() {
        app.tell_given(&outcome).await?;
    }
    Ok(approved.status(StatusCode::OK))
}

async fn refuse(
    once: Once<Any>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ApprovalId>>,
) -> Result<Answered<Approval>, ApiError> {
    let (by, role, now) = (once.actor(), once.role(), now());
    let name = once.name().to_owned();
    let refused = once.act(&app, &(), move |tx| {
        let approval = shown(approvals::decide(tx, now, id, &by, false)?, now)?;
        if approval.asked_by != by {
            operators::check_permit(&name, role, approval.grant.kind().permit())?;
        }
        let act = Act::on("approval.refuse", approval.id).with("asked_by", &approval.asked_by);
        Ok((approval, act))
    });
    Ok(refused.await?.status(StatusCode::OK))
}

async fn rules(_: Operator<ReadPlant>, State(app): State<App>) -> Reply<ApprovalRules> {
    let second_person = app.read(|store| approvals::rules(store)).await?;
    Ok(Json(ApprovalRules {
        second_person: second_person.into_iter().collect(),
    }))
}

async fn set_rules(
    operator: Operator<Rule>,
    State(app): State<App>,
    Json(rules): Json<ApprovalRules>,
) -> Result<Given, ApiError> {
    Ok(operator.give(&app, Grant::Rules(rules)).await?)
}
