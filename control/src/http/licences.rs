//! Licences: operators give them, see them, and say whether they count; a person sees those of the account.

use axum::extract::State;
use rand_core::CryptoRng;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::ledger::Done;
use sealcast_domain::licences::{self, Filter, NewLicence};
use sealcast_domain::{Error, Tx};
use sealcast_objects::api::{self, LicencePage, LicenceRecord, NamedLicence, SetLicence, Signers};
use sealcast_objects::id::{ContentId, LicenceId, Text};
use sealcast_objects::licence::{EndReason, OriginKind, Subject, Terms, Validity};
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};
use serde::Deserialize;

use super::act::{Operator, operator_of};
use super::bearer::Person;
use super::error::{ApiError, Json, Path, Query, Reply};
use super::grants::Given;
use super::openapi::{Routes, about};
use super::pages::{Paged, Pages};
use super::permits::{Care, Grant, ReadCustomers};
use super::receivers::Immediate;
use super::revision::{IfSame, Tagged};
use super::{App, now};
use crate::licences::Issuer;

pub(super) fn routes() -> Routes {
    Routes::of("Licences")
        .get("/v1/licences", list, "Licences")
        .get("/v1/licences/{id}", one, "A licence")
        .put(
            "/v1/licences/{id}",
            give,
            about("Gives a licence, once").answers::<LicenceRecord>(201),
        )
        .patch("/v1/licences/{id}", set, "Whether a licence counts")
        .get("/v1/me/licences", of_person, "The licences of the account")
        .get(
            "/v1/signers",
            signers,
            "Keys that the server signs licences and the audit log with",
        )
}

/// Whose, and for what.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Of {
    /// Of this account.
    #[serde(default)]
    account: Option<Text<AccountId>>,
    /// Of this device.
    #[serde(default)]
    device: Option<Text<DeviceId>>,
    /// For this content.
    #[serde(default)]
    content: Option<Text<ContentId>>,
}

impl App {
    /// A page of licences.
    pub(super) async fn licences<F>(
        &self,
        filter: Filter,
        pages: Pages<Text<LicenceId>, F>,
    ) -> Result<Paged<LicencePage>, ApiError> {
        let (after, most) = (pages.after.map(|Text(id)| id), pages.most);
        let licences = self
            .read(move |store| licences::page(store, filter, after, most))
            .await?;
        pages.answer(
            licences,
            |last| last.id,
            |licences, next| LicencePage { licences, next },
        )
    }
}

async fn list(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    pages: Pages<Text<LicenceId>, Of>,
) -> Result<Paged<LicencePage>, ApiError> {
    let Of {
        account,
        device,
        content,
    } = pages.filter;
    let filter = Filter {
        account: account.map(|Text(id)| id),
        device: device.map(|Text(id)| id),
        content: content.map(|Text(id)| id),
    };
    app.licences(filter, pages).await
}

async fn of_person(
    person: Person,
    State(app): State<App>,
    pages: Pages<Text<LicenceId>>,
) -> Result<Paged<LicencePage>, ApiError> {
    let filter = Filter {
        account: Some(person.account),
        ..Filter::default()
    };
    app.licences(filter, pages).await
}

async fn one(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<LicenceId>>,
) -> Result<Tagged<LicenceRecord>, ApiError> {
    let found = app.read(move |store| licences::get(store, id));
    Ok(Tagged(found.await?))
}

async fn give(
    operator: Operator<Grant>,
    State(app): State<App>,
    Path(id): Path<Text<LicenceId>>,
    Json(give): Json<api::GiveLicence>,
) -> Result<Given<LicenceRecord>, ApiError> {
    // What could not be done is not asked for.
    if give.plays == Some(0) {
        return Err(Problem::new(Kind::Invalid, "a licence is for one play at least").into());
    }
    let grant = api::Grant::Licence(NamedLicence { id, give });
    Ok(operator.give(&app, grant).await?)
}

/// Gives what an operator, whom the audit log names `by`, says; once.
pub(super) fn give_named(
    tx: &mut dyn Tx,
    now: Timestamp,
    (named, by): (&NamedLicence, &str),
    (issuer, rng): (&Issuer, &mut dyn CryptoRng),
) -> Result<(Done, LicenceRecord), Error> {
    let NamedLicence { id, give } = named;
    let new = NewLicence {
        id: id.0,
        device: give.device.0,
        subject: give.subject.into(),
        terms: Terms {
            from: give.from.unwrap_or(now),
            until: give.until,
            plays: give.plays,
        },
        origin: (
            OriginKind::Operator,
            operator_of(by).unwrap_or_else(|| by.to_owned()),
        ),
        supersedes: None,
        receive_by: None,
    };
    if let Some(known) = licences::find(tx, id.0)? {
        let same = known.device == give.device
            && known.subject == give.subject
            && give.from.is_none_or(|from| from == known.from)
            && (known.until, known.plays) == (give.until, give.plays)
            && known.origin.kind == OriginKind::Operator;
        if !same {
            let detail = format!("{id} is another licence: choose another id for this one");
            return Err(Problem::new(Kind::Conflict, detail).into());
        }
        return Ok((Done::Before, known));
    }
    Ok((Done::Now, issuer.issue(tx, now, &new, rng)?))
}

/// What the audit log says of a licence that was issued.
pub(crate) fn issued_act(licence: &LicenceRecord) -> Act {
    let subject = Subject::from(licence.subject);
    let mut act = Act::on("licence.issue", licence.id)
        .with("device", licence.device)
        .with("for", format_args!("{:?}", subject.to_string()))
        .with("origin", licence.origin.kind.name())
        .with("from", licence.from);
    if let Some(until) = licence.until {
        act = act.with("until", until);
    }
    act
}

async fn set(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<LicenceId>>,
    Query(Immediate { immediate }): Query<Immediate>,
    if_same: IfSame,
    Json(SetLicence { validity, reason }): Json<SetLicence>,
) -> Result<Tagged<LicenceRecord>, ApiError> {
    let now = now();
    if reason.is_some() && validity != Validity::Invalid {
        let why = "a reason is for a licence that ends for ever: validity `invalid`";
        return Err(Problem::new(Kind::Invalid, why).into());
    }
    let reason = reason.unwrap_or(EndReason::Revoked);
    let set = operator.act(&app, move |tx| {
        if_same.check("the licence", &licences::get(tx, id)?)?;
        let floor = licences::set(tx, now, id, validity, Some(reason))?;
        let mut act = Act::on("licence.set", Text(id)).with("validity", validity.name());
        if validity == Validity::Invalid {
            act = act.with("why", reason.name());
        }
        act = act.with("immediate", immediate);
        Ok(((floor, licences::get(tx, id)?), act))
    });
    let (floor, licence) = set.await?;
    if let Some(floor) = floor.filter(|_| validity != Validity::Valid) {
        app.tell_floor(floor);
    }
    if let (true, Subject::Channel(channel)) = (immediate, licence.subject.into()) {
        app.change_at_once(&[channel]).await?;
    }
    Ok(Tagged(licence))
}

async fn signers(State(app): State<App>) -> Reply<Signers> {
    let signers = app.signers().public();
    Ok(Json(Signers { signers }))
}
