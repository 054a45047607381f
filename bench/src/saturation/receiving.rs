//! What receiving costs: taking datagrams off a socket, opening those of a batch, and a channel that does both at set rates while
//! its keys change, somebody comparing every payload with what was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_dataplane::batch::SealBatch;
use sealcast_dataplane::feeder::Feed;
use sealcast_dataplane::ingest::Ingest;
use sealcast_dataplane::pacer::Pacing;
use sealcast_dataplane::status::{Published, ReceiveStatus};
use sealcast_loadgen::parties::parties;
use sealcast_net::{GroupOptions, RecvBatch, UdpReceiver, UdpSender, clock, shard};
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::Time;
use sealcast_proto::limits::{HEADER_LEN, OVERHEAD};
use sealcast_proto::wire::control::AuthLevel;

use super::content::{Arrived, Checker, Content, PAYLOAD, Source};
use super::sending::seal;
use super::stage::{START_DELAY, Stage, keys, receives, receiving, sending, sends};
use crate::cpu;

/// How long a part is measured.
const PART: Duration = Duration::from_millis(150);
/// Before and after a channel is measured.
const SETTLE: Duration = Duration::from_millis(300);
/// Between two bursts of the sender.
const TICK: Duration = Duration::from_micros(250);
/// Of one batch when it is received alone.
const BATCH: usize = 48 * (PAYLOAD + OVERHEAD);

/// Nanoseconds of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) receive: f64,
    pub(super) open: f64,
}

/// What a channel that received at a rate came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// Datagrams per second that were sent, and opened.
    pub(super) offered: f64,
    pub(super) opened: f64,
    /// Of the whole time, while keys changed, from the first that was delivered to the last.
    pub(super) lost: u64,
    /// Not what was sent, or refused by the receiver after it had joined.
    pub(super) wrong: u64,
    pub(super) key_changes: u64,
    /// Share of its core that the receiving shard used.
    pub(super) busy: f64,
}

/// Receiving and opening alone.
pub(super) fn alone(stage: &Stage<'_>, content: &Content) -> Result<Alone> {
    let done = Arc::new(AtomicBool::new(false));
    let taker = {
        let (group, done) = (stage.far_group(), Arc::clone(&done));
        let run = move |_| async move { take(&group, &done).await };
        stage.receiver.spawn(0, run)
    };
    let flood = {
        let (group, done) = (stage.group(), Arc::clone(&done));
        let run = move |_| async move { flood(&group, &done).await };
        stage.sender.spawn(0, run)
    };
    let receive = taker.wait().context("the receiving shard failed")?;
    done.store(true, Ordering::Relaxed);
    flood.wait().context("the sending shard failed")??;
    let opener = {
        let content = content.clone();
        stage
            .receiver
            .spawn(0, move |_| async move { open(&content) })
    };
    let open = opener.wait().context("the receiving shard failed")??;
    Ok(Alone {
        receive: receive?,
        open,
    })
}

/// Sends batches until it is enough.
async fn flood(group: &GroupOptions, done: &AtomicBool) -> Result<()> {
    let mut socket = UdpSender::connect(group)?;
    let batch = vec![0xDC; BATCH];
    while !done.load(Ordering::Relaxed) {
        socket.send_batch(&batch, PAYLOAD + OVERHEAD).await?;
        shard::yield_if_needed().await;
    }
    Ok(())
}

/// Nanoseconds of a datagram in calls that had some.
async fn take(group: &GroupOptions, done: &AtomicBool) -> Result<f64> {
    let taken = take_for(group).await;
    done.store(true, Ordering::Relaxed);
    taken
}

async fn take_for(group: &GroupOptions) -> Result<f64> {
    let mut socket = UdpReceiver::bind(group)?;
    let mut batch = RecvBatch::new(16, HEADER_LEN);
    let (mut spent, mut count) = (Duration::ZERO, 0);
    let start = Instant::now();
    while spent < PART {
        ensure!(start.elapsed() < 40 * PART, "nothing to receive");
        let before = Instant::now();
        if socket.recv(&mut batch)? > 0 {
            spent += before.elapsed();
            let datagrams = |received: sealcast_net::Received<'_>| {
                received.data.len().div_ceil(received.segment)
            };
            count += batch.iter_mut().map(datagrams).sum::<usize>();
        }
        shard::yield_if_needed().await;
    }
    Ok(spent.as_nanos() as f64 / count as f64)
}

