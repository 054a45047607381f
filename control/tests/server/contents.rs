//! The catalogue and files of contents through the API: uploads, ranges, who may have what, what is written down.

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use reqwest::{Method, Response, StatusCode};
use sealcast_control::store::Store;
use sealcast_domain::catalogue::files;
use sealcast_objects::api::{
    Content, ContentPage, ContentVersion, DownloadPage, NewContent, Provider, Standing,
    VersionState,
};
use sealcast_objects::code::sha256;
use sealcast_objects::content::Header;
use sealcast_objects::problem::{IDEMPOTENCY_KEY, Kind};
use sealcast_objects::time::Timestamp;
use sealcast_terminal::content;
use sealcast_terminal::https::Client;
use sealcast_terminal::identity::Identity;
use serde_json::{Value, json};

use crate::bench::{Bench, id, problem, raw, refused, refused_as, until};

/// What is uploaded: three segments and a bit.
pub(crate) fn plain(number: u8) -> Vec<u8> {
    (0..=250)
        .map(|byte: u8| byte.wrapping_add(number))
        .cycle()
        .take(200_000)
        .collect()
}

pub(crate) async fn provider(bench: &Bench) -> Provider {
    let new = json!({"name": "Northern Films"});
    bench.admin.post("/v1/providers", &new).await.unwrap()
}

fn new_content(provider: &Provider) -> NewContent {
    let new = json!({
        "provider": provider.id, "title": "A film", "genre": "drama", "kind": "video", "format": "mpegts",
        "price": {"amount": 499, "currency": "EUR"}
    });
    serde_json::from_value(new).unwrap()
}

async fn add(bench: &Bench, provider: &Provider) -> Content {
    let new = new_content(provider);
    bench.admin.post("/v1/contents", &new).await.unwrap()
}

pub(crate) fn data(bench: &Bench, content: &Content, version: u32) -> String {
    format!(
        "{}/v1/contents/{}/versions/{version}/data",
        bench.url, content.id
    )
}

async fn put(bench: &Bench, content: &Content, version: u32, body: Vec<u8>) -> Response {
    let ada = raw(&bench.ada, Some(&bench.ada));
    let sent = ada.put(data(bench, content, version)).body(body);
    sent.send().await.unwrap()
}

