//! What sending costs: sealing a batch that lies in memory (copying it in included), sending one that is sealed, and a channel
//! that does both as fast as it can while its keys change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_dataplane::batch::SealBatch;
use sealcast_dataplane::feeder::Feed;
use sealcast_dataplane::fleet::Running;
use sealcast_dataplane::ingest::Ingest;
use sealcast_dataplane::status::Published;
use sealcast_loadgen::parties::parties;
use sealcast_net::mailbox::Receiver as Stop;
use sealcast_net::{GroupOptions, RecvBatch, UdpReceiver, UdpSender, clock, shard};
use sealcast_proto::ids::Time;
use sealcast_proto::sender::Sender;
use sealcast_proto::wire::control::AuthLevel;
use sealcast_proto::wire::header::{CONFIG, Header};

use super::content::{Content, PAYLOAD, Source};
use super::stage::{START_DELAY, Stage, keys, sending, sends};

/// How long a part is measured.
const PART: Duration = Duration::from_millis(150);
/// Before a channel is measured.
const SETTLE: Duration = Duration::from_millis(300);

/// What a round came to. Times are nanoseconds of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) seal: f64,
    pub(super) send: f64,
    pub(super) whole: f64,
    /// Key changes in the time of the whole path.
    pub(super) key_changes: u64,
    /// Packets that the receiving end has not got: its socket was full.
    pub(super) missing: u64,
}

/// One round.
pub(super) fn round(stage: &Stage<'_>, content: &Content) -> Result<Sent> {
    let seen = Arc::new(Seen::default());
    let sink = count(stage, &seen);
    let alone = {
        let (group, content) = (stage.group(), content.clone());
        let run = move |_| async move { alone(&group, &content).await };
        stage.sender.spawn(0, run).wait()
    };
    let (seal, send) = alone.context("the sending shard failed")??;
    let missing = seen.missing();
    let keys = keys(stage.options.receive_core)?;
    let (given, status) = (Arc::new(AtomicU64::new(0)), Published::default());
    let channel = {
        let (link, group, status) = (sends(&keys), stage.group(), status.clone());
        let source = Source::new(content.clone(), Arc::clone(&given));
        let run = move |stop| async move {
            let ingest = Ingest::feed(Feed::here(Box::new(source)), PAYLOAD);
            let mut channel = sending(link, ingest, &group, Duration::ZERO, status, stop)?;
            channel.start_delay = Some(START_DELAY);
            anyhow::Ok(channel.run().await)
        };
        stage.sender.spawn(0, run)
    };
    stage.wait_until("sending from memory", || given.load(Ordering::Relaxed) > 0)?;
    stage.interrupt.sleep(SETTLE)?;
    let epoch = || status.read().keys.current.map_or(0, |(epoch, _)| epoch.0);
    let (start, before, first) = (Instant::now(), given.load(Ordering::Relaxed), epoch());
    stage.interrupt.sleep(stage.options.window())?;
    let passed = start.elapsed();
    let (count, changes) = (given.load(Ordering::Relaxed) - before, epoch() - first);
    let why = channel
        .stop_and_wait()
        .context("the sending shard failed")??;
    let sent = status.read();
    ensure!(why.is_none(), "the channel ended: {why:?}");
    ensure!(
        sent.stats.not_sent == 0 && sent.leg_errors == [0; 2],
        "not all was sent: {sent:?}"
    );
    ensure!(count > 0, "nothing was sent");
    let _ = sink.stop_and_wait();
    Ok(Sent {
        seal,
        send,
        whole: passed.as_nanos() as f64 / count as f64,
        key_changes: changes,
        missing: seen.missing() - missing,
    })
}

