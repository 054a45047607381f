//! The packet path of a sending channel: input to batches, batches to lanes, lanes to legs.

use std::io;

use sealcast_net::UdpSender;
use sealcast_proto::ids::Time;
use sealcast_proto::sender::{NotSending, Reserved};

use super::{Course, SendChannel, SendEvent, now};
use crate::batch::SealBatch;
use crate::ingest::Filled;
use crate::lanes::send_runs;
use crate::scratch;

/// Batches sealed in a row before the link and the clock are looked at again.
const BATCHES_PER_TURN: usize = 16;

impl SendChannel {
    /// Takes what the input has, seals it and sends it, a bounded number of batches.
    pub(super) async fn pump(&mut self, course: &mut Course) -> Filled {
        let (mut filled, mut found) = (Filled::Full, false);
        for _ in 0..BATCHES_PER_TURN {
            if !self.take_batches(course).await {
                filled = Filled::End(Some("the shard of a lane has failed".into()));
                break;
            }
            let now = now();
            // The numbers of a stripe group begin with lane 0.
            let group = self.sender.group_at(now);
            if group != std::mem::replace(&mut course.group, group) {
                course.hand.next = 0;
            }
            let first = course.hand.next;
            filled = self.ingest.fill(&mut course.hand);
            found |= !course.hand.is_empty();
            if let Err(NotSending::NoKey | NotSending::Stopped) =
                self.seal_and_send(now, course).await
            {
                // No lane used any numbers.
                course.hand.next = first;
            }
            if filled != Filled::Full {
                break;
            }
        }
        course.coalesce.looked(found);
        filled
    }

    /// Takes an empty batch of each lane; false when a lane is no more.
    async fn take_batches(&mut self, course: &mut Course) -> bool {
        let mut note = noting(&self.legs, &mut course.leg_errors, &mut self.on_event);
        let batch = scratch::take_sealed(&self.legs).await;
        course.hand.batches.push(batch);
        for lane in &mut self.lanes {
            let Some(batch) = lane.batch(&mut note).await else {
                return false;
            };
            course.hand.batches.push(batch);
        }
        let batches = course.hand.batches.iter_mut();
        if self.sender.is_vouched() {
            batches.for_each(SealBatch::keep_room_behind);
        } else if course.vouching.has_riders() {
            batches.take(1).for_each(SealBatch::keep_room_behind);
        }
        true
    }

    /// Seals and sends the batches. Never in clear: what cannot be sealed now is counted and dropped (MD-39); the last reason is
    /// told.
    async fn seal_and_send(&mut self, now: Time, course: &mut Course) -> Result<(), NotSending> {
        let mut result = Ok(());
        // Other lanes first: they work while this one does.
        while let Some(mut batch) = course.hand.batches.pop() {
            let lane = course.hand.batches.len();
            let (buffer, spans) = batch.parts();
            let reserved = if spans.is_empty() {
                None
            } else {
                let reserved = self.sender.reserve(now, lane, buffer, spans);
                reserved.map_err(|why| result = Err(why)).ok()
            };
            match (lane.checked_sub(1), reserved) {
                (Some(other), Some(reserved)) => self.lanes[other].send(batch, reserved),
                (Some(other), None) => self.lanes[other].put_back(batch),
                (None, Some(reserved)) => self.send_here(now, batch, reserved, course).await,
                (None, None) => scratch::put_sealed(batch),
            }
        }
        if let Some(age) = self.ingest.take_age() {
            course.latency.record(age);
        }
        result
    }

    async fn send_here(
        &mut self,
        now: Time,
        mut batch: SealBatch,
        reserved: Reserved,
        course: &mut Course,
    ) {
        course.vouching.seal(now, reserved, &mut batch);
        let batch = batch.close();
        for leg in 0..self.legs.len() {
            if let Err(error) = send_runs(&mut self.legs[leg], &batch).await {
                self.note(course, leg, error);
            }
        }
        scratch::put_sent(batch);
        self.send_manifests(now, course).await;
    }

    /// Sends the manifests of lane 0 that are due.
    pub(super) async fn send_manifests(&mut self, now: Time, course: &mut Course) {
        let failed = course.vouching.send(now, &mut self.legs).await;
        self.note_all(course, failed);
    }

    /// Sends what found no packets to leave behind.
    pub(super) async fn send_riders(&mut self, course: &mut Course) {
        let failed = course.vouching.send_riders(&mut self.legs).await;
        self.note_all(course, failed);
    }

    fn note_all(&mut self, course: &mut Course, failed: [Option<io::Error>; 2]) {
        for (leg, error) in failed.into_iter().enumerate() {
            if let Some(error) = error {
                self.note(course, leg, error);
            }
        }
    }

    /// Tells, once, of each leg that gave zero-copy sends up.
    pub(super) fn tell_of_zero_copy(&mut self, course: &mut Course) {
        for (leg, told) in self.legs.iter().zip(&mut course.zero_copy_told) {
            let gave_up = leg.zero_copy_counts().is_some() && !leg.is_zero_copy();
            if gave_up && !std::mem::replace(told, true) {
                let group = leg.peer();
                (self.on_event)(SendEvent::ZeroCopyUseless { group });
            }
        }
    }

    pub(super) fn note(&mut self, course: &mut Course, leg: usize, error: io::Error) {
        noting(&self.legs, &mut course.leg_errors, &mut self.on_event)(leg, error);
    }

    /// Waits until the other lanes have sent all.
    pub(super) async fn finish_lanes(&mut self, course: &mut Course) {
        let mut note = noting(&self.legs, &mut course.leg_errors, &mut self.on_event);
        for lane in &mut self.lanes {
            lane.finish(&mut note).await;
        }
    }
}

/// What counts the failures of legs and tells the first of each.
fn noting<'a>(
    legs: &'a [UdpSender],
    errors: &'a mut [u64; 2],
    tell: &'a mut dyn FnMut(SendEvent),
) -> impl FnMut(usize, io::Error) + 'a {
    move |leg, error| {
        if errors[leg] == 0 {
            let group = legs[leg].peer();
            tell(SendEvent::LegFailed { group, error });
        }
        errors[leg] += 1;
    }
}