/// Nanoseconds that opening takes: replay window, order and delivery included.
fn open(content: &Content) -> Result<f64> {
    let mut rng = StdRng::seed_from_u64(1);
    let now = Time(clock::boottime());
    let (mut sender, mut receiver) =
        parties(PAYLOAD, AuthLevel::Group, now, &mut rng).map_err(|why| anyhow!("keys: {why}"))?;
    let mut batch = SealBatch::default();
    let (mut next, mut spent, mut count, mut bytes) = (0, Duration::ZERO, 0, 0);
    while spent < PART {
        let sealed = seal(&mut sender, &mut batch, content, &mut next)?;
        let (buffer, _) = batch.parts();
        let source = [127, 0, 0, 1].into();
        let before = Instant::now();
        let deliver = &mut |payload: &[u8]| bytes += payload.len();
        let segment = PAYLOAD + OVERHEAD;
        receiver.handle_batch(now, source, 0, buffer, segment, &mut rng, deliver);
        spent += before.elapsed();
        count += sealed;
    }
    ensure!(bytes == count * PAYLOAD, "not all was opened");
    Ok(spent.as_nanos() as f64 / count as f64)
}

/// A channel that receives `rate` datagrams per second.
pub(super) fn whole(stage: &Stage<'_>, content: &Content, rate: u32) -> Result<Opened> {
    let keys = keys(stage.options.receive_core)?;
    let [delivered, wrong, jumps] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
    let (thread, status) = (Arc::new(AtomicI32::new(0)), Published::default());
    let receiver = {
        let (link, group, status) = (receives(&keys), stage.far_group(), status.clone());
        let (wrong, jumps) = (Arc::clone(&wrong), Arc::clone(&jumps));
        let (thread, mut checker) = (Arc::clone(&thread), Checker::new(content.clone()));
        let (delivered, mut count) = (Arc::clone(&delivered), 0);
        let watch = move |payload: &[u8]| {
            count += 1;
            delivered.store(count, Ordering::Relaxed);
            match checker.saw(payload) {
                Arrived::Next => {}
                Arrived::Later(_) => drop(jumps.fetch_add(1, Ordering::Relaxed)),
                Arrived::Wrong => drop(wrong.fetch_add(1, Ordering::Relaxed)),
            }
        };
        let run = move |stop| async move {
            thread.store(cpu::this_thread(), Ordering::Relaxed);
            let channel = receiving(link, &group, Box::new(watch), status, stop)?;
            anyhow::Ok(channel.run().await)
        };
        stage.receiver.spawn(0, run)
    };
    let (given, sent) = (Arc::new(AtomicU64::new(0)), Published::default());
    let sender = {
        let (link, group, status) = (sends(&keys), stage.group(), sent.clone());
        let source = Source::new(content.clone(), Arc::clone(&given));
        let pacing = pacing(rate)?;
        let run = move |stop| async move {
            let ingest = Ingest::feed(Feed::here(Box::new(source)), PAYLOAD).paced(pacing);
            let mut channel = sending(link, ingest, &group, TICK, status, stop)?;
            channel.start_delay = Some(START_DELAY);
            anyhow::Ok(channel.run().await)
        };
        stage.sender.spawn(0, run)
    };
    stage.wait_until("receiving", || delivered.load(Ordering::Relaxed) > 0)?;
    stage.interrupt.sleep(SETTLE)?;
    let busy = || cpu::of_thread(thread.load(Ordering::Relaxed));
    let (start, before) = (Instant::now(), given.load(Ordering::Relaxed));
    let (first, used) = (delivered.load(Ordering::Relaxed), busy()?);
    // Who joins a stream of millions per second refuses many before the first key and certificate are there.
    let early = refused(&status.read());
    stage.interrupt.sleep(stage.options.window())?;
    let passed = start.elapsed().as_secs_f64();
    let (offered, used) = (given.load(Ordering::Relaxed) - before, busy()? - used);
    let opened = delivered.load(Ordering::Relaxed) - first;
    sender
        .stop_and_wait()
        .context("the sending shard failed")??;
    stage.interrupt.sleep(SETTLE)?;
    receiver
        .stop_and_wait()
        .context("the receiving shard failed")??;
    let (sent, received) = (sent.read(), status.read());
    ensure!(sent.stats.not_sent == 0, "not all was sent: {sent:?}");
    ensure!(
        received.gaps.lost > 0 || jumps.load(Ordering::Relaxed) == 0,
        "payloads are missing that the receiver does not miss"
    );
    Ok(Opened {
        offered: offered as f64 / passed,
        opened: opened as f64 / passed,
        lost: received.gaps.lost,
        wrong: wrong.load(Ordering::Relaxed) + refused(&received) - early,
        key_changes: received.stats.switches,
        busy: used.as_secs_f64() / passed,
    })
}

/// Packets that were not delivered, whatever the cause. Control datagrams are repeated on purpose.
fn refused(status: &ReceiveStatus) -> u64 {
    let causes = status.discards.iter();
    let refused = causes.filter(|(cause, _)| *cause != Discard::Known);
    refused.map(|(_, count)| count).sum()
}

/// So many datagrams per second; what two late turns miss is made up for.
fn pacing(rate: u32) -> Result<Pacing> {
    let bits = u64::from(rate) * PAYLOAD as u64 * 8;
    let per_tick = u128::from(rate) * TICK.as_micros() / 1_000_000;
    Ok(Pacing {
        rate: bits.to_string().parse()?,
        burst: u16::try_from(4 * per_tick + 48)?,
    })
}
