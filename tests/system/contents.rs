//! Contents of a real file through the real programs: added, fetched in pieces, opened with their key; disks that are full; a bucket.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::RANGE;
use sealcast_control::offline;
use sealcast_control::store::Location;
use sealcast_objects::api::Role;
use sealcast_objects::content::{ContentKey, Header, Opener};
use sealcast_objects::id::Text;
use sealcast_terminal::identity::Identity;
use serde_json::Value;

use crate::keyserver::KeyServer;
use crate::net::can_run;
use crate::operators::SmallDisk;
use crate::process::sealcast;
use crate::sample::{assert_same, ts};

/// `sealcast content ...` as the holder of this identity; its JSON, or what it said.
fn try_content(server: &KeyServer, identity: &str, args: &[&str]) -> Result<Value, String> {
    let all = [&["content", "--json", "--identity", identity], args].concat();
    match server.run(&all) {
        (0, out, _) => serde_json::from_str(&out).map_err(|error| format!("{error}: {out}")),
        (_, _, errors) => Err(errors),
    }
}

fn content(server: &KeyServer, args: &[&str]) -> Value {
    try_content(server, &server.operator(), args).unwrap_or_else(|said| unreachable!("{said}"))
}

fn provider(server: &KeyServer) -> String {
    let provider = server.admin(&["provider", "add", "Northern Films"]);
    provider["id"].as_str().unwrap().to_owned()
}

/// Arguments that add `file`.
fn add<'a>(file: &'a str, provider: &'a str) -> Vec<&'a str> {
    let mut args = vec!["add", file, "--provider", provider, "--title", "A film"];
    args.extend([
        "--genre",
        "drama & more",
        "--kind",
        "video",
        "--format",
        "mpegts",
    ]);
    args.extend(["--price", "499", "--currency", "EUR"]);
    args
}

/// The only content that there is.
fn only(server: &KeyServer) -> String {
    let page = content(server, &["list", "--genre", "drama & more"]);
    let contents = page["contents"].as_array().unwrap();
    assert_eq!(contents.len(), 1, "{page}");
    contents[0]["id"].as_str().unwrap().to_owned()
}

/// The plaintext of a sealed file, with the key out of the server's store.
fn open(server: &KeyServer, sealed: &[u8]) -> Vec<u8> {
    let header = Header::read(sealed).unwrap();
    let (data, of) = (server.data(), (header.content(), header.version()));
    let master = data.join("master.key");
    let key: ContentKey = offline::content_key(&data, &Location::Folder, &master, of).unwrap();
    let opener = Opener::new(&key, header);
    let mut plain = Vec::new();
    for index in 0..header.segments() {
        let place = header.segment(index).unwrap().sealed;
        let [from, to] = [place.start, place.end].map(|at| usize::try_from(at).unwrap());
        let mut segment = sealed[from..to].to_vec();
        plain.extend_from_slice(opener.open(index, &mut segment).unwrap());
    }
    plain
}

/// A part of a file, by a client of the test's own.
fn fetch(identity: &Identity, url: &str, range: &str) -> Vec<u8> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(identity.tls().unwrap())
        .no_proxy()
        .build()
        .unwrap();
    wait(async {
        let sent = client.get(url).header(RANGE, range).send();
        sent.await.unwrap().bytes().await.unwrap().to_vec()
    })
}

