//! Where it takes place: a shard that sends and one that receives, each on its core, over loopback or between two hosts; and
//! channels between them, with a key each second.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};
use sealcast_dataplane::fleet::Fleet;
use sealcast_dataplane::ingest::Ingest;
use sealcast_dataplane::link::{ChannelLink, KeyLink};
use sealcast_dataplane::output::Sink;
use sealcast_dataplane::output::Watcher;
use sealcast_dataplane::receive::ReceiveChannel;
use sealcast_dataplane::send::SendChannel;
use sealcast_dataplane::status::{Published, ReceiveStatus, SendStatus};
use sealcast_loadgen::channels::Identity;
use sealcast_loadgen::keys::LocalKeys;
use sealcast_net::mailbox::Receiver as Stop;
use sealcast_net::{GroupOptions, Interface, UdpReceiver, UdpSender};
use sealcast_proto::ids::ChannelId;
use sealcast_proto::receiver::ParkingBudget;
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::AuthLevel;

use super::options::{Options, Path};
use crate::host::executor;
use crate::interrupt::Interrupt;
use crate::lab::{INTERFACE, Lab, Side};

/// The channel.
const CHANNEL: ChannelId = ChannelId(1);
const GROUP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(239, 1, 1, 1)), 8001);
/// Of sockets that receive: what a stall of the host lets gather at full rate.
pub(super) const BUFFER: usize = 64 << 20;
/// From the first key of a channel that sends from memory to its first payload.
pub(super) const START_DELAY: Duration = Duration::from_millis(100);
/// A channel that has not begun within this does not.
const START: Duration = Duration::from_secs(10);

/// Both ends of a path.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) options: &'a Options,
    pub(super) interrupt: &'a Interrupt,
    /// One shard each.
    pub(super) sender: Fleet,
    pub(super) receiver: Fleet,
    group: GroupOptions,
    far_group: GroupOptions,
}

impl<'a> Stage<'a> {
    /// Starts both shards.
    ///
    /// # Errors
    /// If a core is not there.
    pub(super) fn open(
        lab: &Lab,
        path: Path,
        options: &'a Options,
        interrupt: &'a Interrupt,
    ) -> Result<Self> {
        let (far, interface) = match path {
            Path::Lo => (Side::Sender, "lo"),
            Path::Veth => (Side::Receiver, INTERFACE),
        };
        let executor = executor(options.io_uring);
        let shard = |side, core| lab.on(side, &[], || Ok(Fleet::start(&[executor.on(core)])?));
        let group = |side| lab.on(side, &[], || group(interface));
        Ok(Self {
            options,
            interrupt,
            sender: shard(Side::Sender, options.send_core)?,
            receiver: shard(far, options.receive_core)?,
            group: group(Side::Sender)?,
            far_group: group(far)?,
        })
    }

    /// Where the sender sends to.
    pub(super) fn group(&self) -> GroupOptions {
        self.group.clone()
    }

    /// What the receiver joins.
    pub(super) fn far_group(&self) -> GroupOptions {
        self.far_group.clone()
    }

    /// Waits until `done`, or for so long that it never will be.
    ///
    /// # Errors
    /// If it is not, or the bench is interrupted.
    pub(super) fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
        let step = Duration::from_millis(20);
        for _ in 0..START.as_millis() / step.as_millis() {
            if done() {
                return Ok(());
            }
            self.interrupt.sleep(step)?;
        }
        Err(anyhow!("{what}: not within {START:?}"))
    }

    /// Ends both shards.
    pub(super) fn close(self) -> Result<()> {
        self.sender.join()?;
        self.receiver.join()?;
        Ok(())
    }
}

fn group(interface: &str) -> Result<GroupOptions> {
    let mut group = GroupOptions::new(GROUP);
    group.iface = Some(Interface::resolve(interface)?);
    (group.ttl, group.buffer) = (Some(1), BUFFER);
    Ok(group)
}

/// The channel, with a key each second.
fn identity() -> Identity {
    let ms = Duration::from_millis;
    Identity {
        channel: CHANNEL,
        timing: Timing::new(ms(1000), ms(700), ms(400), ms(200)).expect("times in order"),
    }
}

/// Makes the keys, on core `core`.
///
/// # Errors
/// If its thread cannot be started.
pub(super) fn keys(core: usize) -> Result<LocalKeys> {
    // Its thread runs where this one may.
    std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            crate::host::allow(&[core])?;
            let rng = StdRng::try_from_rng(&mut SysRng).context("no randomness")?;
            Ok(LocalKeys::start(
                [CHANNEL],
                identity().timing,
                AuthLevel::Group,
                rng,
            )?)
        });
        started
            .join()
            .unwrap_or_else(|_| Err(anyhow!("the keys' thread failed")))
    })
}

/// Joins a sending channel.
pub(super) fn sends(keys: &LocalKeys) -> ChannelLink {
    keys.sends(CHANNEL)
}

/// Joins a receiving channel.
pub(super) fn receives(keys: &LocalKeys) -> KeyLink {
    keys.receives(CHANNEL)
}

/// A channel as `sealcast send` runs it, on this leg.
///
/// # Errors
/// If its socket cannot be opened.
pub(super) fn sending(
    link: ChannelLink,
    ingest: Ingest,
    group: &GroupOptions,
    budget: Duration,
    status: Published<SendStatus>,
    stop: Stop<()>,
) -> Result<SendChannel> {
    let leg = UdpSender::connect(group)?;
    let mut channel = identity().sending(link, ingest, leg, status, stop)?;
    channel.budget = budget;
    Ok(channel)
}

/// A channel as `sealcast receive` runs it, with somebody who looks at each payload instead of an output.
///
/// # Errors
/// If its socket cannot be opened.
pub(super) fn receiving(
    link: KeyLink,
    group: &GroupOptions,
    watcher: Watcher,
    status: Published<ReceiveStatus>,
    stop: Stop<()>,
) -> Result<ReceiveChannel> {
    let (leg, sink) = (UdpReceiver::bind(group)?, Sink::Watcher(watcher));
    let parking = ParkingBudget::default();
    Ok(identity().receiving(link, leg, sink, parking, status, stop)?)
}
