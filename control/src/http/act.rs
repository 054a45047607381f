//! Acts: who asks, the command, the record of it in the audit log, and answers that are given once; all in one transaction.
//!
//! | request | extractor | what it does |
//! |---|---|---|
//! | GET | [`Operator`] | nothing is written |
//! | PUT, PATCH, DELETE | [`Operator::act`] | can be repeated by their nature |
//! | POST | [`Once`] | needs an Idempotency-Key; a repetition gets the first answer |

use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rand::rngs::StdRng;
use sealcast_domain::approvals::{self, Asked as AskedFor};
use sealcast_domain::audit::{self, Act};
use sealcast_domain::operators::Acting;
use sealcast_domain::{Error, Read, Tx, idempotency, operators};
use sealcast_objects::api::{OperatorRole, Role};
use sealcast_objects::code::sha256;
use sealcast_objects::problem::{CASE, IDEMPOTENCY_KEY, Kind, Problem, REASON, REPLAYED};
use sealcast_objects::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::bearer::{self, Person};
use super::error::{ApiError, Json};
use super::permits::Needed;
use super::{Answer, App, internal, now, problem};
use crate::ca::Peer;
use crate::vault::Vault;

/// Longest Idempotency-Key.
pub(super) const KEY_MAX: usize = 128;

/// Who acts, as the audit log names him.
pub(crate) fn actor(role: Role, name: impl Display) -> String {
    format!("{}:{name}", role.name())
}

/// Values of a detail, as one word.
pub(super) fn listed<T: Display>(values: &[T]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    values.join(",")
}

/// The server itself, as the audit log names it.
pub(crate) const SERVER: &str = "server";

impl App {
    /// Runs a command and writes down what it did, if it did anything, in one transaction.
    async fn record<T: Send + 'static>(
        &self,
        actor: String,
        command: impl FnOnce(&mut dyn Tx) -> Result<(T, Option<Act>), Error> + Send + 'static,
    ) -> Answer<(T, Option<Act>)> {
        let now = now();
        self.write(move |tx| {
            let (done, act) = command(tx)?;
            if let Some(act) = &act {
                audit::append(tx, now, &actor, act)?;
            }
            Ok((done, act))
        })
        .await
    }

    /// As [`App::record`], and tells the program's log.
    pub(crate) async fn told<T: Send + 'static>(
        &self,
        actor: String,
        command: impl FnOnce(&mut dyn Tx) -> Result<(T, Option<Act>), Error> + Send + 'static,
    ) -> Answer<(T, Option<Act>)> {
        let (done, act) = self.record(actor.clone(), command).await?;
        if let Some(Act {
            name,
            subject,
            detail,
        }) = &act
        {
            tracing::info!(actor, subject, detail, "{name}");
        }
        Ok((done, act))
    }

    /// Runs a command and writes down what it did.
    pub(crate) async fn act<T: Send + 'static>(
        &self,
        actor: String,
        command: impl FnOnce(&mut dyn Tx) -> Result<(T, Act), Error> + Send + 'static,
    ) -> Answer<T> {
        let told = self.told(actor, move |tx| {
            let (done, act) = command(tx)?;
            Ok((done, Some(act)))
        });
        Ok(told.await?.0)
    }
}

/// An operator in good standing who is permitted what the handler needs; every handler of administration takes one.
pub(super) struct Operator<P: Needed> {
    name: String,
    acting: Acting,
    why: Why,
    permit: PhantomData<P>,
}

/// Where an act is written down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Log {
    /// In the audit log and in the program's.
    Both,
    /// In the audit log only.
    Audit,
}

/// Why a request is made, as whoever makes it says.
#[derive(Clone, Default)]
pub(super) struct Why {
    reason: String,
    case: String,
}

impl Why {
    fn said(parts: &Parts) -> Result<Self, Problem> {
        let said = |name| {
            let value = parts.headers.get(name).map(HeaderValue::as_bytes);
            let text = std::str::from_utf8(value.unwrap_or_default());
            text.map(|text| text.trim().to_owned())
                .map_err(|_| Problem::new(Kind::Invalid, format!("the header {name} is no UTF-8")))
        };
        let (reason, case) = (said(REASON)?, said(CASE)?);
        approvals::check_said(&reason, &case).map_err(problem)?;
        Ok(Self { reason, case })
    }
}

