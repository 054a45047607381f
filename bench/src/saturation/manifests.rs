//! What manifests cost (auth level 1): one core that fills, seals, vouches for and sends batches, and one that opens and verifies them, each
//! beside the same without manifests, in turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_dataplane::batch::SealBatch;
use sealcast_dataplane::vouch::Vouching;
use sealcast_loadgen::parties::parties;
use sealcast_net::{GroupOptions, UdpSender, clock, shard};
use sealcast_proto::ids::Time;
use sealcast_proto::limits::OVERHEAD;
use sealcast_proto::receiver::Receiver;
use sealcast_proto::sender::{ManifestConfig, Manifests, Sender};
use sealcast_proto::wire::control::AuthLevel;
use sealcast_proto::wire::manifest::MANIFEST_MAX;

use super::content::{Content, PAYLOAD};
use super::receiving;
use super::sending::{Seen, count};
use super::stage::Stage;

/// How long each is measured.
const PART: Duration = Duration::from_millis(150);
/// Packets under one signature; none: no manifests.
const CASES: [Option<u16>; 3] = [None, Some(64), Some(512)];

/// Nanoseconds of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vouched {
    pub(super) packets: Option<u16>,
    pub(super) send: f64,
    pub(super) receive: f64,
    /// The same of the case without manifests, in the same round.
    pub(super) plain_send: f64,
    pub(super) plain_receive: f64,
    /// Bytes of manifests beside those of packets.
    pub(super) overhead: f64,
}

/// One round: each case once.
pub(super) fn round(stage: &Stage<'_>, content: &Content) -> Result<Vec<Vouched>> {
    let take = receiving::alone(stage, content)?.receive;
    let sink = count(stage, &Arc::new(Seen::default()));
    let mut measured = Vec::new();
    for packets in CASES {
        let sent = {
            let (group, content) = (stage.group(), content.clone());
            let run = move |_| async move { send(&group, &content, packets).await };
            stage.sender.spawn(0, run).wait()
        };
        measured.push(sent.context("the sending shard failed")??);
    }
    let _ = sink.stop_and_wait();
    let mut vouched: Vec<Vouched> = Vec::new();
    for (packets, (send, overhead)) in CASES.into_iter().zip(measured) {
        let content = content.clone();
        let run = move |_| async move { open(&content, packets) };
        let open = stage.receiver.spawn(0, run).wait();
        let receive = take + open.context("the receiving shard failed")??;
        let plain = vouched.first().map(|plain| (plain.send, plain.receive));
        let (plain_send, plain_receive) = plain.unwrap_or((send, receive));
        vouched.push(Vouched {
            packets,
            send,
            receive,
            plain_send,
            plain_receive,
            overhead,
        });
    }
    Ok(vouched)
}

fn keys(packets: Option<u16>) -> Result<(Sender, Receiver)> {
    let auth = match packets {
        None => AuthLevel::Group,
        Some(_) => AuthLevel::Manifest,
    };
    let mut rng = StdRng::seed_from_u64(1);
    let now = Time(clock::boottime());
    parties(PAYLOAD, auth, now, &mut rng).map_err(|why| anyhow!("keys: {why}"))
}

fn config(packets: Option<u16>) -> ManifestConfig {
    let default = ManifestConfig::default();
    packets.map_or(default, |packets| default.with_packets(packets))
}

/// Fills, seals, vouches for and sends as fast as it goes; nanoseconds of a packet, and what manifests add to bytes.
async fn send(group: &GroupOptions, content: &Content, packets: Option<u16>) -> Result<(f64, f64)> {
    let mut legs = [UdpSender::connect(group)?];
    let (mut sender, _) = keys(packets)?;
    let mut vouching = Vouching::new(config(packets));
    let mut parts = SealBatch::default().into_parts();
    let (mut next, start) = (0, Instant::now());
    while start.elapsed() < PART {
        let mut batch = SealBatch::over(parts.0, parts.1);
        if packets.is_some() {
            batch.keep_room_for_manifest();
        }
        while batch.push(content.payload(next)) {
            next += 1;
        }
        let now = Time(clock::boottime());
        let (buffer, spans) = batch.parts();
        let reserved = sender.reserve(now, 0, buffer, spans)?;
        vouching.seal(now, reserved, &mut batch);
        let batch = batch.close();
        for (range, segment) in batch.ranges() {
            legs[0].send_closed(batch.buffer(), range, segment).await?;
        }
        if let [Some(error), _] = vouching.send(now, &mut legs).await {
            return Err(error.into());
        }
        let (buffer, spans) = batch.into_parts();
        parts = (buffer.reopen().context("a buffer of no ring")?, spans);
        shard::yield_if_needed().await;
    }
    let each = start.elapsed().as_nanos() as f64 / next as f64;
    let bytes = next as f64 * (PAYLOAD + OVERHEAD) as f64;
    Ok((each, vouching.counts().bytes as f64 / bytes))
}

/// Opens and verifies batches that are sealed meanwhile; nanoseconds of a packet, manifests of both copies included.
fn open(content: &Content, packets: Option<u16>) -> Result<f64> {
    let (mut sender, mut receiver) = keys(packets)?;
    let mut manifests = Manifests::new(config(packets));
    let mut batch = SealBatch::default();
    let mut rng = StdRng::seed_from_u64(2);
    let (mut next, mut spent, mut delivered) = (0, Duration::ZERO, 0);
    let source = [127, 0, 0, 1].into();
    while spent < PART {
        batch.clear();
        while batch.push(content.payload(next)) {
            next += 1;
        }
        let now = Time(clock::boottime());
        let (buffer, spans) = batch.parts();
        let reserved = sender.reserve(now, 0, buffer, spans)?;
        let prover = reserved.prover();
        reserved.seal(buffer, spans);
        if let Some(prover) = prover {
            manifests.sealed(now, &prover, buffer, spans);
        }
        manifests.poll(now);
        let mut due: Vec<_> =
            std::iter::from_fn(|| manifests.poll_datagram(MANIFEST_MAX)).collect();
        let before = Instant::now();
        let deliver = &mut |payload: &[u8]| delivered += payload.len();
        let segment = PAYLOAD + OVERHEAD;
        receiver.handle_batch(now, source, 0, buffer, segment, &mut rng, deliver);
        for manifest in &mut due {
            let segment = manifest.len();
            receiver.handle_batch(now, source, 0, manifest, segment, &mut rng, deliver);
        }
        receiver.poll(now, &mut rng, deliver);
        spent += before.elapsed();
    }
    ensure!(
        next * PAYLOAD - delivered < 600 * PAYLOAD,
        "not all was delivered: {:?}",
        receiver.discards()
    );
    Ok(spent.as_nanos() as f64 / next as f64)
}
