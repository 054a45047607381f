//! Whether everything came out as it must, by what the shop shows to an operator and what the wallets hold (PC-26, PC-30). No IO.
//!
//! | | what must be |
//! |---|---|
//! | purchases | the shop has those that somebody clicked for, each once; what a wallet calls done is settled, and what it calls failed is not |
//! | charges | an account is charged for what is settled, and for nothing else |
//! | receipts | nothing is settled before the device said that it has the certificates |
//! | grants | of each certificate there are no more licences than were bought |
//! | licences | every licence was bought, and what a wallet may use counts at the shop |
//! | refusals | nobody is refused who had the money |

use std::collections::{BTreeMap, BTreeSet};

use sealcast_objects::AccountId;
use sealcast_objects::api::{CertificateState, LicenceRecord, Purchase, PurchaseState};
use sealcast_objects::id::{LicenceId, PurchaseId, Text};
use sealcast_objects::licence::{OriginKind, Validity};

/// What came of one click, as whoever clicked saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Click {
    /// It is bought.
    Done(Text<PurchaseId>),
    /// It came to nothing.
    Refused(Text<PurchaseId>),
    /// It did not end; with its purchase, if there is one.
    Open(Option<Text<PurchaseId>>),
}

/// A purchase in a wallet.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) id: Text<PurchaseId>,
    /// Whether the wallet has all of it; nothing: it is not over.
    pub(super) done: Option<bool>,
    /// Licences that it says are here.
    pub(super) licences: Vec<Text<LicenceId>>,
}

/// An account with its devices, after all of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) account: Text<AccountId>,
    /// What it may spend, when it began and now.
    pub(super) had: u64,
    pub(super) left: u64,
    pub(super) clicks: Vec<Click>,
    /// Of all its wallets.
    pub(super) held: Vec<Held>,
    /// Licences of its wallets that may be used.
    pub(super) usable: Vec<Text<LicenceId>>,
    pub(super) purchases: Vec<Purchase>,
    pub(super) licences: Vec<LicenceRecord>,
}

/// What was looked at: how much of it, and what is wrong with it.
#[derive(Default, Debug)]
pub(super) struct Verdict {
    /// By rule: looked at, broken.
    pub(super) rules: BTreeMap<&'static str, (u64, u64)>,
    /// The first ones in words.
    pub(super) words: Vec<String>,
}

/// Broken rules that are told in words.
const WORDS_MAX: usize = 20;

impl Verdict {
    /// One thing more that was looked at.
    pub(super) fn rule(&mut self, rule: &'static str, holds: bool, words: impl FnOnce() -> String) {
        let (looked, broken) = self.rules.entry(rule).or_default();
        *looked += 1;
        if holds {
            return;
        }
        *broken += 1;
        if self.words.len() < WORDS_MAX {
            self.words.push(format!("{rule}: {}", words()));
        }
    }

    /// How many are broken.
    pub(super) fn broken(&self) -> u64 {
        self.rules.values().map(|(_, broken)| broken).sum()
    }

    /// Looks at an account.
    pub(super) fn look_at(&mut self, seen: &Seen) {
        let at_shop: BTreeMap<_, _> = seen.purchases.iter().map(|of| (of.id, of)).collect();
        self.purchases(seen, &at_shop);
        self.money(seen, &at_shop);
        for purchase in &seen.purchases {
            self.grants(purchase, seen);
        }
        self.licences(seen);
    }

    fn purchases(&mut self, seen: &Seen, at_shop: &BTreeMap<Text<PurchaseId>, &Purchase>) {
        let held: BTreeMap<_, _> = seen.held.iter().map(|held| (held.id, held)).collect();
        for (id, purchase) in at_shop {
            let held = held.get(id);
            self.rule("purchases", held.is_some(), || {
                format!("{id} of {} is in none of its wallets", seen.account)
            });
            let settled = purchase.state == PurchaseState::Settled;
            let same = held.is_none_or(|held| held.done == Some(settled));
            self.rule("purchases", same, || {
                let state = purchase.state.name();
                format!("{id} is {state} at the shop, and otherwise in the wallet: {held:?}")
            });
        }
        for held in held.values() {
            let known = at_shop.contains_key(&held.id) || held.done != Some(true);
            self.rule("purchases", known, || {
                format!(
                    "{} is done in a wallet, and the shop does not know it",
                    held.id
                )
            });
        }
        let mut clicked = BTreeSet::new();
        for click in &seen.clicks {
            let (id, done) = match click {
                Click::Done(id) => (id, true),
                Click::Refused(id) => (id, false),
                Click::Open(_) => continue,
            };
            let once = clicked.insert(*id);
            let settled = |of: &&Purchase| of.state == PurchaseState::Settled;
            let is = at_shop.get(id).is_some_and(settled);
            self.rule("purchases", once && is == done, || {
                format!("a click came to {click:?}; first: {once}, settled: {is}")
            });
        }
        for id in at_shop.keys().filter(|id| !clicked.contains(id)) {
            self.rule("purchases", false, || format!("nobody clicked for {id}"));
        }
    }