/// Nanoseconds that sealing and sending take alone.
async fn alone(group: &GroupOptions, content: &Content) -> Result<(f64, f64)> {
    let mut socket = UdpSender::connect(group)?;
    let mut rng = StdRng::seed_from_u64(1);
    let (mut sender, _) = parties(PAYLOAD, AuthLevel::Group, Time(clock::boottime()), &mut rng)
        .map_err(|why| anyhow!("keys: {why}"))?;
    let mut batch = SealBatch::default();
    let mut next = 0;
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < PART {
        count += seal(&mut sender, &mut batch, content, &mut next)?;
    }
    let each = |passed: Duration, count: usize| passed.as_nanos() as f64 / count as f64;
    let sealing = each(start.elapsed(), count);
    let in_batch = count_of(&batch);
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < PART {
        for (bytes, segment) in batch.runs() {
            socket.send_batch(bytes, segment).await?;
        }
        count += in_batch;
        shard::yield_if_needed().await;
    }
    Ok((sealing, each(start.elapsed(), count)))
}

/// Fills a batch and seals it; how many payloads it took.
pub(super) fn seal(
    sender: &mut Sender,
    batch: &mut SealBatch,
    content: &Content,
    next: &mut usize,
) -> Result<usize> {
    batch.clear();
    let first = *next;
    while batch.push(content.payload(*next)) {
        *next += 1;
    }
    let (buffer, spans) = batch.parts();
    sender.seal(Time(clock::boottime()), 0, buffer, spans)?;
    Ok(*next - first)
}

fn count_of(batch: &SealBatch) -> usize {
    let datagrams = |(bytes, segment): (&[u8], usize)| bytes.len().div_ceil(segment);
    batch.runs().map(datagrams).sum()
}

/// What the receiving end has not seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    missing: AtomicU64,
}

impl Seen {
    fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }
}

/// Receives on the other core, without opening: counts packets, and numbers that are missing.
pub(super) fn count(stage: &Stage<'_>, seen: &Arc<Seen>) -> Running<Result<()>> {
    let (group, seen) = (stage.far_group(), Arc::clone(seen));
    let run = move |stop: Stop<()>| async move {
        let mut socket = UdpReceiver::bind(&group)?;
        listen(&mut socket, &seen, stop).await
    };
    stage.receiver.spawn(0, run)
}

async fn listen(socket: &mut UdpReceiver, seen: &Seen, mut stop: Stop<()>) -> Result<()> {
    let mut batch = RecvBatch::new(16, 0);
    let mut numbers = Numbers::default();
    loop {
        if stop.try_recv().is_some() {
            return Ok(());
        }
        // Never sleeps, as a network card: waking it would cost the sender more than sending.
        if socket.recv(&mut batch)? == 0 {
            continue;
        }
        let mut missing = 0;
        for mut received in batch.iter_mut() {
            let gaps = received.segments().filter_map(|packet| numbers.saw(packet));
            missing += gaps.sum::<u64>();
        }
        seen.missing.fetch_add(missing, Ordering::Relaxed);
        shard::yield_if_needed().await;
    }
}

/// The numbers of packets, in order.
#[derive(Debug, Default)]
pub(super) struct Numbers(Option<u64>);

impl Numbers {
    /// How many are missing before this one; `None` if it is no packet. Numbers that go back begin anew.
    pub(super) fn saw(&mut self, packet: &[u8]) -> Option<u64> {
        if packet.first() != Some(&CONFIG) {
            return None;
        }
        let (header, _) = Header::parse(packet).ok()?;
        let last = self.0.replace(header.ctr);
        Some(last.map_or(0, |last| header.ctr.saturating_sub(last + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_missing_are_counted() {
        let mut numbers = Numbers::default();
        let packet = |ctr: u64| {
            let mut header = [0; 17];
            let kid = 0x0100_0001_0001;
            let len = Header { kid, ctr }.write(&mut header);
            header[..len].to_vec()
        };
        let first = 1 << 33;
        assert_eq!(numbers.saw(&packet(first)), Some(0));
        assert_eq!(numbers.saw(&packet(first + 1)), Some(0));
        assert_eq!(numbers.saw(&packet(first + 9)), Some(7));
        assert_eq!(numbers.saw(b"Notice"), None);
        assert_eq!(numbers.saw(&packet(first)), Some(0));
    }
}
