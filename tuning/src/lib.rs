//! The host doctor: is this machine fit for the part it plays, what does it cost if not, and what puts it right?
//!
//! [`Facts`] are read once from /proc, /sys and a few programs. Rules, pure functions over facts and a [`Profile`], give
//! [`Finding`]s; a [`Report`] has them all. A [`Plan`] is what can be put right by a program; applying it writes an undo
//! journal first.
//!
//! | room | what |
//! |---|---|
//! | [`facts`] | what is so; what cannot be read is absent |
//! | `rules` | one rule per file |
//! | [`registry`] | all rules |
//! | [`profile`] | what a sender, a receiver, a key server or a lab needs |
//! | [`finding`], [`report`] | what is told, as text and as JSON |
//! | [`setting`], [`apply`], [`journal`] | what can be changed; doing and undoing it |
//! | [`host`] | files and programs, below `/` or below a folder of a test |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod apply;
pub mod cores;
pub mod facts;
pub mod finding;
pub mod host;
pub mod journal;
pub mod profile;
pub mod registry;
pub mod report;
mod rules;
pub mod setting;
#[cfg(test)]
mod testing;

pub use apply::{Outcome, Plan, Step, undo};
pub use cores::CoreSet;
pub use facts::Facts;
pub use finding::{Finding, Severity};
pub use host::Host;
pub use journal::{JOURNAL, JournalError};
pub use profile::Profile;
pub use report::Report;
