//! From a one-time code to an identity. The key is made here and never leaves (SEC-02).

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use reqwest::Method;
use sealcast_objects::api::{EnrolRequest, Enrolled, Recovery, RenewRequest, Role, UseRecovery};
use sealcast_objects::code::Code;
use sealcast_objects::time::Timestamp;

use crate::https::{Client, RequestError};
use crate::identity::Identity;
use crate::tls;

/// A certificate is renewed when less than this remains.
pub const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

fn unusable(error: impl std::fmt::Display) -> RequestError {
    RequestError::Identity(error.to_string())
}

/// A request for a certificate by this key; it asks for nothing but that.
fn signing_request(key: &KeyPair) -> Result<String, RequestError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(key).map_err(unusable)?;
    request.pem().map_err(unusable)
}

/// Enrols at `server` (https://HOST:PORT) with a code. If the answer is lost, the same `key` may try again.
///
/// # Errors
/// [`RequestError`]: a wrong or used code, a server that is not the code's, clocks that differ.
pub async fn enrol(
    server: &str,
    code: &Code,
    key: &KeyPair,
    wanted: Role,
) -> Result<Identity, RequestError> {
    let tls = tls::by_fingerprint(code.ca).map_err(unusable)?;
    let request = EnrolRequest {
        secret: code.secret().to_vec(),
        csr: signing_request(key)?,
    };
    let client = Client::with_tls(server, tls)?;
    let enrolled: Enrolled = client.post("/v1/enrol", &request).await?;
    if enrolled.role != wanted {
        return Err(unusable(format!(
            "this code is for a {}, not for a {}: use the command for it",
            enrolled.role.name(),
            wanted.name()
        )));
    }
    Ok(identity(server, key, enrolled))
}

fn identity(server: &str, key: &KeyPair, enrolled: Enrolled) -> Identity {
    Identity {
        role: enrolled.role,
        subject: enrolled.subject,
        server: server.trim_end_matches('/').to_owned(),
        key: key.serialize_pem(),
        certificate: enrolled.certificate,
        ca: enrolled.ca,
        until: enrolled.until,
        authority: enrolled.authority,
        session: None,
    }
}

/// Uses the code of a recovery: it begins, or says where it stands; when it is done the code enrols (SEC-03).
///
/// # Errors
/// [`RequestError`].
pub async fn recover(server: &str, code: &Code) -> Result<Recovery, RequestError> {
    let tls = tls::by_fingerprint(code.ca).map_err(unusable)?;
    let request = UseRecovery {
        secret: code.secret().to_vec(),
    };
    let client = Client::with_tls(server, tls)?;
    client.post("/v1/recoveries/use", &request).await
}

/// Enrols a device by the key that it was made with, at a server of the CA whose certificate (PEM) this is.
///
/// # Errors
/// [`RequestError`]: a key that no register has, a device that nobody has claimed.
pub async fn enrol_made(server: &str, key: &str, ca: &str) -> Result<Identity, RequestError> {
    let key = KeyPair::from_pem(key).map_err(unusable)?;
    let tls = tls::by_certificate(ca).map_err(unusable)?;
    let request = RenewRequest {
        csr: signing_request(&key)?,
    };
    let client = Client::with_tls(server, tls)?;
    let enrolled: Enrolled = client.post("/v1/factory-devices/enrol", &request).await?;
    Ok(identity(server, &key, enrolled))
}

/// A key for a new identity.
///
/// # Errors
/// The library's.
pub fn new_key() -> Result<KeyPair, RequestError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable)
}

/// Whether the certificate should be renewed now.
#[must_use]
pub fn is_due(identity: &Identity) -> bool {
    identity.until.before(RENEW_BEFORE) <= Timestamp::from(SystemTime::now())
}

/// Renews the certificate of an identity.
///
/// # Errors
/// [`RequestError`].
pub async fn renew(identity: &mut Identity) -> Result<(), RequestError> {
    let key = KeyPair::from_pem(&identity.key).map_err(unusable)?;
    let request = RenewRequest {
        csr: signing_request(&key)?,
    };
    let client = Client::new(identity)?;
    let renewed: Enrolled = client
        .call(Method::POST, "/v1/renew", Some(&request))
        .await?;
    identity.certificate = renewed.certificate;
    identity.until = renewed.until;
    identity.authority = renewed.authority;
    Ok(())
}
