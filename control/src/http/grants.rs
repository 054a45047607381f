//! What is given: at once, or when a second person has approved it (SEC-19).

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Arc, mpsc};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rand::rngs::StdRng;
use rand_core::CryptoRng;
use sealcast_domain::accounts::Floor;
use sealcast_domain::approvals::{self, Decision};
use sealcast_domain::audit::Act;
use sealcast_domain::ledger::{self, Done, NewTransfer};
use sealcast_domain::sales::restore;
use sealcast_domain::{Error, Read, Tx, operators, rights};
use sealcast_objects::api::{
    Approval, ApprovalPage, ApprovalRules, ApprovalState, CertificateRecord, Grant, GrantKind,
    LicenceRecord, NamedOperator, NamedRestore, NamedTransfer, NewRight, Operator as OperatorRow,
    Right, Transfer, TransferOutcome,
};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{ApprovalId, DeviceId};

use super::act::{Answered, Log, Once, Operator, failed, operator_of};
use super::error::{ApiError, Json, Path, Reply};
use super::licences::{give_named, issued_act};
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::permits::{Any, Needed, ReadPlant, Rule};
use super::{Answer, App, internal, now};
use crate::licences::Issuer;

pub(super) fn routes() -> Routes {
    Routes::of("Approvals")
        .get(
            "/v1/approvals",
            list,
            "What waits, or waited, for a second person",
        )
        .get("/v1/approvals/{id}", one, "One of these")
        .post(
            "/v1/approvals/{id}/approve",
            approve,
            "Approves it, and does it",
        )
        .post(
            "/v1/approvals/{id}/refuse",
            refuse,
            "Refuses it, or takes it back",
        )
        .get("/v1/approval-rules", rules, "What needs a second person")
        .put(
            "/v1/approval-rules",
            set_rules,
            "Says what needs a second person",
        )
}

/// What came of a grant that was carried out.
#[derive(Debug)]
pub(super) enum Outcome {
    Right(Right, Option<Floor>),
    Licence(Box<LicenceRecord>, Done),
    Restore(Box<CertificateRecord>),
    Transfer(Box<Transfer>, Done),
    Operator(OperatorRow),
    Rules(ApprovalRules),
}

/// The answer to a request that gives a `T`.
#[derive(Debug)]
pub(super) struct Given<T>(Became, PhantomData<T>);

#[derive(Debug)]
enum Became {
    Done(Outcome),
    Waits(Box<Approval>),
}

impl<T> Given<T> {
    fn done(outcome: Outcome) -> Self {
        Self(Became::Done(outcome), PhantomData)
    }

    fn waits(approval: Approval) -> Self {
        Self(Became::Waits(Box::new(approval)), PhantomData)
    }
}

impl Given<Transfer> {
    /// As one of many is told.
    pub(super) fn outcome(given: Answer<Self>) -> TransferOutcome {
        match given.map(|Self(became, _)| became) {
            Ok(Became::Done(Outcome::Transfer(made, Done::Now))) => {
                TransferOutcome::Made { transfer: *made }
            }
            Ok(Became::Done(Outcome::Transfer(made, Done::Before))) => {
                TransferOutcome::Before { transfer: *made }
            }
            Ok(Became::Waits(approval)) => TransferOutcome::Waits { approval },
            Ok(Became::Done(other)) => TransferOutcome::Refused {
                problem: internal(format_args!("no transfer came of a transfer: {other:?}")),
            },
            Err(problem) => TransferOutcome::Refused { problem },
        }
    }
}

/// 201 what is new, 200 what was there.
pub(super) fn status(done: Done) -> StatusCode {
    match done {
        Done::Now => StatusCode::CREATED,
        Done::Before => StatusCode::OK,
    }
}

impl<T> IntoResponse for Given<T> {
    fn into_response(self) -> Response {
        match self.0 {
            Became::Waits(approval) => (StatusCode::ACCEPTED, Json(approval)).into_response(),
            Became::Done(Outcome::Right(right, _)) => Json(right).into_response(),
            Became::Done(Outcome::Licence(made, done)) => {
                (status(done), Json(made)).into_response()
            }
            Became::Done(Outcome::Restore(restored)) => Json(restored).into_response(),
            Became::Done(Outcome::Transfer(made, done)) => {
                (status(done), Json(made)).into_response()
            }
            Became::Done(Outcome::Operator(operator)) => Json(operator).into_response(),
            Became::Done(Outcome::Rules(rules)) => Json(rules).into_response(),
        }
    }
}

impl<P: Needed> Operator<P> {
    /// Gives this, or asks for a second person where the rules want one.
    pub(super) async fn give<T>(&self, app: &App, grant: Grant) -> Answer<Given<T>> {
        let (now, limited) = (now(), self.limited());
        if app.needs_second(grant.kind()) && !self.is_machine() {
            return Ok(Given::waits(self.ask(app, now, grant).await?));
        }
        let name = self.name().to_owned();
        let log = match grant {
            // These come in thousands.
            Grant::Transfer(_) => Log::Audit,
            _ => Log::Both,
        };
        let (by, mut hand) = (self.actor(), Hand::of(app));
        let carried = self.act_if(app, log, move |tx| {
            hand.carry_out(tx, now, (&grant, &by), limited.then_some(&name))
        });
        let outcome = carried.await?;
        app.tell_given(&outcome).await?;
        Ok(Given::done(outcome))
    }

