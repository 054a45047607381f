//! sealcast beside other software that carries live content: SRT, librist, GStreamer, ffmpeg. Each is a chain of two relays
//! between two network namespaces, `generator -> sender -> veth -> receiver -> checker`, with the same generator and the same
//! checker, in turns.
//!
//! | file | what it holds |
//! |---|---|
//! | `contender.rs` | who takes part: command lines, what each needs |
//! | `ours.rs` | sealcast's own: key server, enrolment, command lines |
//! | `packages.rs` | Debian packages that are installed when missing |
//! | `program.rs` | one program of a turn: started on a host and cores, stopped, its last words |
//! | `payload.rs` | numbered payloads with a checksum: seven TS packets, in RTP where one needs it |
//! | `checker.rs` | what arrived: lost, corrupt, duplicated, out of order, how late |
//! | `traffic.rs` | generator and checker on one core that never sleeps |
//! | `turn.rs` | one contender at one rate, once |
//! | `row.rs` | medians over the turns, rows of JSON |
//! | `report.rs` | tables, plot |
//! | `options.rs`, `run.rs` | the command line, and what it does |

mod checker;
mod contender;
mod options;
mod ours;
mod packages;
mod payload;
mod program;
mod report;
mod row;
mod run;
mod traffic;
mod turn;

pub use options::Options;
pub use row::Row;
pub use run::run;
