//! Administration: who stands behind accounts, how they log in, and the certificates that were issued.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use sealcast_domain::audit::Act;
use sealcast_domain::logins::{self, LoginName};
use sealcast_domain::{accounts, certificates, customers};
use sealcast_objects::AccountId;
use sealcast_objects::api::{CertificatePage, Customer, NewCode, NewLogin, Role};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use serde::Deserialize;

use super::act::{Answered, Once, Operator, failed};
use super::codes::CodeLife;
use super::error::{ApiError, Json, Path, Query, Reply};
use super::permits::{Care, ReadCustomers};
use super::revision::{expected, revised};
use super::{App, internal, page, problem};
use crate::vault::Vault;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(
            "/v1/accounts/{id}/customer",
            get(customer).put(put_customer).delete(erase_customer),
        )
        .route("/v1/accounts/{id}/login", post(new_login))
        .route("/v1/certificates", get(list_certificates))
}

/// What a customer is sealed as.
fn sealed_as(account: AccountId) -> String {
    format!("customer {}", Text(account))
}

/// What the store has of a customer, in the open.
pub(super) fn open(
    vault: &Vault,
    account: AccountId,
    kept: &customers::Kept,
) -> sealcast_domain::Result<Customer> {
    let bytes = vault
        .open_secret(&sealed_as(account), &kept.sealed)
        .map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(failed)
}

async fn customer(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Result<Response, ApiError> {
    let kept = app.read(move |store| customers::get(store, id)).await?;
    let customer = open(app.vault(), id, &kept).map_err(problem)?;
    Ok(revised(customer, kept.revision))
}

/// Longest part of what is known of a customer, in bytes.
const PART_MAX: usize = 1024;

impl App {
    /// What is to be kept of a customer.
    pub(super) fn seal_customer(
        &self,
        account: AccountId,
        customer: &Customer,
    ) -> Result<Vec<u8>, Problem> {
        let parts = [
            &customer.name,
            &customer.email,
            &customer.phone,
            &customer.address,
            &customer.country,
            &customer.note,
        ];
        let invalid = |why: &str| Err(Problem::new(Kind::Invalid, why));
        if customer.name.trim().is_empty() {
            return invalid("a customer has a name");
        }
        if parts.iter().any(|part| part.len() > PART_MAX) {
            return invalid("each part of what is known of a customer has at most 1024 bytes");
        }
        let country = customer.country.as_bytes();
        if !(country.is_empty() || country.len() == 2 && country.iter().all(u8::is_ascii_uppercase))
        {
            return invalid("a country is two capital letters (ISO 3166-1): DE, JP");
        }
        let bytes = zeroize::Zeroizing::new(serde_json::to_vec(customer).map_err(internal)?);
        Ok(self
            .vault()
            .seal(&sealed_as(account), &bytes, &mut *self.rng()))
    }
}

async fn put_customer(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    headers: HeaderMap,
    Json(customer): Json<Customer>,
) -> Result<Response, ApiError> {
    let expected = expected(&headers)?;
    let sealed = app.seal_customer(id, &customer)?;
    let put = operator.act(&app, move |tx| {
        let revision = customers::put(tx, id, &sealed, expected)?;
        Ok((revision, Act::on("customer.put", Text(id))))
    });
    Ok(revised(customer, put.await?))
}

async fn erase_customer(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let expected = expected(&headers)?;
    let erased = operator.act(&app, move |tx| {
        customers::erase(tx, id, expected)?;
        Ok(((), Act::on("customer.erase", Text(id))))
    });
    erased.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The name with which a person logs in, and a code with which the password is set: for whoever was shown to be that person.
async fn new_login(
    once: Once<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    Query(life): Query<CodeLife>,
    Json(new): Json<NewLogin>,
) -> Result<Answered<NewCode>, ApiError> {
    let name = LoginName::parse(&new.name).map_err(problem)?;
    let code = life.code(&app);
    let given = once.act(&app, &new, move |tx| {
        logins::put(tx, id, &name, code.hash(), code.until())?;
        let code = code.named(name.as_str());
        Ok((code, Act::on("login.code", accounts::get(tx, id)?.id)))
    });
    Ok(given.await?)
}

/// Whose, and which page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificates {
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list_certificates(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Query(of): Query<Certificates>,
) -> Reply<CertificatePage> {
    let most = page::size(of.limit);
    let whose = match (of.role, of.subject) {
        (Some(role), Some(subject)) => Some((role, subject)),
        (None, None) => None,
        _ => {
            let why = "give role and subject (device and its id, say), or none of both";
            return Err(Problem::new(Kind::Invalid, why).into());
        }
    };
    let certificates = app
        .read(move |store| {
            let whose = whose
                .as_ref()
                .map(|(role, subject)| (*role, subject.as_str()));
            certificates::page(store, whose, of.after.unwrap_or(0), most)
        })
        .await?;
    let next = page::next(&certificates, most, |last| last.number);
    Ok(Json(CertificatePage { certificates, next }))
}
