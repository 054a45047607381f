//! MD-33, MD-34, INT-03: what key doors of master and slaves gave, and what delivery servers sent, ends up in the store, once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use sealcast_control::slave::Upstream;
use sealcast_control::usage::Undelivered;
use sealcast_objects::api::{UsagePage, UsageRun, UsageSource, UsageTaken, UsageTotals};
use sealcast_objects::problem::Kind;
use sealcast_proto::door::{Answer, Session};
use sealcast_proto::ids::Time;
use sealcast_proto::records::{
    KeyUsage, KeyUsageFile, Kind as FileKind, RecordWriter, Rotation, Source, SourceKind, Usage,
    UsageFile, UsageIdentity, UsageLog,
};
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bench::{Bench, ask_https, ask_udp, nobody, open, refused_as, session, until};
use crate::slaves::{Slave, chain_with};
use crate::transport::connect;

/// As the program does it.
pub(crate) struct Up(pub(crate) Arc<ClientConfig>);

impl Upstream for Up {
    async fn bring(&self, parent: &str, file: Vec<u8>) -> Result<(), Undelivered> {
        let client = Client::at(parent, ClientConfig::clone(&self.0)).unwrap();
        let brought = client.usage(file).await;
        brought
            .map(|_| ())
            .map_err(|error| Undelivered::Later(error.to_string()))
    }
}

async fn totals(bench: &Bench) -> UsageTotals {
    bench.admin.get("/v1/usage/totals").await.unwrap()
}

async fn runs(bench: &Bench) -> Vec<UsageRun> {
    bench.admin.get("/v1/usage/runs").await.unwrap()
}

