//! The authority of channels: owns their keys, hands out lanes, commits and announces changes (design: master key
//! authority). Sans-IO: messages, time and randomness come in as arguments, [`Output`]s go out.
//!
//! | room | what it decides |
//! |---|---|
//! | `nodes` | who speaks on which link |
//! | `start` | when this master leads, under which term, and when it stops |
//! | `adopt` | what is in use after a restart, by the reports of the delivery servers |
//! | `report` | what a delivery server lacks, mode B |
//! | `deposit` | numbers and deposits, mode A |
//! | `channel`, `lockstep` | what a channel is; prepare, acknowledge, announce, switch |
//! | `immediate` | another key in the place of an announced one |
//! | `grants`, `offer` | lanes and stripe groups; cipher halves |
//! | `serve` | what devices may have, for the key doors |
//! | `slaves` | which slaves must hold a key before it is announced |
//! | `cenc` | what packagers of Common Encryption may have |
//! | `settings` | channels that come, change and go; the authority's own keys |
//! | `stored` | what must be durable |
//! | `events`, `status` | what people are told |
//!
//! No lane is handed out twice, whatever copy of the stored state a master starts from: lanes of a root are handed out from
//! memory, only by the term that generated the root.

mod adopt;
mod cenc;
mod channel;
mod deposit;
mod events;
mod grants;
mod immediate;
mod lockstep;
mod nodes;
mod offer;
mod report;
mod serve;
mod settings;
mod slaves;
mod start;
mod status;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::EpochRoot;
use zeroize::Zeroizing;

use crate::door::Update;
pub use crate::ids::ConnId;
use crate::ids::{ChannelId, ServerId, Term, Time};
use crate::timing::Timing;
use crate::wire::control::AuthLevel;
use crate::wire::link::{Early, FromAuthority, Hello, Mode, ToAuthority};
pub use cenc::NoCencKeys;
use channel::Channel;
pub use events::{AuthorityEvent, Cause, Fault};
pub use settings::Keys;
pub use slaves::SlaveQuorum;
use slaves::Slaves;
use start::Collection;
pub use status::{ChannelStatus, Lead, ServerStatus, Status};
pub use stored::{Depositor, Stored, StoredChannel, StoredEpoch};

/// Settings of one channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelConfig {
    /// The channel.
    pub channel: ChannelId,
    /// Who generates its keys.
    pub mode: Mode,
    /// Its key times.
    pub timing: Timing,
    /// What stands for its packets; holds for lanes that are handed out from now on.
    pub auth: AuthLevel,
}

/// Settings of an authority.
#[derive(Debug)]
pub struct Config {
    /// What signs Notices and lane certificates, and what nodes and devices are told of it.
    pub keys: Keys,
    /// Its channels.
    pub channels: Vec<ChannelConfig>,
    /// How long a starting master collects reports ([`crate::limits::START_WAIT`]).
    pub start_wait: Duration,
    /// Delivery servers that are known to exist, besides those that are stored.
    pub known_servers: Vec<ServerId>,
    /// Its slave key servers.
    pub slaves: SlaveQuorum,
}

/// What the driver has to do, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make [`Authority::stored`], as it is when the call returns, durable before any output that follows is carried out.
    Store,
    /// Send this over that link; the driver stamps it with the time of the call that it comes from.
    Send(ConnId, FromAuthority),
    /// Tell every key door and every slave.
    Door(Update),
    /// It leads under this term from here on, or leads no more: tell every key door and every slave.
    Leads(Option<Term>),
    /// Tell people.
    Event(AuthorityEvent),
}

/// Why an operator's request for an early epoch does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotEarly {
    /// It does not lead.
    #[error(
        "this authority does not lead (yet); try again when it does, or ask the master that leads"
    )]
    NotLeading,
    /// No such channel, or nothing in use on it.
    #[error("nothing is in use on this channel, so there is nothing to end")]
    NothingInUse,
    /// Keys of the channel are generated at its delivery server.
    #[error("the keys of this channel are generated at its delivery server (mode A); ask there")]
    ModeA,
}

/// The state machine that owns the keys of channels.
#[derive(Debug)]
pub struct Authority {
    config: Config,
    stored: Stored,
    phase: Phase,
    /// What every linked node said of itself.
    nodes: BTreeMap<ConnId, Hello>,
    /// Empty unless leading.
    channels: BTreeMap<ChannelId, Channel>,
    /// People know that a deposed master waits.
    waiting_told: bool,
    slaves: Slaves,
}

#[derive(Debug)]
enum Phase {
    Collecting(Collection),
    Leading(Term),
}

/// What every room needs during one call.
struct Ctx<'a> {
    now: Time,
    term: Term,
    keys: &'a Keys,
    slaves: &'a Slaves,
    rng: &'a mut dyn CryptoRng,
    out: &'a mut Vec<Output>,
    /// [`Output::Store`] is among the outputs of this call.
    stored: bool,
}

