//! Sending without copies beside ordinary sends, where it can help: to an interface that takes batches whole, and nobody behind it.
//! That stands for a network card with UDP segmentation offload, which no virtual interface is.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sealcast_dataplane::batch::SealBatch;
use sealcast_net::{ClosedBuffer, GroupOptions, UdpSender, ZeroCopyCounts, shard};

use super::content::Content;
use super::stage::Stage;

/// How long each is measured.
const PART: Duration = Duration::from_millis(150);
/// Datagrams of a send: a whole batch, and half of one.
const COUNTS: [usize; 2] = [48, 24];

/// Nanoseconds of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) datagrams: usize,
    pub(super) ordinary: f64,
    pub(super) zero_copy: f64,
}

/// One round.
pub(super) fn round(stage: &Stage<'_>, content: &Content) -> Result<Vec<Cost>> {
    let (group, content) = (stage.group(), content.clone());
    let run = move |_| async move { measure(&group, &content).await };
    let measured = stage.sender.spawn(0, run).wait();
    measured.context("the sending shard failed")?
}

async fn measure(group: &GroupOptions, content: &Content) -> Result<Vec<Cost>> {
    let ring = sealcast_dataplane::zero_copy()?;
    let mut costs = Vec::new();
    for datagrams in COUNTS {
        let mut socket = UdpSender::connect(group)?;
        let batch = filled(SealBatch::default(), content, datagrams);
        let ordinary = send(&mut socket, &batch, datagrams).await?;
        let buffer = ring.take().await.context("no buffer of the ring")?;
        let batch = filled(SealBatch::over(buffer, Vec::new()), content, datagrams);
        socket.use_zero_copy(&ring);
        let zero_copy = send(&mut socket, &batch, datagrams).await?;
        let counts = socket.zero_copy_counts();
        ensure!(
            counts.is_some_and(|ZeroCopyCounts { direct, copied }| direct > 0 && copied == 0),
            "the kernel copied: {counts:?}"
        );
        costs.push(Cost {
            datagrams,
            ordinary,
            zero_copy,
        });
    }
    Ok(costs)
}

fn filled(mut batch: SealBatch, content: &Content, count: usize) -> SealBatch<ClosedBuffer> {
    for index in 0..count {
        batch.push(content.payload(index));
    }
    batch.close()
}

/// Nanoseconds of a datagram.
async fn send(
    socket: &mut UdpSender,
    batch: &SealBatch<ClosedBuffer>,
    datagrams: usize,
) -> Result<f64> {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < PART {
        for (range, segment) in batch.ranges() {
            socket.send_closed(batch.buffer(), range, segment).await?;
        }
        count += datagrams;
        shard::yield_if_needed().await;
    }
    Ok(start.elapsed().as_nanos() as f64 / count as f64)
}
