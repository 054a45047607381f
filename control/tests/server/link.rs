//! The node link: who gets what.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sealcast_control::node::{self, NodeEvent};
use sealcast_crypto::SigningKey;
use sealcast_net::mailbox::{Sender, mailbox};
use sealcast_objects::api::Role;
use sealcast_objects::api::Standing;
use sealcast_proto::ids::{ChannelId, RunId, ServerId, Term, Time};
use sealcast_proto::wire::link::{
    CipherHalf, Frame, FromAuthority, Hello, Mode, Report, Sent, Settings, ToAuthority,
};
use sealcast_terminal::identity::Identity;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::bench::{Bench, enrol, until};

const PATIENCE: Duration = Duration::from_secs(10);

/// What a link told.
#[derive(Debug)]
pub(crate) enum Told {
    Up,
    Down,
    Message(Box<FromAuthority>),
    Failed(String),
}

/// A delivery server's link, on a thread of its own as in operation.
pub(crate) struct Link {
    outbound: Option<Sender<Frame<ToAuthority>>>,
    told: UnboundedReceiver<Told>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Tries to link up.
    fn start(identity: &Identity) -> Self {
        let (outbound, messages) = mailbox(64);
        let (tell, told) = unbounded_channel();
        let (url, tls) = (identity.server.clone(), Arc::new(identity.tls().unwrap()));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let failed = tell.clone();
            let link = node::run(
                &url,
                || Arc::clone(&tls),
                messages,
                |event| {
                    let _ = tell.send(match event {
                        NodeEvent::Up => Told::Up,
                        NodeEvent::Down => Told::Down,
                        NodeEvent::Message(frame) => Told::Message(Box::new(frame.message)),
                    });
                },
                async |error: &node::LinkError| {
                    let _ = failed.send(Told::Failed(error.to_string()));
                },
            );
            runtime.block_on(link).unwrap();
        });
        Self {
            outbound: Some(outbound),
            told,
            thread: Some(thread),
        }
    }

    /// Links up and says Hello as this server.
    pub(crate) async fn up(identity: &Identity, server: u32) -> Self {
        let mut link = Self::start(identity);
        assert!(matches!(link.next().await, Some(Told::Up)));
        link.hello(server);
        link
    }

    async fn next(&mut self) -> Option<Told> {
        timeout(PATIENCE, self.told.recv()).await.unwrap()
    }

    fn say(&self, message: ToAuthority) {
        let sent = Time(1);
        let frame = Frame { sent, message };
        assert!(self.outbound.as_ref().unwrap().try_send(frame).is_ok());
    }

    fn hello(&self, server: u32) {
        self.say(ToAuthority::Hello(Hello {
            server: ServerId(server),
            key: SigningKey::from_seed(&[9; 32]).verifying_key(),
            term: Term::NONE,
            other_master: false,
        }));
    }

    /// Waits for the next link, and says there what a new run says.
    pub(crate) async fn again(&mut self, server: u32, channel: u16) {
        self.wait(|told| matches!(told, Told::Up).then_some(()))
            .await;
        self.hello(server);
        self.report(channel);
    }

    pub(crate) fn report(&self, channel: u16) {
        self.report_sent(channel, 0);
    }

    /// With so many bytes sent.
    pub(crate) fn report_sent(&self, channel: u16, bytes: u64) {
        self.say(ToAuthority::Report(Report {
            channel: ChannelId(channel),
            run: RunId(1),
            mode: Mode::Authority,
            lanes: 2,
            current: None,
            next: None,
            spare: None,
            notice: None,
            wants_next: false,
            early: None,
            new_group: true,
            sent: Sent { packets: 0, bytes },
        }));
    }

    /// Waits for a message of some kind; others are passed over.
    async fn wait<T>(&mut self, mut want: impl FnMut(Told) -> Option<T>) -> T {
        let wait = async {
            loop {
                let told = self.told.recv().await.unwrap();
                if let Some(found) = want(told) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap()
    }

    pub(crate) async fn cipher_half(&mut self) -> CipherHalf {
        self.wait(|told| match told {
            Told::Message(message) => match *message {
                FromAuthority::CipherHalf(half) => Some(half),
                _ => None,
            },
            _ => None,
        })
        .await
    }

    /// The datagrams of a key block.
    pub(crate) async fn key_block(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        self.wait(|told| match told {
            Told::Message(message) => match *message {
                FromAuthority::BlockPart(part) => {
                    datagrams.extend(part.datagrams);
                    (part.part + 1 == part.parts).then(|| std::mem::take(&mut datagrams))
                }
                _ => None,
            },
            _ => None,
        })
        .await
    }

    async fn settings(&mut self) -> Settings {
        self.wait(|told| match told {
            Told::Message(message) => match *message {
                FromAuthority::Settings(settings) => Some(settings),
                _ => None,
            },
            _ => None,
        })
        .await
    }

    async fn down(&mut self) {
        self.wait(|told| matches!(told, Told::Down).then_some(()))
            .await;
    }

    async fn failed(&mut self) -> String {
        self.wait(|told| match told {
            Told::Failed(error) => Some(error),
            _ => None,
        })
        .await
    }

    /// Everything that comes within this time.
    pub(crate) async fn within(&mut self, time: Duration) -> Vec<Told> {
        let mut all = Vec::new();
        let _ = timeout(time, async {
            while let Some(told) = self.told.recv().await {
                all.push(told);
            }
        })
        .await;
        all
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.outbound = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_server_gets_settings_and_keys_of_its_channel() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let node = bench.node(5, Some(vec![1])).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    let settings = link.settings().await;
    assert_eq!(
        (settings.channel, settings.mode),
        (ChannelId(1), Mode::Authority)
    );
    assert_eq!(settings.timing.lifetime(), Duration::from_secs(60));
    let half = link.cipher_half().await;
    assert_eq!((half.channel, half.run), (ChannelId(1), RunId(1)));
    assert_eq!(half.lanes.len(), 2);
    until("status shows it", async || {
        let status = bench.list("status").await;
        status["channels"][0]["servers"][0]["linked"] == true
    })
    .await;
    drop(link);
    until("status shows that it has gone", async || {
        let status = bench.list("status").await;
        status["channels"][0]["servers"][0]["linked"] == false
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_one_that_speaks_for_another_delivery_server_is_cut_off() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let node = bench.node(5, None).await;
    bench.node(6, None).await;
    let mut link = Link::up(&node, 6).await;
    link.report(1);
    let told = link.within(Duration::from_secs(1)).await;
    let message = told.iter().find(|told| matches!(told, Told::Message(_)));
    assert!(message.is_none(), "{told:?}");
    assert!(
        told.iter().any(|told| matches!(told, Told::Down)),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_04_a_delivery_server_gets_nothing_of_a_channel_that_is_not_its_own() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    bench.channel(2).await;
    let node = bench.node(5, Some(vec![2])).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    for told in link.within(Duration::from_secs(1)).await {
        let Told::Message(message) = told else {
            continue;
        };
        let channel = match *message {
            FromAuthority::Settings(settings) => settings.channel,
            FromAuthority::CipherHalf(half) => half.channel,
            _ => continue,
        };
        assert_ne!(channel, ChannelId(1));
    }
    link.report(2);
    assert_eq!(link.cipher_half().await.channel, ChannelId(2));
    // It is allowed while the link is up.
    bench.node_code(5, Some(vec![1, 2])).await;
    link.report(1);
    assert_eq!(link.cipher_half().await.channel, ChannelId(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_11_revoking_a_delivery_server_cuts_its_link() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let node = bench.node(5, None).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    link.cipher_half().await;
    bench.set("/v1/nodes/5", Standing::Revoked).await.unwrap();
    link.down().await;
    let error = link.failed().await;
    assert!(error.contains("revoked"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_04_a_delivery_server_that_enrols_anew_ends_the_link_of_its_former_key() {
    let bench = Bench::start().await;
    bench.channel(1).await;
    let node = bench.node(5, None).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    link.cipher_half().await;
    let code = bench.node_code(5, None).await;
    let renewed = enrol(&bench.url, &code, Role::Node).await.unwrap();
    link.down().await;
    let error = link.failed().await;
    assert!(error.contains("counts no more"), "{error}");
    let mut link = Link::up(&renewed, 5).await;
    link.report(1);
    link.cipher_half().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_02_the_link_is_for_delivery_servers_only() {
    let bench = Bench::start().await;
    let device = bench.device().await;
    for identity in [&device, &bench.ada] {
        let error = Link::start(identity).failed().await;
        assert!(error.contains("delivery server"), "{error}");
    }
    let unknown = bench.url.replace("https", "http");
    let mut stranger = device.clone();
    stranger.server = unknown;
    let (_outbound, messages) = mailbox(1);
    let tls = Arc::new(device.tls().unwrap());
    let run = node::run(
        &stranger.server,
        || Arc::clone(&tls),
        messages,
        |_| {},
        async |_: &node::LinkError| {},
    );
    let error = run.await.unwrap_err().to_string();
    assert!(error.contains("https://"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_comes_back_after_a_restart_of_the_key_server() {
    let mut bench = Bench::start().await;
    bench.channel(1).await;
    let node = bench.node(5, None).await;
    let mut link = Link::up(&node, 5).await;
    link.report(1);
    let before = link.cipher_half().await;
    bench.stop().await;
    link.down().await;
    bench.start_again().await;
    link.wait(|told| matches!(told, Told::Up).then_some(()))
        .await;
    link.hello(5);
    link.report(1);
    let after = link.cipher_half().await;
    assert!(after.epoch >= before.epoch, "no epoch number is used twice");
}
