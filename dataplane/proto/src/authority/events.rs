//! What the authority tells people. Alarms that a condition would raise again and again come once per epoch.

use crate::ids::{ChannelId, Epoch, ServerId, SlaveId, Term};
use crate::wire::link::Early;

/// Something worth a line in the log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AuthorityEvent {
    /// The reports are in: this master leads from here on.
    TermStarted {
        /// Its term.
        term: Term,
    },
    /// An alarm: delivery servers have seen a later term than the stored one. What is stored is an old copy (a restored
    /// backup), or another master led in the meantime; what was changed since the copy was made is gone.
    OldCopy {
        /// The last term stored.
        stored: Term,
        /// The highest term number reported.
        seen: u64,
    },
    /// An alarm: delivery servers have used later epochs of this channel than the highest one stored: see
    /// [`AuthorityEvent::OldCopy`].
    OldChannel {
        /// The channel.
        channel: ChannelId,
        /// The highest epoch stored.
        stored: Epoch,
        /// The highest epoch reported.
        seen: Epoch,
    },
    /// An alarm: another master led in the meantime, or chose the same number: this one stops leading.
    Deposed {
        /// The term that is given up.
        own: Term,
        /// The term that a node has seen.
        seen: Term,
    },
    /// An alarm: a deposed master waits, because no delivery server is linked or one has a live link to another master.
    Waiting,
    /// A delivery server opened a second link; the first one counts no more.
    Relinked {
        /// Which.
        server: ServerId,
    },
    /// After a restart: this epoch is in use, by the reports.
    Adopted {
        /// The channel.
        channel: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Whether its root is held. If not, an early epoch follows.
        root_known: bool,
    },
    /// A new epoch is in use at once: nothing was in use that a change could disturb, or a mode A server restarted.
    Opened {
        /// The channel.
        channel: ChannelId,
        /// The epoch.
        epoch: Epoch,
    },
    /// The next epoch's root exists and is durable.
    Prepared {
        /// The channel.
        channel: ChannelId,
        /// The next epoch.
        epoch: Epoch,
    },
    /// The change is committed and announced. An alarm if somebody is missing (INT-17).
    Announced {
        /// The channel.
        channel: ChannelId,
        /// The next epoch.
        epoch: Epoch,
        /// Delivery servers that did not acknowledge in time.
        missing: Vec<ServerId>,
        /// Slaves without it, if they were too many.
        slaves: Vec<SlaveId>,
    },
    /// The announced epoch is the current one.
    Switched {
        /// The channel.
        channel: ChannelId,
        /// The epoch.
        epoch: Epoch,
    },
    /// The epoch in use ends before its time.
    EndsEarly {
        /// The channel.
        channel: ChannelId,
        /// The epoch in use.
        epoch: Epoch,
        /// Why.
        cause: Cause,
    },
    /// An alarm: the deadline passed and no delivery server holds the next epoch; the current one goes on.
    NobodyAcknowledged {
        /// The channel.
        channel: ChannelId,
        /// The next epoch.
        epoch: Epoch,
    },
    /// Another epoch is announced in the place of one that was.
    Replaced {
        /// The channel.
        channel: ChannelId,
        /// The epoch that comes.
        epoch: Epoch,
        /// The one that does not.
        instead: Epoch,
    },
    /// An alarm: the lanes of this epoch are used up.
    LanesExhausted {
        /// The channel.
        channel: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Who got none.
        server: ServerId,
    },
    /// An alarm: a delivery server restarts again and again; this run waits for another epoch.
    RunsExhausted {
        /// The channel.
        channel: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Which.
        server: ServerId,
    },
    /// An alarm: a delivery server sends under this number with lanes that were never handed out here.
    Conflict {
        /// The channel.
        channel: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Which.
        server: ServerId,
    },
    /// An alarm: another root (or another run's) stands under the number of a deposit (mode A).
    DepositDiffers {
        /// The channel.
        channel: ChannelId,
        /// The epoch.
        epoch: Epoch,
        /// Who deposited.
        server: ServerId,
    },
    /// A delivery server has been silent so long that nothing waits for it any more.
    Silent {
        /// The channel.
        channel: ChannelId,
        /// Which.
        server: ServerId,
    },
    /// A message was not acted on.
    Ignored {
        /// The channel it names.
        channel: ChannelId,
        /// Who sent it, if a delivery server.
        server: Option<ServerId>,
        /// Why.
        fault: Fault,
    },
}

/// Why an epoch ends before its time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// A delivery server or the operator asked.
    Asked(Early),
    /// Its root is not held here: devices could not be served.
    RootUnknown,
    /// A delivery server needs lanes, and this epoch's root is of an earlier term, or of before the channel went and came
    /// back.
    EarlierTerm,
    /// Its lanes are used up.
    LanesExhausted,
    /// Somebody sends under this number with other keys.
    Conflict,
}

/// Why a message was not acted on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// The sender did not say that it is a delivery server; or another link of the same server counts.
    NotAServer,
    /// No such channel in the configuration.
    ChannelUnknown,
    /// Its mode is not the configured one, or the message belongs to the other mode.
    Mode,
    /// Numbers that cannot be.
    Implausible,
    /// Mode A has one delivery server per channel, and another one is it.
    SecondServer,
    /// The deposit's number was not given to this run.
    NumberNotGiven,
    /// A mode A run may start at once only once.
    AlreadyStarted,
}
