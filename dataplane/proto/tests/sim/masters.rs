//! Two masters: one is cut off and runs on, a standby has taken its place; and they change places again.

use std::mem;

use sealcast_proto::authority::{self, Authority, Stored};
use sealcast_proto::door::{Door, Update};
use sealcast_proto::feed::Source;
use sealcast_proto::ids::Term;
use sealcast_proto::wire::control::{Notice, Unverified};

use super::World;

/// A master that nobody reaches: it does not know that there is another one.
pub(super) struct CutOff {
    authority: Authority,
    door: Option<Door>,
    source: Source,
    leads: bool,
    clock: u64,
    copies: Vec<Stored>,
}

impl World {
    /// Nobody reaches the master any more; `None` if there is none.
    fn cut_off(&mut self) -> Option<CutOff> {
        self.authority.as_ref()?;
        if let Some(door) = &mut self.door {
            self.served.write(door);
        }
        self.orphan(None);
        let linked = match self.scenario.slaves {
            0 => self.links.len(),
            _ => self.senders.len(),
        };
        (0..linked).for_each(|node| self.unlink(node));
        Some(CutOff {
            authority: self.authority.take()?,
            door: self.door.take(),
            source: mem::replace(&mut self.source, Source::new(None)),
            leads: mem::take(&mut self.leads),
            clock: self.authority_clock,
            copies: self.copies.clone(),
        })
    }

    /// A standby begins with the store as it is, or an older copy.
    pub(super) fn stand_by(&mut self, old_copy: bool) {
        if self.former.is_some() {
            return;
        }
        let Some(former) = self.cut_off() else {
            return;
        };
        self.former = Some(former);
        self.totals.standbys += 1;
        self.start_with_copy(old_copy);
    }

    /// The former master has its place back, which nobody should do while both run.
    pub(super) fn former_returns(&mut self) {
        let Some(former) = self.former.take() else {
            return;
        };
        let Some(standby) = self.cut_off() else {
            self.former = Some(former);
            return;
        };
        self.former = Some(standby);
        self.authority = Some(former.authority);
        self.door = former.door;
        self.source = former.source;
        self.leads = former.leads;
        self.authority_clock = former.clock;
        self.copies = former.copies;
        self.tell_floors();
    }

    /// Time passes for who is cut off: what it says reaches its own door only.
    pub(super) fn poll_former(&mut self) {
        let Some(mut former) = self.former.take() else {
            return;
        };
        let (now, mut out) = (self.now(former.clock), Vec::new());
        former.authority.poll(now, &mut self.rng, &mut out);
        for output in out {
            let update = match output {
                authority::Output::Store => {
                    former.copies.push(former.authority.stored().clone());
                    continue;
                }
                authority::Output::Leads(term) => {
                    former.leads = term.is_some();
                    former.source.lead(now, term, &mut Vec::new());
                    Update::Leads(former.leads)
                }
                authority::Output::Door(update) => {
                    former.source.publish(now, update.clone(), &mut Vec::new());
                    update
                }
                authority::Output::Send(..) | authority::Output::Event(_) => continue,
            };
            if let Some(door) = &mut former.door {
                door.update(update);
            }
        }
        self.former = Some(former);
    }

    /// SEC-07: of two masters a delivery server heeds the later one, whoever it is linked to.
    pub(super) fn check_announcer(&mut self, sender: usize, notice: &[u8]) {
        let notice = Unverified::<Notice>::parse(notice).expect("senders pass Notices on");
        let Term { number, instance } = notice.claimed().term;
        let heeded = self.senders[sender].heeds.replace(notice.claimed().term);
        assert!(
            heeded.is_none_or(|heeded| {
                number > heeded.number || (number, instance) == (heeded.number, heeded.instance)
            }),
            "sender {sender} passes on what a former master announces"
        );
    }
}
