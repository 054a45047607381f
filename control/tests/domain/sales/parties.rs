//! Who takes part in a sale, and a network between them that loses, doubles, delays and reorders what it is told to.

use std::collections::{BTreeMap, BTreeSet};

use sealcast_objects::problem::Problem;

use super::*;

/// A message, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// Device to shop: PC-18.
    Buy { purchase: u64 },
    /// Its answer: the container.
    Container {
        purchase: u64,
        certificate: CertificateId,
    },
    /// Device to shop: PC-26.
    Notice { purchase: u64 },
    /// Its answer: where the purchase stands, or that it came too late.
    Noticed {
        purchase: u64,
        state: Option<PurchaseState>,
    },
    /// Shop to whoever takes the money: PC-17, PC-19.
    Charge { purchase: u64 },
    /// Its answer, the completion notice: PC-05.
    Charged { purchase: u64 },
    /// Device to licence server: PC-26.
    Ask {
        certificate: CertificateId,
        licence: u64,
    },
    /// Its answer.
    Licence {
        asked: u64,
        /// Nothing: it was refused.
        licence: Option<LicenceId>,
    },
    /// Device to licence server: PC-27.
    Has { licence: LicenceId },
    /// Its answer: whether it counts.
    Had { licence: LicenceId, counts: bool },
}

impl Message {
    /// Messages of one kind are told apart by how many there were before.
    pub(super) const KINDS: usize = 10;

    fn kind(&self) -> usize {
        match self {
            Self::Buy { .. } => 0,
            Self::Container { .. } => 1,
            Self::Notice { .. } => 2,
            Self::Noticed { .. } => 3,
            Self::Charge { .. } => 4,
            Self::Charged { .. } => 5,
            Self::Ask { .. } => 6,
            Self::Licence { .. } => 7,
            Self::Has { .. } => 8,
            Self::Had { .. } => 9,
        }
    }
}

/// What the network does to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Drop,
    Double,
    /// So late that whoever waits for it has asked again, and others overtake it.
    Delay,
    /// So late that whatever waited for it would be over.
    Linger,
    /// It is lost, and for longer than anything waits nothing arrives at all.
    Away,
}

impl Fault {
    pub(super) const ALL: [Self; 5] = [
        Self::Drop,
        Self::Double,
        Self::Delay,
        Self::Linger,
        Self::Away,
    ];
}

/// Time from sending to arriving, in milliseconds.
const WAY: i64 = 10;
/// Whoever waits asks again after this.
const RETRY: i64 = 1000;
const DELAYED: i64 = 3500;
/// More than anything may take, but the settlement.
const LINGERING: i64 = 31 * MINUTE;

/// What a device wants: so many licences of one offer.
struct Client {
    device: DeviceId,
    wanted: usize,
    purchase: u64,
    next_licence: u64,
    certificate: Option<CertificateId>,
    noticed: bool,
    asking: Option<u64>,
    holding: Option<LicenceId>,
    has: BTreeSet<LicenceId>,
}

/// A sale.
pub(super) struct World<'a> {
    bench: &'a mut Bench,
    pub(super) now: i64,
    offer: OfferId,
    method: Method,
    client: Client,
    /// When, in which order: what arrives.
    network: BTreeMap<(i64, u64), Message>,
    sent: u64,
    away_until: i64,
    seen: [usize; Message::KINDS],
    faults: Vec<(usize, usize, Fault)>,
    /// Purchases that the bank has charged, once each.
    pub(super) charged: BTreeSet<u64>,
}

impl<'a> World<'a> {
    /// `first`: purchases and licences are numbered from there. `faults`: to which kind, to which of that kind, what happens.
    pub(super) fn new(
        bench: &'a mut Bench,
        (first, now): (u64, i64),
        (device, offer): (DeviceId, OfferId),
        (method, wanted): (Method, usize),
        faults: Vec<(usize, usize, Fault)>,
    ) -> Self {
        let client = Client {
            device,
            wanted,
            purchase: first,
            next_licence: first,
            certificate: None,
            noticed: false,
            asking: None,
            holding: None,
            has: BTreeSet::new(),
        };
        Self {
            bench,
            now,
            offer,
            method,
            client,
            network: BTreeMap::new(),
            sent: 0,
            away_until: 0,
            seen: [0; Message::KINDS],
            faults,
            charged: BTreeSet::new(),
        }
    }

    fn send(&mut self, message: Message) {
        let kind = message.kind();
        let number = self.seen[kind];
        self.seen[kind] += 1;
        let fault = self
            .faults
            .iter()
            .find(|(of, which, _)| (*of, *which) == (kind, number));
        let fault = fault.map(|(.., fault)| *fault);
        if fault == Some(Fault::Away) {
            self.away_until = self.now + LINGERING;
        }
        let arrivals: &[i64] = match fault {
            _ if self.now < self.away_until => &[],
            None => &[WAY],
            Some(Fault::Drop | Fault::Away) => &[],
            Some(Fault::Double) => &[WAY, DELAYED],
            Some(Fault::Delay) => &[DELAYED],
            Some(Fault::Linger) => &[LINGERING],
        };
        for after in arrivals {
            self.sent += 1;
            let at = (self.now + after, self.sent);
            self.network.insert(at, message.clone());
        }
    }

