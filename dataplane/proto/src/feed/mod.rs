//! How slaves come to know what a key door must know (MD-28 to MD-32): the master numbers the changes; a slave holds the state up
//! to one of them, answers devices by it, and feeds other slaves from it.
//!
//! | room | what |
//! |---|---|
//! | `source` | the parent's half: snapshot, then change by change; who stands where |
//! | `slave` | the child's half: takes the state in, holds a lease, tells the doors |
//! | `lease` | what a slave may answer without a lease |
//!
//! **Lease.** A slave pings its parent. The answer says how long the parent vouches that it knew, when it answered, all that the master
//! had decided before the ping left; the lease runs from the sending of the ping, so no clock needs to agree with another, and along
//! a chain of slaves no lease outlives that of its parent. What is revoked at the master is therefore known to every slave whose
//! lease is younger, and every other slave has no lease [`crate::limits::LEASE`] later.
//!
//! Slaves hold decipher halves only and never write: what they hold is a prefix of the master's changes, whatever way it came.

mod lease;
mod slave;
mod source;
#[cfg(test)]
mod tests;

pub use lease::WithoutLease;
pub use slave::{Dropped, Kept, Output, Slave, SlaveConfig};
pub use source::{SlaveState, Source, ToChild, Up};
