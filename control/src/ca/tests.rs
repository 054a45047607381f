//! Certificates: for whom, for how long, and what is not taken over from a request.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use sealcast_objects::code::Code;
use tempfile::TempDir;

use super::*;
use crate::store::Location;

const NOW: Timestamp = Timestamp(1_790_000_000_000);
const LIFE: Duration = Duration::from_secs(3600);

struct Bench {
    _folder: TempDir,
    store: Store,
    vault: Vault,
    rng: ChaCha8Rng,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &Location::Folder).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let vault = Vault::open(&store, &folder.path().join("master.key"), &mut rng).unwrap();
        Self {
            _folder: folder,
            store,
            vault,
            rng,
        }
    }

    fn ca(&mut self) -> Ca {
        Ca::open(&self.store, &self.vault, NOW, &mut self.rng).unwrap()
    }

    fn sign(&mut self, ca: &Ca, request: &str) -> CertificateDer<'static> {
        let request = SigningRequest::parse(request).unwrap();
        let role = Role::Device;
        let pem = ca.sign(&request, (role, "dev_1"), &[], NOW, LIFE, &mut self.rng);
        CertificateDer::from_pem_slice(pem.unwrap().as_bytes()).unwrap()
    }
}

fn roots(ca: &Ca) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone()).unwrap();
    Arc::new(roots)
}

fn at(time: Timestamp) -> UnixTime {
    let since = time.since(Timestamp(0));
    UnixTime::since_unix_epoch(since)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// As a client looks at the server's certificate.
#[expect(
    clippy::unwrap_in_result,
    reason = "the result is what the verifier says"
)]
fn check_server(ca: &Ca, key: &CertifiedKey, name: &str, time: Timestamp) -> Result<(), String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(ca), provider())
        .build()
        .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (first, rest) = key.cert.split_first().unwrap();
    verifier
        .verify_server_cert(first, rest, &name, &[], at(time))
        .map(drop)
        .map_err(|error| error.to_string())
}

/// As the server looks at a client's certificate.
#[expect(
    clippy::unwrap_in_result,
    reason = "the result is what the verifier says"
)]
fn check_client(
    ca: &Ca,
    certificate: &CertificateDer<'_>,
    time: Timestamp,
) -> Result<(), rustls::Error> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca), provider())
        .build()
        .unwrap();
    verifier
        .verify_client_cert(certificate, &[], at(time))
        .map(drop)
}

