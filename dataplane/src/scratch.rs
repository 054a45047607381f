//! Buffers that the channels of a shard share: one is taken for the length of a turn and put back, so that hundreds of channels
//! need the memory of a few. Nothing is allocated once as many exist as were ever in use together.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use sealcast_crypto::Span;
use sealcast_net::{ClosedBuffer, RecvBatch, UdpSender, ZeroCopy};
use sealcast_proto::limits::{DATAGRAM_MAX, HEADER_LEN};

use crate::batch::SealBatch;

/// Buffers of one receive call.
const FRAMES: usize = 48;

thread_local! {
    static RECEIVED: RefCell<Vec<RecvBatch>> = const { RefCell::new(Vec::new()) };
    static SEALED: RefCell<Vec<SealBatch>> = const { RefCell::new(Vec::new()) };
    /// Of batches whose buffers have gone back to the ring.
    static SPANS: RefCell<Vec<Vec<Span>>> = const { RefCell::new(Vec::new()) };
    /// Once made it lives as long as the shard.
    static RING: RefCell<Option<Rc<ZeroCopy>>> = const { RefCell::new(None) };
}

/// [`FRAMES`] buffers to receive into, whose packets' payloads lie on 64-byte lines.
#[must_use]
pub(crate) fn take_received() -> RecvBatch {
    let free = RECEIVED.with_borrow_mut(Vec::pop);
    free.unwrap_or_else(|| RecvBatch::new(FRAMES, HEADER_LEN))
}

/// Gives it back.
pub(crate) fn put_received(batch: RecvBatch) {
    RECEIVED.with_borrow_mut(|free| free.push(batch));
}

/// An empty batch to be sealed, and sent through these sockets: in a buffer of the shard's ring if that is of use. Waits for
/// one, though not for long.
pub(crate) async fn take_sealed(legs: &[UdpSender]) -> SealBatch {
    if legs.iter().any(UdpSender::is_zero_copy)
        && let Some(ring) = RING.with_borrow(Clone::clone)
        && let Some(buffer) = ring.take().await
    {
        let spans = SPANS.with_borrow_mut(Vec::pop);
        let spans = spans.unwrap_or_else(|| SealBatch::default().into_parts().1);
        return SealBatch::over(buffer, spans);
    }
    SEALED.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives it back, unsent.
pub(crate) fn put_sealed(batch: SealBatch) {
    put_sent(batch.close());
}

/// Gives it back. A buffer of the ring is used again when the kernel has read it.
pub(crate) fn put_sent(batch: SealBatch<ClosedBuffer>) {
    let (buffer, spans) = batch.into_parts();
    match buffer.reopen() {
        Some(buffer) => SEALED.with_borrow_mut(|free| free.push(SealBatch::over(buffer, spans))),
        None => SPANS.with_borrow_mut(|free| free.push(spans)),
    }
}

/// The shard's ring for zero-copy sends, whose buffers batches are sealed in. Inside a shard only.
///
/// # Errors
/// As [`ZeroCopy::open`].
pub fn zero_copy() -> io::Result<Rc<ZeroCopy>> {
    RING.with_borrow_mut(|ring| match ring {
        Some(ring) => Ok(Rc::clone(ring)),
        None => {
            let made = ZeroCopy::open(DATAGRAM_MAX, HEADER_LEN)?;
            Ok(Rc::clone(ring.insert(made)))
        }
    })
}
