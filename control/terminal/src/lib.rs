//! The device's half, and what every client of a key server needs: an identity, enrolment, HTTPS that says what is wrong,
//! sessions with the key doors.
//!
//! | room | what |
//! |---|---|
//! | [`identity`] | the file of a device, delivery server or operator: key, certificate, CA, session |
//! | [`enrol`] | from a one-time code to an identity; renewal of certificates |
//! | [`https`] | requests to a key server; errors name a clock that is wrong |
//! | [`content`] | files of contents: sent, and fetched from where it ended |
//! | [`keeper`] | when to open a session, which way to send a request: sans-IO |
//! | [`doors`] | the driver of the keeper |
//! | [`wallet`] | keys, licences and purchases of a device; what a player does with them |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod clock;
pub mod content;
pub mod doors;
pub mod enrol;
pub mod https;
pub mod identity;
pub mod keeper;
mod replace;
mod tls;
pub mod wallet;
