//! Events as they happen: server-sent events.

use std::time::{Duration, Instant};

use reqwest::{Response, StatusCode};
use sealcast_objects::api::{OperatorRole, Standing};
use sealcast_objects::audit::AuditEntry;
use sealcast_objects::events::Event;
use sealcast_objects::problem::Kind;
use serde_json::json;
use tokio::time::timeout;

use crate::bench::{Bench, problem, raw, until};

/// One who reads.
struct Reader {
    response: Response,
    text: String,
}

impl Reader {
    async fn open(client: &reqwest::Client, url: String, last: Option<u64>) -> Self {
        let mut request = client.get(url);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event and its id; nothing when there are no more.
    async fn next(&mut self) -> Option<(u64, String, Event)> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                let field = |name: &str| {
                    let mut lines = block.lines();
                    lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
                };
                if let Some(data) = field("data:") {
                    let event = serde_json::from_str(&data).unwrap();
                    return Some((
                        field("id:").unwrap().parse().unwrap(),
                        field("event:").unwrap(),
                        event,
                    ));
                }
            }
            let piece = timeout(Duration::from_secs(10), self.response.chunk()).await;
            let piece = piece.expect("something comes in time").ok()??;
            self.text += std::str::from_utf8(&piece).unwrap();
        }
    }
}

async fn act(bench: &Bench, name: &str) {
    let put = json!({"role": "support"});
    bench.put(&format!("/v1/operators/{name}"), &put).await;
}

async fn log(bench: &Bench) -> Vec<AuditEntry> {
    let page = bench.list("audit?limit=1000").await;
    serde_json::from_value(page["entries"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let bench = Bench::start().await;
    let client = raw(&bench.ada, Some(&bench.ada));
    let url = format!("{}/v1/events", bench.url);
    let read = async {
        let (mut read, mut last) = (Vec::new(), 0);
        // Connections that break after some events each, while more are made.
        'all: for some in 1_usize.. {
            let mut reader = Reader::open(&client, format!("{url}?after=0"), Some(last)).await;
            for _ in 0..some {
                let (number, name, event) = reader.next().await.unwrap();
                last = number;
                assert_eq!((number, &name), (event.data.number, &event.kind));
                let end = event.data.subject == "end";
                read.push(event);
                if end {
                    break 'all;
                }
            }
        }
        read
    };
    let write = async {
        for number in 0..60 {
            act(&bench, &format!("n{}", number % 7)).await;
        }
        act(&bench, "end").await;
    };
    let (read, ()) = tokio::join!(read, write);
    let wanted: Vec<_> = log(&bench).await.iter().map(Event::from).collect();
    assert_eq!(read, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_what_it_asks_for_from_now_on() {
    let bench = Bench::start().await;
    let client = raw(&bench.ada, Some(&bench.ada));
    let url = format!("{}/v1/events", bench.url);
    act(&bench, "before").await;
    let mut all = Reader::open(&client, url.clone(), None).await;
    let mut some = Reader::open(&client, format!("{url}?events=account.*,channel.add"), None).await;
    act(&bench, "bob").await;
    bench.channel(1).await;
    assert_eq!(all.next().await.unwrap().2.data.subject, "bob");
    assert_eq!(all.next().await.unwrap().1, "channel.add");
    assert_eq!(some.next().await.unwrap().1, "channel.add");
    let head = log(&bench).await.len();
    for (query, last, kind) in [
        ("?events=Channel", None, Kind::Invalid),
        ("?after=x", None, Kind::Invalid),
        ("", Some("x"), Kind::Invalid),
        ("?after=1000000", None, Kind::Conflict),
        ("?more=1", None, Kind::Invalid),
    ] {
        let mut request = client.get(format!("{url}{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let refused = problem(request.send().await.unwrap()).await;
        assert_eq!(refused.kind, kind, "{query} of {head}: {}", refused.detail);
    }
}

/// Who may read no more gets no more, though he began when he might.
#[tokio::test(flavor = "multi_thread")]
async fn sec_19_a_reader_that_is_suspended_gets_no_more() {
    let bench = Bench::start().await;
    let eve = bench.operator_identity("eve", OperatorRole::Auditor).await;
    let client = raw(&bench.ada, Some(&eve));
    let mut reader = Reader::open(&client, format!("{}/v1/events", bench.url), None).await;
    act(&bench, "bob").await;
    assert_eq!(reader.next().await.unwrap().2.data.subject, "bob");
    bench
        .set("/v1/operators/eve", Standing::Suspended)
        .await
        .unwrap();
    until("it ends", async || reader.next().await.is_none()).await;
}

/// A reader that takes nothing is cut off, and holds nobody's place longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_cut_off() {
    let bench = Bench::start_with(|config| {
        config.events.readers = 1;
        config.events.write = Duration::from_millis(500);
    })
    .await;
    let url = format!("{}/v1/events?after=0", bench.url);
    // What a stream may send without being asked for more is little.
    let slow = reqwest::Client::builder()
        .tls_backend_preconfigured(bench.ada.tls().unwrap())
        .http2_initial_stream_window_size(1_000)
        .no_proxy()
        .build()
        .unwrap();
    for number in 0..40 {
        act(&bench, &format!("n{number}")).await;
    }
    let mut held = slow.get(&url).send().await.unwrap();
    assert_eq!(held.status(), StatusCode::OK);
    assert_eq!(held.version(), reqwest::Version::HTTP_2);
    let client = raw(&bench.ada, Some(&bench.ada));
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "5");
    assert_eq!(problem(refused).await.kind, Kind::Unavailable);
    let began = Instant::now();
    until("there is a place", async || {
        let answer = client.get(&url).send().await.unwrap();
        answer.status() == StatusCode::OK
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let ended = async { while let Ok(Some(_)) = held.chunk().await {} };
    timeout(Duration::from_secs(5), ended).await.unwrap();
}

/// Readers do not keep a server from stopping.
#[tokio::test(flavor = "multi_thread")]
async fn readers_end_when_the_server_stops() {
    let mut bench = Bench::start().await;
    let client = raw(&bench.ada, Some(&bench.ada));
    let mut reader = Reader::open(&client, format!("{}/v1/events", bench.url), None).await;
    act(&bench, "bob").await;
    assert_eq!(reader.next().await.unwrap().2.data.subject, "bob");
    let began = Instant::now();
    bench.stop().await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(reader.next().await, None);
}
