//! Enrolment and renewal of certificates (SEC-02, SEC-04).

use axum::Extension;
use axum::extract::State;
use rand::rngs::StdRng;
use sealcast_domain::audit::{self, Act};
use sealcast_domain::{Error, Read, Tx, certificates, enrolment, keys, slaves};
use sealcast_objects::ServerId;
use sealcast_objects::api::{Certificate, EnrolRequest, Enrolled, KeyStage, RenewRequest, Role};
use sealcast_objects::code::sha256;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;

use super::act::actor;
use super::error::{ApiError, Json};
use super::openapi::{Routes, Who, about};
use super::{App, internal, now};
use crate::ca::{CLIENT_LIFE, Peer, SigningRequest};

pub(super) fn routes() -> Routes {
    Routes::of("Enrolment")
        .post(
            "/v1/enrol",
            enrol,
            about("A certificate for a one-time code").refuses(403),
        )
        .post(
            "/v1/renew",
            renew,
            about("Another certificate before one ends").by(&[
                Who::Operator,
                Who::Device,
                Who::Server,
            ]),
        )
}

async fn enrol(
    State(app): State<App>,
    Json(request): Json<EnrolRequest>,
) -> Result<Json<Enrolled>, ApiError> {
    let csr = SigningRequest::parse(&request.csr)?;
    let (hash, key, now) = (sha256(&request.secret), csr.public_key(), now());
    let (ours, mut rng) = (app.clone(), app.fork_rng());
    let done = app.write(move |tx| {
        let admitted = enrolment::admit(tx, now, hash, &key)?;
        // A repetition gets what the first one got: its answer may have been lost.
        if let Some(certificate) = &admitted.certificate {
            let (certificate, admitted) = (certificate.clone(), admitted.clone());
            return Ok((admitted, certificate, None));
        }
        let issue = Issue {
            csr: &csr,
            role: admitted.role,
            subject: &admitted.subject,
            now,
        };
        let certificate = issue.sign(&ours, tx, &mut rng)?;
        let floor = enrolment::enrolled(tx, now, hash, &admitted, &key, &certificate)?;
        let actor = actor(admitted.role, &admitted.subject);
        audit::append(tx, now, &actor, &Act::on("enrol", &admitted.subject))?;
        Ok((admitted, certificate, floor))
    });
    let (admitted, certificate, floor) = done.await?;
    if let Some(floor) = floor {
        app.tell_floor(floor);
    }
    if admitted.role == Role::Node {
        // A link of the former key ends here (SEC-04); a repetition has none.
        if let (None, Ok(server)) = (&admitted.certificate, admitted.subject.parse()) {
            let unlinked = app.authority().unlink(ServerId(server)).await;
            unlinked.map_err(internal)?;
        }
        app.nodes_changed().await?;
    }
    if admitted.role == Role::Admin {
        app.operators_changed().await?;
    }
    if admitted.role == Role::Slave {
        // A link of the former key ends by this (SEC-04).
        app.slaves_changed().await?;
    }
    tracing::info!(
        role = admitted.role.name(),
        subject = admitted.subject,
        "enrolled"
    );
    Ok(Json(
        enrolled(&app, admitted.role, admitted.subject, certificate, now).await?,
    ))
}

/// A certificate that is to be issued.
pub(super) struct Issue<'a> {
    pub(super) csr: &'a SigningRequest,
    pub(super) role: Role,
    pub(super) subject: &'a str,
    pub(super) now: Timestamp,
}

impl Issue<'_> {
    /// Signs it, and keeps it in the history of those that were issued (MV-16, MV-21).
    pub(super) fn sign(
        &self,
        app: &App,
        tx: &mut dyn Tx,
        rng: &mut StdRng,
    ) -> Result<String, Error> {
        let hosts = hosts(tx, self.role, self.subject)?;
        let whose = (self.role, self.subject);
        let signed = app
            .ca()
            .sign(self.csr, whose, &hosts, self.now, CLIENT_LIFE, rng);
        let certificate = signed.map_err(|error| Error::Refused(internal(error)))?;
        let issued = Certificate {
            number: 0,
            role: self.role,
            subject: self.subject.to_owned(),
            certificate: certificate.clone(),
            issued_at: self.now,
            until: self.now.after(CLIENT_LIFE),
        };
        certificates::keep(tx, &issued)?;
        Ok(certificate)
    }
}

pub(super) async fn enrolled(
    app: &App,
    role: Role,
    subject: String,
    certificate: String,
    now: Timestamp,
) -> Result<Enrolled, Problem> {
    Ok(Enrolled {
        subject,
        role,
        certificate,
        ca: app.ca().pem().to_owned(),
        until: now.after(CLIENT_LIFE),
        authority: app.authority_key().await?.0,
    })
}

async fn renew(
    State(app): State<App>,
    Extension(peer): Extension<Option<Peer>>,
    Json(request): Json<RenewRequest>,
) -> Result<Json<Enrolled>, ApiError> {
    let Some(peer) = peer else {
        return Err(Problem::new(
            Kind::Unauthenticated,
            "renewal needs the certificate that is to be renewed; enrol instead",
        )
        .into());
    };
    match peer.role {
        Role::Device => drop(app.authenticate_device(&peer).await?),
        Role::Node => drop(app.authenticate_node(&peer).await?),
        Role::Admin => drop(app.authenticate_operator(Some(peer.clone()))?),
        Role::Slave => drop(app.authenticate_slave(&peer).await?),
    }
    let csr = SigningRequest::parse(&request.csr)?;
    if csr.public_key() != peer.public_key {
        return Err(Problem::new(
            Kind::Invalid,
            "the signing request is by another key than the certificate: a new key needs a new enrolment",
        )
        .into());
    }
    let (now, role, subject) = (now(), peer.role, peer.subject.clone());
    let (ours, mut rng) = (app.clone(), app.fork_rng());
    let renewed = app.act(actor(role, &subject), move |tx| {
        let issue = Issue {
            csr: &csr,
            role,
            subject: &subject,
            now,
        };
        let certificate = issue.sign(&ours, tx, &mut rng)?;
        Ok((certificate, Act::on("certificate.renew", subject)))
    });
    let certificate = renewed.await?;
    Ok(Json(
        enrolled(&app, peer.role, peer.subject, certificate, now).await?,
    ))
}

/// What the certificate of a slave holds for: other roles serve nobody.
fn hosts(store: &mut dyn Read, role: Role, subject: &str) -> sealcast_domain::Result<Vec<String>> {
    match (role, subject.parse()) {
        (Role::Slave, Ok(slave)) => Ok(slaves::get(store, slave)?.hosts),
        _ => Ok(Vec::new()),
    }
}

impl App {
    /// The authority key and its successor, as others are told.
    pub(super) async fn authority_key(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), Problem> {
        let rows = self.read(|store| keys::authority_keys(store)).await?;
        let find = |stage| {
            let row = rows.iter().find(|row| row.stage == stage);
            row.map(|row| row.public_key.clone())
        };
        let current = find(KeyStage::Current).ok_or_else(|| internal("no authority key"))?;
        Ok(match find(KeyStage::Retiring) {
            Some(retiring) => (retiring, Some(current)),
            None => (current, find(KeyStage::Successor)),
        })
    }
}
