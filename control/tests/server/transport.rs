//! SEC-15: what connections are made of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use rustls::pki_types::ServerName;
use sealcast_terminal::https::{Client, RequestError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bench::{Bench, nobody, raw};

pub(crate) async fn connect(
    server: SocketAddr,
    tls: rustls::ClientConfig,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let tcp = TcpStream::connect(server).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = TlsConnector::from(Arc::new(tls));
    connector.connect(name, tcp).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_the_key_exchange_is_hybrid_and_the_version_1_3() {
    let bench = Bench::start().await;
    for tls in [bench.ada.tls().unwrap(), nobody(&bench.ada)] {
        let stream = connect(bench.config.listen[0], tls).await;
        let (_, connection) = stream.get_ref();
        let group = connection.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
        let version = connection.protocol_version();
        assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
    }
}

/// The first message of a client that speaks TLS 1.2 and nothing newer.
fn hello_of_tls_1_2() -> Vec<u8> {
    let extensions = [
        // supported_groups: secp256r1, x25519
        &[0, 10, 0, 6, 0, 4, 0, 23, 0, 29][..],
        // ec_point_formats: uncompressed
        &[0, 11, 0, 2, 1, 0],
        // signature_algorithms: ecdsa_secp256r1_sha256
        &[0, 13, 0, 4, 0, 2, 4, 3],
    ]
    .concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session id; ECDHE-ECDSA with AES-128-GCM; no compression.
    body.extend([0, 0, 2, 0xC0, 0x2B, 1, 0]);
    body.extend(length(&extensions));
    body.extend(extensions);
    let handshake = [&[1, 0][..], &length(&body), &body].concat();
    [&[22, 3, 1][..], &length(&handshake), &handshake].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_tls_1_2_is_refused() {
    let bench = Bench::start().await;
    let mut tcp = TcpStream::connect(bench.config.listen[0]).await.unwrap();
    tcp.write_all(&hello_of_tls_1_2()).await.unwrap();
    let mut answer = Vec::new();
    let read = tcp.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(5), read)
        .await
        .unwrap()
        .unwrap();
    // Fatal alert: protocol_version.
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    assert_eq!(answer.get(5..), Some(&[2, 70][..]), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_a_certificate_of_another_ca_is_refused() {
    let (bench, other) = (Bench::start().await, Bench::start().await);
    let mut stranger = other.ada.clone();
    stranger.server.clone_from(&bench.url);
    stranger.ca.clone_from(&bench.ada.ca);
    let client = Client::new(&stranger).unwrap();
    let error = client
        .get::<serde_json::Value>("/v1/status")
        .await
        .unwrap_err();
    assert!(matches!(error, RequestError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("enrol again"), "{error}");
    // And its server is not accepted by ours.
    let mut strayed = bench.ada.clone();
    strayed.server.clone_from(&other.url);
    let client = Client::new(&strayed).unwrap();
    let error = client
        .get::<serde_json::Value>("/v1/status")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("not of the CA"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_and_2_are_spoken_and_plain_text_is_not() {
    let bench = Bench::start().await;
    for protocols in [vec![b"h2".to_vec()], vec![b"http/1.1".to_vec()], Vec::new()] {
        let mut tls = nobody(&bench.ada);
        tls.alpn_protocols.clone_from(&protocols);
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .build()
            .unwrap();
        let answer = client
            .get(format!("{}/v1/time", bench.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{protocols:?}");
    }
    let plain = bench.url.replace("https", "http");
    let client = raw(&bench.ada, None);
    let answer = client.get(format!("{plain}/v1/time")).send().await;
    assert!(answer.is_err());
    // Neither it nor silence keeps the server from others.
    let _silent = TcpStream::connect(bench.config.listen[0]).await.unwrap();
    bench.list("status").await;
}