fn request(params: CertificateParams, key: &KeyPair) -> String {
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

#[test]
fn the_servers_certificate_holds_for_its_names_and_addresses_only() {
    let mut bench = Bench::new();
    let ca = bench.ca();
    let names = ["keys.example", "127.0.0.1", "::1"].map(str::to_owned);
    let server = ca.server(&names, NOW, LIFE, &mut bench.rng).unwrap();
    for name in ["keys.example", "KEYS.example", "127.0.0.1", "::1"] {
        check_server(&ca, &server, name, NOW).unwrap();
    }
    for name in ["example", "x.keys.example", "127.0.0.2", "::2", "localhost"] {
        let said = check_server(&ca, &server, name, NOW).unwrap_err();
        assert!(said.contains("not valid for"), "{name}: {said}");
    }
    assert_eq!(server.cert.len(), 2, "the CA goes along, for enrolment");
    // It is no client's certificate, and no peer.
    assert!(check_client(&ca, &server.cert[0], NOW).is_err());
    assert_eq!(Peer::of(&server.cert[0]), None);
    assert_eq!(Peer::of(ca.certificate()), None);
    // Another CA did not make it.
    let other = Bench::new().ca();
    assert!(check_server(&other, &server, "keys.example", NOW).is_err());
}

#[test]
fn certificates_begin_48_hours_before_they_are_made_and_end_in_time() {
    const HOUR: Duration = Duration::from_secs(3600);
    let mut bench = Bench::new();
    let ca = bench.ca();
    let server = ca
        .server(&["k".to_owned()], NOW, LIFE, &mut bench.rng)
        .unwrap();
    let certificate = bench.sign(&ca, &request(CertificateParams::default(), &key()));
    for (time, good) in [
        (NOW.before(49 * HOUR), false),
        (NOW.before(48 * HOUR), true),
        (NOW, true),
        (NOW.after(LIFE), true),
        (NOW.after(LIFE + Duration::from_secs(1)), false),
    ] {
        assert_eq!(
            check_server(&ca, &server, "k", time).is_ok(),
            good,
            "{time}"
        );
        let client = check_client(&ca, &certificate, time);
        assert_eq!(client.is_ok(), good, "{time}: {client:?}");
    }
    let (_, parsed) = X509Certificate::from_der(ca.certificate()).unwrap();
    let begin = parsed.validity().not_before.timestamp();
    assert_eq!(begin, NOW.before(48 * HOUR).0 / 1000);
}

#[test]
fn sec_02_peer_of_reads_role_subject_and_key() {
    let mut bench = Bench::new();
    let ca = bench.ca();
    for (role, subject) in [
        (Role::Admin, "ada.l-1"),
        (Role::Node, "4294967295"),
        (Role::Device, "dev_00ff"),
    ] {
        let key = key();
        let parsed = SigningRequest::parse(&request(CertificateParams::default(), &key)).unwrap();
        let pem = ca
            .sign(&parsed, (role, subject), &[], NOW, LIFE, &mut bench.rng)
            .unwrap();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        check_client(&ca, &certificate, NOW).unwrap();
        let expected = Peer {
            role,
            subject: subject.to_owned(),
            public_key: key.subject_public_key_info(),
        };
        assert_eq!(Peer::of(&certificate), Some(expected));
        assert_eq!(parsed.public_key(), key.subject_public_key_info());
    }
    assert_eq!(Peer::of(&CertificateDer::from(vec![1, 2, 3])), None);
}

#[test]
fn names_that_are_not_ours_make_no_peer() {
    let certificate = |uri: &str| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let made = params.self_signed(&key()).unwrap();
        Peer::of(made.der())
    };
    assert!(certificate("urn:sealcast:node:1").is_some());
    for uri in [
        "urn:sealcast:root:1",
        "urn:sealcast:node",
        "urn:other:node:1",
        "https://urn:sealcast:node:1",
        "URN:SEALCAST:NODE:1",
    ] {
        assert_eq!(certificate(uri), None, "{uri}");
    }
}

#[test]
fn sec_02_nothing_but_the_key_is_taken_over_from_a_request() {
    let mut bench = Bench::new();
    let ca = bench.ca();
    let mut wishes = CertificateParams::default();
    wishes.distinguished_name = name("admin root");
    wishes.subject_alt_names = vec![
        SanType::URI("urn:sealcast:admin:root".try_into().unwrap()),
        SanType::DnsName("keys.example".try_into().unwrap()),
    ];
    wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = key();
    let certificate = bench.sign(&ca, &request(wishes, &key));
    let peer = Peer::of(&certificate).unwrap();
    assert_eq!((peer.role, peer.subject.as_str()), (Role::Device, "dev_1"));
    let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
    assert!(!parsed.is_ca());
    let names = parsed.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), 1);
    assert_eq!(parsed.subject().to_string(), "CN=device dev_1");
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let extended = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth && !extended.any);
    check_client(&ca, &certificate, NOW).unwrap();
    // What its owner signs with it counts for nothing.
    let issuer = Issuer::from_ca_cert_der(&certificate, key).unwrap();
    let mut forged = CertificateParams::default();
    let admin = "urn:sealcast:admin:root".try_into().unwrap();
    forged.subject_alt_names = vec![SanType::URI(admin)];
    let forged = forged.signed_by(&self::key(), &issuer).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&ca), provider())
        .build()
        .unwrap();
    let chain = [certificate];
    assert!(
        verifier
            .verify_client_cert(forged.der(), &chain, at(NOW))
            .is_err()
    );
}