/// Asks until keys are given; how many keys that were.
async fn granted(session: &mut Session, door: SocketAddr) -> u64 {
    let mut keys = 0;
    until("the door gives keys", async || {
        match ask_udp(session, door, 1).await {
            Answer::Granted { granted, .. } => {
                keys = 1 + u64::from(granted.next.is_some());
                true
            }
            _ => false,
        }
    })
    .await;
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn md_34_a_request_asked_again_at_any_key_server_counts_once() {
    let second = Duration::from_secs(1);
    let (bench, mut one, mut two, _link) =
        chain_with(|config| config.usage_interval = second).await;
    let (tv, phone) = (bench.entitled(&[1]).await, bench.entitled(&[1]).await);
    let (mut first, mut other) = (
        open(&session(&tv, &[]).await.unwrap()),
        open(&session(&phone, &[]).await.unwrap()),
    );
    // Every request of these tests has number 1.
    for door in [bench.server().door()[0], one.door(), two.door()] {
        granted(&mut first, door).await;
    }
    until("the phone gets keys", async || {
        matches!(
            ask_https(&mut other, &phone, 1).await,
            Answer::Granted { .. }
        )
    })
    .await;
    until("all four answers are counted", async || {
        totals(&bench).await.answers == 4
    })
    .await;
    let all = totals(&bench).await;
    assert_eq!(
        (all.requests, all.keys, all.subscriptions),
        (2, 2, 2),
        "{all:?}"
    );
    let page: UsagePage = bench.admin.get("/v1/usage").await.unwrap();
    let row = |device: &Identity| {
        let row = page
            .rows
            .iter()
            .find(|row| row.device.to_string() == device.subject);
        let row = row.expect("a row for each device");
        (
            row.channel,
            row.first_epoch == row.last_epoch,
            row.requests,
            row.answers,
        )
    };
    assert_eq!((row(&tv), row(&phone)), ((1, true, 1, 3), (1, true, 1, 1)));
    let account = page.rows[0].account;
    let path = format!("/v1/usage/totals?account={account}&channel=1&until=2000-01-01T00:00:00Z");
    let none: UsageTotals = bench.admin.get(&path).await.unwrap();
    assert_eq!(none, UsageTotals::default());

    // What slave 2 gave came through slave 1. A stop carries what is left.
    let from =
        |number| move |run: &UsageRun| run.source == UsageSource::KeyServer && run.number == number;
    let known = runs(&bench).await;
    assert!(
        (0..=2).all(|number| known.iter().any(from(number))),
        "{known:?}"
    );
    granted(&mut open(&session(&tv, &[]).await.unwrap()), two.door()).await;
    two.stop().await;
    until("the last answer is counted", async || {
        totals(&bench).await.answers == 5
    })
    .await;
    assert_eq!(
        totals(&bench).await.requests,
        3,
        "another session, another request"
    );
    assert_eq!(totals(&bench).await.keys, 2, "but the same key");
    assert!(runs(&bench).await.iter().all(|run| run.missing == 0));
    one.stop().await;
}

/// One closed file.
fn file<K: FileKind<Identity = UsageIdentity>>(
    kind: SourceKind,
    number: u32,
    sequence: u64,
    record: K::Record,
) -> Vec<u8> {
    let source = Source::numbered(kind, number, [9; 16]);
    let mut log = UsageLog::<K>::new(source, Rotation::default());
    for _ in 0..sequence {
        log.add(Time(0), 0, &[record]);
        log.close();
    }
    while log.next().is_some() {
        log.written();
    }
    log.add(Time(0), 0, &[record]);
    log.close();
    let mut bytes = Vec::new();
    while let Some(append) = log.next() {
        bytes.extend(&append.bytes);
        log.written();
    }
    bytes
}

fn sent(server: u32, sequence: u64) -> Vec<u8> {
    let usage = Usage {
        channel: 1,
        lane: 1,
        epoch: 1,
        packets: 10,
        bytes: 13_160,
        from: 0,
        until: 5,
    };
    file::<UsageFile>(SourceKind::DeliveryServer, server, sequence, usage)
}

fn given(slave: u32) -> Vec<u8> {
    let mut current = [0; 16];
    current[0] = 1;
    let usage = KeyUsage {
        session: [1; 16],
        account: [2; 16],
        device: [3; 16],
        channel: 1,
        number_base: 0,
        epoch_base: 1,
        current,
        next: [0; 16],
        answers: 1,
        from: 0,
        until: 5,
    };
    file::<KeyUsageFile>(SourceKind::KeyServer, slave, 0, usage)
}

/// The answer to who sends the head of a long request, and no more.
async fn answer_to_head(server: SocketAddr, mut tls: ClientConfig) -> String {
    tls.alpn_protocols.clear();
    let mut stream = connect(server, tls).await;
    let head = "POST /v1/usage HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = stream.read_exact(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(5), read).await;
    read.expect("it is answered before its body came").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_who_may_not_bring_files_is_not_read() {
    let bench = Bench::start().await;
    let (device, node) = (bench.entitled(&[]).await, bench.node(5, None).await);
    let mut slave = Slave::enrol(&bench, 6).await;
    slave.start().await;
    let master = bench.config.listen[0];
    for (server, tls, answer) in [
        (master, nobody(&bench.ada), "HTTP/1.1 401"),
        (master, device.tls().unwrap(), "HTTP/1.1 403"),
        (slave.listen(), node.tls().unwrap(), "HTTP/1.1 403"),
        (slave.listen(), bench.ada.tls().unwrap(), "HTTP/1.1 403"),
    ] {
        assert_eq!(answer_to_head(server, tls).await, answer);
    }
    slave.stop().await;
}

async fn bring(identity: &Identity, file: &[u8]) -> Result<UsageTaken, RequestError> {
    Client::new(identity).unwrap().usage(file.to_vec()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn md_33_a_delivery_server_brings_its_own_files_only_and_each_counts_once() {
    let bench = Bench::start().await;
    let node = bench.node(5, None).await;
    let device = bench.entitled(&[]).await;
    let slave = Slave::enrol(&bench, 6).await.identity;
    for before in [false, true] {
        assert_eq!(bring(&node, &sent(5, 0)).await.unwrap().before, before);
    }
    assert!(bring(&bench.ada, &sent(5, 0)).await.unwrap().before);
    assert!(!bring(&node, &sent(5, 1)).await.unwrap().before);
    assert!(
        !bring(&slave, &given(77)).await.unwrap().before,
        "one that it was brought itself"
    );
    let all = totals(&bench).await;
    assert_eq!((all.requests, all.keys, all.bytes), (1, 1, 2 * 13_160));
    for (who, file, kind) in [
        (&node, sent(4, 0), Kind::Forbidden),
        (&node, given(6), Kind::Forbidden),
        (&slave, sent(5, 2), Kind::Forbidden),
        (&device, given(6), Kind::Forbidden),
        (&node, b"no file".to_vec(), Kind::Invalid),
        (&node, sent(5, 2)[..300].to_vec(), Kind::Invalid),
    ] {
        refused_as(kind, bring(who, &file).await);
    }
    let usage = Usage {
        channel: 1,
        lane: 1,
        epoch: 1,
        packets: 1,
        bytes: 1,
        from: 0,
        until: 0,
    };
    let device_file = file::<UsageFile>(SourceKind::Device, 5, 0, usage);
    let detail = refused_as(Kind::Invalid, bring(&bench.ada, &device_file).await);
    assert!(
        detail.contains("counts of devices are not taken in"),
        "{detail}"
    );
    // Another file of the same name is an alarm, not a count.
    let (mut writer, mut other) = RecordWriter::<UsageFile>::create(&UsageIdentity {
        kind: SourceKind::DeliveryServer,
        source: u128::from(5_u8).to_be_bytes(),
        boot: [9; 16],
        sequence: 0,
        wall_minus_boot: 0,
    });
    other.extend(writer.block(&[usage]));
    let detail = refused_as(Kind::Invalid, bring(&node, &other).await);
    assert!(detail.contains("its end is missing"), "{detail}");
    other.extend(writer.close());
    refused_as(Kind::Conflict, bring(&node, &other).await);
    assert_eq!(totals(&bench).await, all);
    assert_eq!(bench.list("usage/runs").await.as_array().unwrap().len(), 2);
}
