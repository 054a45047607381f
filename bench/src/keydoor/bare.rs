//! The same datagrams without a door: received, and answered with as many bytes, by the calls that a door makes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use anyhow::{Context as _, Result};
use sealcast_control::door::{BATCH, BUFFER, NAP};
use sealcast_net::shard::{self, Placement, ShardHandle};
use sealcast_net::{RecvBatch, ReplyBatch, UdpServer};
use sealcast_proto::wire::control::ControlType;
use sealcast_proto::wire::door::{KeyRequestView, NONCE_LEN};

/// A server that does nothing with what it gets.
pub(super) struct Bare {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    shard: ShardHandle<u64>,
}

impl Bare {
    /// Its thread.
    pub(super) const THREAD: &str = "bare-0";

    /// Starts one whose replies have so many bytes.
    pub(super) fn start(placement: Placement, reply: usize) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let (bound_in, bound) = mpsc::sync_channel(1);
        let stopped = Arc::clone(&stop);
        let main = move || async move {
            let socket = UdpServer::bind(([127, 0, 0, 1], 0).into(), BUFFER);
            let mut socket = match socket {
                Ok(socket) => socket,
                Err(error) => {
                    let _ = bound_in.send(Err(anyhow::Error::new(error)));
                    return 0;
                }
            };
            let _ = bound_in.send(socket.local_addr().map_err(anyhow::Error::new));
            serve(&mut socket, reply, &stopped).await;
            socket.drops()
        };
        let shard = shard::start(Self::THREAD, placement, main)?;
        let addr = bound.recv().context("the server without a door ended")??;
        Ok(Self { addr, stop, shard })
    }

    /// Where it listens.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it; how many requests the kernel dropped in front of it.
    pub(super) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.shard.join()?)
    }
}

async fn serve(socket: &mut UdpServer, reply: usize, stop: &AtomicBool) {
    let (mut batch, mut replies) = (RecvBatch::new(BATCH, 0), ReplyBatch::default());
    let mut content = vec![0; reply];
    content[0] = ControlType::KeyReply as u8;
    while !stop.load(Ordering::Relaxed) {
        let count = socket.recv(&mut batch).unwrap_or(0);
        for received in batch.iter_mut().take(count) {
            if let Ok(request) = KeyRequestView::parse(received.data) {
                content[2..2 + NONCE_LEN].copy_from_slice(&request.nonce);
                replies.push(received.source, &content);
            }
        }
        if count > 0 {
            socket.send(&mut replies);
        }
        if count < BATCH {
            shard::sleep(NAP).await;
        } else {
            shard::yield_if_needed().await;
        }
    }
}
