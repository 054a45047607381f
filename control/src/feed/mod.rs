//! The feed: how slaves come to know what key doors must know, over gRPC with certificates on both sides.
//!
//! | room | what |
//! |---|---|
//! | `publisher` | the master's side: changes to doors and slaves, in one order |
//! | `service` | the parent's end of the link, at the master and at slaves |
//! | `client` | the slave's end: one parent after the other until one is there |
//! | `task` | the slave's task: what comes and goes, what is kept |
//! | `cache` | what a slave keeps on disk, sealed |
//! | `convert` | messages and their protobuf form |

mod cache;
mod client;
mod convert;
mod publisher;
mod service;
mod task;
#[cfg(test)]
mod tests;

/// The messages of `proto/feed.proto`.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated"
)]
pub mod pb {
    tonic::include_proto!("sealcast.feed.v1");
}

pub use cache::Cache;
pub use client::{Parents, WrongUrl};
pub use publisher::Publisher;
pub(crate) use service::{Parent, key_of, service};
pub use task::{SlaveHandle, SlaveHealth, SlaveTask};
