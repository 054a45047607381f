//! Persons log in with an identity provider, and link what the provider knows them by with their login.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::State;
use axum::response::NoContent;
use sealcast_domain::audit::{self, Act};
use sealcast_domain::identities::{self, Identity};
use sealcast_domain::{Tx, logins};
use sealcast_objects::AccountId;
use sealcast_objects::api::{BeginOidc, FinishOidc, OidcBegun, Token};
use sealcast_objects::code::sha256;
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;

use super::accept::Source;
use super::bearer::{self, Person};
use super::error::{ApiError, Json, Reply};
use super::logins::actor;
use super::openapi::{Routes, about};
use super::{Answer, App, now};
use crate::oidc::{Back, Oidc, Pending};

pub(super) fn routes() -> Routes {
    Routes::of("Persons")
        .post(
            "/v1/login/oidc",
            begin_login,
            "Where a person logs in with an identity provider",
        )
        .post(
            "/v1/login/oidc/finish",
            finish_login,
            about("A person comes back from it")
                .refuses(401)
                .refuses(403)
                .refuses(429),
        )
        .post(
            "/v1/me/oidc",
            begin_link,
            "Where a person shows who an identity provider says that he is",
        )
        .post(
            "/v1/me/oidc/finish",
            finish_link,
            about("Comes back from it: from here on he logs in with it").refuses(429),
        )
        .delete("/v1/me/oidc", unlink, "He logs in with the password only")
}

