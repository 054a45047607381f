//! A channel that gets single datagrams, as encoders send them, at set rates; it seals them and sends them on while its keys
//! change. The generator sends batches over loopback, and the kernel cuts them, since the channel's socket does not take any here:
//! every datagram is received on its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_lite::future::or;
use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
use sealcast_dataplane::ingest::{Header, Ingest};
use sealcast_dataplane::status::Published;
use sealcast_net::mailbox::Receiver as Stop;
use sealcast_net::{GroupOptions, RecvBatch, UdpReceiver, UdpSender, shard};

use super::content::{Content, PAYLOAD};
use super::sending::Numbers;
use super::stage::{BUFFER, Stage, keys, sending, sends};
use crate::cpu;

const PORT: u16 = 5000;
/// Before a channel is measured, and after.
const SETTLE: Duration = Duration::from_millis(300);
/// Of the channel: what `sealcast send` has if nothing is said.
const BUDGET: Duration = sealcast_dataplane::coalesce::BUDGET_DEFAULT;
/// Datagrams of one call of the generator.
const BATCH: usize = 48;

/// What came of a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Datagrams per second that were sent to the channel, and sealed.
    pub(super) offered: f64,
    pub(super) sealed: f64,
    /// Of the whole time: not sealed, and not arrived at the other end of those that were.
    pub(super) lost: u64,
    pub(super) missing: u64,
    pub(super) key_changes: u64,
    /// Share of its core that the sending shard used.
    pub(super) busy: f64,
}

/// The generator, and whoever counts what comes back; on one core.
#[derive(Debug, Default)]
struct Far {
    begun: AtomicBool,
    done: AtomicBool,
    generated: AtomicU64,
    arrived: AtomicU64,
    missing: AtomicU64,
}

/// One rate, once.
pub(super) fn taken(stage: &Stage<'_>, content: &Content, rate: u32) -> Result<Taken> {
    let keys = keys(stage.options.receive_core)?;
    let (thread, status) = (Arc::new(AtomicI32::new(0)), Published::default());
    let input = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let channel = {
        let (link, group, status) = (sends(&keys), stage.group(), status.clone());
        let thread = Arc::clone(&thread);
        let run = move |stop| async move {
            thread.store(cpu::this_thread(), Ordering::Relaxed);
            let mut options = GroupOptions::new(input);
            options.buffer = BUFFER;
            let socket = UdpReceiver::bind(&options)?;
            setsockopt(&socket, UdpGroSegment, &false).context("UDP_GRO")?;
            let ingest = Ingest::udp(socket, false, Header::Keep, PAYLOAD);
            let channel = sending(link, ingest, &group, BUDGET, status, stop)?;
            anyhow::Ok(channel.run().await)
        };
        stage.sender.spawn(0, run)
    };
    stage.wait_until("a key", || status.read().keys.current.is_some())?;
    let far = Arc::new(Far::default());
    let other = {
        let (far, group, content) = (Arc::clone(&far), stage.far_group(), content.clone());
        let run =
            move |stop| async move { generate(&far, input, &group, &content, rate, stop).await };
        stage.receiver.spawn(0, run)
    };
    stage.wait_until("the generator", || far.begun.load(Ordering::Relaxed))?;
    stage.interrupt.sleep(SETTLE)?;
    let busy = || cpu::of_thread(thread.load(Ordering::Relaxed));
    let generated = || far.generated.load(Ordering::Relaxed);
    let arrived = || far.arrived.load(Ordering::Relaxed);
    let epoch = || status.read().keys.current.map_or(0, |(epoch, _)| epoch.0);
    let (start, used, first) = (Instant::now(), busy()?, (generated(), arrived(), epoch()));
    stage.interrupt.sleep(stage.options.window())?;
    let (passed, used) = (start.elapsed().as_secs_f64(), busy()? - used);
    let last = (generated(), arrived(), epoch());
    far.done.store(true, Ordering::Relaxed);
    stage.interrupt.sleep(SETTLE)?;
    channel
        .stop_and_wait()
        .context("the sending shard failed")??;
    other
        .stop_and_wait()
        .context("the generating shard failed")??;
    let sent = status.read();
    ensure!(
        sent.stats.not_sent == 0 && sent.leg_errors == [0; 2],
        "not all was sent: {sent:?}"
    );
    Ok(Taken {
        offered: (last.0 - first.0) as f64 / passed,
        sealed: (last.1 - first.1) as f64 / passed,
        lost: generated().saturating_sub(sent.stats.packets),
        missing: far.missing.load(Ordering::Relaxed),
        key_changes: last.2 - first.2,
        busy: used.as_secs_f64() / passed,
    })
}

async fn generate(
    far: &Far,
    input: SocketAddr,
    group: &GroupOptions,
    content: &Content,
    rate: u32,
    mut stop: Stop<()>,
) -> Result<()> {
    let mut out = UdpSender::connect(&GroupOptions::new(input))?;
    let mut back = UdpReceiver::bind(group)?;
    let mut received = RecvBatch::new(16, 0);
    let mut numbers = Numbers::default();
    let (mut sent, mut payloads) = (0, Vec::with_capacity(BATCH * PAYLOAD));
    let start = Instant::now();
    while stop.try_recv().is_none() {
        let due = start.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000;
        let done = far.done.load(Ordering::Relaxed);
        if done {
            let stopped = async {
                stop.ready().await;
            };
            or(shard::sleep(Duration::from_millis(1)), stopped).await;
        } else if due >= u128::from(sent) + BATCH as u128 {
            payloads.clear();
            for index in 0..BATCH {
                let index = usize::try_from(sent)? + index;
                payloads.extend_from_slice(content.payload(index));
            }
            out.send_batch(&payloads, PAYLOAD).await?;
            sent += BATCH as u64;
            far.generated.store(sent, Ordering::Relaxed);
            far.begun.store(true, Ordering::Relaxed);
        }
        while back.recv(&mut received)? > 0 {
            let (mut arrived, mut missing) = (0, 0);
            for mut buffer in received.iter_mut() {
                for gap in buffer.segments().filter_map(|packet| numbers.saw(packet)) {
                    (arrived, missing) = (arrived + 1, missing + gap);
                }
            }
            far.arrived.fetch_add(arrived, Ordering::Relaxed);
            far.missing.fetch_add(missing, Ordering::Relaxed);
        }
        shard::yield_if_needed().await;
    }
    Ok(())
}
