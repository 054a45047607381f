//! A channel's end of the link to its authority, as two mailboxes: whatever carries the messages (a socket, a thread of the
//! same process) sits at the other ends.

use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_proto::ids::Time;
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};

/// Messages that may wait in either direction. Reports are repeated every second, so a full mailbox loses nothing for long.
const CAPACITY: usize = 256;

/// What the carrier tells a channel.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected (again).
    Up,
    /// Connection lost.
    Down,
    /// A message.
    Message(Frame<FromAuthority>),
}

/// A channel's end.
#[derive(Debug)]
pub struct ChannelLink {
    events: Receiver<LinkEvent>,
    messages: Sender<Frame<ToAuthority>>,
}

/// The carrier's end.
#[derive(Debug)]
pub struct CarrierLink {
    /// To the channel.
    pub events: Sender<LinkEvent>,
    /// From the channel.
    pub messages: Receiver<Frame<ToAuthority>>,
}

/// Both ends of a new link.
#[must_use]
pub fn link() -> (ChannelLink, CarrierLink) {
    let (events_in, events) = mailbox(CAPACITY);
    let (messages, messages_out) = mailbox(CAPACITY);
    (ChannelLink { events, messages }, CarrierLink { events: events_in, messages: messages_out })
}

impl ChannelLink {
    /// The next event, if one waits.
    pub fn try_recv(&mut self) -> Option<LinkEvent> {
        self.events.try_recv()
    }

    /// Waits until an event has come; `None` when the carrier is gone. Cancel-safe.
    pub async fn recv(&mut self) -> Option<LinkEvent> {
        self.events.recv().await
    }

    /// Sends a message; dropped when the carrier does not keep up (the protocol says it again).
    pub fn send(&mut self, now: Time, message: ToAuthority) {
        let _ = self.messages.try_send(Frame { sent: now, message });
    }
}
