//! The small private CA: certificates for this server, for delivery servers, devices and operators (SEC-02, SEC-15).
//!
//! Who a certificate speaks for stands in its SAN as `urn:sealcast:ROLE:SUBJECT`. Certificates begin 48 hours before they
//! are made, so that a clock that is behind does no harm.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sealcast_domain::{Error, keys};
use sealcast_objects::api::Role;
use sealcast_objects::code::sha256;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::store::Store;
use crate::vault::{NotOurs, Vault};

/// Certificates begin this long before they are made.
const BACKDATE: Duration = Duration::from_secs(48 * 3600);
/// The CA's own certificate.
const CA_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Names in the store.
const KEY: &str = "ca_key";
const CERTIFICATE: &str = "ca_certificate";
/// Before role and subject.
const URN: &str = "urn:sealcast:";

/// Why certificates cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The CA key does not open.
    #[error(transparent)]
    Key(#[from] NotOurs),
    /// The library refuses; a damaged certificate, or a name that cannot be in one.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// As above, of TLS.
    #[error("a certificate cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// The CA.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    fingerprint: [u8; 32],
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ca(..)")
    }
}

/// Who a peer is, by its certificate. What it may do is the store's word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// What it is.
    pub role: Role,
    /// Who: a server number, a device id, an operator's name.
    pub subject: String,
    /// SubjectPublicKeyInfo of its key, DER.
    pub public_key: Vec<u8>,
}

impl Ca {
    /// The CA that the store keeps, or a new one.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn open(
        store: &Store,
        vault: &Vault,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, CaError> {
        let kept = store.read_blocking(|store| {
            Ok(keys::secret(store, KEY)?.zip(keys::meta(store, CERTIFICATE)?))
        })?;
        if let Some((sealed, certificate)) = kept {
            let key = vault.open_secret(KEY, &sealed)?;
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice()));
            let key = KeyPair::from_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
            return Self::new(key, certificate.into());
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("sealcast CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, now, CA_LIFE, rng);
        let certificate = params.self_signed(&key)?;
        let (der, sealed) = (
            certificate.der().to_vec(),
            vault.seal(KEY, &key.serialize_der(), rng),
        );
        let kept = der.clone();
        store.write_blocking(move |tx| {
            keys::put_secret(tx, KEY, &sealed)?;
            keys::put_meta(tx, CERTIFICATE, &kept)
        })?;
        Self::new(key, der.into())
    }

    fn new(key: KeyPair, certificate: CertificateDer<'static>) -> Result<Self, CaError> {
        let fingerprint = sha256(&key.subject_public_key_info());
        let pem = to_pem(&certificate);
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            certificate,
            pem,
            fingerprint,
        })
    }

    /// SHA-256 of the CA's SubjectPublicKeyInfo: what enrolment codes carry.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The CA's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A key and certificate for this server under these names.
    ///
    /// # Errors
    /// [`CaError`].
    pub fn server(
        &self,
        names: &[String],
        now: Timestamp,
        life: Duration,
        rng: &mut dyn CryptoRng,
    ) -> Result<Arc<CertifiedKey>, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("sealcast key server");
        params.subject_alt_names = names
            .iter()
            .map(|name| san(name))
            .collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        set_life(&mut params, now, life, rng);
        let certificate = params.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)?;
        // The CA goes along: whoever enrols knows it by its fingerprint only.
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        Ok(Arc::new(CertifiedKey::new(chain, signing)))
    }

    /// A certificate for the key that signed this request. With `hosts` it also serves, under these names and addresses.
    ///
    /// # Errors
    /// A request that is none, or does not prove possession of its key.
    pub fn sign(
        &self,
        request: &SigningRequest,
        (role, subject): (Role, &str),
        hosts: &[String],
        now: Timestamp,
        life: Duration,
        rng: &mut dyn CryptoRng,
    ) -> Result<String, CaError> {
        // Nothing but the key is taken over from the request.
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("{} {subject}", role.name()));
        let urn = format!("{URN}{}:{subject}", role.name());
        params.subject_alt_names = vec![SanType::URI(urn.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !hosts.is_empty() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        for host in hosts {
            params.subject_alt_names.push(san(host)?);
        }
        set_life(&mut params, now, life, rng);
        let certificate = params.signed_by(&request.0.public_key, &self.issuer)?;
        Ok(to_pem(certificate.der()))
    }
}

/// A signing request whose signature holds: whoever made it has the key.
pub struct SigningRequest(CertificateSigningRequestParams);

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningRequest(..)")
    }
}

impl SigningRequest {
    /// Checks a request (PEM).
    ///
    /// # Errors
    /// A problem that says what is wrong.
    pub fn parse(pem: &str) -> Result<Self, Problem> {
        let invalid = |error: &dyn fmt::Display| {
            Problem::new(
                Kind::Invalid,
                format!("csr is no certificate signing request with a good signature: {error}"),
            )
        };
        let request =
            CertificateSigningRequestParams::from_pem(pem).map_err(|error| invalid(&error))?;
        if *request.public_key.algorithm() == PKCS_ED25519
            || *request.public_key.algorithm() == PKCS_ECDSA_P256_SHA256
        {
            Ok(Self(request))
        } else {
            Err(invalid(&"its key must be Ed25519 or ECDSA P-256"))
        }
    }

    /// SubjectPublicKeyInfo of its key, DER.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.0.public_key.subject_public_key_info()
    }
}

impl Peer {
    /// Whose certificate came with a request's connection, if one did.
    pub(crate) fn asking(extensions: &axum::http::Extensions) -> Option<Self> {
        extensions.get::<Option<Self>>().cloned().flatten()
    }

    /// Who a certificate of ours speaks for; `None` when it is not of this kind. The chain was verified by TLS.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let urn = names
            .value
            .general_names
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => uri.strip_prefix(URN),
                _ => None,
            })?;
        let (role, subject) = urn.split_once(':')?;
        let role = Role::from_name(role)?;
        Some(Self {
            role,
            subject: subject.to_owned(),
            public_key: certificate.public_key().raw.to_vec(),
        })
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn san(name: &str) -> Result<SanType, rcgen::Error> {
    Ok(match name.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) => SanType::DnsName(name.to_owned().try_into()?),
    })
}

fn set_life(
    params: &mut CertificateParams,
    now: Timestamp,
    life: Duration,
    rng: &mut dyn CryptoRng,
) {
    params.not_before = now.before(BACKDATE).system().into();
    params.not_after = now.after(life).system().into();
    let mut serial = [0; 16];
    rng.fill_bytes(&mut serial);
    // Positive, as RFC 5280 4.1.2.2 wants it.
    serial[0] = serial[0] & 0x7F | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

/// How long certificates of nodes, devices and operators count.
pub const CLIENT_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long this server's certificate counts; it makes a new one at a third of that.
pub const SERVER_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// A certificate's PEM (RFC 7468).
fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let base64 = data_encoding::BASE64.encode(certificate);
    for line in base64.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
