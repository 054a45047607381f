//! TLS of clients: version 1.3, hybrid key exchange first, a server of the CA that enrolment named (no other roots).

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use sealcast_objects::code::sha256;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::Identity;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn pem<T>(result: Result<T, rustls::pki_types::pem::Error>) -> Result<T, Error> {
    result.map_err(|error| Error::General(format!("the identity holds no PEM: {error:?}")))
}

impl Identity {
    /// What connections of this identity are made with: the server must be of its CA, and gets its certificate.
    ///
    /// # Errors
    /// When key or certificates in the file cannot be.
    pub fn tls(&self) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(pem(CertificateDer::from_pem_slice(self.ca.as_bytes()))?)?;
        let certificate = pem(CertificateDer::from_pem_slice(self.certificate.as_bytes()))?;
        let key = pem(PrivateKeyDer::from_pem_slice(self.key.as_bytes()))?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Identity {
    /// For a role that serves, too: key and certificate, and the CA's certificate, by which peers are admitted.
    ///
    /// # Errors
    /// When key or certificates in the file cannot be.
    pub fn serving(&self) -> Result<(CertifiedKey, CertificateDer<'static>), Error> {
        let ca = pem(CertificateDer::from_pem_slice(self.ca.as_bytes()))?;
        let certificate = pem(CertificateDer::from_pem_slice(self.certificate.as_bytes()))?;
        let key = pem(PrivateKeyDer::from_pem_slice(self.key.as_bytes()))?;
        let key = aws_lc_rs::sign::any_supported_type(&key)?;
        Ok((CertifiedKey::new(vec![certificate, ca.clone()], key), ca))
    }
}

/// For enrolment: the server must be of the CA whose key has this fingerprint.
pub(crate) fn by_fingerprint(ca: [u8; 32]) -> Result<ClientConfig, Error> {
    unpinned(Verifier { ca: Some(ca) })
}

/// For a device from a factory, which knows the CA's certificate (PEM).
pub(crate) fn by_certificate(ca: &str) -> Result<ClientConfig, Error> {
    let certificate = pem(CertificateDer::from_pem_slice(ca.as_bytes()))?;
    let fingerprint = key_fingerprint(&certificate);
    by_fingerprint(fingerprint.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?)
}

/// For looking at the server's clock only: any server. Nothing else of its answer is used, and that only to say what is wrong.
pub(crate) fn anybody() -> Result<ClientConfig, Error> {
    unpinned(Verifier { ca: None })
}

fn unpinned(verifier: Verifier) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What a server must show that no root vouches for.
#[derive(Debug)]
struct Verifier {
    /// Fingerprint of the key of its CA; `None`: nothing.
    ca: Option<[u8; 32]>,
}

fn key_fingerprint(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(sha256(parsed.public_key().raw))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(fingerprint) = self.ca else {
            return Ok(ServerCertVerified::assertion());
        };
        let ca = intermediates
            .iter()
            .find(|certificate| key_fingerprint(certificate) == Some(fingerprint))
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
