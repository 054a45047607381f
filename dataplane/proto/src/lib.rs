//! THE PROTOCOL, sans-IO: what sealcast's datagrams and messages are, and how sender, receiver and authority act on them.
//!
//! No sockets, no clock, no randomness of its own: time ([`ids::Time`]), randomness (`&mut dyn CryptoRng`) and input are
//! arguments, so every run replays from a seed. Every state machine has the same verbs: `handle_*(now, input)`,
//! `poll(now)`, `next_timeout()`, `poll_*()` for what comes out.
//!
//! | room | what |
//! |---|---|
//! | [`ids`], [`limits`], [`timing`] | names, quantities, every bound, the times of a key |
//! | [`wire`] | packet header (RFC 9605), control datagrams, key door messages, link messages |
//! | [`discard`] | why a datagram came to nothing |
//! | [`key_tree`], [`key_block`] | which nodes of a channel's key tree cover those who may have the next root; the root, sealed for them |
//! | [`schedule`], [`replay`] | previous, current, next key; which numbers were accepted |
//! | [`sender::Manifests`], [`receiver::Verify`] | auth level 1: what vouches for packets, and what a receiver does until then |
//! | [`tally`] | packets and bytes by epoch and lane, for usage files |
//! | [`records`] | traces and usage files: fixed-layout records, chained |
//! | [`sender`], [`receiver`], [`authority`], [`door`] | the parties: who seals, who opens, who owns the keys, who hands them out |
//! | [`feed`] | how slaves come to know what a key door must know |
//!
//! Hostile bytes end in a [`discard::Discard`] that is counted, never in a panic or an allocation of their size.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![deny(clippy::panic)]

pub mod authority;
pub mod discard;
pub mod door;
pub mod feed;
pub mod ids;
pub mod key_block;
pub mod key_tree;
pub mod limits;
mod notice;
mod offset;
pub mod receiver;
pub mod records;
pub mod replay;
pub mod schedule;
pub mod sender;
pub mod tally;
pub mod timing;
pub mod wire;
