//! What the dataplane needs of the host: pinned shards, UDP in batches, mailboxes between threads, the boot clock.
//!
//! The executor (glommio) is named only here. Traps that this package keeps others out of:
//!
//! - sending: only connected `send` with UDP_SEGMENT; a send call that addresses each datagram has been seen to cut them
//!   under back-pressure;
//! - receiving: bound to the *group* with IP_MULTICAST_ALL off, or other groups on the port leak in (test
//!   `another_group_on_the_same_port_does_not_leak_in`);
//! - GRO: one buffer holds several datagrams; the segment size comes with it (test `a_gso_batch_arrives_whole_at_every_receiver`);
//! - timers: the executor's preemption timer is 1 ms, or a busy task makes others up to 200 ms late;
//! - memberships: the kernel's default of 20 per socket ends in a clear error (`SocketError::TooManyMemberships`).
//!
//! Absent: pacing by the kernel, zero-copy sends, AF_XDP.

pub mod clock;
pub mod mailbox;
mod receiver;
mod sender;
pub mod shard;
mod socket;

pub use receiver::{Received, RecvBatch, UdpReceiver};
pub use sender::UdpSender;
pub use socket::{BufferGrant, GroupOptions, Interface, SocketError};
