//! Slaves by their own clients: enrolment, the feed through slaves, key doors, revocation, restarts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealcast_control::http::Limits;
use sealcast_control::server::ServerConfig;
use sealcast_control::slave::{SlaveServer, SlaveServerConfig};
use sealcast_net::shard::Placement;
use sealcast_objects::api::{NewCode, NewSlave, Role, Standing, Status};
use sealcast_objects::problem::Kind;
use sealcast_proto::door::Answer;
use sealcast_proto::feed::WithoutLease;
use sealcast_proto::wire::door::Reason;
use sealcast_terminal::identity::Identity;

use crate::bench::{Bench, ask_udp, enrol, open, reason, refused_as, session, until};
use crate::link::Link;
use crate::usage::Up;

const LOCAL: &str = "127.0.0.1:0";

/// An enrolled slave that may run.
pub(crate) struct Slave {
    pub(crate) identity: Identity,
    config: SlaveServerConfig,
    server: Option<SlaveServer>,
}

async fn code(bench: &Bench, slave: u32) -> NewCode {
    let new = NewSlave {
        slave,
        name: String::new(),
        hosts: vec!["127.0.0.1".to_owned()],
    };
    bench.admin.post("/v1/slaves", &new).await.unwrap()
}

fn folder(bench: &Bench, slave: u32) -> PathBuf {
    bench.folder.path().join(format!("slave-{slave}"))
}

impl Slave {
    pub(crate) async fn enrol(bench: &Bench, slave: u32) -> Self {
        let code = code(bench, slave).await;
        let identity = enrol(&bench.url, &code, Role::Slave).await.unwrap();
        let data = folder(bench, slave);
        let config = SlaveServerConfig {
            limits: Limits::default(),
            slave,
            key: data.join("cache.key"),
            data,
            listen: vec![LOCAL.parse().unwrap()],
            door: vec![LOCAL.parse().unwrap()],
            advertise: Vec::new(),
            parents: vec![bench.url.clone()],
            placements: vec![Placement::default()],
            without_lease: WithoutLease::Announced,
            usage_interval: bench.config.usage_interval,
        };
        Self {
            identity,
            config,
            server: None,
        }
    }

    pub(crate) async fn start(&mut self) {
        let (certified, ca) = self.identity.serving().unwrap();
        let tls = Arc::new(self.identity.tls().unwrap());
        let upstream = Up(Arc::clone(&tls));
        let tls = move || Arc::clone(&tls);
        let config = self.config.clone();
        let server = SlaveServer::start(config, Arc::new(certified), &ca, tls, upstream)
            .await
            .unwrap();
        // Where it is stays the same over restarts.
        self.config.listen = server.listen().to_vec();
        self.config.door = server.door().to_vec();
        self.server = Some(server);
    }

    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub(crate) fn listen(&self) -> std::net::SocketAddr {
        self.config.listen[0]
    }

    fn url(&self) -> String {
        format!("https://{}", self.listen())
    }

    pub(crate) fn door(&self) -> std::net::SocketAddr {
        self.config.door[0]
    }

    async fn is_leased(&self) -> bool {
        let monitor = self.server.as_ref().unwrap().monitor();
        let (health, _) = monitor.health().await;
        health.is_some_and(|health| health.leased)
    }

    async fn until_leased(&self) {
        until("the slave has a lease", async || self.is_leased().await).await;
    }
}

async fn status(bench: &Bench) -> Status {
    bench.admin.get("/v1/status").await.unwrap()
}

/// Master, slave 1 behind it, slave 2 behind slave 1, a delivery server on channel 1.
async fn chain() -> (Bench, Slave, Slave, Link) {
    chain_with(|_| ()).await
}

