//! The key door, which lives and dies with the authority, and the receivers' sessions with it. Requests and answers travel
//! as reliably as frames of a link: while the receiver's link is up and the authority there.

use std::net::IpAddr;

use rand_chacha::rand_core::Rng as _;
use sealcast_proto::authority::ConnId;
use sealcast_proto::door::{
    Answer, Door, Outcome, Served, Session, SessionGrant, SessionKey, Ticket, TicketKey, Tickets,
    Update,
};
use sealcast_proto::ids::{AccountId, DeviceId, SessionId, Time};
use sealcast_proto::wire::door::{Granted, Reason, Wanted};

use super::{CHANNEL, Event, ReceiverNode, World};

fn tickets() -> Tickets {
    Tickets::new(TicketKey::new(1, [91; 32]), None)
}

impl World {
    /// A door that waits for its authority.
    pub(super) fn open_door(&mut self) {
        let mut door = Door::new(&mut self.rng);
        door.update(Update::Tickets(tickets()));
        self.door = Some(door);
    }

    /// The session of one receiver, as enrolment gave it.
    pub(super) fn start_session(&mut self, index: usize) -> Session {
        let name = [u8::try_from(index).expect("few") + 1; 16];
        let mut key = || {
            let mut bytes = [0; 32];
            self.rng.fill_bytes(&mut bytes);
            SessionKey::from_bytes(bytes)
        };
        let (request_key, reply_key) = (key(), key());
        let ticket = Ticket {
            session: SessionId(name),
            request_key: request_key.clone(),
            reply_key: reply_key.clone(),
            account: AccountId(name),
            device: DeviceId(name),
            rights_version: 1,
            period: 1,
            channels: vec![CHANNEL],
        };
        let cookies = std::iter::from_fn(|| tickets().seal(&ticket, &mut self.rng));
        let grant = SessionGrant {
            session: ticket.session,
            request_key,
            reply_key,
            cookies: cookies.take(3).collect(),
        };
        Session::new(grant).expect("it has cookies")
    }

    /// What the authority says of its channels reaches the door at once.
    pub(super) fn tell_door(&mut self, update: Update) {
        if let Update::Channel(served) = &update {
            self.check_served(served);
        }
        if let Some(door) = &mut self.door {
            door.update(update);
        }
    }

    /// Nothing is served that a crash would make the authority forget.
    fn check_served(&self, served: &Served) {
        let stored = self.copies.last().expect("a copy is stored first");
        let epochs = &stored.channels[&CHANNEL].epochs;
        let keys = served.others.iter();
        for key in keys.chain(&served.in_use).chain(&served.next) {
            assert!(
                epochs.iter().any(|stored| {
                    (stored.epoch, &stored.root, stored.opened) == (key.epoch, &key.root, true)
                }),
                "{:?} is served before it is durable",
                key.epoch
            );
        }
    }

    /// A receiver's request sets out, if the receiver is linked.
    pub(super) fn ask_door(&mut self, index: usize, wanted: &Wanted) {
        let now = self.now(self.receivers[index].clock);
        let session = &mut self.receivers[index].session;
        let datagram = session.request(now, wanted, &mut self.rng);
        if let Some(conn) = self.links[self.senders.len() + index].conn {
            let due = self.link_due(conn);
            self.schedule(due, Event::ToDoor(conn, datagram));
        }
    }

    /// The receiver whose link this is, while it is up.
    fn receiver_of(&self, conn: ConnId) -> Option<usize> {
        let node = self.links.iter().position(|link| link.conn == Some(conn))?;
        node.checked_sub(self.senders.len())
    }

    pub(super) fn knock(&mut self, conn: ConnId, datagram: &[u8]) {
        let now = self.authority_time();
        let (Some(index), Some(door)) = (self.receiver_of(conn), &mut self.door) else {
            return;
        };
        let source = IpAddr::from([10, 1, 0, u8::try_from(index).expect("few")]);
        let mut reply = Vec::new();
        let outcome = door.answer(now, source, datagram, &mut self.rng, &mut reply);
        assert!(
            matches!(
                outcome,
                Outcome::Granted | Outcome::EpochUnavailable | Outcome::Busy
            ),
            "{outcome:?} for a request of an honest device"
        );
        let due = self.link_due(conn);
        self.schedule(due, Event::ToReceiver(conn, reply));
    }

    pub(super) fn answered(&mut self, conn: ConnId, datagram: &[u8]) {
        let Some(index) = self.receiver_of(conn) else {
            return;
        };
        let answer = self.receivers[index].session.handle(datagram);
        match answer.expect("an answer to what was asked") {
            Answer::Granted { granted, asked } => self.granted(index, granted, asked),
            Answer::Refused(refused) => {
                let expected = [Reason::EpochUnavailable, Reason::Busy];
                assert!(expected.contains(&refused.reason), "{refused:?}");
                let now = self.now(self.receivers[index].clock);
                self.receivers[index]
                    .machine
                    .handle_refused(now, &refused, &mut self.rng);
            }
            Answer::CookieUnknown => unreachable!("the ticket key is the same for ever"),
        }
        self.drain_receiver(index);
    }

    fn granted(&mut self, index: usize, granted: Granted, asked: Time) {
        let now = self.now(self.receivers[index].clock);
        let ReceiverNode {
            machine, delivery, ..
        } = &mut self.receivers[index];
        machine.handle_granted(now, asked, granted, &mut |bytes| delivery.deliver(bytes));
    }
}
