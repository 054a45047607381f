//! A key server as a whole, by its own clients: enrolment, administration, sessions, key doors, node link.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod acts;
mod admission;
mod approvals;
mod bench;
mod billing;
mod bodies;
mod cards;
mod contents;
#[path = "../../../tests/support/counted.rs"]
mod counted;
mod devices;
mod events;
mod identities;
mod interop;
mod key_blocks;
mod ledger;
mod licences;
mod limits;
mod link;
mod oidc;
mod openapi;
mod pages;
mod persons;
#[path = "../../../tests/support/postgres.rs"]
mod postgres;
mod rates;
mod restart;
mod revisions;
mod routes;
mod sales;
mod slaves;
mod transport;
mod upgrade;
mod usage;
mod webhooks;
