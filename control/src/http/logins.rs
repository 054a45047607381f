//! Persons log in and out.

use axum::extract::State;
use axum::response::NoContent;
use sealcast_domain::audit::Act;
use sealcast_domain::logins::{self, LoginName};
use sealcast_objects::api::{LogIn, SetPassword, Token};
use sealcast_objects::code::sha256;
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};

use super::bearer::{self, Person};
use super::error::{ApiError, Json, Reply};
use super::openapi::{Routes, about};
use super::{App, now, problem};
use crate::passwords;

pub(super) fn routes() -> Routes {
    Routes::of("Persons")
        .post(
            "/v1/login",
            log_in,
            about("A person logs in")
                .refuses(401)
                .refuses(403)
                .refuses(429),
        )
        .delete("/v1/login", log_out, "Ends the token")
        .post(
            "/v1/login/password",
            set_password,
            about("Sets the password, by a one-time code").refuses(403),
        )
}

/// One answer for every reason: nobody learns which names there are.
fn wrong() -> Problem {
    Problem::new(Kind::Unauthenticated, "the name or the password is wrong")
}

async fn log_in(
    State(app): State<App>,
    Json(LogIn { name, password }): Json<LogIn>,
) -> Reply<Token> {
    let name = LoginName::parse(&name).map_err(problem)?;
    let now = now();
    if let Some(wait) = app.throttle().wait(now, name.as_str()) {
        let why = format!(
            "too many attempts with this name failed: try again in {} s",
            wait.as_secs() + 1
        );
        return Err(Problem::new(Kind::TooMany, why).into());
    }
    let asked = name.clone();
    let known = app
        .read(move |store| logins::password(store, &asked))
        .await?;
    let (account, hash) = known.unzip();
    let same = app.passwords().is(password, hash).await?;
    let Some(account) = account.filter(|_| same) else {
        app.throttle().failed(now, name.as_str());
        return Err(wrong().into());
    };
    app.throttle().succeeded(name.as_str());
    let token = bearer::fresh(&mut *app.rng());
    let hash = bearer::hash(&token);
    let issued = app.act(actor(account), move |tx| {
        let until = logins::issue(tx, now, account, hash)?;
        Ok((until, Act::on("login", Text(account))))
    });
    let until = issued.await?;
    Ok(Json(Token { token, until }))
}

/// The person of an account, as the audit log names him.
pub(super) fn actor(account: sealcast_objects::AccountId) -> String {
    format!("account:{}", Text(account))
}

async fn log_out(person: Person, State(app): State<App>) -> Result<NoContent, ApiError> {
    let (token, account) = (person.token, person.account);
    let ended = app.act(person.actor(), move |tx| {
        logins::end(tx, token)?;
        Ok(((), Act::on("logout", Text(account))))
    });
    ended.await?;
    Ok(NoContent)
}

async fn set_password(
    State(app): State<App>,
    Json(SetPassword { secret, password }): Json<SetPassword>,
) -> Result<NoContent, ApiError> {
    let (now, code) = (now(), sha256(&secret));
    // Who has no code gets no hash made.
    app.read(move |store| logins::check_code(store, now, code))
        .await?;
    let salt = passwords::salt(&mut *app.rng());
    let hash = app.passwords().hash(password, salt).await?;
    let set = app.write(move |tx| {
        let account = logins::set_password(tx, now, code, &hash)?;
        let act = Act::on("login.password", Text(account));
        sealcast_domain::audit::append(tx, now, &actor(account), &act)
    });
    set.await?;
    Ok(NoContent)
}
