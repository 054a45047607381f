//! One channel of a soak: a sender with a generated TS, and a receiver that checks it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use sealcast_dataplane::endpoint::Input;
use sealcast_dataplane::feeder::Feed;
use sealcast_dataplane::fleet::{Fleet, Running};
use sealcast_dataplane::ingest::Ingest;
use sealcast_dataplane::link::{ChannelLink, KeyLink};
use sealcast_dataplane::output::Sink;
use sealcast_dataplane::receive::ReceiveChannel;
use sealcast_dataplane::send::SendChannel;
use sealcast_dataplane::source;
use sealcast_dataplane::status::{Published, ReceiveStatus, SendStatus};
use sealcast_net::mailbox::Receiver as Stop;
use sealcast_net::{GroupOptions, Interface, UdpReceiver, UdpSender};
use sealcast_proto::ids::ChannelId;
use sealcast_proto::receiver::ParkingBudget;
use sealcast_proto::timing::Timing;

use super::checker::Checker;
use crate::channels::Identity;
use crate::keys::LocalKeys;

const PORT: u16 = 5004;
/// 7 TS packets.
const PAYLOAD: usize = 1316;
/// Receive buffer: hundreds of channels share the host's memory. A tenth of a second at 80 Mbit/s.
const BUFFER: usize = 1 << 20;

/// What all pairs have in common.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) iface: Interface,
    pub(super) rate: u64,
    pub(super) timing: Timing,
    pub(super) budget: Duration,
    pub(super) parking: ParkingBudget,
}

impl Setting {
    fn identity(&self, channel: ChannelId) -> Identity {
        Identity {
            channel,
            timing: self.timing,
        }
    }
}

/// A running pair.
#[derive(Debug)]
pub(super) struct Pair {
    sender: Running<Result<Option<String>, String>>,
    receiver: Running<Result<Option<String>, String>>,
    sent: Published<SendStatus>,
    received: Published<ReceiveStatus>,
    corrupt: Arc<AtomicU64>,
}

/// What a pair came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) sent: SendStatus,
    pub(super) received: ReceiveStatus,
    pub(super) corrupt: u64,
}

impl Pair {
    /// Begins to receive, then to send. Both run on one shard.
    pub(super) fn begin(
        fleet: &Fleet,
        keys: &LocalKeys,
        channel: ChannelId,
        group: Ipv4Addr,
        setting: &Setting,
    ) -> Self {
        let shard = usize::from(channel.0);
        let mut options = GroupOptions::new(SocketAddr::from((group, PORT)));
        (options.iface, options.ttl) = (Some(setting.iface.clone()), Some(1));
        options.buffer = BUFFER;
        let (sent, received) = (Published::default(), Published::default());
        let corrupt = Arc::new(AtomicU64::new(0));
        let (key_link, link) = (keys.receives(channel), keys.sends(channel));
        let receiver = {
            let (options, setting, status) = (options.clone(), setting.clone(), received.clone());
            let corrupt = Arc::clone(&corrupt);
            fleet.spawn(shard, move |stop| async move {
                let built = receiving(channel, &options, &setting, key_link, corrupt, status, stop);
                Ok(built?.run().await)
            })
        };
        let sender = {
            let (setting, status) = (setting.clone(), sent.clone());
            fleet.spawn(shard, move |stop| async move {
                let built = sending(channel, &options, &setting, link, status, stop);
                Ok(built?.run().await)
            })
        };
        Self {
            sender,
            receiver,
            sent,
            received,
            corrupt,
        }
    }

    /// Whether something has been delivered.
    pub(super) fn delivers(&self) -> bool {
        self.received.read().stats.packets > 0
    }

    /// Why one of the two has ended, if it has.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        let ended = self
            .sender
            .try_result()
            .or_else(|| self.receiver.try_result())?;
        let why = match ended {
            Ok(None) => "it ended by itself".to_owned(),
            Ok(Some(why)) | Err(why) => why,
        };
        Some(io::Error::other(format!("a channel failed: {why}")))
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            sent: self.sent.read(),
            received: self.received.read(),
            corrupt: self.corrupt.load(Ordering::Relaxed),
        }
    }

    pub(super) fn stop_sending(&self) {
        self.sender.stop();
    }

    /// Ends it: the sender, after a pause the receiver.
    pub(super) fn end(self, pause: Duration) -> Totals {
        self.sender.stop_and_wait();
        sleep(pause);
        self.receiver.stop_and_wait();
        Totals {
            sent: self.sent.read(),
            received: self.received.read(),
            corrupt: self.corrupt.load(Ordering::Relaxed),
        }
    }
}

fn sending(
    channel: ChannelId,
    options: &GroupOptions,
    setting: &Setting,
    link: ChannelLink,
    status: Published<SendStatus>,
    stop: Stop<()>,
) -> Result<SendChannel, String> {
    let leg = UdpSender::connect(options).map_err(|error| error.to_string())?;
    let input = Input::Generated {
        rate: setting.rate,
        seconds: None,
        seed: channel.0.into(),
    };
    let source = source::open(&input).map_err(|error| error.to_string())?;
    let ingest = Ingest::feed(Feed::here(source), PAYLOAD);
    let identity = setting.identity(channel);
    let mut sender = identity
        .sending(link, ingest, leg, status, stop)
        .map_err(|error| error.to_string())?;
    sender.start_delay = Some(Duration::from_millis(500));
    sender.budget = setting.budget;
    Ok(sender)
}

fn receiving(
    channel: ChannelId,
    options: &GroupOptions,
    setting: &Setting,
    link: KeyLink,
    corrupt: Arc<AtomicU64>,
    status: Published<ReceiveStatus>,
    stop: Stop<()>,
) -> Result<ReceiveChannel, String> {
    let leg = UdpReceiver::bind(options).map_err(|error| error.to_string())?;
    let mut checker = Checker::new(setting.rate, channel.0.into());
    let watch = move |payload: &[u8]| {
        if !checker.is_expected(payload) {
            corrupt.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (sink, parking) = (Sink::Watcher(Box::new(watch)), setting.parking.clone());
    let identity = setting.identity(channel);
    identity
        .receiving(link, leg, sink, parking, status, stop)
        .map_err(|error| error.to_string())
}
