//! A channel's end of the link to its authority, as mailboxes: whatever carries the messages sits at the other ends. All
//! channels of a process share one link, so their messages go into one mailbox.

use sealcast_net::mailbox::{Receiver, Sender, mailbox};
use sealcast_proto::ids::Time;
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority};

/// Events that may wait for a channel. Reports are repeated every second, so a full mailbox loses nothing for long.
const CAPACITY: usize = 256;

/// What the carrier tells a channel.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// Connected (again).
    Up,
    /// Connection lost.
    Down,
    /// A message.
    Message(Box<Frame<FromAuthority>>),
}

/// A channel's end.
#[derive(Debug)]
pub struct ChannelLink {
    events: Receiver<LinkEvent>,
    messages: Sender<Frame<ToAuthority>>,
}

impl ChannelLink {
    /// A channel's end that speaks into `messages`, and the mailbox through which the carrier speaks to it.
    #[must_use]
    pub fn new(messages: Sender<Frame<ToAuthority>>) -> (Self, Sender<LinkEvent>) {
        let (carrier, events) = mailbox(CAPACITY);
        (Self { events, messages }, carrier)
    }

    /// The next event, if one waits.
    pub fn try_recv(&mut self) -> Option<LinkEvent> {
        self.events.try_recv()
    }

    /// Waits until an event waits; false when the carrier is gone. Cancel-safe.
    pub async fn ready(&mut self) -> bool {
        self.events.ready().await
    }

    /// Sends a message; dropped when the carrier does not keep up (the protocol says it again).
    pub fn send(&mut self, now: Time, message: ToAuthority) {
        let _ = self.messages.try_send(Frame { sent: now, message });
    }
}
