//! The key door, which lives and dies with the authority, and the receivers' sessions with it. Requests and answers travel
//! as reliably as frames of a link: while the receiver's link is up and the authority there.

use std::net::IpAddr;

use rand_chacha::rand_core::Rng as _;
use sealcast_proto::authority::ConnId;
use sealcast_proto::door::{
    Answer, Door, Outcome, Served, Session, SessionGrant, SessionKey, Ticket, TicketKey, Tickets,
    Update,
};
use sealcast_proto::ids::{AccountId, DeviceId, Epoch, SessionId, Time};
use sealcast_proto::wire::door::{Granted, Wanted};

use super::{CHANNEL, Event, ReceiverNode, TICK, World, timing};

/// A request on its way to a door: the authority's is 0, those of slaves follow.
pub(super) struct Knock {
    door: usize,
    number: u64,
    datagram: Vec<u8>,
}

fn tickets() -> Tickets {
    Tickets::new(TicketKey::new(1, [91; 32]), None)
}

fn name(receiver: usize) -> [u8; 16] {
    [u8::try_from(receiver).expect("few") + 1; 16]
}

impl World {
    /// A door that waits for its authority.
    pub(super) fn open_door(&mut self) {
        let mut door = Door::new(&mut self.rng);
        door.note_given();
        self.door = Some(door);
        self.open_feed();
        self.tell_door(Update::Tickets(tickets()));
        self.tell_floors();
    }

    /// The store remembers whose right was taken away.
    pub(super) fn tell_floors(&mut self) {
        for index in 0..self.receivers.len() {
            if self.receivers[index].revoked.is_some() {
                let account = AccountId(name(index));
                self.tell_door(Update::RightsFloor {
                    account,
                    version: 2,
                });
            }
        }
    }

    /// A key id is on the wire. Whoever asks by the timer had the fetch window for it, unless nobody was under a key before.
    pub(super) fn switched(&mut self, epoch: Epoch) {
        self.totals.switches += 1;
        if self.scenario.senders_keep_time() && !self.scenario.numbers_may_return() {
            let Some(at) = self.announced.get(&epoch) else {
                return;
            };
            let ahead = self.tick - at;
            let window = u64::try_from(timing().fetch_ahead().as_nanos()).expect("short") / TICK;
            // Frames of a link take a tick or two.
            assert!(
                ahead + 4 >= window,
                "{epoch:?} was announced only {ahead} ticks before"
            );
            self.totals.announced += 1;
        }
    }

    /// The session of one receiver, as enrolment gave it.
    pub(super) fn start_session(&mut self, index: usize) -> Session {
        let name = name(index);
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
            if let Some(next) = &served.next {
                self.announced.entry(next.epoch).or_insert(self.tick);
            }
        }
        if !matches!(update, Update::Leads(_)) {
            self.publish(update.clone());
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
        let doors = 1 + self.slaves.len();
        let node = &mut self.receivers[index];
        let datagram = node.session.request(now, wanted, &mut self.rng);
        // Each device has the doors in an order of its own.
        let door = (node.route.ask(now, doors).door + index) % doors;
        if let Some(conn) = self.links[self.senders.len() + index].conn {
            let due = self.link_due(conn);
            let number = wanted.number;
            let knock = Knock {
                door,
                number,
                datagram,
            };
            self.schedule(due, Event::ToDoor(conn, knock));
        }
    }

    /// The receiver whose link this is, while it is up.
    fn receiver_of(&self, conn: ConnId) -> Option<usize> {
        let node = self.links.iter().position(|link| link.conn == Some(conn))?;
        node.checked_sub(self.senders.len())
    }

    pub(super) fn knock(&mut self, conn: ConnId, knock: &Knock) {
        let Some(index) = self.receiver_of(conn) else {
            return;
        };
        let slave = knock.door.checked_sub(1);
        let now = slave.map_or_else(|| self.authority_time(), |slave| self.slave_time(slave));
        let door = match slave {
            None => self.door.as_mut(),
            Some(slave) => self.slaves[slave].process.as_mut().map(|(_, door)| door),
        };
        let Some(door) = door else {
            return;
        };
        let source = IpAddr::from([10, 1, 0, u8::try_from(index).expect("few")]);
        let mut reply = Vec::new();
        let outcome = door.answer(now, source, &knock.datagram, &mut self.rng, &mut reply);
        let revoked = self.receivers[index].revoked;
        match outcome {
            Outcome::Granted => {
                self.served.saw(name(index), knock.number);
                self.totals.by_slaves += u64::from(slave.is_some());
                let ago = revoked.map(|at| self.tick - at);
                assert!(
                    ago.is_none_or(|ago| self.may_still_answer(knock.door, ago)),
                    "door {} gave keys {ago:?} ticks after the right was taken away",
                    knock.door
                );
            }
            Outcome::EpochUnavailable | Outcome::Busy => {}
            Outcome::RightsChanged if revoked.is_some() => {}
            // One that knows nothing yet.
            Outcome::ChannelUnknown | Outcome::CookieUnknown | Outcome::CookieUnknownSilent
                if slave.is_some() => {}
            _ => unreachable!("{outcome:?} for a request of an honest device"),
        }
        if !reply.is_empty() {
            let due = self.link_due(conn);
            self.schedule(due, Event::ToReceiver(conn, reply));
        }
    }

    pub(super) fn answered(&mut self, conn: ConnId, datagram: &[u8]) {
        let Some(index) = self.receiver_of(conn) else {
            return;
        };
        let answer = self.receivers[index].session.handle(datagram);
        let answer = answer.expect("an answer to what was asked");
        self.receivers[index].route.answered(&answer, true);
        match answer {
            Answer::Granted { granted, asked } => self.granted(index, granted, asked),
            Answer::Refused(refused) => {
                let now = self.now(self.receivers[index].clock);
                self.receivers[index]
                    .machine
                    .handle_refused(now, &refused, &mut self.rng);
            }
            // A slave without ticket keys yet; a hint changes nothing.
            Answer::CookieUnknown => {}
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