    fn money(&mut self, seen: &Seen, at_shop: &BTreeMap<Text<PurchaseId>, &Purchase>) {
        let settled = |of: &&Purchase| of.state == PurchaseState::Settled;
        let cost = seen.purchases.iter().filter(settled);
        let cost: u64 = cost.map(|purchase| purchase.price.amount).sum();
        let charged = seen.had.checked_sub(seen.left);
        self.rule("charges", charged == Some(cost), || {
            format!(
                "{} had {}, has {}, and what is settled costs {cost}",
                seen.account, seen.had, seen.left
            )
        });
        for purchase in at_shop.values() {
            let early = settled(purchase) && purchase.received.is_none();
            self.rule("receipts", !early, || {
                format!("{} is settled, and nobody has received it", purchase.id)
            });
            if purchase.state == PurchaseState::Failed {
                // What an account has only becomes less meanwhile.
                let had_it = purchase.price.amount <= seen.left;
                self.rule("refusals", !had_it, || {
                    format!(
                        "{} was refused at {} though {} still has {}: {:?}",
                        purchase.id,
                        purchase.price.amount,
                        seen.account,
                        seen.left,
                        purchase.reason
                    )
                });
            }
        }
    }

    fn grants(&mut self, purchase: &Purchase, seen: &Seen) {
        let settled = purchase.state == PurchaseState::Settled;
        let amounts: u64 = purchase.certificates.iter().map(|of| of.amount).sum();
        self.rule("charges", amounts == purchase.price.amount, || {
            let price = purchase.price.amount;
            format!("{} costs {price}, its certificates {amounts}", purchase.id)
        });
        for certificate in &purchase.certificates {
            let id = certificate.id.to_string();
            let made = seen.licences.iter().filter(|licence| {
                let counts = licence.validity == Validity::Valid;
                counts && licence.origin.kind == OriginKind::Sale && licence.origin.id == id
            });
            let (made, used) = (made.count() as u64, certificate.used);
            let most = if settled { certificate.grants } else { 0 };
            let within = made <= u64::from(most) && used <= most;
            self.rule("grants", within, || {
                format!("of {id} there may be {most} licences; {made} count, {used} are recorded")
            });
            let right = match certificate.state {
                CertificateState::Settled | CertificateState::Used => settled,
                CertificateState::Generated
                | CertificateState::Expired
                | CertificateState::Refunded => !settled,
            };
            self.rule("grants", right, || {
                let state = certificate.state.name();
                format!("{id} is {state}, its purchase {}", purchase.state.name())
            });
        }
    }

    fn licences(&mut self, seen: &Seen) {
        let bought = seen.purchases.iter();
        let bought = bought.filter(|of| of.state == PurchaseState::Settled);
        let certificates: BTreeSet<_> = bought
            .flat_map(|of| of.certificates.iter().map(|of| of.id.to_string()))
            .collect();
        for licence in &seen.licences {
            let for_sale = licence.origin.kind == OriginKind::Sale;
            let was_bought = for_sale && certificates.contains(&licence.origin.id);
            self.rule("licences", was_bought, || {
                let of = &licence.origin.id;
                format!("{} came from {of}, which is not settled", licence.id)
            });
        }
        let counts = |id: &Text<LicenceId>| {
            let mut of = seen.licences.iter();
            of.any(|of| of.id == *id && of.validity == Validity::Valid && of.received.is_some())
        };
        for id in &seen.usable {
            self.rule("licences", counts(id), || {
                format!("a wallet may use {id}, and at the shop it does not count")
            });
        }
        for held in seen.held.iter().filter(|held| held.done == Some(true)) {
            let all_usable = held.licences.iter().all(|id| seen.usable.contains(id));
            let all = !held.licences.is_empty() && all_usable;
            self.rule("licences", all, || {
                format!("{} is done, and not all of its licences are here", held.id)
            });
        }
    }
}

#[cfg(test)]
mod tests;