    async fn ask(&self, app: &App, now: Timestamp, grant: Grant) -> Answer<Approval> {
        let (asked, mut rng) = (self.asked(&grant)?, app.fork_rng());
        let asking = self.act_if(app, Log::Both, move |tx| {
            let (approval, new) = approvals::ask(tx, now, &asked, &mut rng)?;
            let act = new.then(|| {
                Act::on("approval.ask", Text(approval.id)).with("for", grant.kind().name())
            });
            Ok((shown(approval, now)?, act))
        });
        asking.await
    }
}

/// What carries out what is to be given.
struct Hand {
    issuer: Arc<Issuer>,
    rng: StdRng,
}

impl Hand {
    fn of(app: &App) -> Self {
        Self {
            issuer: app.issuer(),
            rng: app.fork_rng(),
        }
    }

    /// Does what is to be given, as somebody asks whom the audit log names so; `limited`: whose limit it counts for.
    fn carry_out(
        &mut self,
        tx: &mut dyn Tx,
        now: Timestamp,
        (grant, by): (&Grant, &str),
        limited: Option<&String>,
    ) -> Result<(Outcome, Option<Act>), Error> {
        let (outcome, act) = match grant {
            Grant::Right(new) => give_right(tx, now, new)?,
            Grant::Licence(named) => {
                let with = (&*self.issuer, &mut self.rng as &mut dyn CryptoRng);
                let (done, licence) = give_named(tx, now, (named, by), with)?;
                let act = issued_act(&licence);
                let outcome = Outcome::Licence(Box::new(licence), done);
                if done == Done::Before {
                    return Ok((outcome, None));
                }
                (outcome, act)
            }
            Grant::Restore(NamedRestore { id, restore }) => {
                let (done, restored) = restore::restore(tx, now, id.0, restore.granted)?;
                let act = Act::on("purchase-certificate.restore", id)
                    .with("granted", restored.granted.unwrap_or(0))
                    .with("used", restored.used);
                let outcome = Outcome::Restore(Box::new(restored));
                if done == Done::Before {
                    return Ok((outcome, None));
                }
                (outcome, act)
            }
            Grant::Transfer(NamedTransfer { id, command }) => {
                let (done, made) = ledger::transfer(tx, now, &NewTransfer::of(id.0, command))?;
                if done == Done::Before {
                    return Ok((Outcome::Transfer(Box::new(made), done), None));
                }
                let act = ledger::act(&made);
                (Outcome::Transfer(Box::new(made), done), act)
            }
            Grant::Operator(named) => return put_operator(tx, named),
            Grant::Rules(rules) => return put_rules(tx, rules),
        };
        if let Some(name) = limited {
            operators::count_grant(tx, now, name)?;
        }
        Ok((outcome, Some(act)))
    }
}

fn put_operator(tx: &mut dyn Tx, named: &NamedOperator) -> Result<(Outcome, Option<Act>), Error> {
    let NamedOperator { name, put } = named;
    let operator = operators::put(tx, name, put)?;
    let mut act = Act::on("operator.put", name).with("role", put.role.name());
    if let Some(most) = put.grants_per_day {
        act = act.with("grants_per_day", most);
    }
    if put.anew {
        act = act.with("anew", true);
    }
    Ok((Outcome::Operator(operator), Some(act)))
}

fn give_right(tx: &mut dyn Tx, now: Timestamp, new: &NewRight) -> Result<(Outcome, Act), Error> {
    let (device, channel) = (new.device.0, new.channel);
    // A period that ended is told before the right begins anew.
    let had = rights::of_device(tx, device)?
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
    let found = rights::of_device(store, device)?
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
            Outcome::Right(_, None)
            | Outcome::Licence(..)
            | Outcome::Restore(_)
            | Outcome::Transfer(..) => {}
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

async fn list(
    _: Operator<ReadPlant>,
    State(app): State<App>,
    pages: Pages<Text<ApprovalId>>,
) -> Result<Paged<ApprovalPage>, ApiError> {
    let now = now();
    let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
    let approvals: Vec<Approval> = app
        .read(move |store| {
            let found = approvals::page(store, after, most)?;
            found.into_iter().map(|found| shown(found, now)).collect()
        })
        .await?;
    pages.answer(
        approvals,
        |last| last.id,
        |approvals, next| ApprovalPage { approvals, next },
    )
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
) -> Result<Answered<Approval, 200>, ApiError> {
    let (by, role, now) = (once.actor(), once.role(), now());
    let (outcome_in, outcome) = mpsc::channel();
    let (name, mut hand) = (once.name().to_owned(), Hand::of(&app));
    let approved = once.act(&app, &(), move |tx| {
        let approval = shown(approvals::decide(tx, now, id, &by, true)?, now)?;
        let permit = approval.grant.kind().permit();
        operators::check_permit(&name, role, permit)?;
        let asker = operator_of(&approval.asked_by);
        if let Some(asker) = &asker {
            operators::check_may(tx, asker, permit)?;
        }
        let given = (&approval.grant, approval.asked_by.as_str());
        let (outcome, act) = hand.carry_out(tx, now, given, asker.as_ref())?;
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
    Ok(approved.status())
}

async fn refuse(
    once: Once<Any>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<ApprovalId>>,
) -> Result<Answered<Approval, 200>, ApiError> {
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
    Ok(refused.await?.status())
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
) -> Result<Given<ApprovalRules>, ApiError> {
    Ok(operator.give(&app, Grant::Rules(rules)).await?)
}
