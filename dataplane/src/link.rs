//! A channel's end of what ties it to its keys, as mailboxes: whatever carries the messages sits at the other ends. All
//! channels of a process share one carrier, so what they say goes into one mailbox.
//!
//! Delivery servers have a link to the authority ([`ChannelLink`]); receivers ask key doors ([`KeyLink`]).

use sealcast_crypto::VerifyingKey;
use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_proto::ids::Time;
use sealcast_proto::key_block::Path;
use sealcast_proto::wire::door::{Granted, Refused, Wanted};
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};

/// Events that may wait for a channel. Whatever is lost here is said again within seconds.
const CAPACITY: usize = 256;

/// One end: `E` comes in, `M` goes out.
#[derive(Debug)]
pub struct Link<E, M> {
    events: Receiver<E>,
    messages: Sender<M>,
}

/// A delivery server's end.
pub type ChannelLink = Link<LinkEvent, Frame<ToAuthority>>;

/// A receiver's end.
pub type KeyLink = Link<KeyEvent, Wanted>;

/// What the carrier tells a sending channel.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// Connected (again).
    Up,
    /// Connection lost.
    Down,
    /// A message.
    Message(Box<Frame<FromAuthority>>),
}

/// What the carrier tells a receiving channel.
#[derive(Clone, Debug)]
pub enum KeyEvent {
    /// Whether a key door answers.
    Reachable(bool),
    /// The authority key and its successor, from enrolment or a session.
    Authority(VerifyingKey, Option<VerifyingKey>),
    /// The session is a new one.
    Renewed,
    /// What opens the channel's key blocks.
    Path(Box<Path>),
    /// Keys, and when the request left that they answer.
    Granted(Box<Granted>, Time),
    /// No keys.
    Refused(Refused),
}

impl<E, M> Link<E, M> {
    /// A channel's end that speaks into `messages`, and the mailbox through which the carrier speaks to it.
    #[must_use]
    pub fn new(messages: Sender<M>) -> (Self, Sender<E>) {
        let (carrier, events) = mailbox(CAPACITY);
        (Self { events, messages }, carrier)
    }

    /// The next event, if one waits.
    pub fn try_recv(&mut self) -> Option<E> {
        self.events.try_recv()
    }

    /// Waits until an event waits; false when the carrier is gone. Cancel-safe.
    pub async fn ready(&mut self) -> bool {
        self.events.ready().await
    }

    /// Says something; dropped when the carrier does not keep up (the protocol says it again).
    pub fn say(&mut self, message: M) {
        let _ = self.messages.try_send(message);
    }
}

impl ChannelLink {
    /// Sends a message, stamped with the time of its sending.
    pub fn send(&mut self, now: Time, message: ToAuthority) {
        self.say(Frame { sent: now, message });
    }
}
