//! Mode A: the delivery server generates; the authority numbers, keeps, certifies and announces (MD-08 to MD-12).

use super::channel::{Channel, EpochKey, Link};
use super::events::{AuthorityEvent, Fault};
use super::offer::certificate;
use super::report::is_near;
use super::stored::Depositor;
use super::{ConnId, Ctx};
use crate::ids::{Epoch, RunId, ServerId};
use crate::wire::link::{Deposit, Deposited, FromAuthority, Mode, Number, NumberWanted};

/// Deposits that wait for the report of their run; more than current and next never come.
const WAITING_MAX: usize = 4;

/// The number that a run was given and has not deposited under yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reservation {
    by: Depositor,
    epoch: Epoch,
}

/// Numbers given out. They count as used for as long as this term lasts, deposited or not.
#[derive(Default, Debug)]
pub(super) struct Numbering {
    reserved: Option<Reservation>,
    top: Option<Epoch>,
    waiting: Vec<(ServerId, Link, Deposit)>,
}

/// What comes of a deposit.
enum Verdict {
    /// Durable (already).
    Kept,
    /// Not to be used.
    Refused(Fault),
    /// Not to be used: another root, or another run's, is there.
    Differs,
}

impl Channel {
    /// Gives a number for the next epoch of a run; the same one until it is deposited.
    pub(super) fn number_wanted(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: ServerId,
        conn: ConnId,
        wanted: &NumberWanted,
    ) {
        if let Err(fault) = self.may_generate(id) {
            return self.ignore(ctx, id, fault);
        }
        let by = Depositor {
            server: id,
            run: wanted.run,
        };
        let reservation = self
            .numbering
            .reserved
            .filter(|reserved| reserved.by == by)
            .unwrap_or_else(|| {
                let epoch = self
                    .numbering
                    .top
                    .max(Some(self.highest))
                    .map_or(Epoch(1), Epoch::successor);
                Reservation { by, epoch }
            });
        self.numbering.reserved = Some(reservation);
        self.numbering.top = self.numbering.top.max(Some(reservation.epoch));
        let number = Number {
            channel: wanted.channel,
            run: wanted.run,
            epoch: reservation.epoch,
            at_once: wanted.at_once,
        };
        ctx.send(conn, FromAuthority::Number(number));
    }

    /// Takes a deposit, or compares it with what is there: the first one under a number holds.
    pub(super) fn deposit(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: ServerId,
        link: Link,
        deposit: Deposit,
    ) {
        if let Err(fault) = self.may_generate(id) {
            self.ignore(ctx, id, fault);
            return self.answer(ctx, id, link, deposit.run, deposit.epoch, false);
        }
        let reported = self
            .servers
            .get(&id)
            .and_then(|server| server.report.as_ref());
        if reported.is_none_or(|report| report.run != deposit.run) {
            // After a reconnect it comes before the report that says how many lanes, and where the server stands.
            self.numbering
                .waiting
                .retain(|(_, _, waiting)| waiting.epoch != deposit.epoch);
            self.numbering.waiting.push((id, link, deposit));
            let excess = self.numbering.waiting.len().saturating_sub(WAITING_MAX);
            self.numbering.waiting.drain(..excess);
            return;
        }
        let (run, epoch) = (deposit.run, deposit.epoch);
        let verdict = match self.key_mut(epoch) {
            Some(_) => self.compare(ctx, id, deposit),
            None => self.take(ctx, id, deposit),
        };
        match verdict {
            Verdict::Kept => self.deposited_again(ctx, epoch),
            Verdict::Refused(fault) => self.ignore(ctx, id, fault),
            Verdict::Differs => {
                let channel = self.config.channel;
                self.alarm(
                    ctx,
                    AuthorityEvent::DepositDiffers {
                        channel,
                        epoch,
                        server: id,
                    },
                );
            }
        }
        self.answer(ctx, id, link, run, epoch, matches!(verdict, Verdict::Kept));
        self.advance(ctx);
    }

    /// The report of `run` has come: its deposits can be judged.
    pub(super) fn deposit_waiting(&mut self, ctx: &mut Ctx<'_>, id: ServerId, run: RunId) {
        let waiting = std::mem::take(&mut self.numbering.waiting);
        let (ready, rest): (Vec<_>, _) = waiting
            .into_iter()
            .partition(|(server, _, deposit)| *server == id && deposit.run == run);
        self.numbering.waiting = rest;
        for (_, link, deposit) in ready {
            self.deposit(ctx, id, link, deposit);
        }
    }

    /// Mode A has one delivery server per channel.
    fn may_generate(&self, id: ServerId) -> Result<(), Fault> {
        if self.config.mode != Mode::DeliveryServer {
            return Err(Fault::Mode);
        }
        match self.owner() {
            Some(owner) if owner != id => Err(Fault::SecondServer),
            _ => Ok(()),
        }
    }

    /// The one server, as long as it is heard of: whose keys these are, who was given a number, or who sends.
    fn owner(&self) -> Option<ServerId> {
        let heard = |server: &ServerId| self.servers.contains_key(server);
        let keys = [&self.next, &self.current]
            .into_iter()
            .flatten()
            .filter_map(|key| key.depositor);
        let first = keys.chain(self.numbering.reserved.map(|reserved| reserved.by));
        let sends = || {
            self.servers
                .iter()
                .find(|(_, server)| server.current().is_some())
                .map(|(id, _)| *id)
        };
        let former = || {
            let mut former = self
                .others
                .iter()
                .rev()
                .filter_map(|served| served.key.depositor);
            former.find_map(|owner| Some(owner.server).filter(heard))
        };
        first
            .map(|owner| owner.server)
            .find(heard)
            .or_else(sends)
            .or_else(former)
    }

