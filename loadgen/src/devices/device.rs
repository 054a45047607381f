//! One device: a session, the keys of one channel that it follows, its way to the doors.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use sealcast_proto::discard::Discard;
use sealcast_proto::door::{Answer, Route, Session};
use sealcast_proto::ids::{ChannelId, Epoch, Time};
use sealcast_proto::receiver::{Changes, FetchOn, Follower, Trust};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::door::Wanted;

/// Doors of a run, at most.
pub const DOORS_MAX: usize = 16;

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) number: u64,
    /// When it was to be sent first.
    pub(super) due: Time,
    /// The device held no key then: it tunes in.
    pub(super) joins: bool,
}

/// A request that leaves.
pub(super) struct Leaving<'a> {
    pub(super) door: u8,
    pub(super) datagram: &'a [u8],
    pub(super) retry: bool,
    pub(super) asked: Asked,
}

/// A device.
pub(super) struct Device {
    session: Session,
    pub(super) follower: Follower,
    route: Route,
    /// Its doors in its own order, as the key server shuffles them for each session.
    doors: [u8; DOORS_MAX],
    /// The earliest of its timers that waits in the crowd's queue.
    pub(super) queued: Time,
    pub(super) asked: Vec<Asked>,
}

/// What an answer came to.
pub(super) struct Answered {
    pub(super) answer: Answer,
    /// The request that it answers, if that was still waited for.
    pub(super) asked: Option<Asked>,
    /// What became of keys.
    pub(super) changes: Changes,
}

impl Device {
    /// One that asks for the current key at `due`.
    pub(super) fn new(
        session: Session,
        channel: ChannelId,
        doors: usize,
        fetch_on: FetchOn,
        due: Time,
        rng: &mut StdRng,
    ) -> Self {
        let mut order: [u8; DOORS_MAX] =
            std::array::from_fn(|door| u8::try_from(door).unwrap_or(0));
        order[..doors.min(DOORS_MAX)].shuffle(rng);
        Self {
            session,
            follower: Follower::new(channel, Timing::default(), fetch_on, due),
            route: Route::default(),
            doors: order,
            queued: Time(u64::MAX),
            asked: Vec::new(),
        }
    }

    /// Sends what is due; `due` is when this was to be looked at.
    pub(super) fn poll(
        &mut self,
        now: Time,
        due: Time,
        doors: usize,
        rng: &mut StdRng,
        send: &mut dyn FnMut(Leaving<'_>),
    ) {
        let mut wanted: [Option<Wanted>; 4] = [const { None }; 4];
        let mut count = 0;
        self.follower.poll(now, rng, |request| {
            if let Some(place) = wanted.get_mut(count) {
                *place = Some(request);
                count += 1;
            }
        });
        let joins = self.follower.current(now).is_none() && self.follower.next_epoch().is_none();
        for wanted in wanted.into_iter().flatten() {
            let known = self
                .asked
                .iter()
                .find(|asked| asked.number == wanted.number);
            let (retry, asked) = match known {
                Some(asked) => (true, *asked),
                None => {
                    let asked = Asked {
                        number: wanted.number,
                        due,
                        joins,
                    };
                    self.asked.push(asked);
                    (false, asked)
                }
            };
            let datagram = self.session.request(now, &wanted, rng);
            let way = self.route.ask(now, doors);
            send(Leaving {
                door: self.doors[way.door % DOORS_MAX],
                datagram: &datagram,
                retry,
                asked,
            });
        }
    }

    /// Takes an answer.
    pub(super) fn datagram(
        &mut self,
        now: Time,
        datagram: &[u8],
        trust: &Trust,
        rng: &mut StdRng,
    ) -> Result<Answered, Discard> {
        let answer = self.session.handle(datagram)?;
        self.route.answered(&answer, true);
        let (mut changes, mut number) = ([None; 2], None);
        match &answer {
            Answer::Granted { granted, asked } => {
                number = Some(granted.number);
                changes = self
                    .follower
                    .granted(now, *asked, granted, trust)
                    .unwrap_or_default();
            }
            // It stays open: the device asks again when the refusal says so.
            Answer::Refused(refused) => {
                self.follower.refused(now, refused, rng);
            }
            Answer::CookieUnknown => {}
        }
        let place = self
            .asked
            .iter()
            .position(|asked| Some(asked.number) == number);
        let asked = place.map(|place| self.asked.swap_remove(place));
        self.forget();
        Ok(Answered {
            answer,
            asked,
            changes,
        })
    }

    /// Requests that the device gave up, because the key came otherwise, are waited for no more.
    pub(super) fn forget(&mut self) {
        let follower = &self.follower;
        self.asked.retain(|asked| follower.waits_for(asked.number));
        if self.asked.is_empty() {
            // Most devices wait for nothing, most of the time.
            self.asked = Vec::new();
        }
    }

    /// Whether a request of that number is still waited for.
    pub(super) fn waits_for(&self, number: u64) -> bool {
        self.asked.iter().any(|asked| asked.number == number)
    }

    /// Whether it holds any key.
    pub(super) fn holds_any(&self) -> bool {
        self.follower.newest().is_some()
    }

    /// The newest epoch that it holds.
    pub(super) fn newest(&self) -> Option<Epoch> {
        self.follower.newest()
    }
}
