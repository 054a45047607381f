//! Who asks too often is told to wait, and nobody else is; each answer has a name.

use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};
use sealcast_control::http::{Limits, Rate};
use sealcast_objects::problem::{Kind, Problem};
use serde_json::{Value, json};

use crate::bench::{Bench, problem, raw};
use crate::persons::Person;

/// Slow enough that a bucket does not fill while a test runs.
const FIVE: Rate = Rate {
    per_second: 1,
    burst: 5,
};
/// For those who are not what a test is about.
const MANY: Rate = Rate {
    per_second: 1,
    burst: 1000,
};

async fn limited(change: impl FnOnce(&mut Limits)) -> Bench {
    Bench::start_with(|config| {
        let limits = &mut config.limits;
        (limits.device_rate, limits.person_rate, limits.network_rate) = (MANY, MANY, MANY);
        change(limits);
    })
    .await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

/// A number in a `RateLimit` of this name.
fn part(response: &Response, name: &str, part: &str) -> u64 {
    let limit = header(response.headers(), "ratelimit");
    let parts = limit.strip_prefix(&format!("\"{name}\"")).unwrap();
    let value = parts.split(';').find_map(|one| one.strip_prefix(part));
    value.unwrap().parse().unwrap()
}

/// Asks until it is refused: how often it was answered, and the refusal.
async fn until_refused(mut ask: impl AsyncFnMut() -> Response) -> (u64, Response) {
    let mut left = None;
    for count in 0..20 {
        let answer = ask().await;
        let name = header(answer.headers(), "ratelimit-policy");
        let name = name.split('"').nth(1).unwrap().to_owned();
        let now = part(&answer, &name, "r=");
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(now, 0);
            return (count, answer);
        }
        assert!(
            left.is_none_or(|left| now + 1 >= left && now <= left),
            "{now} after {left:?}"
        );
        left = Some(now);
    }
    panic!("nobody is refused");
}

async fn told(refusal: Response, name: &str) {
    let headers = refusal.headers();
    assert_eq!(
        header(headers, "ratelimit-policy"),
        format!("\"{name}\";q=5;w=5")
    );
    let wait: u64 = header(headers, "retry-after").parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    assert!((5..=7).contains(&part(&refusal, name, "t=")));
    assert_eq!(problem(refusal).await.kind, Kind::TooMany);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_asks_too_often_waits_alone() {
    let bench = limited(|limits| limits.device_rate = FIVE).await;
    bench.channel(1).await;
    let (one, other) = (bench.entitled(&[1]).await, bench.entitled(&[1]).await);
    let session = async |client: &reqwest::Client| {
        let sent = client.post(format!("{}/v1/session", bench.url));
        sent.json(&json!({"channels": [1]})).send().await.unwrap()
    };
    let client = raw(&bench.ada, Some(&one));
    let (answered, refusal) = until_refused(async || session(&client).await).await;
    assert!((5..=7).contains(&answered), "{answered}");
    told(refusal, "device").await;
    let beside = session(&raw(&bench.ada, Some(&other))).await;
    assert_eq!(beside.status(), StatusCode::OK);
    // Operators are not counted.
    for _ in 0..20 {
        bench.list("status").await;
    }
    let refused = bench.server().monitor().health().await.http.refused;
    let too_many = refused.iter().find(|(status, _)| *status == 429).unwrap();
    assert_eq!(too_many.1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_asks_too_often_waits_alone() {
    let bench = limited(|limits| limits.person_rate = FIVE).await;
    let (ada, eve) = (
        Person::new(&bench, "ada").await,
        Person::new(&bench, "eve").await,
    );
    let me = async |person: &Person| person.ask(Method::GET, "/v1/me", &Value::Null).await;
    let (answered, refusal) = until_refused(async || me(&ada).await).await;
    assert!((5..=7).contains(&answered), "{answered}");
    told(refusal, "person").await;
    assert_eq!(me(&eve).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_asks_or_guesses_too_often_waits_and_its_devices_do_not() {
    let bench = limited(|limits| limits.network_rate = FIVE).await;
    bench.channel(1).await;
    let device = raw(&bench.ada, Some(&bench.entitled(&[1]).await));
    let anybody = raw(&bench.ada, None);
    // What was done until here was counted, too: a bucket is full again.
    tokio::time::sleep(FIVE.burst * std::time::Duration::from_secs(1)).await;
    let time = || anybody.get(format!("{}/v1/time", bench.url)).send();
    let (answered, refusal) = until_refused(async || time().await.unwrap()).await;
    assert!((5..=7).contains(&answered), "{answered}");
    told(refusal, "network").await;
    // Tokens of the same network have to wait, or they could be guessed.
    for token in ["scp_AAAA", "scm_AAAA", "AAAA"] {
        let ask = anybody
            .get(format!("{}/v1/me", bench.url))
            .bearer_auth(token);
        assert_eq!(ask.send().await.unwrap().status(), 429, "{token}");
    }
    // Its devices do not.
    let session = device.post(format!("{}/v1/session", bench.url));
    let session = session
        .json(&json!({"channels": [1]}))
        .send()
        .await
        .unwrap();
    assert_eq!(session.status(), StatusCode::OK);
    let door = anybody
        .post(format!("{}/v1/door", bench.url))
        .body("?")
        .send();
    assert_ne!(door.await.unwrap().status(), 429);
    // Guesses are counted for the network.
    tokio::time::sleep(FIVE.burst * std::time::Duration::from_secs(1)).await;
    let mut statuses = Vec::new();
    for guess in 0..20 {
        let ask = anybody.get(format!("{}/v1/status", bench.url));
        let ask = ask.bearer_auth(format!("scm_{guess}"));
        statuses.push(ask.send().await.unwrap().status().as_u16());
    }
    let guesses = statuses.iter().filter(|status| **status == 401).count();
    assert!((5..=8).contains(&guesses), "{statuses:?}");
    assert!(statuses.ends_with(&[429, 429]), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_a_name_that_is_the_callers_trace_if_there_is_one() {
    let bench = Bench::start().await;
    let client = raw(&bench.ada, None);
    let ask = |path: &str| client.get(format!("{}{path}", bench.url));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let time = ask("/v1/time")
        .header("traceparent", parent)
        .send()
        .await
        .unwrap();
    assert_eq!(header(time.headers(), "x-request-id"), trace);
    let mut names = Vec::new();
    for path in ["/v1/status", "/v1/nothing", "/nothing", "/v1/status"] {
        let refusal = ask(path).send().await.unwrap();
        let name = header(refusal.headers(), "x-request-id").to_owned();
        let problem: Problem = refusal.json().await.unwrap();
        assert_eq!(problem.request_id.as_ref(), Some(&name), "{path}");
        assert!(!names.contains(&name));
        names.push(name);
    }
}
