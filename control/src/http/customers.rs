//! Administration: who stands behind accounts, how they log in, and the certificates that were issued.

use axum::extract::State;
use axum::response::NoContent;
use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::logins::{self, LoginName};
use sealcast_domain::{accounts, certificates, customers, identities};
use sealcast_objects::AccountId;
use sealcast_objects::api::{CertificatePage, Customer, Login, NewCode, NewLogin, Role};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use serde::Deserialize;

use super::act::{Answered, Log, Once, Operator, failed};
use super::codes::CodeLife;
use super::error::{ApiError, Json, Path, Query, Reply};
use super::openapi::Routes;
use super::pages::{Paged, Pages};
use super::permits::{Care, ReadCustomers};
use super::revision::{IfMatch, Revised};
use super::{App, internal, problem};
use crate::vault::Vault;

pub(super) fn routes() -> Routes {
    Routes::of("Accounts")
        .get(
            "/v1/accounts/{id}/customer",
            customer,
            "Who stands behind an account",
        )
        .put(
            "/v1/accounts/{id}/customer",
            put_customer,
            "Says who stands behind an account",
        )
        .delete(
            "/v1/accounts/{id}/customer",
            erase_customer,
            "Erases who stands behind an account",
        )
        .post(
            "/v1/accounts/{id}/login",
            new_login,
            "The name to log in with, and a code that sets its password",
        )
        .get(
            "/v1/accounts/{id}/login",
            login,
            "How the person of an account logs in",
        )
        .delete(
            "/v1/accounts/{id}/login/oidc",
            unlink,
            "What an identity provider says of the person counts no more",
        )
        .get(
            "/v1/certificates",
            list_certificates,
            "Certificates that were issued",
        )
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
) -> Result<Revised<Customer>, ApiError> {
    let kept = app.read(move |store| customers::get(store, id)).await?;
    let customer = open(app.vault(), id, &kept).map_err(problem)?;
    Ok(Revised(customer, kept.revision))
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
    IfMatch(expected): IfMatch,
    Json(customer): Json<Customer>,
) -> Result<Revised<Customer>, ApiError> {
    let sealed = app.seal_customer(id, &customer)?;
    let put = operator.act(&app, move |tx| {
        let revision = customers::put(tx, id, &sealed, expected)?;
        Ok((revision, Act::on("customer.put", Text(id))))
    });
    Ok(Revised(customer, put.await?))
}

async fn erase_customer(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
    IfMatch(expected): IfMatch,
) -> Result<NoContent, ApiError> {
    let erased = operator.act(&app, move |tx| {
        customers::erase(tx, id, expected)?;
        Ok(((), Act::on("customer.erase", Text(id))))
    });
    erased.await?;
    Ok(NoContent)
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

async fn login(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Reply<Login> {
    let login = app.read(move |store| {
        accounts::get(store, id)?;
        Ok(Login {
            name: logins::name(store, id)?,
            password: logins::hash(store, id)?.is_some(),
            identities: identities::of_account(store, id)?,
        })
    });
    Ok(Json(login.await?))
}

/// What the person's provider says counts no more, for whoever was shown to be that person; who is logged in is logged out.
async fn unlink(
    operator: Operator<Care>,
    State(app): State<App>,
    Path(Text(id)): Path<Text<AccountId>>,
) -> Result<NoContent, ApiError> {
    let removed = operator.act_if(&app, Log::Both, move |tx| {
        let account = accounts::get(tx, id)?.id;
        let removed = identities::unlink(tx, id, None)?;
        Ok(((), removed.then(|| Act::on("login.unlink", account))))
    });
    removed.await?;
    Ok(NoContent)
}

/// Whose.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Certificates {
    /// With `subject`: whose.
    #[serde(default)]
    role: Option<Role>,
    /// With `role`: a device's id, a server's number, an operator's name.
    #[serde(default)]
    subject: Option<String>,
}

async fn list_certificates(
    _: Operator<ReadCustomers>,
    State(app): State<App>,
    mut pages: Pages<u64, Certificates>,
) -> Result<Paged<CertificatePage>, ApiError> {
    let of = std::mem::take(&mut pages.filter);
    let (after, most) = (pages.after.unwrap_or(0), pages.most);
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
            certificates::page(store, whose, after, most)
        })
        .await?;
    pages.answer(
        certificates,
        |last| last.number,
        |certificates, next| CertificatePage { certificates, next },
    )
}