/// A content with a version that is ready.
pub(crate) async fn ready(bench: &Bench, provider: &Provider) -> (Content, ContentVersion) {
    let content = add(bench, provider).await;
    let answer = put(bench, &content, 1, plain(0)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    (content, answer.json().await.unwrap())
}

async fn next_version(bench: &Bench, content: &Content) -> ContentVersion {
    let path = format!("/v1/contents/{}/versions", content.id);
    let new = json!({"format": "mpegts"});
    bench.admin.post(&path, &new).await.unwrap()
}

/// Files of contents in the server's data.
fn kept(bench: &Bench) -> usize {
    let folder = bench.config.data.join("contents");
    std::fs::read_dir(folder).unwrap().count()
}

async fn downloads(bench: &Bench) -> Vec<(u64, String, u32)> {
    let page: DownloadPage = serde_json::from_value(bench.list("downloads").await).unwrap();
    let one = |d: &sealcast_objects::api::Download| (d.number, d.device.to_string(), d.version);
    page.downloads.iter().map(one).collect()
}

fn head(answer: &Response, name: impl reqwest::header::AsHeaderName) -> &str {
    answer.headers().get(name).unwrap().to_str().unwrap()
}

/// MV-04, CM-57: the file is free to have, and of no use by itself.
#[tokio::test(flavor = "multi_thread")]
async fn mv_04_a_device_gets_the_sealed_file_whole_or_any_part_of_it() {
    let bench = Bench::start().await;
    let (content, version) = ready(&bench, &provider(&bench).await).await;
    assert_eq!(version.state, VersionState::Ready);
    assert_eq!(version.length, Some(200_000));
    let device = bench.device().await;
    let client = raw(&bench.ada, Some(&device));
    let url = data(&bench, &content, 1);
    let get = async |range: &'static str| {
        let sent = client.get(&url).header(RANGE, range);
        sent.send().await.unwrap()
    };
    let whole = client.get(&url).send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(head(&whole, ACCEPT_RANGES), "bytes");
    let tag = head(&whole, ETAG).to_owned();
    let whole = whole.bytes().await.unwrap();
    assert_eq!(Some(whole.len() as u64), version.sealed_length);
    assert_eq!(Some(sha256(&whole).to_vec()), version.sha256);
    let header = Header::read(&whole).unwrap();
    assert_eq!((header.content(), header.version()), (content.id.0, 1));
    assert_eq!(header.sealed_length(), whole.len() as u64);
    let clear = plain(0);
    assert!(
        !whole.windows(32).any(|window| window == &clear[..32]),
        "nothing is in clear"
    );
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=65599-65602", 65_599, 65_603),
        ("bytes=100000-", 100_000, whole.len()),
        ("bytes=-7", whole.len() - 7, whole.len()),
        ("bytes=5-99999999", 5, whole.len()),
    ] {
        let part = get(range).await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let place = format!("bytes {from}-{}/{}", to - 1, whole.len());
        assert_eq!(head(&part, CONTENT_RANGE), place);
        assert_eq!(head(&part, CONTENT_LENGTH), (to - from).to_string());
        assert_eq!(head(&part, ETAG), tag);
        assert!(part.bytes().await.unwrap() == whole[from..to], "{range}");
    }
    for (range, status) in [
        ("bytes=0-1,7-9", StatusCode::OK),
        ("bytes=9-1", StatusCode::OK),
        ("bytes=9999999-", StatusCode::RANGE_NOT_SATISFIABLE),
    ] {
        let answer = get(range).await;
        assert_eq!(answer.status(), status, "{range}");
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            let place = format!("bytes */{}", whole.len());
            assert_eq!(head(&answer, CONTENT_RANGE), place);
            assert_eq!(problem(answer).await.status, 416);
        }
    }
    let known = client.get(&url).header(IF_NONE_MATCH, &tag);
    let known = known.send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    // HEAD says what GET would, and gives nothing.
    let asked = client.head(&url).header(RANGE, "bytes=10-19");
    let asked = asked.send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(head(&asked, CONTENT_LENGTH), "10");
    assert!(asked.bytes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_another_version_is_never_given_for_a_known_one() {
    let bench = Bench::start().await;
    let (content, first) = ready(&bench, &provider(&bench).await).await;
    let second = next_version(&bench, &content).await;
    assert_eq!((second.version, second.previous_version), (2, Some(1)));
    let early = raw(&bench.ada, Some(&bench.ada)).get(data(&bench, &content, 2));
    let early = problem(early.send().await.unwrap()).await;
    assert_eq!(early.kind, Kind::Conflict);
    assert_eq!(
        put(&bench, &content, 2, plain(1)).await.status(),
        StatusCode::OK
    );
    let client = raw(&bench.ada, Some(&bench.device().await));
    let ask = async |version: u32, tag: &str| {
        let sent = client.get(data(&bench, &content, version));
        let sent = sent.header(RANGE, "bytes=1000-").header(IF_RANGE, tag);
        sent.send().await.unwrap().status()
    };
    let hex: String = first
        .sha256
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tag = format!("\"{hex}\"");
    assert_eq!(ask(1, &tag).await, StatusCode::PARTIAL_CONTENT);
    assert_eq!(ask(2, &tag).await, StatusCode::OK, "all of it");
    let now: Content = bench
        .admin
        .get(&format!("/v1/contents/{}", content.id))
        .await
        .unwrap();
    assert_eq!(now.version, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn mv_19_a_download_is_in_the_table_once_however_it_was_fetched() {
    let mut bench = Bench::start().await;
    let (content, _) = ready(&bench, &provider(&bench).await).await;
    let (device, other) = (bench.device().await, bench.device().await);
    let url = data(&bench, &content, 1);
    let ask = async |who: &Identity, method: Method, range: &str| {
        let client = raw(&bench.ada, Some(who));
        let sent = client.request(method, &url).header(RANGE, range);
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
        answer.bytes().await.unwrap();
    };
    ask(&device, Method::HEAD, "bytes=0-").await;
    ask(&device, Method::GET, "bytes=5-9").await;
    ask(&bench.ada, Method::GET, "bytes=0-").await;
    assert_eq!(downloads(&bench).await, [], "none of these is a download");
    ask(&device, Method::GET, "bytes=0-1000").await;
    ask(&device, Method::GET, "bytes=1001-").await;
    ask(&other, Method::GET, "bytes=-1").await;
    ask(&device, Method::GET, "bytes=0-").await;
    let first = (1, device.subject.clone(), 1);
    let expected = [first, (2, other.subject.clone(), 1)];
    assert_eq!(downloads(&bench).await, expected);
    bench.stop().await;
    bench.start_again().await;
    assert_eq!(downloads(&bench).await, expected);
    // By account, as it is to be kept.
    let devices = bench.list("devices").await;
    let account = devices["devices"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["id"] == other.subject.as_str());
    let account = account.unwrap()["account"].as_str().unwrap().to_owned();
    let of = bench.list(&format!("downloads?account={account}")).await;
    assert_eq!(of["downloads"].as_array().unwrap().len(), 1);
    assert_eq!(of["downloads"][0]["content"], json!(content.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_whole_leaves_nothing_and_may_begin_again() {
    let bench = Bench::start_with(|config| config.contents.max = 300_000).await;
    let content = add(&bench, &provider(&bench).await).await;
    let url = data(&bench, &content, 1);
    let ada = raw(&bench.ada, Some(&bench.ada));
    // It says 200000 bytes and ends before.
    let pieces = tokio_stream::iter([Ok(vec![1; 70_000]), Err(std::io::Error::other("cut"))]);
    let cut = ada
        .put(&url)
        .header(CONTENT_LENGTH, 200_000)
        .body(reqwest::Body::wrap_stream(pieces));
    let cut = cut.send().await;
    assert!(cut.is_err() || cut.unwrap().status() == StatusCode::BAD_REQUEST);
    until("what came is removed", async || kept(&bench) == 0).await;
    // It does not say how much.
    let pieces = tokio_stream::iter([Ok::<_, std::io::Error>(vec![1; 10])]);
    let unsaid = ada.put(&url).body(reqwest::Body::wrap_stream(pieces));
    assert_eq!(problem(unsaid.send().await.unwrap()).await.status, 411);
    let long = put(&bench, &content, 1, vec![0; 300_001]).await;
    let long = problem(long).await;
    assert_eq!(long.status, 413);
    assert!(long.detail.contains("300000"), "{}", long.detail);
    let waits = bench
        .list(&format!("contents/{}/versions", content.id))
        .await;
    assert_eq!(waits[0]["state"], "uploading");
    assert_eq!(kept(&bench), 0);
    let log = bench.list("audit").await.to_string();
    assert!(!log.contains("content.upload"));
    assert_eq!(
        put(&bench, &content, 1, plain(3)).await.status(),
        StatusCode::OK
    );
    assert_eq!(kept(&bench), 1);
    // What is there is never overwritten.
    let again = problem(put(&bench, &content, 1, plain(4)).await).await;
    assert_eq!(again.kind, Kind::Conflict);
    assert!(again.detail.contains("never changes"), "{}", again.detail);
    let log = bench.list("audit").await.to_string();
    assert_eq!(log.matches("content.upload").count(), 1);
    assert_eq!(kept(&bench), 1);
}

/// A server that died during an upload left a row and a part of a file: the next one removes both, and the upload may begin again.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_server_did_not_survive_is_removed_by_the_next() {
    let mut bench = Bench::start().await;
    let content = add(&bench, &provider(&bench).await).await;
    bench.stop().await;
    let (data, place, id) = (
        bench.config.data.clone(),
        bench.config.store.clone(),
        content.id.0,
    );
    let die = move || {
        let store = Store::open(&data, &place).unwrap();
        let name = [0xab; 16];
        store
            .write_blocking(move |tx| files::begin(tx, Timestamp(1), (id, 1), name))
            .unwrap();
        let left = data.join("contents").join(format!("{}#1", "ab".repeat(16)));
        std::fs::write(left, [1; 1000]).unwrap();
    };
    tokio::task::spawn_blocking(die).await.unwrap();
    assert_eq!(kept(&bench), 1);
    bench.start_again().await;
    until("it is removed", async || kept(&bench) == 0).await;
    assert_eq!(
        put(&bench, &content, 1, plain(0)).await.status(),
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_gets_nothing() {
    let bench = Bench::start().await;
    let provider = provider(&bench).await;
    let (content, _) = ready(&bench, &provider).await;
    let (device, node) = (bench.device().await, bench.node(5, None).await);
    let url = data(&bench, &content, 1);
    let ask = async |who: Option<&Identity>, method: Method| {
        let sent = raw(&bench.ada, who).request(method, &url);
        sent.body(vec![1; 10]).send().await.unwrap()
    };
    for (who, kind) in [
        (None, Kind::Unauthenticated),
        (Some(&node), Kind::Forbidden),
    ] {
        for method in [Method::GET, Method::PUT] {
            assert_eq!(problem(ask(who, method).await).await.kind, kind);
        }
    }
    let put = problem(ask(Some(&device), Method::PUT).await).await;
    assert_eq!(put.kind, Kind::Forbidden);
    let got = async || ask(Some(&device), Method::GET).await;
    // A provider that is suspended; what is withdrawn; a device that is suspended.
    let path = format!("/v1/providers/{}", provider.id);
    bench.set(&path, Standing::Suspended).await.unwrap();
    assert_eq!(problem(got().await).await.kind, Kind::Suspended);
    let new = new_content(&provider);
    let added = bench.admin.post::<Content>("/v1/contents", &new).await;
    refused_as(Kind::Suspended, added);
    bench.set(&path, Standing::Active).await.unwrap();
    let set = async |availability: &str| {
        let body = json!({"availability": availability});
        let path = format!("/v1/contents/{}", content.id);
        let set = bench
            .admin
            .call::<Content>(Method::PATCH, &path, Some(&body));
        set.await.unwrap()
    };
    set("withdrawn").await;
    assert_eq!(problem(got().await).await.kind, Kind::Forbidden);
    set("offered").await;
    assert_eq!(got().await.status(), StatusCode::OK);
    set("withdrawn").await;
    assert_eq!(got().await.status(), StatusCode::OK, "the account had it");
    let path = format!("/v1/devices/{}", id(&device));
    bench.set(&path, Standing::Suspended).await.unwrap();
    assert_eq!(problem(got().await).await.kind, Kind::Suspended);
    assert_eq!(downloads(&bench).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_is_changed_by_who_has_seen_it_last_and_every_act_is_in_the_log() {
    let bench = Bench::start().await;
    let provider = provider(&bench).await;
    let content = add(&bench, &provider).await;
    let ada = raw(&bench.ada, Some(&bench.ada));
    let url = format!("{}/v1/contents/{}", bench.url, content.id);
    let got = ada.get(&url).send().await.unwrap();
    let tag = head(&got, ETAG).to_owned();
    assert_eq!(got.json::<Content>().await.unwrap(), content);
    let change = async |tag: &str, body: Value| {
        let sent = ada.patch(&url).header(IF_MATCH, tag).json(&body);
        sent.send().await.unwrap()
    };
    let renamed = change(&tag, json!({"title": "Another film"})).await;
    assert_eq!(renamed.status(), StatusCode::OK);
    assert_ne!(head(&renamed, ETAG), tag);
    let late = change(&tag, json!({"title": "A third film"})).await;
    assert_eq!(problem(late).await.status, 412);
    let wrong = change("\"x\"", json!({"title": "A third film"})).await;
    assert_eq!(problem(wrong).await.status, 400);
    let any = change("*", json!({"price": {"amount": 0, "currency": "SEK"}})).await;
    assert_eq!(any.status(), StatusCode::OK);
    let unknown = change("*", json!({"titel": "x"})).await;
    assert!(problem(unknown).await.detail.contains("titel"));
    // The same question with the same key is answered once.
    let new = serde_json::to_value(new_content(&provider)).unwrap();
    let post = async || {
        let sent = ada.post(format!("{}/v1/contents", bench.url));
        let sent = sent.header(IDEMPOTENCY_KEY, "film").json(&new);
        sent.send().await.unwrap().json::<Content>().await.unwrap()
    };
    assert_eq!(post().await, post().await);
    let page: ContentPage = serde_json::from_value(bench.list("contents?limit=1").await).unwrap();
    assert_eq!(page.contents[0].id, content.id);
    let path = format!("contents?after={}", page.next.unwrap());
    let page: ContentPage = serde_json::from_value(bench.list(&path).await).unwrap();
    assert_eq!(page.contents.len(), 1);
    let remove = format!("/v1/contents/{}/versions/1", content.id);
    let removed = bench.admin.call::<()>(Method::DELETE, &remove, None::<&()>);
    removed.await.unwrap();
    assert_eq!(
        refused(
            bench
                .admin
                .get::<Value>(&format!("/v1/contents/{}", content.id))
                .await
        )
        .kind,
        Kind::NotFound
    );
    let log = bench.list("audit").await.to_string();
    for (act, times) in [
        ("provider.add", 1),
        ("content.add", 2),
        ("content.set", 2),
        ("content-version.remove", 1),
    ] {
        assert_eq!(log.matches(&format!("\"{act}\"")).count(), times, "{act}");
    }
}

/// The client that people use: a file that is cut anywhere goes on there, and what is damaged is found.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_where_it_ended_and_is_checked() {
    let bench = Bench::start().await;
    let content = add(&bench, &provider(&bench).await).await;
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.ts");
    std::fs::write(&film, plain(7)).unwrap();
    let versions = format!("/v1/contents/{}/versions", content.id);
    let waits: Vec<ContentVersion> = bench.admin.get(&versions).await.unwrap();
    let out = folder.path().join("film.sealed");
    let device = Client::new(&bench.device().await).unwrap();
    let early = content::download(&device, &waits[0], &out, |_| ()).await;
    assert!(early.unwrap_err().to_string().contains("waits"));
    let ready = content::upload(&bench.admin, &waits[0], &film, |_| ()).await;
    let ready = ready.unwrap();
    let fetched = content::download(&device, &ready, &out, |_| ())
        .await
        .unwrap();
    let whole = std::fs::read(&out).unwrap();
    assert_eq!((fetched.length, fetched.before), (whole.len() as u64, 0));
    let again = content::download(&device, &ready, &out, |_| ()).await;
    assert!(again.is_err(), "it is there");
    let part = content::part_of(&out);
    for cut in [1, 47, 48, 65_600, 65_601, whole.len() - 1, whole.len()] {
        std::fs::remove_file(&out).unwrap();
        std::fs::write(&part, &whole[..cut]).unwrap();
        let fetched = content::download(&device, &ready, &out, |_| ())
            .await
            .unwrap();
        assert_eq!(fetched.before, cut as u64);
        assert!(std::fs::read(&out).unwrap() == whole, "cut at {cut}");
        assert!(!part.exists());
    }
    std::fs::remove_file(&out).unwrap();
    let mut damaged = whole[..1000].to_vec();
    damaged[500] ^= 1;
    std::fs::write(&part, &damaged).unwrap();
    let wrong = content::download(&device, &ready, &out, |_| ()).await;
    assert!(wrong.unwrap_err().to_string().contains("SHA-256"));
    assert!(!part.exists() && !out.exists());
    // More than the file has: it is of something else.
    std::fs::write(&part, vec![0; whole.len() + 1]).unwrap();
    let fetched = content::download(&device, &ready, &out, |_| ())
        .await
        .unwrap();
    assert_eq!(fetched.before, 0);
    assert!(std::fs::read(&out).unwrap() == whole);
    assert_eq!(downloads(&bench).await.len(), 1);
}
