//! Who opens many connections, says nothing, or sends or takes slowly does not keep others out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Body, Method, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use sealcast_control::http::Limits;
use sealcast_objects::problem::Kind;
use sealcast_terminal::identity::Identity;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bench::{Bench, nobody, problem, until};
use crate::link::{Link, Told};
use crate::transport::connect;

/// Connections of a crowd, if the system allows so many open files.
const CROWD: usize = 10_000;
/// How soon a request is answered while there is a crowd, on a host that does other things, too.
const PROMPT: Duration = Duration::from_secs(3);
/// What is to be ended is ended within this: more than the limits of these tests, and less than any other.
const SOON: Duration = Duration::from_secs(4);
const SHORT: Duration = Duration::from_millis(500);

/// How many files may be open from now on.
fn open_files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    maximum.unwrap_or(1 << 20)
}

async fn limited(change: impl FnOnce(&mut Limits)) -> Bench {
    Bench::start_with(|config| change(&mut config.limits)).await
}

async fn ended(bench: &Bench, why: &str) -> u64 {
    let http = bench.server().monitor().health().await.http;
    let found = http.ended.iter().find(|(name, _)| *name == why);
    found.unwrap().1
}

async fn refused(bench: &Bench, status: u16) -> u64 {
    let http = bench.server().monitor().health().await.http;
    let found = http.refused.iter().find(|(counted, _)| *counted == status);
    found.unwrap().1
}

async fn open(bench: &Bench, class: &str) -> u64 {
    let http = bench.server().monitor().health().await.http;
    let found = http.open.iter().find(|(name, _)| *name == class);
    found.unwrap().1
}

async fn tcp(to: SocketAddr, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// TLS without a certificate, with the key exchange that costs least: ten thousand take a while.
fn cheap(ca: &Identity) -> rustls::ClientConfig {
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519],
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(crate::bench::roots(ca))
        .with_no_client_auth()
}

