//! Devices that ask key doors: any number of them in one process, by the rules of real ones, with sessions made in advance.
//!
//! ```text
//! sessions (a file) -> scenario (who does what when) -> crowd (devices of one core) -> sockets ... door ... sockets -> crowd -> report
//! ```
//! A device is the protocol's own session, follower and route: what a receiver of a stream has, but for the stream. Requests are due on
//! a schedule that waits for nobody, and latency counts from then, retries included.
//!
//! | file | what |
//! |---|---|
//! | `mint.rs`, `sessions.rs` | sessions into a file and out of it |
//! | `device.rs` | one device |
//! | `crowd.rs` | the devices of one core: timers, answers matched with requests; no socket, no clock |
//! | `counts.rs` | what became of requests, by kind, door and time |
//! | `scenario.rs` | what devices do when |
//! | `drive.rs` | a shard: sockets in turn |
//! | `hostile.rs` | what attacks doors meanwhile |
//! | `run.rs` | a run on its shards |

pub mod counts;
pub mod crowd;
mod device;
mod drive;
mod hostile;
pub mod mint;
pub mod run;
pub mod scenario;
pub mod sessions;
#[cfg(test)]
mod tests;
