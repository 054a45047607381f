//! Payments by card: speaks the API of Stripe, or of whoever speaks it. What is to be asked, and what answers come to, stands in the business
//! ([`mod@sealcast_domain::sales::cards`]); here is one task that asks.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | settings, and secrets |
//! | `task.rs` | the task: asks what is due |
//! | `reconcile.rs` | compares payments with what the provider has |
//! | `client.rs` | calls |
//! | `wire.rs` | what the provider says |
//! | `declines.rs` | why a card was not taken, in words |
//! | `signature.rs` | who sent an event |

mod client;
mod declines;
mod reconcile;
mod settings;
mod signature;
mod task;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use sealcast_objects::PurchaseId;
use sealcast_objects::api::{CardCounts, CardReport};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use tokio::sync::Notify;

use client::Provider;
pub use settings::{CardsConfig, CardsError, CardsSecrets, CardsSettings, Mode, RECONCILE, URL};
pub(crate) use task::run;
pub(crate) use wire::Event;

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    /// It is looked into.
    Taken,
    /// It was before.
    Again,
    /// It is about nothing that matters here.
    Other,
    /// It is not the provider's.
    Bad,
}

impl Heard {
    const ALL: [Self; 4] = [Self::Taken, Self::Again, Self::Other, Self::Bad];

    fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Again => "again",
            Self::Other => "other",
            Self::Bad => "bad",
        }
    }
}

/// Totals, and how payments stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CardsStats {
    /// Calls of the provider by what came of them.
    pub calls: Vec<(&'static str, u64)>,
    /// Events of it by what became of them.
    pub events: Vec<(&'static str, u64)>,
    /// Whether it does not answer, and is left alone for a while.
    pub away: bool,
    /// How many payments stand where.
    pub counts: CardCounts,
    /// What differed when payments were compared last: an alarm.
    pub differences: u64,
    /// When that was; nothing: not since the server started.
    pub compared: Option<Timestamp>,
}

/// A card provider, and what was asked of it.
#[derive(Debug)]
pub struct Cards {
    provider: Provider,
    /// Something is due that was not.
    wake: Notify,
    events: [AtomicU64; Heard::ALL.len()],
    report: Mutex<Option<CardReport>>,
    /// One comparison at a time.
    comparing: tokio::sync::Mutex<()>,
}

/// Under which name the vault seals what the buyer pays with.
pub(crate) fn sealed_as(id: PurchaseId) -> String {
    format!("client secret of {}", Text(id))
}

impl Cards {
    /// For this provider.
    #[must_use]
    pub fn new(config: CardsConfig) -> Self {
        let (mode, url) = (config.mode().name(), config.url.as_str());
        tracing::info!(mode, url, "payments by card are taken");
        Self {
            provider: Provider::new(config),
            wake: Notify::new(),
            events: Default::default(),
            report: Mutex::default(),
            comparing: tokio::sync::Mutex::default(),
        }
    }

    /// Something is due.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// What clients of the provider name its account with.
    pub(crate) fn publishable_key(&self) -> Option<&str> {
        self.provider.config().publishable_key.as_deref()
    }

    /// Counts an event.
    pub(crate) fn heard(&self, heard: Heard) {
        let index = Heard::ALL.iter().position(|one| *one == heard);
        if let Some(counter) = index.and_then(|index| self.events.get(index)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An event, if the provider signed it.
    pub(crate) fn event(
        &self,
        header: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Event, Problem> {
        let invalid = |why: String| Problem::new(Kind::Invalid, why);
        let signing = &self.provider.config().signing;
        signature::verify(header, body, now, signing)
            .map_err(|error| invalid(format!("the event: {error}")))?;
        serde_json::from_slice(body).map_err(|error| invalid(format!("the event: {error}")))
    }

    /// What was found when payments were compared last.
    pub(crate) fn report(&self) -> Option<CardReport> {
        let report = self.report.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Totals; how payments stand is asked of the store.
    pub(crate) fn stats(&self, counts: CardCounts) -> CardsStats {
        let report = self.report();
        let uneven = |report: &CardReport| {
            let books = report.books.iter();
            let books = books.filter(|book| book.booked != book.paid).count();
            (report.differences.len() + books) as u64
        };
        CardsStats {
            calls: self.provider.calls().to_vec(),
            events: Heard::ALL
                .iter()
                .zip(&self.events)
                .map(|(heard, count)| (heard.name(), count.load(Ordering::Relaxed)))
                .collect(),
            away: self.provider.rests(),
            counts,
            differences: report.as_ref().map_or(0, uneven),
            compared: report.map(|report| report.at),
        }
    }
}
