//! Buffers that the channels of a shard share: one is taken for the length of a turn and put back, so that hundreds of channels
//! need the memory of a few. Nothing is allocated once as many exist as were ever in use together.

use std::cell::RefCell;

use sealcast_net::RecvBatch;
use sealcast_proto::limits::HEADER_LEN;

use crate::batch::SealBatch;

/// Buffers of one receive call.
const FRAMES: usize = 48;

thread_local! {
    static RECEIVED: RefCell<Vec<RecvBatch>> = const { RefCell::new(Vec::new()) };
    static SEALED: RefCell<Vec<SealBatch>> = const { RefCell::new(Vec::new()) };
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

/// An empty batch to be sealed.
#[must_use]
pub(crate) fn take_sealed() -> SealBatch {
    SEALED.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives it back.
pub(crate) fn put_sealed(mut batch: SealBatch) {
    batch.clear();
    SEALED.with_borrow_mut(|free| free.push(batch));
}