/// A network as failures are counted by: whoever has an IPv6 network has very many addresses.
fn network(Source(addr): Source) -> String {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => format!("oidc {ip}"),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("oidc {a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

impl App {
    fn oidc(&self) -> Answer<&Oidc> {
        let none = "persons log in with names and passwords here: the settings of the key server name no identity provider";
        let oidc = self.0.oidc.as_ref();
        oidc.ok_or_else(|| Problem::new(Kind::NotFound, none))
    }

    async fn begin_oidc(&self, begin: BeginOidc, account: Option<AccountId>) -> Answer<OidcBegun> {
        let oidc = self.oidc()?;
        oidc.check_redirect(&begin.redirect_uri)?;
        let _place = oidc.place()?;
        let pending = Pending::new(now(), begin.redirect_uri, account, &mut *self.rng());
        let url = oidc.authorization_url(&pending).await?;
        Ok(OidcBegun {
            authorization_url: url.into(),
            login: oidc.seal(&pending, self.vault(), &mut *self.rng())?,
            until: pending.until,
        })
    }

    /// Who came back from the provider.
    async fn identify(
        &self,
        finish: &FinishOidc,
        (now, account): (Timestamp, Option<AccountId>),
    ) -> Answer<Identity> {
        let oidc = self.oidc()?;
        let back = Back {
            login: &finish.login,
            state: &finish.state,
            account,
        };
        let pending = oidc.open(self.vault(), now, &back)?;
        let _place = oidc.place()?;
        oidc.check_issuer(finish.iss.as_deref()).await?;
        let used = self
            .used_logins()
            .note(now, pending.state.clone(), pending.until)?;
        if !used {
            let why = "this login was finished before: begin anew";
            return Err(Problem::new(Kind::Unauthenticated, why));
        }
        oidc.identify(&pending, &finish.code, now).await
    }

    /// Whoever fails again and again waits, longer each time. What the provider is to blame for is no failure of his.
    async fn throttled<T>(
        &self,
        (now, key): (Timestamp, String),
        attempt: impl Future<Output = Answer<T>> + Send,
    ) -> Answer<T> {
        if let Some(wait) = self.throttle().wait(now, &key) {
            let wait = wait.as_secs() + 1;
            let why = format!("too many attempts from here failed: try again in {wait} s");
            return Err(Problem::new(Kind::TooMany, why));
        }
        let done = attempt.await;
        match &done {
            Ok(_) => self.throttle().succeeded(&key),
            Err(problem) if matches!(problem.kind, Kind::Unauthenticated | Kind::CodeRefused) => {
                self.throttle().failed(now, &key);
            }
            Err(_) => {}
        }
        done
    }

    /// A token for the person who came back from the provider; with the secret of an operator's code the identity is linked first.
    async fn log_in_by(&self, finish: FinishOidc, now: Timestamp) -> Answer<Token> {
        let code = finish.secret.as_deref().map(sha256);
        if let Some(code) = code {
            // Who has no code asks the provider nothing.
            self.read(move |store| logins::check_code(store, now, code))
                .await?;
        }
        let identity = self.identify(&finish, (now, None)).await?;
        let token = bearer::fresh(&mut *self.rng());
        let hash = bearer::hash(&token);
        let issued = self.write(move |tx| {
            let account = whose(tx, now, code, &identity)?;
            let until = logins::issue(tx, now, account, hash)?;
            let act = Act::on("login", Text(account)).with("issuer", &identity.issuer);
            audit::append(tx, now, &actor(account), &act)?;
            Ok(until)
        });
        let until = issued.await?;
        Ok(Token { token, until })
    }

    async fn link_by(&self, person: &Person, finish: FinishOidc, now: Timestamp) -> Answer<()> {
        let account = person.account;
        let identity = self.identify(&finish, (now, Some(account))).await?;
        let linked = self.told(person.actor(), move |tx| {
            let new = identities::link(tx, now, account, &identity)?;
            Ok(((), new.then(|| linked(account, &identity))))
        });
        linked.await.map(|_| ())
    }
}

fn linked(account: AccountId, identity: &Identity) -> Act {
    Act::on("login.link", Text(account)).with("issuer", &identity.issuer)
}

/// The account whose person an identity is; with a code it is linked with that of the code.
fn whose(
    tx: &mut dyn Tx,
    now: Timestamp,
    code: Option<[u8; 32]>,
    identity: &Identity,
) -> sealcast_domain::Result<AccountId> {
    if let Some(code) = code {
        let (account, new) = identities::link_by_code(tx, now, code, identity)?;
        if new {
            audit::append(tx, now, &actor(account), &linked(account, identity))?;
        }
        return Ok(account);
    }
    let unknown = "no login is linked with this identity: log in with the password and link it, or ask the operator for a code";
    let found = identities::find(tx, identity)?;
    found.ok_or_else(|| Problem::new(Kind::Unauthenticated, unknown).into())
}

async fn begin_login(State(app): State<App>, Json(begin): Json<BeginOidc>) -> Reply<OidcBegun> {
    Ok(Json(app.begin_oidc(begin, None).await?))
}

async fn finish_login(
    State(app): State<App>,
    Extension(source): Extension<Source>,
    Json(finish): Json<FinishOidc>,
) -> Reply<Token> {
    let now = now();
    let attempt = app.log_in_by(finish, now);
    Ok(Json(app.throttled((now, network(source)), attempt).await?))
}

async fn begin_link(
    person: Person,
    State(app): State<App>,
    Json(begin): Json<BeginOidc>,
) -> Reply<OidcBegun> {
    Ok(Json(app.begin_oidc(begin, Some(person.account)).await?))
}

async fn finish_link(
    person: Person,
    State(app): State<App>,
    Json(finish): Json<FinishOidc>,
) -> Result<NoContent, ApiError> {
    if finish.secret.is_some() {
        let why =
            "a code of an operator is for /v1/login/oidc/finish: whoever is logged in needs none";
        return Err(Problem::new(Kind::Invalid, why).into());
    }
    let now = now();
    let attempt = app.link_by(&person, finish, now);
    let key = format!("oidc {}", Text(person.account));
    app.throttled((now, key), attempt).await?;
    Ok(NoContent)
}

/// Every other token of the account ends.
async fn unlink(person: Person, State(app): State<App>) -> Result<NoContent, ApiError> {
    let (account, token) = (person.account, person.token);
    let removed = app.told(person.actor(), move |tx| {
        let removed = identities::unlink_mine(tx, account, token)?;
        Ok(((), removed.then(|| Act::on("login.unlink", Text(account)))))
    });
    removed.await?;
    Ok(NoContent)
}
