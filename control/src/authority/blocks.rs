//! Key blocks on their way: which root is sealed when, to which delivery servers a block goes, and how often it is sent. The sealing
//! itself is done aside ([`crate::key_blocks`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use sealcast_crypto::{Commitment, SigningKey};
use sealcast_proto::authority::ConnId;
use sealcast_proto::door::{Served, ServedKey};
use sealcast_proto::ids::{ChannelId, Epoch, Term, Time};
use sealcast_proto::key_block::Plan;
use sealcast_proto::wire::link::{BlockPart, FromAuthority};

use crate::key_blocks::{Made, Wanted, commitment};

/// Blocks of a channel that are kept for delivery servers that link up: of the epoch in use and the next one.
const KEPT: usize = 2;
/// Roots of a channel that are remembered as asked for.
const ASKED: usize = 8;
/// Datagrams in one message: with the longest ones it has less than 64 KiB.
const PART: usize = 48;
/// What a delivery server sends is measured over at least this.
const MEASURED_NS: u64 = 500_000_000;

/// What is shown of a channel's blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockStatus {
    /// Nodes that the last block covers.
    pub nodes: usize,
    /// Bytes of its datagrams.
    pub size: u64,
    /// Thousandths of the channel's bytes that it takes.
    pub permille: u64,
    /// It would take more than its share and is not sent: an alarm.
    pub off: bool,
}

/// What comes of something that was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) send: Vec<(ConnId, FromAuthority)>,
    /// How the channel's blocks stand now, if that has changed.
    pub(super) status: Option<(ChannelId, BlockStatus)>,
}

#[derive(Debug, Default)]
pub(super) struct Blocks(BTreeMap<ChannelId, OfChannel>);

#[derive(Debug, Default)]
struct OfChannel {
    asked: Vec<(Term, Epoch, Commitment)>,
    kept: Vec<Kept>,
    servers: BTreeMap<ConnId, Meter>,
}

#[derive(Debug)]
struct Kept {
    made: Made,
    parts: Vec<BlockPart>,
}

/// What one delivery server sends of a channel.
#[derive(Clone, Copy, Debug)]
struct Meter {
    at: Time,
    bytes: u64,
    rate: Option<u64>,
}

impl Meter {
    fn take(&mut self, now: Time, bytes: u64) {
        let elapsed = now.0.saturating_sub(self.at.0);
        if elapsed < MEASURED_NS {
            return;
        }
        // A new run counts from 0.
        if let Some(sent) = bytes.checked_sub(self.bytes) {
            let rate = u128::from(sent) * 1_000_000_000 / u128::from(elapsed);
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            // A scene that is hard to encode is no other channel.
            let smooth = |known: u64| known - known / 4 + rate / 4;
            self.rate = Some(self.rate.filter(|known| *known > 0).map_or(rate, smooth));
        }
        (self.at, self.bytes) = (now, bytes);
    }
}

impl OfChannel {
    /// What the busiest delivery server sends in a second; nothing, while none is known to send.
    fn rate(&self) -> Option<u64> {
        let rates = self.servers.values().filter_map(|meter| meter.rate);
        rates.max().filter(|rate| *rate > 0)
    }

    /// Plans what could not be planned yet, and gives it to all who send the channel.
    fn plan(&mut self, channel: ChannelId) -> Told {
        let Some(rate) = self.rate() else {
            return Told::default();
        };
        let mut told = Told::default();
        for kept in &mut self.kept {
            let made = &mut kept.made;
            if made.datagrams.is_empty() {
                continue;
            }
            let plan = Plan::new(made.size, rate, made.lifetime, made.permille);
            told.status = Some((channel, status(made, plan, rate)));
            let datagrams = std::mem::take(&mut made.datagrams);
            kept.parts = plan.map_or(Vec::new(), |plan| parts(made, plan, datagrams));
            for conn in self.servers.keys() {
                told.send.extend(kept.to(*conn));
            }
        }
        told
    }
}

impl Kept {
    fn to(&self, conn: ConnId) -> impl Iterator<Item = (ConnId, FromAuthority)> + '_ {
        let message = |part: &BlockPart| FromAuthority::BlockPart(part.clone());
        self.parts.iter().map(move |part| (conn, message(part)))
    }
}

