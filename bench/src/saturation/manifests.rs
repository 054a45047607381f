//! What manifests (auth level 1) and key blocks cost: one core that fills, seals, vouches for and sends batches, and one that opens and verifies
//! them, each beside the same without, in turn. Key blocks have all that they may have by default, a hundredth of the stream's bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::{EpochRoot, SigningKey, TreeTop};
use sealcast_dataplane::batch::SealBatch;
use sealcast_dataplane::vouch::Vouching;
use sealcast_loadgen::parties::parties;
use sealcast_net::{GroupOptions, UdpSender, clock, shard};
use sealcast_proto::ids::{ChannelId, Epoch, Term, Time};
use sealcast_proto::key_block::{Generation, Path, Seal};
use sealcast_proto::key_tree::{Position, Tree};
use sealcast_proto::limits::OVERHEAD;
use sealcast_proto::receiver::Receiver;
use sealcast_proto::sender::{ManifestConfig, Manifests, Sender};
use sealcast_proto::wire::control::AuthLevel;
use sealcast_proto::wire::manifest::MANIFEST_MAX;
use serde::Serialize;

use super::content::{Content, PAYLOAD};
use super::receiving;
use super::sending::{Seen, count};
use super::stage::Stage;

/// How long each is measured.
const PART: Duration = Duration::from_millis(150);
const CASES: [Case; 4] = [
    Case::Plain,
    Case::Manifests(64),
    Case::Manifests(512),
    Case::KeyBlock,
];
/// Positions of the key tree, and those that are revoked, scattered.
const POSITIONS: u32 = 1_000_000;
const GONE: u32 = 100;
/// Of so many bytes of packets one is a key block's.
const SHARE: u64 = 100;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Case {
    /// Packets alone.
    Plain,
    /// With manifests: packets under one signature.
    Manifests(u16),
    /// With a key block beside them.
    KeyBlock,
}

impl Case {
    /// For people.
    pub(super) fn words(self) -> String {
        match self {
            Self::Plain => "nothing".to_owned(),
            Self::Manifests(packets) => format!("manifests, {packets} packets a signature"),
            Self::KeyBlock => "a key block".to_owned(),
        }
    }
}

/// Nanoseconds of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vouched {
    pub(super) case: Case,
    pub(super) send: f64,
    pub(super) receive: f64,
    /// The same of the plain case, in the same round.
    pub(super) plain_send: f64,
    pub(super) plain_receive: f64,
    /// Bytes of manifests or key blocks beside those of packets.
    pub(super) overhead: f64,
}

/// One round: each case once.
pub(super) fn round(stage: &Stage<'_>, content: &Content) -> Result<Vec<Vouched>> {
    let take = receiving::alone(stage, content)?.receive;
    let sink = count(stage, &Arc::new(Seen::default()));
    let mut measured = Vec::new();
    for case in CASES {
        let sent = {
            let (group, content) = (stage.group(), content.clone());
            let run = move |_| async move { send(&group, &content, case).await };
            stage.sender.spawn(0, run).wait()
        };
        measured.push(sent.context("the sending shard failed")??);
    }
    let _ = sink.stop_and_wait();
    let mut vouched: Vec<Vouched> = Vec::new();
    for (case, (send, overhead)) in CASES.into_iter().zip(measured) {
        let content = content.clone();
        let run = move |_| async move { open(&content, case) };
        let open = stage.receiver.spawn(0, run).wait();
        let receive = take + open.context("the receiving shard failed")??;
        let plain = vouched.first().map(|plain| (plain.send, plain.receive));
        let (plain_send, plain_receive) = plain.unwrap_or((send, receive));
        vouched.push(Vouched {
            case,
            send,
            receive,
            plain_send,
            plain_receive,
            overhead,
        });
    }
    Ok(vouched)
}

fn keys(case: Case) -> Result<(Sender, Receiver)> {
    let auth = match case {
        Case::Plain | Case::KeyBlock => AuthLevel::Group,
        Case::Manifests(_) => AuthLevel::Manifest,
    };
    let mut rng = StdRng::seed_from_u64(1);
    let now = Time(clock::boottime());
    parties(PAYLOAD, auth, now, &mut rng).map_err(|why| anyhow!("keys: {why}"))
}

