//! The same tests on shards that wait in io_uring.
#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod batches;
mod groups;
mod helpers;
mod namespaces;
mod zero_copy;

use sealcast_net::shard::Executor;

const EXECUTOR: Executor = Executor::IoUring;
