//! Doors for packagers of other software: a JSON key server as Widevine's common encryption API has it, and documents of CPIX. Closed
//! unless the settings open them; what goes out are keys derived from a root, never a root or a lane's key.
//!
//! | room | what |
//! |---|---|
//! | `asker` | who asks: by token, or by the certificate of a delivery server; what he may |
//! | `limiter` | how often |
//! | `give` | one answer to one question, durable before it leaves |
//! | `key_server`, `pssh` | the JSON key server |
//! | `cpix` | CPIX documents |
//! | `packagers` | letting packagers in, by an operator |

mod asker;
mod cpix;
mod give;
mod key_server;
mod limiter;
mod packagers;
mod pssh;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aide::axum::ApiRouter;
use sealcast_domain::cenc::Bounds;
use sealcast_net::clock;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_proto::ids::Time;

use super::App;
use limiter::Limiter;

/// Settings of the doors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InteropConfig {
    /// The JSON key server is open.
    pub key_server: bool,
    /// CPIX is open.
    pub cpix: bool,
    /// Delivery servers may ask, for their channels.
    pub nodes: bool,
    /// How long keys are kept, and how far ahead they may be asked for.
    pub bounds: Bounds,
    /// Requests of one packager in a minute.
    pub requests: u32,
}

impl Default for InteropConfig {
    /// Both closed.
    fn default() -> Self {
        Self {
            key_server: false,
            cpix: false,
            nodes: false,
            bounds: Bounds {
                retention: Duration::from_secs(7 * 24 * 3600),
                ahead: 256,
            },
            requests: 120,
        }
    }
}

/// What the doors need besides the store.
#[derive(Debug)]
pub(super) struct Interop {
    config: InteropConfig,
    limiter: Mutex<Limiter>,
    /// One question after the other: what is found missing is made once.
    order: tokio::sync::Mutex<()>,
}

impl Interop {
    pub(super) fn new(config: InteropConfig) -> Self {
        Self {
            config,
            limiter: Mutex::new(Limiter::new(config.requests)),
            order: tokio::sync::Mutex::default(),
        }
    }

    /// The bounds of what is given out.
    pub(super) fn bounds(&self) -> Bounds {
        self.config.bounds
    }

    /// Counts a request of this packager.
    fn admit(&self, name: &str) -> Result<(), Problem> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = limiter.admit(name, Time(clock::boottime()));
        admitted.map_err(|wait| {
            let detail = format!(
                "more than {} requests in a minute: the next one is taken in {} s (`requests` in [interop] says how many)",
                self.config.requests,
                wait.as_secs() + 1
            );
            Problem::new(Kind::TooMany, detail)
        })
    }
}

/// Whether a door is open.
fn check_open(open: bool, setting: &str) -> Result<(), Problem> {
    if open {
        return Ok(());
    }
    let detail = format!(
        "this door is closed: `{setting} = true` in [interop] of the key server's settings opens it"
    );
    Err(Problem::new(Kind::NotFound, detail))
}

pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .merge(key_server::routes())
        .merge(cpix::routes())
        .merge(packagers::routes())
}
