//! The node link: gRPC between the authority and delivery servers, with certificates on both sides.

mod client;
mod convert;
mod service;

/// The messages of `proto/node_link.proto`.
#[expect(
    clippy::all,
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated"
)]
pub mod pb {
    tonic::include_proto!("sealcast.node.v1");
}

pub use client::{LinkError, NodeEvent, run};
pub(crate) use service::Service;