impl Ctx<'_> {
    /// One is enough: the driver stores what holds at the end of the call.
    fn store(&mut self) {
        if !std::mem::replace(&mut self.stored, true) {
            self.out.push(Output::Store);
        }
    }

    fn send(&mut self, conn: ConnId, message: FromAuthority) {
        self.out.push(Output::Send(conn, message));
    }

    fn event(&mut self, event: AuthorityEvent) {
        self.out.push(Output::Event(event));
    }
}

impl Authority {
    /// An authority that starts from what was stored (or [`Stored::default`]): collects reports first.
    #[must_use]
    pub fn start(config: Config, stored: Stored, now: Time) -> Self {
        let collection = Collection::new(now.after(config.start_wait), false, stored.term.number);
        let phase = Phase::Collecting(collection);
        Self {
            slaves: Slaves::new(config.slaves.clone()),
            config,
            stored,
            phase,
            nodes: BTreeMap::new(),
            channels: BTreeMap::new(),
            waiting_told: false,
        }
    }

    /// Takes a message of a node. A delivery server's Hello comes first on every link.
    pub fn handle(
        &mut self,
        now: Time,
        conn: ConnId,
        message: ToAuthority,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) {
        match message {
            ToAuthority::Hello(hello) => self.hello(now, conn, hello, out),
            ToAuthority::Ping(ping) => out.push(Output::Send(conn, FromAuthority::Pong(ping))),
            ToAuthority::Report(report) => self.report(now, conn, report, rng, out),
            ToAuthority::NumberWanted(wanted) => {
                self.on_channel(
                    now,
                    conn,
                    wanted.channel,
                    rng,
                    out,
                    |channel, ctx, id, link| {
                        channel.introduce(ctx, id, link);
                        channel.number_wanted(ctx, id, link.conn, &wanted);
                    },
                );
            }
            ToAuthority::Deposit(deposit) => match &mut self.phase {
                Phase::Collecting(collection) => collection.deposit(conn, deposit),
                Phase::Leading(_) => self.on_channel(
                    now,
                    conn,
                    deposit.channel,
                    rng,
                    out,
                    |channel, ctx, id, link| {
                        channel.deposit(ctx, id, link, deposit);
                    },
                ),
            },
        }
    }

    /// The link is gone.
    pub fn disconnected(&mut self, conn: ConnId) {
        self.nodes.remove(&conn);
        self.unlink(conn);
    }

    /// Lets time pass.
    pub fn poll(&mut self, now: Time, rng: &mut dyn CryptoRng, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Collecting(_) => self.try_lead(now, rng, out),
            Phase::Leading(term) => {
                let mut ctx = Ctx {
                    now,
                    term,
                    keys: &self.config.keys,
                    slaves: &self.slaves,
                    rng,
                    out,
                    stored: false,
                };
                self.channels
                    .values_mut()
                    .for_each(|channel| channel.advance(&mut ctx));
                self.settle(out);
            }
        }
    }

    /// When [`Authority::poll`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::Collecting(collection) => Some(collection.until),
            Phase::Leading(_) => self
                .channels
                .values()
                .filter_map(Channel::next_timeout)
                .min(),
        }
    }

    /// What must be durable.
    #[must_use]
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The term that it leads under, if it does.
    #[must_use]
    pub fn leads(&self) -> Option<Term> {
        match self.phase {
            Phase::Collecting(_) => None,
            Phase::Leading(term) => Some(term),
        }
    }

    /// What it signs with.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.config.keys
    }

    /// The operator ends the epoch in use before its time: it has `prepare_ahead` left from now, and the change is announced as
    /// any other.
    ///
    /// # Errors
    /// [`NotEarly`] when there is nothing to end here.
    pub fn early(
        &mut self,
        now: Time,
        channel: ChannelId,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) -> Result<(), NotEarly> {
        let Phase::Leading(term) = self.phase else {
            return Err(NotEarly::NotLeading);
        };
        let channel = self
            .channels
            .get_mut(&channel)
            .filter(|channel| channel.current.is_some());
        let channel = channel.ok_or(NotEarly::NothingInUse)?;
        if channel.config.mode == Mode::DeliveryServer {
            return Err(NotEarly::ModeA);
        }
        let mut ctx = Ctx {
            now,
            term,
            keys: &self.config.keys,
            slaves: &self.slaves,
            rng,
            out,
            stored: false,
        };
        channel.end_early(&mut ctx, Cause::Asked(Early::Operator));
        channel.advance(&mut ctx);
        self.settle(out);
        Ok(())
    }

    /// Brings what is stored, and what the doors serve, up to date at the end of a call.
    fn settle(&mut self, out: &mut Vec<Output>) {
        for (id, channel) in &mut self.channels {
            if let Some(stored) = channel.take_stored() {
                self.stored.channels.insert(*id, stored);
            }
            if let Some(served) = channel.take_served(&self.config.keys) {
                out.push(Output::Door(Update::Channel(Box::new(served))));
            }
        }
    }
}

fn random_root(rng: &mut dyn CryptoRng) -> EpochRoot {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    EpochRoot::from_bytes(*bytes)
}

/// Never 0.
fn random_id(rng: &mut dyn CryptoRng) -> u64 {
    rng.next_u64().max(1)
}
