//! What a key door must know: the sum of all updates. Doors answer by it, and slaves are fed from it.

use std::collections::BTreeMap;

use super::served::Served;
use super::ticket::Tickets;
use super::{Ticket, Update};
use crate::ids::{AccountId, ChannelId, Epoch};
use crate::wire::feed::SlaveKey;

/// The sum of all updates.
#[derive(Clone, Debug, Default)]
pub struct Known {
    tickets: Option<Tickets>,
    channels: BTreeMap<ChannelId, Served>,
    floors: BTreeMap<AccountId, Floor>,
    roster: Vec<SlaveKey>,
}

/// Cookies of an account count only from this version on.
#[derive(Clone, Copy, Debug)]
struct Floor {
    version: u64,
    /// The ticket period in which it was set: two periods later no cookie is below it.
    period: u32,
}

impl Known {
    /// Takes news in.
    pub fn update(&mut self, update: Update) {
        match update {
            Update::Leads(_) => {}
            Update::Channel(served) => {
                self.channels.insert(served.channel, *served);
            }
            Update::ChannelGone(channel) => {
                self.channels.remove(&channel);
            }
            Update::Tickets(tickets) => self.set_tickets(tickets),
            Update::RightsFloor { account, version } => self.raise_floor(account, version),
            Update::Roster(roster) => self.roster = roster,
        }
    }

    fn set_tickets(&mut self, tickets: Tickets) {
        let (oldest, current) = (tickets.oldest(), tickets.period());
        self.floors.retain(|_, floor| {
            // One that came before any ticket key counts from now.
            floor.period = floor.period.min(current);
            floor.period >= oldest
        });
        self.tickets = Some(tickets);
    }

    fn raise_floor(&mut self, account: AccountId, version: u64) {
        let period = self.tickets.as_ref().map_or(u32::MAX, Tickets::period);
        let floor = self
            .floors
            .entry(account)
            .or_insert(Floor { version, period });
        *floor = Floor {
            version: floor.version.max(version),
            period,
        };
    }

    /// The updates that lead here from nothing.
    pub fn updates(&self) -> impl Iterator<Item = Update> + '_ {
        let tickets = self.tickets.iter().cloned().map(Update::Tickets);
        let channels = self.channels.values();
        let floors = self
            .floors
            .iter()
            .map(|(account, floor)| Update::RightsFloor {
                account: *account,
                version: floor.version,
            });
        tickets
            .chain([Update::Roster(self.roster.clone())])
            .chain(channels.map(|served| Update::Channel(Box::new(served.clone()))))
            .chain(floors)
    }

    #[cfg(test)]
    pub(super) fn floors(&self) -> usize {
        self.floors.len()
    }

    /// Every channel.
    pub fn channels(&self) -> impl Iterator<Item = &Served> {
        self.channels.values()
    }

    /// One channel.
    #[must_use]
    pub fn channel(&self, channel: ChannelId) -> Option<&Served> {
        self.channels.get(&channel)
    }

    /// The slaves that may be fed.
    #[must_use]
    pub fn roster(&self) -> &[SlaveKey] {
        &self.roster
    }

    /// Lends the ticket keys out, until [`Known::give_back`].
    pub(super) fn lend_tickets(&mut self) -> Option<Tickets> {
        self.tickets.take()
    }

    pub(super) fn give_back(&mut self, tickets: Option<Tickets>) {
        self.tickets = tickets;
    }

    /// Whether rights have changed since this ticket was made (SEC-11).
    pub(super) fn is_below_floor(&self, ticket: &Ticket) -> bool {
        let floor = self.floors.get(&ticket.account);
        floor.is_some_and(|floor| ticket.rights_version < floor.version)
    }

    /// The highest epoch held of each channel, prepared ones among them.
    pub fn held(&self) -> impl Iterator<Item = (ChannelId, Epoch)> + '_ {
        let highest = |served: &Served| {
            let keys = served.all().chain(&served.prepared);
            Some((served.channel, keys.map(|key| key.epoch).max()?))
        };
        self.channels.values().filter_map(highest)
    }
}