/// As [`chain`], the master with other settings.
pub(crate) async fn chain_with(
    change: impl FnOnce(&mut ServerConfig),
) -> (Bench, Slave, Slave, Link) {
    let bench = Bench::start_with(change).await;
    bench.channel(1).await;
    let (mut one, mut two) = (Slave::enrol(&bench, 1).await, Slave::enrol(&bench, 2).await);
    one.start().await;
    two.config.parents = vec![one.url()];
    two.start().await;
    one.until_leased().await;
    two.until_leased().await;
    let node = bench.node(1, None).await;
    let mut link = Link::up(&node, 1).await;
    link.report(1);
    link.cipher_half().await;
    (bench, one, two, link)
}

#[tokio::test(flavor = "multi_thread")]
async fn md_31_any_slave_answers_devices_what_the_master_would() {
    let (bench, mut one, mut two, _link) = chain().await;
    let device = bench.entitled(&[1]).await;
    let reply = session(&device, &[]).await.unwrap();
    let mut doors = reply.doors.clone();
    doors.sort();
    let mut all = vec![bench.server().door()[0], one.door(), two.door()];
    all.sort();
    assert_eq!(doors, all, "devices are told of all of them");
    let mut running = open(&reply);
    let mut roots = Vec::new();
    for door in all {
        let mut granted = None;
        until("the door answers", async || {
            match ask_udp(&mut running, door, 1).await {
                Answer::Granted { granted: keys, .. } => {
                    granted = Some(keys.current);
                    true
                }
                _ => false,
            }
        })
        .await;
        roots.push(granted.unwrap());
    }
    assert!(
        roots
            .iter()
            .all(|half| half.root == roots[0].root && half.epoch == roots[0].epoch)
    );
    let left = |index: usize| i64::from(roots[index].remaining.0);
    assert!(
        (left(0) - left(1)).abs() < 2000 && (left(0) - left(2)).abs() < 2000,
        "SEC-12"
    );
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_11_a_revocation_reaches_every_slave_within_a_second() {
    let (bench, mut one, mut two, _link) = chain().await;
    let device = bench.entitled(&[1]).await;
    let mut running = open(&session(&device, &[]).await.unwrap());
    for door in [one.door(), two.door()] {
        until("the door answers", async || {
            matches!(ask_udp(&mut running, door, 1).await, Answer::Granted { .. })
        })
        .await;
    }
    let path = format!("/v1/devices/{}", device.subject);
    bench.set(&path, Standing::Revoked).await.unwrap();
    let revoked = std::time::Instant::now();
    for door in [two.door(), one.door()] {
        until("the slave knows", async || {
            reason(&ask_udp(&mut running, door, 1).await) == Some(Reason::RightsChanged)
        })
        .await;
    }
    // Not a measurement: the bound is 1 s, and the host of a test may stand still.
    assert!(revoked.elapsed().as_secs() < 5);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_11_a_canary_measures_how_soon_each_slave_knows() {
    let (mut bench, mut one, mut two, _link) = chain().await;
    bench.stop().await;
    bench.config.canary = std::time::Duration::from_millis(200);
    bench.start_again().await;
    let monitor = bench.server().monitor();
    until("both slaves are measured twice", async || {
        let measured = monitor.health().await.canary;
        measured.len() == 2 && measured.values().all(|slave| slave.count >= 2)
    })
    .await;
    for measured in monitor.health().await.canary.values() {
        assert!(measured.last <= measured.worst && !measured.worst.is_zero());
        assert_eq!(measured.unanswered, 0, "{measured:?}");
    }
    // Who is not there is not measured.
    two.stop().await;
    one.stop().await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let settled = monitor.health().await.canary;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(monitor.health().await.canary, settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn md_40_slaves_answer_while_the_master_is_away_and_after_restarts_of_their_own() {
    let (mut bench, mut one, mut two, mut link) = chain().await;
    two.stop().await;
    two.config.without_lease = WithoutLease::Strict;
    two.start().await;
    two.until_leased().await;
    let device = bench.entitled(&[1]).await;
    let mut running = open(&session(&device, &[]).await.unwrap());
    until("the slaves know of the key", async || {
        let one = ask_udp(&mut running, one.door(), 1).await;
        let two = ask_udp(&mut running, two.door(), 1).await;
        matches!(one, Answer::Granted { .. }) && matches!(two, Answer::Granted { .. })
    })
    .await;
    bench.stop().await;
    until("the strict one answers nothing", async || {
        reason(&ask_udp(&mut running, two.door(), 1).await) == Some(Reason::Busy)
    })
    .await;
    assert!(!one.is_leased().await && !two.is_leased().await);
    assert!(matches!(
        ask_udp(&mut running, one.door(), 1).await,
        Answer::Granted { .. }
    ));
    one.stop().await;
    one.start().await;
    until("the other one answers from what it kept", async || {
        matches!(
            ask_udp(&mut running, one.door(), 1).await,
            Answer::Granted { .. }
        )
    })
    .await;
    bench.start_again().await;
    link.again(1, 1).await;
    one.until_leased().await;
    two.until_leased().await;
    until("and so does the strict one again", async || {
        matches!(
            ask_udp(&mut running, two.door(), 1).await,
            Answer::Granted { .. }
        )
    })
    .await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_17_status_says_who_holds_what() {
    let (bench, mut one, mut two, _link) = chain().await;
    let mut held = None;
    until("both slaves hold what is in use", async || {
        let status = status(&bench).await;
        let channel = &status.channels[0];
        let slaves: Vec<_> = channel
            .slaves
            .iter()
            .map(|slave| (slave.slave, slave.epoch))
            .collect();
        held = channel.current;
        held.is_some() && slaves == [(1, held), (2, held)]
    })
    .await;
    let states = status(&bench).await.slaves;
    let parents: Vec<_> = states
        .iter()
        .map(|slave| (slave.slave, slave.parent))
        .collect();
    assert_eq!(parents, [(1, None), (2, Some(1))]);
    assert!(states.iter().all(|slave| slave.linked && slave.leased));
    assert_eq!(states[1].doors, [two.door()]);
    two.stop().await;
    until("one is gone", async || {
        let states = status(&bench).await.slaves;
        states[0].linked && !states[1].linked
    })
    .await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_15_who_is_no_slave_in_good_standing_is_not_fed() {
    let (bench, mut one, mut two, _link) = chain().await;
    two.stop().await;
    bench
        .set("/v1/slaves/2", Standing::Suspended)
        .await
        .unwrap();
    two.start().await;
    let not_fed = async |two: &Slave| {
        for _ in 0..20 {
            assert!(!two.is_leased().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    not_fed(&two).await;
    bench.set("/v1/slaves/2", Standing::Active).await.unwrap();
    two.until_leased().await;
    // A link that is up ends when the standing does, also behind another slave.
    bench
        .set("/v1/slaves/2", Standing::Suspended)
        .await
        .unwrap();
    until("the link is cut", async || !two.is_leased().await).await;
    two.stop().await;
    bench.set("/v1/slaves/2", Standing::Revoked).await.unwrap();
    let detail = refused_as(Kind::Conflict, {
        let new = NewSlave {
            slave: 2,
            name: String::new(),
            hosts: vec!["127.0.0.1".to_owned()],
        };
        bench.admin.post::<NewCode>("/v1/slaves", &new).await
    });
    assert!(detail.contains("for ever"), "{detail}");
    // The certificate of another role opens nothing, and a new enrolment ends the former one.
    let again = code(&bench, 1).await;
    enrol(&bench.url, &again, Role::Slave).await.unwrap();
    until("the former key counts no more", async || {
        !one.is_leased().await
    })
    .await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slaves_are_added_with_what_they_need() {
    let bench = Bench::start().await;
    let refused = async |slave, hosts: &[&str]| {
        let new = NewSlave {
            slave,
            name: String::new(),
            hosts: hosts.iter().map(ToString::to_string).collect(),
        };
        refused_as(
            Kind::Invalid,
            bench.admin.post::<NewCode>("/v1/slaves", &new).await,
        )
    };
    assert!(refused(0, &["a"]).await.contains("from 1 on"));
    assert!(refused(1, &[]).await.contains("hosts"));
    assert!(refused(1, &[""]).await.contains("hosts"));
    assert!(Path::new(&bench.config.data).exists());
}