#[test]
fn sec_02_a_request_that_does_not_prove_its_key_is_refused() {
    let good = request(CertificateParams::default(), &key());
    SigningRequest::parse(&good).unwrap();
    let der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes());
    let der = der.unwrap().to_vec();
    let pem = |der: &[u8]| {
        let base64 = data_encoding::BASE64.encode(der);
        format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{base64}\n-----END CERTIFICATE REQUEST-----\n"
        )
    };
    SigningRequest::parse(&pem(&der)).unwrap();
    let refused = |text: &str| {
        let problem = SigningRequest::parse(text).map(drop).unwrap_err();
        assert_eq!(problem.kind, Kind::Invalid);
        assert!(problem.detail.contains("certificate signing request"));
    };
    // Each byte of what is signed counts, and of the signature.
    let parsed = x509_parser::certification_request::X509CertificationRequest::from_der(&der);
    let signed = parsed.unwrap().1.certification_request_info.raw.len();
    let header = der.windows(2).position(|bytes| bytes == [2, 1]).unwrap() - 3;
    for at in (header..header + signed).chain(der.len() - 30..der.len()) {
        let mut broken = der.clone();
        broken[at] ^= 1;
        refused(&pem(&broken));
    }
    for text in ["", "hello", &good[..200]] {
        refused(text);
    }
    refused(&self_signed_pem());
}

fn self_signed_pem() -> String {
    let made = CertificateParams::default().self_signed(&key()).unwrap();
    to_pem(made.der())
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let parse = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        SigningRequest::parse(&request(CertificateParams::default(), &key)).map(drop)
    };
    parse(&PKCS_ED25519).unwrap();
    parse(&PKCS_ECDSA_P256_SHA256).unwrap();
    for other in [
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA256,
        &rcgen::PKCS_ECDSA_P521_SHA512,
    ] {
        let problem = parse(other).unwrap_err();
        assert_eq!(problem.kind, Kind::Invalid, "{other:?}");
    }
}

#[test]
fn the_ca_is_made_once_and_its_key_is_sealed() {
    let mut bench = Bench::new();
    let first = bench.ca();
    let again = bench.ca();
    assert_eq!(first.certificate(), again.certificate());
    assert_eq!(first.fingerprint(), again.fingerprint());
    let server = again
        .server(&["k".to_owned()], NOW, LIFE, &mut bench.rng)
        .unwrap();
    check_server(&first, &server, "k", NOW).unwrap();
    assert_eq!(
        format!("{first:?} {:?}", request_debug()),
        "Ca(..) SigningRequest(..)"
    );
    // Damaged, it is not replaced by a new one.
    bench
        .store
        .write_blocking(|tx| keys::put_secret(tx, KEY, &[0; 200]))
        .unwrap();
    let error = Ca::open(&bench.store, &bench.vault, NOW, &mut bench.rng).unwrap_err();
    assert!(matches!(error, CaError::Key(NotOurs)), "{error}");
}

fn request_debug() -> SigningRequest {
    SigningRequest::parse(&request(CertificateParams::default(), &key())).unwrap()
}

#[test]
fn a_codes_fingerprint_is_that_of_the_ca_and_of_no_other() {
    let mut bench = Bench::new();
    let ca = bench.ca();
    let (_, parsed) = X509Certificate::from_der(ca.certificate()).unwrap();
    assert_eq!(ca.fingerprint(), sha256(parsed.public_key().raw));
    let code = Code::new(ca.fingerprint(), &mut bench.rng).to_string();
    assert_eq!(code.parse::<Code>().unwrap().ca, ca.fingerprint());
    assert_ne!(Bench::new().ca().fingerprint(), ca.fingerprint());
    let pem = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    assert_eq!(&pem, ca.certificate());
}

#[test]
fn a_certificate_of_another_ca_is_refused() {
    let (mut bench, other) = (Bench::new(), Bench::new().ca());
    let ca = bench.ca();
    let certificate = bench.sign(&ca, &request(CertificateParams::default(), &key()));
    let error = check_client(&other, &certificate, NOW).unwrap_err();
    let unknown = CertificateError::UnknownIssuer;
    let bad = CertificateError::BadSignature;
    assert!(
        error == rustls::Error::InvalidCertificate(unknown)
            || error == rustls::Error::InvalidCertificate(bad),
        "{error:?}"
    );
}
