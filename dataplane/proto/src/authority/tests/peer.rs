//! A delivery server's run, as its reports show it: it does what the link's messages say and nothing else.

use super::*;

/// A delivery server's run on [`CHANNEL`], as its reports show it.
#[derive(Clone, Debug)]
pub(in crate::authority) struct Peer {
    pub(super) conn: ConnId,
    pub(super) id: ServerId,
    pub(super) report: Report,
    pub(super) current_end: Time,
    pub(super) next_end: Time,
    /// Every lane's secret with the key id that goes with it.
    pub(super) secrets: Vec<(Epoch, Lane, LaneSecret)>,
    pub(super) notices: Vec<(Time, Notice)>,
    pub(super) deposited: Vec<Deposited>,
    pub(super) certificates: Vec<LaneCertificate>,
}

impl Peer {
    /// Takes a cipher half as a sender does.
    pub(super) fn take(&mut self, now: Time, half: CipherHalf, certificate: LaneCertificate) {
        assert_eq!((half.channel, half.run), (CHANNEL, self.report.run));
        assert_eq!(usize::from(certificate.lanes), half.lanes.len());
        assert_eq!(certificate.lanes, self.report.lanes);
        assert_eq!(certificate.server, self.id);
        assert!(certificate.covers(certificate.first_lane, half.epoch));
        for (index, secret) in half.lanes.into_iter().enumerate() {
            let number = usize::from(certificate.first_lane.number()) + index;
            let lane = Lane::new(u8::try_from(number).unwrap()).unwrap();
            self.secrets.push((half.epoch, lane, secret));
        }
        let held = Held {
            epoch: half.epoch,
            term: certificate.term,
            group: certificate.group,
            first_lane: certificate.first_lane,
            remaining: half.remaining,
        };
        self.certificates.push(certificate);
        let end = now.after(half.remaining.duration());
        if half.at_once {
            (self.report.current, self.report.next) = (Some(held), None);
            self.current_end = end;
        } else if self.report.next.map(|next| next.epoch) == self.announced() {
            self.report.spare = Some(held);
        } else {
            self.report.next = Some(held);
            self.next_end = end;
        }
    }

    pub(super) fn take_notice(&mut self, now: Time, datagram: Vec<u8>, notice: Notice) {
        self.report.notice = Some(datagram);
        let in_use = self.report.current.map(|held| held.epoch);
        let named = |spare: &mut Held| spare.epoch == notice.next && in_use == Some(notice.current);
        self.report.next = self.report.spare.take_if(named).or(self.report.next);
        self.current_end = now.after(notice.remaining.duration());
        self.notices.push((now, notice));
    }

    fn announced(&self) -> Option<Epoch> {
        let named = self.notices.last().map(|(_, notice)| notice.next);
        // Before the first one nothing that is held is announced.
        named.or(Some(Epoch(0)))
    }

    /// Switches if it may: it has next and the Notice, and its time has come.
    pub(super) fn tick(&mut self, now: Time) {
        let announced = self.announced();
        if now >= self.current_end
            && self
                .report
                .next
                .is_some_and(|next| Some(next.epoch) == announced)
        {
            self.report.current = self.report.next.take();
            self.report.next = self.report.spare.take();
            self.current_end = self.next_end;
            (self.report.early, self.report.wants_next) = (None, false);
        }
    }

    pub(super) fn epochs(&self) -> (Option<u64>, Option<u64>) {
        let epoch = |held: Option<Held>| held.map(|held| held.epoch.0);
        (epoch(self.report.current), epoch(self.report.next))
    }

    pub(super) fn group(&self) -> crate::ids::GroupId {
        self.report.current.unwrap().group
    }
}
