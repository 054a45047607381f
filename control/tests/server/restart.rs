//! A server that starts again on the same folder has forgotten nothing.

use sealcast_objects::api::Role;
use sealcast_proto::wire::door::Reason;

use crate::bench::{Bench, ask_udp, enrol, open, reason, session, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let mut bench = Bench::start().await;
    bench.channel(1).await;
    bench.node(9, Some(vec![1])).await;
    let device = bench.entitled(&[1]).await;
    let late = bench.device_code().await;
    let mut running = open(&session(&device, &[]).await.unwrap());
    let lists = [
        "channels",
        "nodes",
        "accounts",
        "devices",
        "rights",
        "authority-keys",
    ];
    let mut before = Vec::new();
    for what in lists {
        before.push(bench.list(what).await);
    }
    let term = bench.list("status").await["lead"]["term"].clone();

    bench.stop().await;
    bench.start_again().await;

    for (what, before) in lists.iter().zip(before) {
        assert_eq!(bench.list(what).await, before, "{what}");
    }
    session(&device, &[]).await.unwrap();
    enrol(&bench.url, &late, Role::Device).await.unwrap();
    // A session of before goes on at the door.
    let door = bench.server().door()[0];
    until("the door leads", async || {
        let why = reason(&ask_udp(&mut running, door, 1).await);
        assert_ne!(why, Some(Reason::CookieUnknown));
        assert_ne!(why, Some(Reason::RightsChanged));
        why != Some(Reason::Busy)
    })
    .await;
    let status = bench.list("status").await;
    assert_ne!(status["lead"]["term"], term, "under a term of its own");
    assert!(status["store_written"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_11_what_was_taken_away_before_a_restart_stays_away() {
    let mut bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.entitled(&[1]).await;
    let mut running = open(&session(&device, &[]).await.unwrap());
    let path = format!("/v1/rights/{}/1", device.subject);
    let suspended = sealcast_objects::api::Standing::Suspended;
    bench.set(&path, suspended).await.unwrap();
    bench.stop().await;
    bench.start_again().await;
    let door = bench.server().door()[0];
    until("the door leads", async || {
        let why = reason(&ask_udp(&mut running, door, 1).await);
        assert!(
            matches!(why, Some(Reason::Busy | Reason::RightsChanged)),
            "{why:?}"
        );
        why == Some(Reason::RightsChanged)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_in_use_is_refused_and_free_after_the_end() {
    let mut bench = Bench::start().await;
    let mut config = bench.config.clone();
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.door = config.listen.clone();
    let second = sealcast_control::server::KeyServer::start(config).await;
    let error = second.unwrap_err().to_string();
    let pid = std::process::id().to_string();
    assert!(error.contains("in use") && error.contains(&pid), "{error}");
    bench.stop().await;
    bench.start_again().await;
    assert!(bench.folder.path().exists());
}