    /// Whether the server says that it holds `epoch`.
    fn reports(&self, id: ServerId, epoch: Epoch) -> bool {
        let report = self
            .servers
            .get(&id)
            .and_then(|server| server.report.as_ref());
        let held = report
            .into_iter()
            .flat_map(|report| [report.current, report.next])
            .flatten();
        held.map(|held| held.epoch).any(|held| held == epoch)
    }

    fn key_mut(&mut self, epoch: Epoch) -> Option<&mut EpochKey> {
        let others = self.others.iter_mut().map(|served| &mut served.key);
        [&mut self.current, &mut self.next]
            .into_iter()
            .flatten()
            .chain(others)
            .find(|key| key.epoch == epoch)
    }

    /// A root under a number that is in use: the same again, or the first one for an epoch known by its number only.
    fn compare(&mut self, ctx: &mut Ctx<'_>, id: ServerId, deposit: Deposit) -> Verdict {
        let channel = self.config.channel;
        let by = Depositor {
            server: id,
            run: deposit.run,
        };
        let sends = self.reports(id, deposit.epoch);
        let Some(key) = self.key_mut(deposit.epoch) else {
            return Verdict::Differs;
        };
        match &key.root {
            Some(root) if *root == deposit.root && key.depositor == Some(by) => Verdict::Kept,
            Some(_) => Verdict::Differs,
            None if !sends => Verdict::Differs,
            None => {
                let fresh = EpochKey::new(channel, key.epoch, key.term, deposit.root, key.end);
                if key.commitment.is_some() && key.commitment != fresh.commitment {
                    return Verdict::Differs;
                }
                *key = EpochKey {
                    adopted: key.adopted,
                    depositor: Some(by),
                    ..fresh
                };
                self.store(ctx);
                Verdict::Kept
            }
        }
    }

    /// Its run holds what was kept, but for an epoch after the one in use and not as next: a term ended between a deposit and
    /// its acknowledgement. It is next, or both would wait for each other.
    fn deposited_again(&mut self, ctx: &mut Ctx<'_>, epoch: Epoch) {
        let later = self
            .current
            .as_ref()
            .is_some_and(|current| current.epoch < epoch);
        let kept = self
            .others
            .iter()
            .position(|served| served.key.epoch == epoch);
        if let (Some(index), None, true) = (kept, &self.next, later) {
            self.next = Some(self.others.remove(index).key);
            self.store(ctx);
            let channel = self.config.channel;
            ctx.event(AuthorityEvent::Prepared { channel, epoch });
        }
    }

    /// A root under a new number: current at once after a start of the server, else next.
    fn take(&mut self, ctx: &mut Ctx<'_>, id: ServerId, deposit: Deposit) -> Verdict {
        let channel = self.config.channel;
        let by = Depositor {
            server: id,
            run: deposit.run,
        };
        let given = self.numbering.reserved
            == Some(Reservation {
                by,
                epoch: deposit.epoch,
            });
        // A number that a former term gave is good if nobody can have used it since, or if this run has been using it.
        let unused = Some(deposit.epoch) > self.numbering.top.max(Some(self.highest))
            && is_near(deposit.epoch, self.highest);
        let above = self
            .current
            .as_ref()
            .is_none_or(|current| deposit.epoch > current.epoch);
        if !above || !(given || unused || self.reports(id, deposit.epoch)) {
            return Verdict::Refused(Fault::NumberNotGiven);
        }
        let owner = self.current.as_ref().map(|current| current.depositor);
        // A run that held too long lost its keys: it starts again.
        let sends = self
            .current
            .as_ref()
            .is_some_and(|current| self.reports(id, current.epoch));
        if deposit.at_once && owner == Some(Some(by)) && sends {
            return Verdict::Refused(Fault::AlreadyStarted);
        }
        if !deposit.at_once && (owner.is_none() || self.announcement.is_some()) {
            return Verdict::Refused(Fault::NumberNotGiven);
        }
        let end = ctx.now.after(
            deposit
                .remaining
                .duration()
                .min(2 * self.config.timing.lifetime()),
        );
        let key = EpochKey {
            depositor: Some(by),
            ..EpochKey::new(channel, deposit.epoch, ctx.term, deposit.root, end)
        };
        self.highest = self.highest.max(deposit.epoch);
        self.numbering.reserved = None;
        if deposit.at_once {
            self.open(ctx, key);
        } else {
            let epoch = key.epoch;
            self.next = Some(key);
            self.store(ctx);
            ctx.event(AuthorityEvent::Prepared { channel, epoch });
        }
        Verdict::Kept
    }

    /// Acknowledges with the certificate of the run's lanes: all lanes of the root are its own.
    fn answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: ServerId,
        link: Link,
        run: RunId,
        epoch: Epoch,
        kept: bool,
    ) {
        let certificate = if kept {
            self.certify(ctx, id, link, run, epoch)
        } else {
            None
        };
        let channel = self.config.channel;
        ctx.send(
            link.conn,
            FromAuthority::Deposited(Deposited {
                channel,
                run,
                epoch,
                certificate,
            }),
        );
    }

    fn certify(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: ServerId,
        link: Link,
        run: RunId,
        epoch: Epoch,
    ) -> Option<Vec<u8>> {
        let report = self
            .servers
            .get(&id)
            .and_then(|server| server.report.clone())?;
        let mut groups = std::mem::take(&mut self.groups);
        let (channel, auth) = (self.config.channel, self.config.auth);
        let certificate = self.key_mut(epoch).and_then(|key| {
            key.grants
                .give(id, run, report.lanes, || groups.next(id, &report, ctx.rng))
                .ok()?;
            Some(certificate(ctx, channel, key, id, link.key, run, auth))
        });
        self.groups = groups;
        certificate
    }
}