fn wait<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(what)
}

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// A film is added, fetched by a device in three pieces that end anywhere, opened, and is what it was.
#[test]
fn mv_04_a_film_is_added_fetched_in_pieces_and_opened() {
    if !can_run(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = KeyServer::start(None, folder.path(), &[]);
    let film = ts(5);
    let film_name = film.display().to_string();
    let provider = provider(&server);
    let ready = content(&server, &add(&film_name, &provider));
    assert_eq!(ready["state"], "ready");
    let id = only(&server);
    let shown = content(&server, &["show", &id]);
    assert_eq!(shown["content"]["price"]["amount"], 499);
    assert_eq!(shown["versions"][0], ready);
    // What lies on the server's disk is sealed.
    let plain = fs::read(&film).unwrap();
    let kept = server.data().join("contents");
    let kept = fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    let kept = fs::read(kept).unwrap();
    assert!(!kept.windows(188).any(|window| window == &plain[..188]));

    let device = server.device("box", &[]);
    let identity = Identity::load(&device.file, Role::Device).unwrap();
    let (out, part) = (folder.path().join("film"), folder.path().join("film.part"));
    let url = format!("{}/v1/contents/{id}/versions/1/data", server.url());
    let mut before = 0;
    for upto in [70_000, 1_000_001] {
        let range = format!("bytes={before}-{}", upto - 1);
        let bytes = fetch(&identity, &url, &range);
        assert!(bytes[..] == kept[before..upto]);
        let so_far = fs::read(&part).unwrap_or_default();
        fs::write(&part, [&so_far[..], &bytes].concat()).unwrap();
        before = upto;
    }
    let (as_device, to) = (device.file.display().to_string(), out.display().to_string());
    let fetched = try_content(&server, &as_device, &["download", &id, "--out", &to]);
    let fetched = fetched.unwrap();
    assert_eq!(fetched["before"], before, "{fetched}");
    assert_eq!(fetched["bytes"], kept.len());
    assert!(!part.exists());
    assert_same("film", &plain, &open(&server, &fs::read(&out).unwrap()));
    let downloads = content(&server, &["downloads"]);
    assert_eq!(downloads["downloads"].as_array().unwrap().len(), 1);
    assert_eq!(downloads["downloads"][0]["device"], device.id.as_str());

    // The next version; a device may not add one.
    let said = try_content(
        &server,
        &as_device,
        &["version", "add", &id, &film_name, "--format", "x"],
    );
    assert!(said.unwrap_err().contains("identity of a device"));
    let second = content(
        &server,
        &["version", "add", &id, &film_name, "--format", "mpegts"],
    );
    assert_eq!(
        (&second["version"], &second["previous_version"]),
        (&2.into(), &1.into())
    );
    assert_ne!(
        second["sha256"], ready["sha256"],
        "another key, another file"
    );
    content(&server, &["withdraw", &id]);
    let other = server.device("other", &[]).file.display().to_string();
    let to = folder.path().join("other").display().to_string();
    let said = try_content(&server, &other, &["download", &id, "--out", &to]);
    assert!(said.unwrap_err().contains("withdrawn"));
}

/// A server that is killed in the middle of an upload has nothing of it in sight when it is back, and takes the file then.
#[test]
fn an_upload_that_is_killed_begins_again() {
    if !can_run(&["ffmpeg"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut server = KeyServer::start(None, folder.path(), &[]);
    let film = ts(5);
    let film_name = film.display().to_string();
    let provider = provider(&server);
    let added = server.run(
        &[
            &["content", "--identity", &server.operator()][..],
            // A folder is no file: nothing is made for it.
            &add("/tmp", &provider),
        ]
        .concat(),
    );
    assert_eq!(added.0, 3, "{}", added.2);
    let page = content(&server, &["list"]);
    assert_eq!(page["contents"], Value::Array(Vec::new()));
    // It takes seconds, and has none of them.
    let large = folder.path().join("large");
    let made = fs::File::create(&large).unwrap();
    made.set_len(8 << 30).unwrap();
    let (operator, large) = (server.operator(), large.display().to_string());
    let args = [
        &["content", "--identity", &operator][..],
        &add(&large, &provider),
    ]
    .concat();
    let mut adding = sealcast(None, folder.path(), "adding", &args);
    let contents = server.data().join("contents");
    let written = |folder: &Path| -> u64 {
        let files = fs::read_dir(folder).unwrap();
        let lengths = files.map(|file| file.unwrap().metadata().map_or(0, |file| file.len()));
        lengths.sum()
    };
    until("something is written", || written(&contents) > 2 << 20);
    server.kill();
    let ended = adding.wait(Duration::from_secs(10));
    assert_eq!(ended.code(), Some(3), "{}", adding.errors());
    assert!(
        adding.errors().contains("content version upload"),
        "{}",
        adding.errors()
    );
    assert_eq!(names(&contents), 1, "a part of a file");
    server.start_again();
    until("it is removed", || names(&contents) == 0);
    let id = only(&server);
    let ready = content(&server, &["version", "upload", &id, "1", &film_name]);
    assert_eq!(ready["state"], "ready");
    let to = folder.path().join("film");
    content(
        &server,
        &["download", &id, "--out", &to.display().to_string()],
    );
    assert_same(
        "film",
        &fs::read(&film).unwrap(),
        &open(&server, &fs::read(&to).unwrap()),
    );
}

fn until(what: &str, test: impl Fn() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "waited in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// No room for a content: said, nothing of it is left, and a smaller one finds its place.
#[test]
fn a_full_disk_of_contents_is_named_and_nothing_is_left() {
    if !can_run(&[]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let contents = folder.path().join("data/contents");
    let disk = SmallDisk::new(&contents);
    let server = KeyServer::start(None, folder.path(), &[]);
    let provider = provider(&server);
    let file = |name: &str, length: usize| {
        let path = folder.path().join(name);
        fs::write(&path, vec![7; length]).unwrap();
        path.display().to_string()
    };
    let (large, small) = (file("large", 4 << 20), file("small", 1 << 20));
    let said = try_content(&server, &server.operator(), &add(&large, &provider)).unwrap_err();
    assert!(said.contains("the disk of the contents is full"), "{said}");
    assert!(said.contains("content version upload"), "{said}");
    assert_eq!(names(&contents), 0);
    let id = only(&server);
    let said = try_content(
        &server,
        &server.operator(),
        &["download", &id, "--out", "x"],
    );
    assert!(said.unwrap_err().contains("no version"));
    let ready = content(&server, &["version", "upload", &id, "1", &small]);
    assert_eq!(ready["length"], 1 << 20);
    assert_eq!(names(&contents), 1);
    drop((server, disk));
}

/// A bucket that speaks S3, by other software.
struct Bucket {
    child: Child,
    endpoint: String,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bucket {
    /// Starts one; nothing, and why, when its software cannot be fetched.
    fn start() -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bucket");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bucket");
        let made = Command::new(&script).arg(&folder).output().unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        match made.status.code() {
            Some(0) => {}
            Some(3) => {
                println!("skipped: {said}");
                return None;
            }
            _ => unreachable!("tests/bucket: {said}"),
        }
        let server = script.with_file_name("bucket.py");
        Some(Self::run(&folder.join("python/bin/python"), &server))
    }

    fn run(python: &Path, server: &Path) -> Self {
        let mut child = Command::new(python)
            .arg(server)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut endpoint = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut endpoint).unwrap();
        let endpoint = endpoint.trim_end().to_owned();
        assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
        Self { child, endpoint }
    }

    /// Names and lengths of what is in it, as it says itself.
    fn objects(&self) -> Vec<(String, usize)> {
        let url = format!("{}/films?list-type=2", self.endpoint);
        let listed = wait(async { reqwest::get(url).await.unwrap().text().await.unwrap() });
        let parts = |tag: &str| -> Vec<String> {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            let after = listed.split(&open).skip(1);
            after
                .map(|rest| rest.split(&close).next().unwrap().to_owned())
                .collect()
        };
        let sizes = parts("Size").into_iter().map(|size| size.parse().unwrap());
        parts("Key").into_iter().zip(sizes).collect()
    }
}

/// Contents in a bucket of other software: in several parts, in ranges, removed when nothing uses them.
#[test]
fn contents_are_kept_in_a_bucket() {
    if !can_run(&[]) {
        return;
    }
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (access, secret) = (write("access", b"a-key\n"), write("secret", b"a-secret\n"));
    let config = format!(
        "[contents]\nurl = \"s3://films/sealed\"\nendpoint = \"{}\"\naccess_key_file = \"{}\"\nsecret_key_file = \"{}\"\n",
        bucket.endpoint,
        access.display(),
        secret.display()
    );
    let config = write("serve.toml", config.as_bytes()).display().to_string();
    let server = KeyServer::start(None, folder.path(), &["--config", &config]);
    let provider = provider(&server);
    // Three parts of 8 MiB.
    let plain: Vec<u8> = (0..=250).cycle().take(20_000_000).collect();
    let film = write("film.ts", &plain).display().to_string();
    let ready = content(&server, &add(&film, &provider));
    let sealed = usize::try_from(ready["sealed_length"].as_u64().unwrap()).unwrap();
    let objects = bucket.objects();
    assert_eq!(objects.len(), 1);
    assert!(objects[0].0.starts_with("sealed/"), "{objects:?}");
    assert_eq!(objects[0].1, sealed);
    assert_eq!(names(&server.data().join("contents")), 0);
    let id = only(&server);
    let out = folder.path().join("film");
    let to = out.display().to_string();
    content(&server, &["download", &id, "--out", &to]);
    let whole = fs::read(&out).unwrap();
    assert_same("film", &plain, &open(&server, &whole));
    fs::remove_file(&out).unwrap();
    fs::write(folder.path().join("film.part"), &whole[..9_999_999]).unwrap();
    let fetched = content(&server, &["download", &id, "--out", &to]);
    assert_eq!(fetched["before"], 9_999_999);
    assert!(fs::read(&out).unwrap() == whole);
    // What is not there any more, and a bucket that is away, are said.
    drop(bucket);
    let next = folder.path().join("next").display().to_string();
    let said = try_content(
        &server,
        &server.operator(),
        &["download", &id, "--out", &next],
    );
    assert!(
        said.unwrap_err()
            .contains("the storage of the contents fails")
    );
    let verify = Text(Header::read(&whole).unwrap().content()).to_string();
    assert_eq!(verify, id);
}
