//! Login of persons by an identity provider (OpenID Connect), and what is linked with a login.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// `POST /v1/login/oidc`, `POST /v1/me/oidc`: where the provider sends the person back to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginOidc {
    /// One of those that the settings name, letter for letter.
    pub redirect_uri: String,
}

/// The answer: what the application keeps for the browser that asked, and where it sends it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OidcBegun {
    /// Where the person logs in, at the provider.
    pub authorization_url: String,
    /// To be kept where only this browser's session has it, and given back to finish: it binds the provider's answer to who began (RFC 9700 4.7).
    pub login: String,
    /// It counts until then, once.
    pub until: Timestamp,
}

impl fmt::Debug for OidcBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OidcBegun(.., {})", self.until)
    }
}

/// `POST /v1/login/oidc/finish`, `POST /v1/me/oidc/finish`: what the provider sent the person back with.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishOidc {
    /// As it was given at the beginning.
    pub login: String,
    /// As it came back.
    pub state: String,
    /// The provider's code.
    pub code: String,
    /// Who the provider says that it is, if it does (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The secret of an operator's code: links the identity with the login that the code is of. At `/v1/login/oidc/finish` only.
    #[schemars(with = "Option<crate::bytes::Base64Url>")]
    #[serde(
        default,
        with = "super::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub secret: Option<Vec<u8>>,
}

impl fmt::Debug for FinishOidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FinishOidc(..)")
    }
}

/// An identity at a provider with which a person logs in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinkedIdentity {
    /// The provider.
    pub issuer: String,
    /// The person, as the provider names him.
    pub subject: String,
    /// When it was linked.
    pub since: Timestamp,
}

/// `GET /v1/accounts/{id}/login`: how the person of an account logs in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Login {
    /// The name.
    pub name: String,
    /// Whether a password is set.
    pub password: bool,
    /// What is linked.
    pub identities: Vec<LinkedIdentity>,
}
