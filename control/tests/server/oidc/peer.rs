//! A provider of other software: oidc-provider-mock, over Authlib. `tests/oidc` fetches it; without the Python package index this says so and passes
//! over.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use url::Url;

use super::*;

/// A running provider.
struct Peer {
    child: Child,
    client: Registered,
}

/// What it says when it runs: who it is, and how it knows us.
#[derive(Deserialize)]
struct Registered {
    issuer: String,
    client_id: String,
    client_secret: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Starts one; nothing, and why, when its software cannot be fetched.
    #[expect(clippy::print_stdout, reason = "a test that passes over says so")]
    fn start() -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc");
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests");
        let made = Command::new(tests.join("oidc"))
            .arg(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        match made.status.code() {
            Some(0) => Some(Self::run(
                &folder.join("python/bin/python"),
                &tests.join("oidc.py"),
            )),
            Some(3) => {
                println!("skipped: {said}");
                None
            }
            _ => unreachable!("tests/oidc: {said}"),
        }
    }

    fn run(python: &PathBuf, server: &Path) -> Self {
        let mut child = Command::new(python)
            .arg(server)
            .arg(BACK)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let client = serde_json::from_str(&line).unwrap();
        Self { child, client }
    }

    /// What a browser does that is sent to `url`, where a person types `sub` into the form.
    async fn log_in(&self, url: &str, sub: &str) -> Back {
        let browser = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(no_tls())
            .build()
            .unwrap();
        let form = browser.get(url).send().await.unwrap();
        assert_eq!(form.status(), StatusCode::OK);
        let sent = browser
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("sub={sub}"));
        let sent = sent.send().await.unwrap();
        assert!(sent.status().is_redirection(), "{}", sent.status());
        let back = Url::parse(sent.headers()["location"].to_str().unwrap()).unwrap();
        assert!(back.as_str().starts_with(BACK), "{back}");
        let said: BTreeMap<_, _> = back.query_pairs().into_owned().collect();
        Back {
            state: said["state"].clone(),
            code: said["code"].clone(),
        }
    }
}

fn no_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_03_a_person_logs_in_with_a_provider_of_other_software() {
    let Some(peer) = Peer::start() else { return };
    let Registered {
        issuer,
        client_id,
        client_secret,
    } = &peer.client;
    let client = (client_id.as_str(), Some(client_secret.as_str()));
    let bench = Bench::start_with(|of| config(of, issuer, client)).await;
    let nobody = raw(&bench.ada, None);
    let post = async |path: &str, body: &Value| {
        let sent = nobody.post(format!("{}{path}", bench.url)).json(body);
        sent.send().await.unwrap()
    };
    let there = async |sub: &str| {
        let begun = post("/v1/login/oidc", &json!({"redirect_uri": BACK})).await;
        assert_eq!(begun.status(), StatusCode::OK);
        let begun: OidcBegun = begun.json().await.unwrap();
        finish(&begun, peer.log_in(&begun.authorization_url, sub).await)
    };
    let account = account(&bench, "eve").await;
    let mut first = there("eve").await;
    first["secret"] = json!(code(&bench, &account, "eve@example.org").await);
    let linked = post("/v1/login/oidc/finish", &first).await;
    assert_eq!(linked.status(), StatusCode::OK);
    let answer = post("/v1/login/oidc/finish", &there("eve").await).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let token: Token = answer.json().await.unwrap();
    let me = Person::of(&bench, &account, &token.token)
        .get("/v1/me")
        .await;
    assert_eq!(me["login"], "eve@example.org");
    assert_eq!(me["identities"][0]["subject"], "eve");
    // Another person there is nobody here, and a code works once there.
    let mallory = post("/v1/login/oidc/finish", &there("mallory").await).await;
    assert_eq!(problem(mallory).await.kind, Kind::Unauthenticated);
    let (used, mut again) = (there("eve").await, there("eve").await);
    let good = post("/v1/login/oidc/finish", &used).await;
    assert_eq!(good.status(), StatusCode::OK);
    again["code"] = used["code"].clone();
    let twice = problem(post("/v1/login/oidc/finish", &again).await).await;
    assert_eq!(twice.kind, Kind::Unauthenticated);
    assert!(
        twice.detail.contains("does not know this code"),
        "{}",
        twice.detail
    );
}
