//! What a slave may answer without a lease.

use std::time::Duration;

use crate::door::{Served, ServedKey};
use crate::ids::Time;

/// What a slave does without a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WithoutLease {
    /// It answers nothing: a device that lost its rights gets no key from [`crate::limits::LEASE`] on.
    Strict,
    /// It goes on giving out the epochs that were announced to it, each until it has expired at every receiver: devices that lost
    /// their rights meanwhile keep access that long, and devices that did not are served while the master is away.
    #[default]
    Announced,
}

/// After the end of a key no receiver keeps it longer than this.
fn expiry(served: &Served) -> Duration {
    served.timing.expiry()
}

fn given(served: &Served) -> impl Iterator<Item = &ServedKey> {
    served
        .others
        .iter()
        .chain(&served.in_use)
        .chain(&served.next)
}

/// Whether [`unexpired`] takes something away.
pub(super) fn has_expired(served: &Served, now: Time) -> bool {
    let expiry = expiry(served);
    given(served).any(|key| key.end.after(expiry) <= now)
}

/// When it will take away more.
pub(super) fn next_expiry(served: &Served, now: Time) -> Option<Time> {
    let expiry = expiry(served);
    let ends = given(served).map(|key| key.end.after(expiry));
    ends.filter(|end| *end > now).min()
}

/// What of a channel may still be given out without a lease.
pub(super) fn unexpired(served: &Served, now: Time) -> Served {
    let expiry = expiry(served);
    let lives = |key: &&ServedKey| now < key.end.after(expiry);
    Served {
        in_use: served.in_use.as_ref().filter(lives).cloned(),
        next: served.next.as_ref().filter(lives).cloned(),
        others: served.others.iter().filter(lives).cloned().collect(),
        ..served.clone()
    }
}