    /// What the device does next: it asks for what it waits for.
    fn act(&mut self) {
        let client = &mut self.client;
        let message = match (client.certificate, client.holding) {
            (None, _) => Message::Buy {
                purchase: client.purchase,
            },
            (Some(_), _) if !client.noticed => Message::Notice {
                purchase: client.purchase,
            },
            (_, Some(licence)) => Message::Has { licence },
            (Some(certificate), None) => {
                let next = &mut client.next_licence;
                let licence = *client.asking.get_or_insert_with(|| {
                    *next += 1;
                    *next
                });
                Message::Ask {
                    certificate,
                    licence,
                }
            }
        };
        self.send(message);
    }

    /// Until the device has what it wants, and nothing is on its way any more.
    pub(super) fn run(&mut self) {
        let mut retry = self.now;
        for _ in 0..10_000 {
            let wants = self.client.has.len() < self.client.wanted;
            let arrives = self.network.first_key_value().map(|((at, _), _)| *at);
            match arrives {
                Some(at) if !wants || at <= retry => {
                    self.now = self.now.max(at);
                    let (_, message) = self.network.pop_first().unwrap();
                    let before = self.waits_for();
                    self.arrive(message);
                    // An answer that leads on needs no waiting.
                    if self.waits_for() != before {
                        retry = self.now;
                    }
                }
                _ if wants => {
                    self.now = retry.max(self.away_until);
                    retry = self.now + RETRY;
                    keep_house(self.bench, self.now);
                    self.act();
                }
                _ => return self.reconcile(),
            }
        }
        unreachable!("the device never gets what it wants");
    }

    fn waits_for(&self) -> (u64, bool, bool, Option<LicenceId>, usize) {
        let client = &self.client;
        (
            client.purchase,
            client.certificate.is_some(),
            client.noticed,
            client.holding,
            client.has.len(),
        )
    }

    fn arrive(&mut self, message: Message) {
        match message {
            Message::Buy { purchase } => self.sell(purchase),
            Message::Notice { purchase } => self.notice(purchase),
            Message::Charge { purchase } => {
                // It charges once, and says so each time.
                self.charged.insert(purchase);
                self.send(Message::Charged { purchase });
            }
            Message::Charged { purchase } => self.charged(purchase),
            Message::Ask {
                certificate,
                licence,
            } => {
                let got = request(
                    self.bench,
                    self.now,
                    self.client.device,
                    certificate,
                    licence,
                );
                let told = got.ok().map(|licence| licence.id.0);
                self.send(Message::Licence {
                    asked: licence,
                    licence: told,
                });
            }
            Message::Has { licence } => {
                let (device, now) = (self.client.device, after(self.now));
                let told = self
                    .bench
                    .command(|tx| grants::receive(tx, now, device, licence));
                self.send(Message::Had {
                    licence,
                    counts: told.is_ok(),
                });
            }
            answer => self.client.hear(answer),
        }
    }

    /// The bank says that it has charged; a word that comes too late is answered by paying back.
    fn charged(&mut self, purchase: u64) {
        let (now, id) = (after(self.now), purchase_id(purchase));
        let _ = self.bench.command(|tx| settle::complete(tx, now, id));
        if get(self.bench, purchase).state != PurchaseState::Settled {
            self.charged.remove(&purchase);
        }
    }

    /// Shop and bank compare what they have, as they do from time to time.
    fn reconcile(&mut self) {
        for purchase in self.charged.clone() {
            self.charged(purchase);
        }
    }

    /// The shop: PC-01, PC-21.
    fn sell(&mut self, number: u64) {
        let known = purchases::find(self.bench, purchase_id(number)).unwrap();
        let purchase = known.unwrap_or_else(|| {
            let new = new_purchase(number, self.client.device, &[self.offer], self.method);
            buy(self.bench, self.now, new)
        });
        self.send(Message::Container {
            purchase: number,
            certificate: only(&purchase).id.0,
        });
    }

    /// The shop: PC-13, PC-19, PC-20, PC-28.
    fn notice(&mut self, number: u64) {
        let state = match receive(self.bench, self.now, number) {
            Ok(purchase) => Some(purchase.state),
            Err(Error::Refused(Problem {
                kind: Kind::Conflict,
                ..
            })) => None,
            Err(error) => unreachable!("{error}"),
        };
        if state == Some(PurchaseState::Received) {
            self.send(Message::Charge { purchase: number });
        }
        self.send(Message::Noticed {
            purchase: number,
            state,
        });
    }

    pub(super) fn has(&self) -> usize {
        self.client.has.len()
    }

    /// Purchases that the device began.
    pub(super) fn begun(&self, first: u64) -> Vec<u64> {
        (first..=self.client.purchase).collect()
    }
}

impl Client {
    fn buy_again(&mut self) {
        self.purchase += 1;
        (self.certificate, self.noticed) = (None, false);
        (self.asking, self.holding) = (None, None);
    }

    fn hear(&mut self, answer: Message) {
        match answer {
            Message::Container {
                purchase,
                certificate,
            } if purchase == self.purchase => self.certificate = Some(certificate),
            Message::Noticed { purchase, state } if purchase == self.purchase => match state {
                Some(PurchaseState::Settled) => self.noticed = true,
                Some(PurchaseState::Sent | PurchaseState::Received) => {}
                _ if !self.noticed => self.buy_again(),
                _ => {}
            },
            Message::Licence { asked, licence } if self.asking == Some(asked) => match licence {
                Some(licence) if !self.has.contains(&licence) => self.holding = Some(licence),
                // Under another id the next time.
                _ => self.asking = None,
            },
            Message::Had { licence, counts } if self.holding == Some(licence) => {
                (self.holding, self.asking) = (None, None);
                if counts {
                    self.has.insert(licence);
                }
            }
            _ => {}
        }
    }
}