fn config(case: Case) -> ManifestConfig {
    let default = ManifestConfig::default();
    match case {
        Case::Manifests(packets) => default.with_packets(packets),
        Case::Plain | Case::KeyBlock => default,
    }
}

/// The block of the epoch that comes, as it goes round beside a stream.
struct Round {
    datagrams: Vec<Vec<u8>>,
    next: usize,
    bytes: u64,
}

impl Round {
    /// Nothing, where there is no key block. The receiver is under a node of a part that is left out: it looks at the others and opens none.
    fn new(case: Case, receiver: &mut Receiver) -> Result<Self> {
        let mut round = Self {
            datagrams: Vec::new(),
            next: 0,
            bytes: 0,
        };
        if case != Case::KeyBlock {
            return Ok(round);
        }
        let generation = Generation {
            number: 1,
            tree: Tree::new(20).context("a tree")?,
            top: TreeTop::from_bytes(&[1; 32]),
            given: POSITIONS,
            gone: (1..=GONE)
                .map(|index| Position(index * (POSITIONS / (GONE + 1))))
                .collect(),
        };
        let path = Path::new(&generation, Position(0), Epoch(1)).context("a path")?;
        receiver.set_path(path);
        let seal = Seal {
            channel: ChannelId(1),
            term: Term {
                number: 1,
                instance: 1,
            },
            epoch: Epoch(2),
            root: &EpochRoot::from_bytes([2; 32]),
            key: &SigningKey::from_seed(&[1; 32]),
        };
        // Position 0 is under the first node.
        round.datagrams = seal.block(&generation).split_off(1);
        Ok(round)
    }

    /// What is due beside so many bytes of packets.
    fn due(&mut self, stream: usize) -> Option<&[u8]> {
        let datagram = self.datagrams.get(self.next)?;
        let bytes = self.bytes + datagram.len() as u64;
        if bytes * SHARE > stream as u64 {
            return None;
        }
        self.bytes = bytes;
        self.next = (self.next + 1) % self.datagrams.len();
        Some(datagram)
    }
}

/// Fills, seals, vouches for and sends as fast as it goes; nanoseconds of a packet, and what manifests add to bytes.
async fn send(group: &GroupOptions, content: &Content, case: Case) -> Result<(f64, f64)> {
    let mut legs = [UdpSender::connect(group)?];
    let (mut sender, mut receiver) = keys(case)?;
    let mut round = Round::new(case, &mut receiver)?;
    let mut vouching = Vouching::new(config(case));
    let mut parts = SealBatch::default().into_parts();
    let (mut next, start) = (0, Instant::now());
    while start.elapsed() < PART {
        let mut batch = SealBatch::over(parts.0, parts.1);
        while let Some(datagram) = round.due(next * (PAYLOAD + OVERHEAD)) {
            vouching.take_rider(datagram.to_vec());
        }
        if matches!(case, Case::Manifests(_)) || vouching.has_riders() {
            batch.keep_room_behind();
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
        if let [Some(error), _] = vouching.send_riders(&mut legs).await {
            return Err(error.into());
        }
        let (buffer, spans) = batch.into_parts();
        parts = (buffer.reopen().context("a buffer of no ring")?, spans);
        shard::yield_if_needed().await;
    }
    let each = start.elapsed().as_nanos() as f64 / next as f64;
    let bytes = next as f64 * (PAYLOAD + OVERHEAD) as f64;
    let beside = vouching.counts().bytes + round.bytes;
    Ok((each, beside as f64 / bytes))
}

/// Opens and verifies batches that are sealed meanwhile; nanoseconds of a packet, manifests of both copies, and key blocks, included.
fn open(content: &Content, case: Case) -> Result<f64> {
    let (mut sender, mut receiver) = keys(case)?;
    let mut round = Round::new(case, &mut receiver)?;
    let mut manifests = Manifests::new(config(case));
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
        while let Some(datagram) = round.due(next * (PAYLOAD + OVERHEAD)) {
            due.push(datagram.to_vec());
        }
        let before = Instant::now();
        let deliver = &mut |payload: &[u8]| delivered += payload.len();
        let segment = PAYLOAD + OVERHEAD;
        receiver.handle_batch(now, source, 0, buffer, segment, &mut rng, deliver);
        for datagram in &mut due {
            let segment = datagram.len();
            receiver.handle_batch(now, source, 0, datagram, segment, &mut rng, deliver);
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
