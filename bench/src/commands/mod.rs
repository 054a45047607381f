//! How many durable commands a master takes: transfers of the ledger over HTTPS, beside the same commands one per transaction.
//!
//! | file | what it holds |
//! |---|---|
//! | `options.rs` | the command line |
//! | `load.rs` | connections that command transfers, one after the other |
//! | `run.rs` | rounds: a server, its load, and the plain baseline in turns |
//! | `postgres.rs` | databases in a server that is there |
//! | `report.rs` | tables |
//!
//! A command is one `PUT /v1/transfers/{id}` with a client certificate: authentication, the transfer between a book that all use and one of many,
//! its entry in the audit log, and a commit that is durable before the answer. Server and load share the machine; both are in this process, on
//! runtimes of their own. With `--postgres` the same follows on a store in that database. The baseline does the same to a store of its own, without HTTP, and waits for each commit before the next command.

mod load;
mod options;
mod postgres;
mod report;
mod run;

pub use options::Options;
pub use run::run;
