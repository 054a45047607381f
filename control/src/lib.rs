//! The key server: what a master runs beside the protocol.
//!
//! | room | what |
//! |---|---|
//! | [`store`] | the embedded database: one writer, many readers |
//! | [`vault`] | secrets at rest, under the master key |
//! | [`ca`], [`tls`] | the small private CA; TLS 1.3 with certificates on both sides |
//! | [`authority`] | the thread that owns the channels' authority and makes it durable |
//! | [`node`] | the node link: gRPC to delivery servers, and their end of it |
//! | [`door`] | key doors on shards |
//! | [`canary`] | measures how soon slaves know of a revocation |
//! | [`feed`] | how slaves come to know what key doors must know: the master's side, the link, the slave |
//! | [`http`] | enrolment, sessions, administration |
//! | [`server`] | a master, everything together: start, housekeeping, drain |
//! | `signers`, `licences` | what the server signs with; licences are made |
//! | [`slave`] | a slave, everything together |
//! | [`content`] | files of contents: in a folder or a bucket, sealed on their way there |
//! | [`usage`] | what key doors gave, on its way into the master's store |
//! | [`oidc`] | the identity provider that persons may log in with |
//! | [`webhooks`] | the audit log goes out to whoever operators name |
//! | [`offline`] | what load generators need of a store, read beside a server |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod authority;
pub mod ca;
pub mod canary;
pub mod cards;
mod causes;
pub mod content;
mod dial;
pub mod door;
pub mod feed;
pub mod http;
mod key_blocks;
mod licences;
pub mod node;
pub mod offline;
pub mod oidc;
mod passwords;
pub mod server;
mod signers;
pub mod slave;
pub mod store;
pub mod tls;
pub mod usage;
pub mod vault;
pub mod webhooks;

/// A generator seeded by the operating system.
fn rng() -> rand::rngs::StdRng {
    use rand::SeedableRng as _;
    rand::rngs::StdRng::try_from_rng(&mut rand::rngs::SysRng)
        .expect("the operating system gives randomness")
}