fn status(made: &Made, plan: Option<Plan>, rate: u64) -> BlockStatus {
    BlockStatus {
        nodes: made.nodes,
        size: made.size,
        permille: plan.map_or(0, |plan| plan.share(made.size, rate, made.lifetime)),
        off: plan.is_none(),
    }
}

fn parts(made: &Made, plan: Plan, datagrams: Vec<Vec<u8>>) -> Vec<BlockPart> {
    let count = u16::try_from(datagrams.len().div_ceil(PART)).unwrap_or(u16::MAX);
    let part = |(index, some): (u16, &[Vec<u8>])| BlockPart {
        channel: made.channel,
        epoch: made.epoch,
        part: index,
        parts: count,
        plan,
        datagrams: some.to_vec(),
    };
    (0..count).zip(datagrams.chunks(PART)).map(part).collect()
}

impl Blocks {
    /// What devices may have of a channel has changed: roots that have no block yet.
    pub(super) fn served(
        &mut self,
        term: Term,
        served: &Served,
        key: &Arc<SigningKey>,
    ) -> Vec<Wanted> {
        let channel = self.0.entry(served.channel).or_default();
        let rate = channel.rate();
        let keys = [&served.in_use, &served.next].into_iter().flatten();
        let mut wanted = Vec::new();
        for ServedKey { epoch, root, .. } in keys {
            let asked = (term, *epoch, commitment(served.channel, *epoch, root));
            if channel.asked.contains(&asked) {
                continue;
            }
            if channel.asked.len() == ASKED {
                channel.asked.remove(0);
            }
            channel.asked.push(asked);
            wanted.push(Wanted {
                channel: served.channel,
                term,
                epoch: *epoch,
                root: root.clone(),
                lifetime: served.timing.lifetime(),
                rate,
                key: Arc::clone(key),
            });
        }
        wanted
    }

    /// A block was made.
    pub(super) fn made(&mut self, term: Term, made: Made) -> Told {
        let id = made.channel;
        let channel = self.0.entry(id).or_default();
        let asked = (made.term, made.epoch, made.commitment);
        // Another term, or another root under this number, has taken over since.
        if made.term != term || !channel.asked.contains(&asked) {
            return Told::default();
        }
        if made.datagrams.is_empty() {
            let off = BlockStatus {
                nodes: made.nodes,
                size: made.size,
                permille: 0,
                off: made.nodes > 0,
            };
            return Told {
                status: Some((id, off)),
                ..Told::default()
            };
        }
        channel.kept.retain(|kept| kept.made.epoch != made.epoch);
        if channel.kept.len() == KEPT {
            channel.kept.remove(0);
        }
        let parts = Vec::new();
        channel.kept.push(Kept { made, parts });
        channel.plan(id)
    }

    /// A delivery server says how much of a channel it has sent.
    pub(super) fn reported(
        &mut self,
        now: Time,
        conn: ConnId,
        channel: ChannelId,
        bytes: u64,
    ) -> Told {
        let of = self.0.entry(channel).or_default();
        if let Some(meter) = of.servers.get_mut(&conn) {
            meter.take(now, bytes);
            return of.plan(channel);
        }
        let meter = Meter {
            at: now,
            bytes,
            rate: None,
        };
        of.servers.insert(conn, meter);
        Told {
            send: of.kept.iter().flat_map(|kept| kept.to(conn)).collect(),
            status: None,
        }
    }