impl<P: Needed> FromRequestParts<App> for Operator<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let machines = |token: &&str| token.starts_with(bearer::MACHINES);
        let (name, acting) = match bearer::borne(parts).filter(machines) {
            Some(token) => app.authenticate_token(token, now())?,
            None => app.authenticate_operator(Peer::asking(&parts.extensions))?,
        };
        if let Some(permit) = P::PERMIT {
            operators::check_permit(&name, acting.role, permit).map_err(problem)?;
        }
        Ok(Self {
            name,
            acting,
            why: Why::said(parts)?,
            permit: PhantomData,
        })
    }
}

/// The operator whom the audit log names so.
pub(super) fn operator_of(actor: &str) -> Option<String> {
    let prefix = format!("{}:", Role::Admin.name());
    actor.strip_prefix(&prefix).map(str::to_owned)
}

impl<P: Needed> Operator<P> {
    pub(super) fn actor(&self) -> String {
        actor(Role::Admin, &self.name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn role(&self) -> OperatorRole {
        self.acting.role
    }

    /// Whether what he gives is counted.
    pub(super) fn limited(&self) -> bool {
        self.acting.limited
    }

    pub(super) fn is_machine(&self) -> bool {
        self.acting.role.is_machine()
    }

    /// What he asks a second person for.
    pub(super) fn asked(&self, grant: &impl Serialize) -> Answer<AskedFor> {
        Ok(AskedFor {
            body: serde_json::to_string(grant).map_err(internal)?,
            by: self.actor(),
            reason: self.why.reason.clone(),
            case: self.why.case.clone(),
        })
    }

    /// Runs a command of his and writes down what it did.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        app: &App,
        command: impl FnOnce(&mut dyn Tx) -> Result<(T, Act), Error> + Send + 'static,
    ) -> Answer<T> {
        let why = self.why.clone();
        let told = app.act(self.actor(), move |tx| {
            let (done, act) = command(tx)?;
            Ok((done, act.because(&why.reason, &why.case)))
        });
        told.await
    }

    /// As [`Operator::act`], for what may have been done before.
    pub(super) async fn act_if<T: Send + 'static>(
        &self,
        app: &App,
        log: Log,
        command: impl FnOnce(&mut dyn Tx) -> Result<(T, Option<Act>), Error> + Send + 'static,
    ) -> Answer<T> {
        let (actor, why) = (self.actor(), self.why.clone());
        let command = move |tx: &mut dyn Tx| {
            let (done, act) = command(tx)?;
            Ok((done, act.map(|act| act.because(&why.reason, &why.case))))
        };
        let done = match log {
            Log::Both => app.told(actor, command).await,
            Log::Audit => app.record(actor, command).await,
        };
        Ok(done?.0)
    }
}

/// Who asks.
pub(super) trait Asker: FromRequestParts<App, Rejection = ApiError> + Send {
    /// As the audit log names him.
    fn actor(&self) -> String;

    /// Why, if he said so.
    fn why(&self) -> Why {
        Why::default()
    }
}

impl<P: Needed> Asker for Operator<P> {
    fn actor(&self) -> String {
        Self::actor(self)
    }

    fn why(&self) -> Why {
        self.why.clone()
    }
}

impl Asker for Person {
    fn actor(&self) -> String {
        Self::actor(self)
    }
}

/// An operator's request that does something each time it is made.
pub(super) type Once<P> = OnceBy<Operator<P>>;

/// A request that does something each time it is made: it has an Idempotency-Key.
pub(super) struct OnceBy<A> {
    pub(super) asker: A,
    key: String,
    /// Method and path.
    what: String,
}

impl<A: Asker> FromRequestParts<App> for OnceBy<A> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let asker = A::from_request_parts(parts, app).await?;
        let key = parts.headers.get(IDEMPOTENCY_KEY);
        let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
        let fits = (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            let detail = format!(
                "this request needs an {IDEMPOTENCY_KEY} header, 1 to {KEY_MAX} visible ASCII characters: a new one for each request, the same for a retry"
            );
            return Err(Problem::new(Kind::Invalid, detail).into());
        }
        Ok(Self {
            asker,
            key: key.to_owned(),
            what: format!("{} {}", parts.method, path(&parts.uri)),
        })
    }
}

/// The same whether the protocol names the host in it (HTTP/2) or not.
fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// What a request made, or had made before; with this status.
#[derive(Debug)]
pub(super) struct Answered<T, const STATUS: u16 = 201> {
    body: T,
    replayed: bool,
}

