//! System tests: the real programs in network namespaces that each test makes and removes, with an ffmpeg-made TS.
//!
//! They need root, `ip`, and (where named) `ethtool`, `ffmpeg`, `tshark`, `nft`; `tests/run` installs these. Without root they
//! say so and pass over.
#![expect(
    unreachable_pub,
    reason = "in a test program, pub says what other rooms may use"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]
#![expect(clippy::print_stdout, reason = "says why a test is passed over")]

mod administration;
mod bad_input;
mod billing;
mod contents;
#[path = "../support/counted.rs"]
mod counted;
mod devices;
mod doctor;
mod endpoints;
mod hostile;
mod impaired;
mod interop;
mod key_blocks;
mod keyserver;
mod latency;
mod ledger;
mod licences;
mod load;
mod machines;
mod manifests;
mod metering;
mod net;
mod operations;
mod operators;
mod outages;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/postgres_server.rs"]
mod postgres_server;
mod process;
mod relay;
mod rights;
mod sample;
mod servers;
mod services;
mod slaves;
mod standby;
mod streams;
mod traces;
mod tutorial;
mod usage;
mod wallet;
mod webhooks;
mod zero_copy;
