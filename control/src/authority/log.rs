//! What people are told of the authority's events. Alarms are warnings and counted, the rest is information.

use std::sync::atomic::Ordering;

use sealcast_proto::authority::AuthorityEvent as Event;

use super::Health;
use crate::store::Store;

pub(super) fn tell(event: &Event, store: &Store, health: &Health) {
    let alarm = || {
        health.alarms.fetch_add(1, Ordering::Relaxed);
    };
    match event {
        Event::Announced {
            channel,
            epoch,
            missing,
            slaves,
        } if missing.is_empty() && slaves.is_empty() => {
            tracing::info!(channel = channel.0, epoch = epoch.0, "announced");
        }
        Event::Announced {
            channel,
            epoch,
            missing,
            slaves,
        } => {
            alarm();
            let servers: Vec<_> = missing.iter().map(|server| server.0).collect();
            let slaves: Vec<_> = slaves.iter().map(|slave| slave.0).collect();
            tracing::warn!(
                channel = channel.0,
                epoch = epoch.0,
                ?servers,
                ?slaves,
                "ALARM: announced, though these delivery servers (they will hold) and slaves (they will not answer for it) have not \
                 acknowledged the next key"
            );
        }
        Event::OldCopy { stored, seen } => {
            old_copy(store, health);
            tracing::warn!(
                stored = stored.number,
                seen,
                "another term has led since this store was written"
            );
        }
        Event::OldChannel {
            channel,
            stored,
            seen,
        } => {
            old_copy(store, health);
            tracing::warn!(
                channel = channel.0,
                stored = stored.0,
                seen = seen.0,
                "delivery servers have used later epochs than the store knows; numbers go on above them"
            );
        }
        Event::Deposed { .. }
        | Event::Waiting
        | Event::NobodyAcknowledged { .. }
        | Event::LanesExhausted { .. }
        | Event::RunsExhausted { .. }
        | Event::Conflict { .. }
        | Event::DepositDiffers { .. } => {
            alarm();
            tracing::warn!(?event, "ALARM");
        }
        Event::Relinked { .. } | Event::Ignored { .. } => tracing::warn!(?event, "keys"),
        Event::TermStarted { .. }
        | Event::Adopted { .. }
        | Event::Opened { .. }
        | Event::Prepared { .. }
        | Event::Replaced { .. }
        | Event::Switched { .. }
        | Event::EndsEarly { .. }
        | Event::Silent { .. } => tracing::info!(?event, "keys"),
    }
}

/// Said once: which changes are gone.
fn old_copy(store: &Store, health: &Health) {
    if health.old_copy.swap(true, Ordering::Relaxed) {
        return;
    }
    health.alarms.fetch_add(1, Ordering::Relaxed);
    let written = store
        .written_before()
        .map_or_else(|| "never".to_owned(), |time| time.to_string());
    tracing::warn!(
        written,
        "ALARM: this store is an old copy, last written at {written}: delivery servers know of later changes. Whatever was \
         changed after that time (devices, rights, revocations, codes) is gone: do it again"
    );
}
