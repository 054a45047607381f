//! The description of the API is what the server does: software of others, which knows nothing else of it, says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sealcast_objects::interop::PackagerSecrets;
use serde_json::json;

use crate::bench::{Bench, nobody};
use crate::persons::Person;

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The description that is kept in the repository.
fn kept() -> PathBuf {
    folder("../docs/openapi.json")
}

#[tokio::test]
async fn the_description_that_is_kept_is_the_one_that_is_served() {
    let bench = Bench::start().await;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(nobody(&bench.ada))
        .no_proxy()
        .build()
        .unwrap();
    let served = client.get(format!("{}/openapi.json", bench.url));
    let served = served.send().await.unwrap();
    assert_eq!(served.headers()["content-type"], "application/json");
    assert!(
        served.text().await.unwrap() == fs::read_to_string(kept()).unwrap(),
        "the API is another than docs/openapi.json says: look whether clients break by it, and write it anew with \
         `sealcast openapi > docs/openapi.json`"
    );
}

/// Software of others; nothing, and why, when it cannot be fetched.
#[expect(clippy::print_stdout, reason = "why is told")]
fn tools() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api-tools");
    let script = folder("../tests/api-tools");
    let made = Command::new(script).arg(&tools).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    match made.status.code() {
        Some(0) => Some(tools),
        Some(3) => {
            println!("skipped: {said}");
            None
        }
        _ => unreachable!("tests/api-tools: {said}"),
    }
}

/// Runs it in a folder of its own, and waits for it without holding up the server.
async fn run(mut command: Command) -> Output {
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    ran.unwrap().unwrap()
}

fn assert_good(what: &str, ran: &Output) {
    let said = [&ran.stdout[..], &ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ran.status.success(), "{what}: {said}");
}

#[expect(clippy::print_stdout, reason = "why is told")]
#[tokio::test]
async fn a_validator_and_a_linter_find_nothing() {
    let Some(tools) = tools() else { return };
    let mut validator = Command::new(tools.join("python/bin/openapi-spec-validator"));
    validator.arg(kept());
    assert_good("the validator", &run(validator).await);
    let linter = tools.join("node_modules/.bin/redocly");
    if !linter.exists() {
        println!("skipped: there is no npm to fetch the linter with");
        return;
    }
    let mut linter = Command::new(linter);
    linter
        .arg("lint")
        .arg(kept())
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    let ran = run(linter).await;
    assert_good("the linter", &ran);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(!said.contains("Warning was generated"), "{said}");
}

/// Files with what a client of others needs to be an operator.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(bench: &Bench) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", &bench.ada.ca);
        write("certificate.pem", &bench.ada.certificate);
        write("key.pem", &bench.ada.key);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_was_generated_works() {
    let Some(tools) = tools() else { return };
    let bench = Bench::start().await;
    let files = Files::new(&bench);
    let bin = tools.join("python/bin");
    let mut generator = Command::new(bin.join("openapi-python-client"));
    generator.args(["generate", "--meta", "none", "--path"]);
    generator
        .arg(kept())
        .arg("--output-path")
        .arg(files.path("client"))
        .current_dir(files.folder.path())
        .env("PATH", &bin);
    assert_good("the generator", &run(generator).await);
    let mut client = Command::new(bin.join("python"));
    client
        .arg(folder("tests/server/api_client.py"))
        .arg(files.folder.path())
        .arg(&bench.url)
        .args(["ca.pem", "certificate.pem", "key.pem"].map(|name| files.path(name)));
    let ran = run(client).await;
    assert_good("the client", &ran);
    assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "good");
}

/// Asks for everything that the description has, in ways that it allows and in others. Answers must be as described, nothing may fail, and
/// what the description rules out must be refused.
///
/// Not looked at: whether everything that the description allows is done (it cannot tell of the state of the store), and whether an asker
/// without a token is refused (its connection has a certificate; the walks over all paths look at that).
#[expect(clippy::print_stdout, reason = "what it found is told")]
async fn schemathesis(tools: &Path, bench: &Bench, files: &Files, (args, also): (&[&str], &str)) {
    let examples = std::env::var("SEALCAST_API_EXAMPLES");
    let mut command = Command::new(tools.join("python/bin/schemathesis"));
    command.args(["--no-color", "run", "--url", &bench.url, "--tls-verify"]);
    command.arg(files.path("ca.pem"));
    command.args(["--max-examples", examples.as_deref().unwrap_or("4")]);
    command.args(["--seed", "7", "--no-shrink", "--continue-on-failure"]);
    command.args(["--phases", "examples,coverage,fuzzing,stateful"]);
    let checks = format!("positive_data_acceptance,ignored_auth{also}");
    command.args(["--exclude-checks", &checks]);
    command.args(["--generation-database", "none", "--request-timeout", "20"]);
    // Another test takes nearly all files that this process may open: a server ends connections then.
    command.args(["--request-retries", "3"]);
    command.args(["--warnings", "off", "--suppress-health-check", "all"]);
    // It goes on for ever: the tests of events read it.
    command.args(["--exclude-path", "/v1/events"]);
    command.args(args).arg(kept());
    command.current_dir(files.folder.path());
    let ran = run(command).await;
    println!("{}", String::from_utf8_lossy(&ran.stdout));
    assert_good("schemathesis", &ran);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_answers_operators_as_described_whatever_they_ask() {
    let Some(tools) = tools() else { return };
    let bench = Bench::start().await;
    let files = Files::new(&bench);
    let certificate = files.path("certificate.pem").display().to_string();
    let key = files.path("key.pem").display().to_string();
    let args = [
        "--request-cert",
        &certificate,
        "--request-cert-key",
        &key,
        "--exclude-path-regex",
        "^/v1/(me|interop)",
    ];
    schemathesis(&tools, &bench, &files, (&args, "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_answers_persons_and_packagers_as_described_whatever_they_ask() {
    let Some(tools) = tools() else { return };
    let bench = Bench::start_with(|config| {
        config.interop.key_server = true;
        config.interop.cpix = true;
        config.interop.requests = u32::MAX;
        // It asks as fast as it can.
        let no = "0".parse().unwrap();
        (config.limits.person_rate, config.limits.network_rate) = (no, no);
    })
    .await;
    bench.channel(1).await;
    let files = Files::new(&bench);
    let person = Person::new(&bench, "eve").await;
    let new = json!({"name": "packager", "channels": [1]});
    let packager: PackagerSecrets = bench.admin.post("/v1/packagers", &new).await.unwrap();
    for (token, paths, also) in [
        (&person.token, "^/v1/me", ""),
        (&packager.token, "^/v1/interop/cpix", ""),
        // It tells inside of good answers what was wrong: packagers drop the others.
        (
            &packager.token,
            "^/v1/interop/keys",
            ",negative_data_rejection",
        ),
    ] {
        let bearer = format!("authorization: Bearer {token}");
        let args = ["--header", &bearer, "--include-path-regex", paths];
        schemathesis(&tools, &bench, &files, (&args, also)).await;
    }
}
