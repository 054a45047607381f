//! Sessions of devices, and what key doors answer them.

use sealcast_objects::api::Standing;
use sealcast_objects::problem::Kind;
use sealcast_proto::wire::door::Reason;

use crate::bench::{Bench, ask_https, ask_udp, open, reason, refused_as, session, until};
use crate::link::Link;

#[tokio::test(flavor = "multi_thread")]
async fn int_01_a_session_is_for_what_the_device_may_have_or_is_refused_with_reasons() {
    let bench = Bench::start().await;
    for id in 1..=3 {
        bench.channel(id).await;
    }
    let device = bench.device().await;
    let detail = refused_as(Kind::Forbidden, session(&device, &[]).await);
    assert!(detail.contains("no rights"), "{detail}");
    let detail = refused_as(Kind::Forbidden, session(&device, &[2]).await);
    assert!(
        detail.contains("channel 2: the device has no right"),
        "{detail}"
    );
    bench.right(&device, 1).await;
    bench.right(&device, 2).await;
    let reply = session(&device, &[]).await.unwrap();
    assert_eq!((reply.channels, reply.refused), (vec![1, 2], vec![]));
    assert_eq!(reply.doors, bench.server().door());
    assert_eq!(reply.authority, device.authority);
    assert!(reply.renew_after_ms < reply.ends_after_ms);

    let path = format!("/v1/rights/{}/2", device.subject);
    bench.set(&path, Standing::Suspended).await.unwrap();
    let reply = session(&device, &[1, 2, 3]).await.unwrap();
    assert_eq!(reply.channels, [1]);
    let why: Vec<_> = reply
        .refused
        .iter()
        .map(|refused| refused.channel)
        .collect();
    assert_eq!(why, [2, 3]);
    assert!(reply.refused[0].why.contains("suspended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_11_devices_are_suspended_resumed_and_revoked_at_api_and_door() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.entitled(&[1]).await;
    let door = bench.server().door()[0];
    let path = format!("/v1/devices/{}", device.subject);
    let mut running = open(&session(&device, &[]).await.unwrap());
    until("the door leads", async || {
        let answer = ask_udp(&mut running, door, 1).await;
        reason(&answer) != Some(Reason::Busy)
    })
    .await;

    bench.set(&path, Standing::Suspended).await.unwrap();
    let detail = refused_as(Kind::Suspended, session(&device, &[]).await);
    assert!(detail.contains("suspended"), "{detail}");
    let changed = Some(Reason::RightsChanged);
    until("the door knows", async || {
        reason(&ask_udp(&mut running, door, 1).await) == changed
    })
    .await;
    assert_eq!(reason(&ask_https(&mut running, &device, 1).await), changed);

    bench.set(&path, Standing::Active).await.unwrap();
    let mut resumed = open(&session(&device, &[]).await.unwrap());
    assert_ne!(reason(&ask_udp(&mut resumed, door, 1).await), changed);
    assert_eq!(
        reason(&ask_udp(&mut running, door, 1).await),
        changed,
        "not the former"
    );

    bench.set(&path, Standing::Revoked).await.unwrap();
    refused_as(Kind::Suspended, session(&device, &[]).await);
    until("the door knows", async || {
        reason(&ask_udp(&mut resumed, door, 1).await) == changed
    })
    .await;
    let back = bench.set(&path, Standing::Active).await;
    refused_as(Kind::Conflict, back);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_11_a_period_that_ends_is_told_to_the_doors() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let device = bench.device().await;
    let now = sealcast_objects::time::Timestamp::from(std::time::SystemTime::now());
    let new = sealcast_objects::api::NewRight {
        device: crate::bench::id(&device),
        channel: 1,
        from: None,
        until: Some(now.after(std::time::Duration::from_millis(1500))),
    };
    let put = bench
        .admin
        .call(reqwest::Method::PUT, "/v1/rights", Some(&new));
    put.await.map(|_: serde_json::Value| ()).unwrap();
    let mut running = open(&session(&device, &[]).await.unwrap());
    let door = bench.server().door()[0];
    until("the door knows", async || {
        reason(&ask_udp(&mut running, door, 1).await) == Some(Reason::RightsChanged)
    })
    .await;
    let detail = refused_as(Kind::Forbidden, session(&device, &[]).await);
    assert!(detail.contains("ended at"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_behind_https_answers_as_the_one_behind_udp() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    bench.channel(2).await;
    let device = bench.entitled(&[1]).await;
    let node = bench.node(5, None).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    link.cipher_half().await;
    let mut session = open(&session(&device, &[]).await.unwrap());
    let door = bench.server().door()[0];
    let mut granted = Vec::new();
    until("both give keys", async || {
        let answers = [
            ask_udp(&mut session, door, 1).await,
            ask_https(&mut session, &device, 1).await,
        ];
        granted = answers.iter().map(epoch).collect();
        granted.iter().all(Option::is_some)
    })
    .await;
    assert_eq!(granted[0], granted[1]);
    for answer in [
        ask_udp(&mut session, door, 2).await,
        ask_https(&mut session, &device, 2).await,
    ] {
        assert_eq!(reason(&answer), Some(Reason::NotEntitled));
    }
}

fn epoch(answer: &sealcast_proto::door::Answer) -> Option<(u64, Vec<u8>)> {
    match answer {
        sealcast_proto::door::Answer::Granted { granted, .. } => Some((
            granted.current.epoch.0,
            granted.current.root.as_bytes().to_vec(),
        )),
        _ => None,
    }
}