    /// A link is gone.
    pub(super) fn unlinked(&mut self, conn: ConnId) {
        for channel in self.0.values_mut() {
            channel.servers.remove(&conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sealcast_crypto::EpochRoot;
    use sealcast_proto::timing::Timing;

    use super::*;

    const CHANNEL: ChannelId = ChannelId(3);
    const TERM: Term = Term {
        number: 1,
        instance: 9,
    };
    const SECOND: u64 = 1_000_000_000;

    fn root(epoch: u64) -> EpochRoot {
        EpochRoot::from_bytes([u8::try_from(epoch).unwrap(); 32])
    }

    fn served(in_use: u64, next: Option<u64>) -> Served {
        let key = |epoch| ServedKey {
            epoch: Epoch(epoch),
            root: root(epoch),
            end: Time(0),
        };
        let signing = SigningKey::from_seed(&[1; 32]);
        Served {
            channel: CHANNEL,
            timing: Timing::default(),
            authority: signing.verifying_key(),
            successor: None,
            in_use: Some(key(in_use)),
            next: next.map(key),
            prepared: None,
            others: Vec::new(),
            expected: Vec::new(),
        }
    }

    fn made(epoch: u64, datagrams: usize) -> Made {
        Made {
            channel: CHANNEL,
            term: TERM,
            epoch: Epoch(epoch),
            commitment: commitment(CHANNEL, Epoch(epoch), &root(epoch)),
            lifetime: Duration::from_secs(60),
            permille: 10,
            nodes: datagrams * 30,
            size: datagrams as u64 * 1000,
            datagrams: vec![vec![0; 1000]; datagrams],
        }
    }

    fn epochs(blocks: &mut Blocks, term: Term, served: &Served) -> Vec<u64> {
        let key = Arc::new(SigningKey::from_seed(&[1; 32]));
        let wanted = blocks.served(term, served, &key);
        wanted.iter().map(|wanted| wanted.epoch.0).collect()
    }

    /// INT-05: a root is sealed once it is announced, once, and anew under another term.
    #[test]
    fn int_05_every_announced_root_is_asked_for_once() {
        let mut blocks = Blocks::default();
        assert_eq!(epochs(&mut blocks, TERM, &served(4, None)), [4]);
        assert_eq!(epochs(&mut blocks, TERM, &served(4, Some(5))), [5]);
        assert_eq!(epochs(&mut blocks, TERM, &served(5, None)), [0; 0]);
        let other = Term { number: 2, ..TERM };
        assert_eq!(epochs(&mut blocks, other, &served(5, None)), [5]);
    }

    /// A block waits until it is known what the channel sends, goes to all who send it, and to who links up later.
    #[test]
    fn int_05_a_block_goes_to_every_delivery_server_when_its_share_is_known() {
        let mut blocks = Blocks::default();
        let (first, second) = (ConnId(1), ConnId(2));
        epochs(&mut blocks, TERM, &served(4, Some(5)));
        assert!(blocks.made(TERM, made(5, 100)).send.is_empty(), "no rate");
        assert!(blocks.reported(Time(0), first, CHANNEL, 0).send.is_empty());
        // 4 Mbit/s: of 300 kB a minute 100 kB take a third.
        let told = blocks.reported(Time(SECOND), first, CHANNEL, 500_000);
        let parts: Vec<_> = told
            .send
            .iter()
            .map(|(conn, message)| match message {
                FromAuthority::BlockPart(part) => (*conn, part.part, part.datagrams.len()),
                other => unreachable!("{other:?}"),
            })
            .collect();
        assert_eq!(parts, [(first, 0, 48), (first, 1, 48), (first, 2, 4)]);
        let (_, status) = told.status.unwrap();
        assert_eq!((status.permille, status.off), (10, false));
        let later = blocks.reported(Time(SECOND), second, CHANNEL, 0);
        assert_eq!(later.send.len(), 3);
        assert!(later.send.iter().all(|(conn, _)| *conn == second));
        blocks.unlinked(second);
        assert!(
            blocks
                .reported(Time(2 * SECOND), first, CHANNEL, 1_000_000)
                .send
                .is_empty()
        );
    }

    #[test]
    fn int_05_a_block_that_is_too_long_is_off_and_an_old_one_is_not_sent() {
        let mut blocks = Blocks::default();
        let conn = ConnId(1);
        epochs(&mut blocks, TERM, &served(4, Some(5)));
        for second in 0..3 {
            blocks.reported(Time(second * SECOND), conn, CHANNEL, second * 500_000);
        }
        let told = blocks.made(TERM, made(5, 301));
        assert!(told.send.is_empty() && told.status.unwrap().1.off);
        let other = Term { number: 2, ..TERM };
        assert!(
            blocks.made(other, made(5, 1)).send.is_empty(),
            "its term is over"
        );
        assert!(
            blocks.made(TERM, made(9, 1)).send.is_empty(),
            "nobody asked"
        );
    }
}