impl<T> Answered<T> {
    fn new(body: T, replayed: bool) -> Self {
        Self { body, replayed }
    }

    /// With another status than 201: of what makes nothing.
    pub(super) fn status<const STATUS: u16>(self) -> Answered<T, STATUS> {
        let Self { body, replayed } = self;
        Answered { body, replayed }
    }
}

impl<T: Serialize, const STATUS: u16> IntoResponse for Answered<T, STATUS> {
    fn into_response(self) -> Response {
        let status = const { StatusCode::from_u16(STATUS) };
        let status = status.unwrap_or(StatusCode::OK);
        let replayed = self.replayed.then_some([(REPLAYED, "true")]);
        (status, replayed, Json(self.body)).into_response()
    }
}

/// A request, as its answer is kept.
#[derive(Clone)]
struct Asked {
    actor: String,
    key: String,
    /// Hash of method, path and body.
    request: [u8; 32],
}

impl Asked {
    fn sealed_as(&self) -> String {
        format!("answer to {} {}", self.actor, self.key)
    }

    /// The answer that was given before.
    fn find<T: DeserializeOwned>(
        &self,
        store: &mut dyn Read,
        vault: &Vault,
    ) -> Result<Option<T>, Error> {
        let kept = idempotency::find(store, &self.actor, &self.key, &self.request)?;
        let Some(sealed) = kept else { return Ok(None) };
        let kept = vault.open_secret(&self.sealed_as(), &sealed);
        let body = serde_json::from_slice(&kept.map_err(failed)?);
        Ok(Some(body.map_err(failed)?))
    }

    fn keep<T: Serialize>(
        &self,
        tx: &mut dyn Tx,
        now: Timestamp,
        body: &T,
        (vault, rng): (&Vault, &mut StdRng),
    ) -> Result<(), Error> {
        let body = Zeroizing::new(serde_json::to_vec(body).map_err(failed)?);
        let sealed = vault.seal(&self.sealed_as(), &body, rng);
        idempotency::keep(tx, now, (&self.actor, &self.key), self.request, &sealed)
    }
}

pub(super) fn failed(error: impl Display) -> Error {
    Error::Refused(internal(error))
}

impl<P: Needed> Once<P> {
    pub(super) fn name(&self) -> &str {
        &self.asker.name
    }

    pub(super) fn role(&self) -> OperatorRole {
        self.asker.acting.role
    }
}

impl<A: Asker> OnceBy<A> {
    pub(super) fn actor(&self) -> String {
        self.asker.actor()
    }

    fn asked(&self, body: &impl Serialize) -> Answer<Asked> {
        let body = serde_json::to_string(body).map_err(internal)?;
        Ok(Asked {
            actor: self.asker.actor(),
            key: self.key.clone(),
            request: sha256(format!("{}\n{body}", self.what).as_bytes()),
        })
    }

    /// What this request made before, if it did: for what is done outside of the store. `body` is that of the request.
    pub(super) async fn before<T: DeserializeOwned + Send + 'static>(
        &self,
        app: &App,
        body: &impl Serialize,
    ) -> Answer<Option<Answered<T>>> {
        let (asked, vault) = (self.asked(body)?, Arc::clone(app.vault()));
        let found = app.read(move |store| asked.find(store, &vault)).await?;
        Ok(found.map(|body| Answered::new(body, true)))
    }

    /// Runs a command that makes a `T`, unless it was run before: then that is the answer. `body` is that of the request.
    pub(super) async fn act<T: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        app: &App,
        body: &impl Serialize,
        command: impl FnOnce(&mut dyn Tx) -> Result<(T, Act), Error> + Send + 'static,
    ) -> Answer<Answered<T>> {
        let (asked, now) = (self.asked(body)?, now());
        let (vault, mut rng) = (Arc::clone(app.vault()), app.fork_rng());
        let why = self.asker.why();
        let told = app.told(asked.actor.clone(), move |tx| {
            if let Some(body) = asked.find(tx, &vault)? {
                return Ok((body, None));
            }
            let (body, act) = command(tx)?;
            asked.keep(tx, now, &body, (&vault, &mut rng))?;
            Ok((body, Some(act.because(&why.reason, &why.case))))
        });
        let (body, new) = told.await?;
        Ok(Answered::new(body, new.is_none()))
    }
}
