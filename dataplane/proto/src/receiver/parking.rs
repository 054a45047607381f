//! Packets that came before their key: they wait, sealed, for at most [`PARK_TIME`] while the key is fetched.
//!
//! Only packets of certified lanes get here, so no outsider fills it with other key ids; bytes are bounded per channel and
//! per process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::ids::{Epoch, Time};
use crate::limits::{PARK_CHANNEL_BYTES, PARK_PROCESS_BYTES, PARK_TIME};

/// Parked bytes of the whole process; every channel's receiver holds the same one.
#[derive(Clone, Debug, Default)]
pub struct ParkingBudget(Arc<AtomicUsize>);

impl ParkingBudget {
    fn take(&self, bytes: usize) -> bool {
        let taken = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= PARK_PROCESS_BYTES;
        if !taken {
            self.give_back(bytes);
        }
        taken
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct Parked {
    arrived: Time,
    pub(crate) epoch: Epoch,
    pub(crate) leg: usize,
    pub(crate) packet: Vec<u8>,
}

/// The parking buffer of one channel.
#[derive(Debug)]
pub(crate) struct Parking {
    budget: ParkingBudget,
    bytes: usize,
    waiting: VecDeque<Parked>,
    pool: Vec<Vec<u8>>,
}

impl Parking {
    pub(crate) fn new(budget: ParkingBudget) -> Self {
        Self {
            budget,
            bytes: 0,
            waiting: VecDeque::new(),
            pool: Vec::new(),
        }
    }

    /// Parks a packet; false when there is no room.
    pub(crate) fn park(&mut self, now: Time, epoch: Epoch, leg: usize, packet: &[u8]) -> bool {
        if self.bytes + packet.len() > PARK_CHANNEL_BYTES || !self.budget.take(packet.len()) {
            return false;
        }
        self.bytes += packet.len();
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(packet);
        self.waiting.push_back(Parked {
            arrived: now,
            epoch,
            leg,
            packet: buffer,
        });
        true
    }

    /// Takes out the oldest packet of `epoch`.
    pub(crate) fn take(&mut self, epoch: Epoch) -> Option<Parked> {
        let index = self
            .waiting
            .iter()
            .position(|parked| parked.epoch == epoch)?;
        let parked = self.waiting.remove(index)?;
        self.forget(parked.packet.len());
        Some(parked)
    }

    /// Drops what has waited too long; returns how many.
    pub(crate) fn expire(&mut self, now: Time) -> u64 {
        let mut dropped = 0;
        while self.next_timeout().is_some_and(|due| due <= now) {
            let Some(parked) = self.waiting.pop_front() else {
                break;
            };
            self.forget(parked.packet.len());
            self.recycle(parked.packet);
            dropped += 1;
        }
        dropped
    }

    /// Gives a taken packet's buffer back.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.pool.push(buffer);
    }

    /// When the oldest packet has waited long enough.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.waiting
            .front()
            .map(|parked| parked.arrived.after(PARK_TIME))
    }

    fn forget(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.give_back(bytes);
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_a_channels_share_and_gives_the_budget_back() {
        let budget = ParkingBudget::default();
        let mut parking = Parking::new(budget.clone());
        let packet = vec![7; 1 << 20];
        for _ in 0..4 {
            assert!(parking.park(Time(0), Epoch(2), 0, &packet));
        }
        assert!(
            !parking.park(Time(0), Epoch(2), 0, &[1]),
            "4 MiB per channel"
        );
        assert!(parking.take(Epoch(3)).is_none());
        assert_eq!(parking.take(Epoch(2)).unwrap().packet, packet);
        assert_eq!(parking.expire(Time(0).after(PARK_TIME)), 3);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_process_has_a_bound_too() {
        let budget = ParkingBudget::default();
        let mut channels: Vec<_> = (0..65).map(|_| Parking::new(budget.clone())).collect();
        let packet = vec![0; 4 << 20];
        let parked = channels
            .iter_mut()
            .filter_map(|channel| channel.park(Time(0), Epoch(1), 0, &packet).then_some(()))
            .count();
        assert_eq!(parked, 64, "256 MiB per process");
        drop(channels);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