/// A crowd that says nothing, over TCP or over TLS, from several addresses.
async fn crowd(bench: &Bench, many: usize, tls: bool) -> Vec<Box<dyn Send>> {
    let (to, config) = (bench.config.listen[0], Arc::new(cheap(&bench.ada)));
    let mut tasks = JoinSet::new();
    for task in 0..32 {
        let connector = TlsConnector::from(Arc::clone(&config));
        tasks.spawn(async move {
            let mut its: Vec<Box<dyn Send>> = Vec::new();
            for number in (task..many).step_by(32) {
                let tcp = tcp(to, u8::try_from(2 + number % 8).unwrap());
                if tls {
                    let name = ServerName::try_from("127.0.0.1").unwrap();
                    // It may be the oldest of too many.
                    if let Ok(stream) = connector.connect(name, tcp.await).await {
                        its.push(Box::new(stream));
                    }
                } else {
                    its.push(Box::new(tcp.await));
                }
            }
            its
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// Asks again and again, over a connection that there is and over new ones, until `over`; the longest wait.
async fn asks(bench: &Bench, over: &AtomicBool) -> (usize, Duration) {
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) || count < 10 {
        let fresh = sealcast_terminal::https::Client::new(&bench.ada).unwrap();
        for client in [&bench.admin, &fresh] {
            let start = Instant::now();
            client.get::<Value>("/v1/status").await.unwrap();
            longest = longest.max(start.elapsed());
            count += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    (count, longest)
}

#[expect(clippy::print_stdout, reason = "how many it were is told")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_that_say_nothing_keep_nobody_out() {
    let files = open_files();
    // Both ends are in this process, and so are other tests: some files are for the server, and some for them.
    let many = CROWD.min(usize::try_from(files / 2).unwrap());
    let for_server = files / 5;
    let bench = limited(|limits| *limits = Limits::for_files(for_server)).await;
    let limits = bench.config.limits.clone();
    for tls in [false, true] {
        let over = AtomicBool::new(false);
        let start = Instant::now();
        let crowd = async {
            let crowd = crowd(&bench, many, tls).await;
            over.store(true, Ordering::Relaxed);
            crowd
        };
        let (crowd, (asked, longest)) = tokio::join!(crowd, asks(&bench, &over));
        println!(
            "{} of {CROWD} connections, TLS {tls}, after {:?}: {asked} requests, the longest {longest:?}",
            crowd.len(),
            start.elapsed()
        );
        assert!(crowd.len() > many / 2, "{} connections", crowd.len());
        assert!(longest < PROMPT, "{longest:?}");
        assert!(open(&bench, "handshaking").await <= limits.handshaking as u64);
        assert!(open(&bench, "anonymous").await <= limits.anonymous as u64);
        let made_room = ended(&bench, "made-room").await;
        assert!(made_room > 0, "there was more room than the crowd took");
        drop(crowd);
        let (_, longest) = asks(&bench, &AtomicBool::new(true)).await;
        assert!(longest < PROMPT, "{longest:?}");
    }
}

/// Reads until the other side ends the connection; how much.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> usize {
    let (mut all, mut buffer) = (0, vec![0; 64 << 10]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        all += length;
    }
    all
}

/// Writes byte by byte until the other side ends the connection.
async fn drip(mut stream: TlsStream<TcpStream>, start: &[u8]) {
    stream.write_all(start).await.unwrap();
    let (mut reads, mut writes) = tokio::io::split(stream);
    let drips = async {
        while writes.write_all(b"a").await.is_ok() {
            let _ = writes.flush().await;
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = read_to_end(&mut reads) => {}
        () = drips => {}
    }
}

fn spoken(mut tls: rustls::ClientConfig, protocol: &str) -> rustls::ClientConfig {
    tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    tls
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// How a client of HTTP/2 begins: preface, SETTINGS.
fn preface() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
    ]
    .concat()
}

/// A GET as HTTP/2 has it: HEADERS, whole, with names of the static table (RFC 7541).
fn get(path: &str) -> Vec<u8> {
    let literal = |index: u8, value: &str| {
        assert!(value.len() < 127);
        let mut field = vec![index, u8::try_from(value.len()).unwrap()];
        field.extend(value.as_bytes());
        field
    };
    let fields = [vec![0x82, 0x87], literal(4, path), literal(1, "127.0.0.1")];
    frame(1, 5, 1, &fields.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_its_headers_byte_by_byte_is_ended() {
    let bench = limited(|limits| {
        (limits.handshake, limits.idle_anonymous) = (SHORT, SHORT);
    })
    .await;
    // The one that the operator enrolled over may be ended for idling, too, on a host that does other things.
    let nobody_is_there =
        async || open(&bench, "handshaking").await + open(&bench, "anonymous").await == 0;
    until("the enrolment's place comes back", nobody_is_there).await;
    let idled = ended(&bench, "idle").await;
    let at = bench.config.listen[0];
    let mut silent = TcpStream::connect(at).await.unwrap();
    let soon = timeout(SOON, read_to_end(&mut silent)).await;
    assert_eq!(soon, Ok(0), "TCP only");
    assert_eq!(ended(&bench, "handshake").await, 1);
    // HEADERS of 200 bytes are announced.
    let headers = [preface(), frame(1, 4, 1, &[0; 200])[..9].to_vec()].concat();
    for (protocol, start) in [
        ("http/1.1", &b""[..]),
        ("h2", b""),
        ("http/1.1", b"GET /v1/time HTTP/1.1\r\nx: "),
        ("h2", &headers),
    ] {
        for tls in [nobody(&bench.ada), bench.ada.tls().unwrap()] {
            let mut stream = connect(at, spoken(tls, protocol)).await;
            let ended = async {
                if start.is_empty() {
                    read_to_end(&mut stream).await;
                } else {
                    drip(stream, start).await;
                }
            };
            timeout(SOON, ended).await.expect(protocol);
        }
    }
    assert_eq!(ended(&bench, "idle").await, idled + 8);
    until("places come back", nobody_is_there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_end_and_links_do_not() {
    let mut bench = limited(|limits| {
        (limits.idle_anonymous, limits.idle_authenticated) = (SHORT, 3 * SHORT);
        limits.stalled = SHORT;
    })
    .await;
    bench.channel(7).await;
    let node = bench.node(3, None).await;
    let mut link = Link::up(&node, 3).await;
    let mut took = Vec::new();
    for tls in [nobody(&bench.ada), bench.ada.tls().unwrap()] {
        let mut stream = connect(bench.config.listen[0], spoken(tls, "h2")).await;
        let start = Instant::now();
        let request = [preface(), get("/v1/time")].concat();
        stream.write_all(&request).await.unwrap();
        let read = timeout(SOON, read_to_end(&mut stream)).await.unwrap();
        assert!(read > 50, "it was answered first");
        took.push(start.elapsed());
    }
    assert!(took[0] >= SHORT && took[1] >= 3 * SHORT, "{took:?}");
    // Longer than all of these.
    let told = link.within(4 * SHORT).await;
    let ended = |told: &Told| matches!(told, Told::Down | Told::Failed(_));
    assert!(!told.iter().any(ended), "{told:?}");
    drop(link);
    bench.stop().await;
}

fn client(tls: rustls::ClientConfig) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .unwrap()
}

/// A body that comes in such pieces, so far apart, so often.
fn slow(piece: usize, apart: Duration, times: usize) -> Body {
    let pieces = tokio_stream::iter(0..times);
    let pieces = tokio_stream::StreamExt::then(pieces, move |_| async move {
        sleep(apart).await;
        Ok::<_, Infallible>(vec![b' '; piece])
    });
    Body::wrap_stream(pieces)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_is_a_problem_and_a_slow_one_is_not() {
    let bench = limited(|limits| limits.body = SHORT).await;
    let url = format!("{}/v1/enrol", bench.url);
    for protocol in ["http/1.1", "h2"] {
        let client = client(spoken(nobody(&bench.ada), protocol));
        let post = async |body: Body| {
            let sent = client.post(&url).header("content-type", "application/json");
            let sent = timeout(SOON, sent.body(body).send()).await;
            problem(sent.expect("it ends in time").unwrap()).await
        };
        // Nothing, and a byte now and then for longer than anybody waits.
        for body in [slow(1, SOON * 2, 1), slow(1, SHORT / 10, 200)] {
            let refused = post(body).await;
            assert_eq!((refused.status, refused.kind), (408, Kind::Timeout));
            assert!(refused.detail.contains("slowly"), "{}", refused.detail);
        }
        // Longer than the first time, but it comes: what is in it is looked at.
        let taken = post(slow(8192, SHORT / 3, 6)).await;
        assert_eq!(taken.status, 400, "{}", taken.detail);
    }
    assert_eq!(refused(&bench, 408).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_a_problem_whether_its_length_is_said_or_not() {
    let bench = Bench::start().await;
    for protocol in ["http/1.1", "h2"] {
        let client = client(spoken(bench.ada.tls().unwrap(), protocol));
        for path in ["/v1/channels", "/v1/enrol", "/v1/door"] {
            let said = Body::from(vec![b' '; (64 << 10) + 1]);
            let chunked = slow(1 << 10, Duration::from_millis(1), 65);
            for body in [said, chunked] {
                let sent = client
                    .request(Method::POST, format!("{}{path}", bench.url))
                    .header("content-type", "application/json")
                    .header("idempotency-key", "k")
                    .body(body);
                let refused = problem(sent.send().await.unwrap()).await;
                assert_eq!(refused.status, 413, "{path}: {}", refused.detail);
            }
        }
    }
    assert_eq!(refused(&bench, 413).await, 12);
}

/// A version whose file is to come; where to.
async fn version(bench: &Bench) -> String {
    let new = json!({"name": "Northern Films"});
    let provider: Value = bench.admin.post("/v1/providers", &new).await.unwrap();
    let new = json!({
        "provider": provider["id"], "title": "A film", "genre": "drama", "kind": "video", "format": "mpegts",
        "price": {"amount": 499, "currency": "EUR"}
    });
    let content: Value = bench.admin.post("/v1/contents", &new).await.unwrap();
    let id = content["id"].as_str().unwrap();
    format!("/v1/contents/{id}/versions/1/data")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_be_slow_but_not_silent() {
    let bench = limited(|limits| (limits.body, limits.silence) = (SHORT, SHORT)).await;
    let path = version(&bench).await;
    let client = client(bench.ada.tls().unwrap());
    let put = async |body: Body, length: usize| {
        let sent = client
            .put(format!("{}{path}", bench.url))
            .header("content-length", length);
        timeout(SOON, sent.body(body).send())
            .await
            .unwrap()
            .unwrap()
    };
    let refused = problem(put(slow(10, 2 * SOON, 1), 10).await).await;
    assert_eq!((refused.status, refused.kind), (408, Kind::Timeout));
    // Slower than any other body may be.
    let taken = put(slow(10, SHORT / 5, 12), 120).await;
    assert_eq!(taken.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_take_an_answer_is_cut_off_and_who_takes_it_slowly_is_not() {
    const LENGTH: usize = 24 << 20;
    let bench = limited(|limits| limits.stalled = SHORT).await;
    let path = version(&bench).await;
    let plain = vec![7; LENGTH];
    let sent = client(bench.ada.tls().unwrap()).put(format!("{}{path}", bench.url));
    let kept = sent.body(plain).send().await.unwrap();
    assert_eq!(kept.status(), StatusCode::OK);
    let head = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    // Without an update of its windows HTTP/2 sends 64 KiB, however much of it is read.
    let head_2 = [preface(), get(&path)].concat();
    for (protocol, request) in [("http/1.1", head.as_bytes()), ("h2", &head_2)] {
        let before = ended(&bench, "stalled").await;
        let tls = spoken(bench.ada.tls().unwrap(), protocol);
        let mut stream = connect(bench.config.listen[0], tls).await;
        stream.write_all(request).await.unwrap();
        if protocol == "h2" {
            let read = timeout(SOON, read_to_end(&mut stream)).await.unwrap();
            assert!((60_000..100_000).contains(&read), "{read}");
        }
        until("it is cut off", async || {
            ended(&bench, "stalled").await == before + 1
        })
        .await;
        let rest = timeout(SOON, read_to_end(&mut stream)).await.unwrap();
        assert!(rest < LENGTH, "{rest}");
    }
    let tls = spoken(bench.ada.tls().unwrap(), "http/1.1");
    let mut stream = connect(bench.config.listen[0], tls).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut got, start) = (0, Instant::now());
    let mut some = vec![0; 1 << 20];
    while got < LENGTH {
        got += timeout(SOON, stream.read_exact(&mut some))
            .await
            .unwrap()
            .unwrap();
        if start.elapsed() < 4 * SHORT {
            sleep(SHORT / 4).await;
        }
    }
    assert!(start.elapsed() > 2 * SHORT);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_can_be_worked_on_are_told_to_come_again() {
    let bench = limited(|limits| {
        (limits.anonymous_requests, limits.body) = (2, SHORT);
    })
    .await;
    let url = format!("{}/v1/enrol", bench.url);
    let anonymous = client(spoken(nobody(&bench.ada), "h2"));
    let enrol = |body: Body| {
        let sent = anonymous
            .post(&url)
            .header("content-type", "application/json");
        tokio::spawn(sent.body(body).send())
    };
    let held: Vec<_> = (0..2).map(|_| enrol(slow(1, 2 * SOON, 1))).collect();
    sleep(SHORT / 4).await;
    let busy = enrol(Body::from("{}")).await.unwrap().unwrap();
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(problem(busy).await.kind, Kind::Unavailable);
    // Those with a certificate have places of their own.
    bench.list("status").await;
    for held in held {
        assert_eq!(problem(held.await.unwrap().unwrap()).await.status, 408);
    }
    let again = enrol(Body::from("{}")).await.unwrap().unwrap();
    assert_eq!(problem(again).await.status, 422);
    assert_eq!(refused(&bench, 503).await, 1);
}
