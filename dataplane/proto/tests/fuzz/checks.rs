//! What must hold for any bytes: shared by `fuzz_smoke.rs` (seeded mutations) and `fuzz/` (guided by coverage).

#[path = "blocks.rs"]
mod blocks;
#[path = "doors.rs"]
mod doors;
#[path = "messages.rs"]
mod messages;
#[path = "record_files.rs"]
mod record_files;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, PacketDigest, SealKey, SigningKey, Span};
use sealcast_proto::authority::{
    Authority, ChannelConfig, Config, ConnId, Keys, Output, SlaveQuorum, Stored,
};
use sealcast_proto::door::{Served, ServedKey, SessionGrant, Update};
use sealcast_proto::ids::{
    ChannelId, Ctr, Epoch, GroupId, Kid, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::limits::{CTR_FIRST, HEADER_LEN, OVERHEAD, START_WAIT};
use sealcast_proto::receiver::{ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::Wire;
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, Notice, Signed, Unverified, sign};
use sealcast_proto::wire::door::{
    DecipherHalf, DoorMessage as _, Granted, KeyReply, KeyRequest, KeyRequestView, Refusal,
    Refused, Wanted,
};
use sealcast_proto::wire::header::{Header, PacketHeader};
use sealcast_proto::wire::key_block::KeyBlock;
use sealcast_proto::wire::link::{FromAuthority, Held, Hello, Mode, Report, Sent, ToAuthority};
use sealcast_proto::wire::manifest::{self, List, Unproven};

pub use blocks::key_block;
pub use doors::doors;
pub use messages::{read, written};
pub use record_files::{put_right, reads, records};

pub const CHANNEL: ChannelId = ChannelId(7);
pub const TERM: Term = Term {
    number: 3,
    instance: 4,
};

/// The authority's.
pub fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub fn encoded(message: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// What parses is written back byte for byte.
fn comes_back<T: Wire>(bytes: &[u8]) {
    if let Ok(message) = T::decode_all(bytes) {
        assert_eq!(encoded(&message), bytes);
    }
}

pub fn header(bytes: &[u8]) {
    if let Ok((header, length)) = Header::parse(bytes) {
        let mut out = [0; 17];
        assert_eq!(
            (header.write(&mut out), &out[..length]),
            (length, &bytes[..length])
        );
    }
    if let Some(header) = PacketHeader::parse(bytes) {
        let mut out = [0; HEADER_LEN];
        header.write(&mut out);
        assert_eq!(out, bytes[..HEADER_LEN]);
    }
}

pub fn control(bytes: &[u8]) {
    signed::<Notice>(bytes);
    signed::<LaneCertificate>(bytes);
    signed::<KeyBlock>(bytes);
    vouched(bytes);
}

/// What parses has digests, and holds only if it is what would be signed.
fn vouched(bytes: &[u8]) {
    let Ok(unproven) = Unproven::parse(bytes) else {
        return;
    };
    let (kid, first, key) = (unproven.kid, unproven.first, key());
    let mac_key = root(1).prk().lane_secret(kid.value()).manifest_key();
    let Some(member) = unproven.of_member(&mac_key) else {
        return;
    };
    let mut list = List::new(kid, first);
    for digest in member.digests() {
        list.push(&PacketDigest::from_bytes(*digest));
    }
    let holds = member.statement().holds(GroupId(1), &key.verifying_key());
    let alone = manifest::sign(vec![list], GroupId(1), &key, &mac_key);
    assert!(holds || alone[0] != bytes);
}

/// Ed25519 signs one content in one way: what verifies is what would be signed.
fn signed<T: Signed>(bytes: &[u8]) {
    if let Ok(unverified) = Unverified::<T>::parse(bytes) {
        let datagram = sign(unverified.claimed(), &key());
        let verified = unverified.verify(&key().verifying_key()).is_ok();
        assert_eq!(verified, datagram == bytes);
    }
    if let Ok(content) = T::decode_all(bytes)
        && let Ok(unverified) = Unverified::<T>::parse(&sign(&content, &key()))
    {
        assert!(unverified.verify(&key().verifying_key()).is_ok());
    }
}

pub fn door(bytes: &[u8]) {
    let request = KeyRequest::from_datagram(bytes);
    let view = KeyRequestView::parse(bytes);
    let parts = view.map(|it| (it.cookie.to_vec(), it.nonce, it.ciphertext.to_vec()));
    let owned = |it: KeyRequest| (it.cookie.0, it.sealed.nonce, it.sealed.ciphertext);
    assert_eq!(parts, request.clone().map(owned));
    let _ = request.map(|request| assert_eq!(request.to_datagram(), bytes));
    let _ = KeyReply::from_datagram(bytes).map(|reply| assert_eq!(reply.to_datagram(), bytes));
    let _ = Refusal::from_datagram(bytes).map(|refusal| assert_eq!(refusal.to_datagram(), bytes));
    comes_back::<Granted>(bytes);
    comes_back::<Refused>(bytes);
    comes_back::<Wanted>(bytes);
    comes_back::<SessionGrant>(bytes);
}

fn timing() -> Timing {
    let times = Duration::from_secs;
    Timing::new(times(60), times(20), times(10), times(2)).expect("they fit")
}

/// Bytes as a run of steps: what happens, after how many milliseconds, with which data.
fn steps(mut bytes: &[u8]) -> impl Iterator<Item = (u8, Duration, &[u8])> {
    std::iter::from_fn(move || {
        let (&[what, pause, length], rest) = bytes.split_first_chunk()?;
        let (data, rest) = rest.split_at(rest.len().min(usize::from(length)));
        bytes = rest;
        let pause = Duration::from_millis((1 << (pause % 17)) - 1);
        Some((what, pause, data))
    })
}

/// A receiver whose network and key doors are hostile, but know no key except through what honest servers sealed.
#[derive(Debug)]
pub struct Device {
    receiver: Receiver,
    rng: ChaCha8Rng,
    now: Time,
    /// Packets that the servers of the channel sealed; the payload of each is its index.
    sealed: Vec<Vec<u8>>,
    delivered: BTreeSet<usize>,
    /// The last KeyRequest.
    asked: u64,
}

impl Device {
    pub fn new(seed: u64) -> Self {
        let config = ReceiverConfig::new(CHANNEL, timing());
        let mut device = Self {
            receiver: Receiver::new(config, ParkingBudget::default(), Time(0)),
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Time(0),
            sealed: Vec::new(),
            delivered: BTreeSet::new(),
            asked: 0,
        };
        device.receiver.set_authority(key().verifying_key(), None);
        device.receiver.set_path(blocks::path());
        device
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut Receiver, Time, &mut ChaCha8Rng, &mut dyn FnMut(&[u8])),
    ) {
        let (sealed, delivered) = (self.sealed.len(), &mut self.delivered);
        act(
            &mut self.receiver,
            self.now,
            &mut self.rng,
            &mut |payload| {
                let index = u32::from_be_bytes(payload.try_into().expect("no other was sealed"));
                let index = usize::try_from(index).expect("an index");
                assert!(index < sealed, "nobody sealed this");
                assert!(delivered.insert(index), "delivered twice");
            },
        );
    }

    /// Lets time pass.
    pub fn wait(&mut self, pause: Duration) {
        self.now = self.now.after(pause);
        self.act(|receiver, now, rng, deliver| receiver.poll(now, rng, deliver));
        while let Some(wanted) = self.receiver.poll_request() {
            self.asked = wanted.number;
        }
        while self.receiver.poll_event().is_some() {}
        let stats = self.receiver.stats();
        assert_eq!(
            (stats.packets, stats.bytes),
            (self.delivered.len() as u64, 4 * self.delivered.len() as u64)
        );
    }

    /// A buffer off the socket.
    pub fn batch(&mut self, leg: usize, segment: usize, mut bytes: Vec<u8>) {
        let from = IpAddr::from([10, 0, 0, 1]);
        self.act(|receiver, now, rng, deliver| {
            receiver.handle_batch(now, from, leg, &mut bytes, segment, rng, deliver);
        });
    }

    fn datagram(&mut self, bytes: Vec<u8>) {
        self.batch(0, bytes.len(), bytes);
    }

    fn granted(&mut self, granted: Granted) {
        self.act(|receiver, now, _, deliver| receiver.handle_granted(now, now, granted, deliver));
    }

    fn refused(&mut self, refused: &Refused) {
        self.act(|receiver, now, rng, _| receiver.handle_refused(now, refused, rng));
    }

    /// Server 1 to 4 seals packets on one of its eight lanes.
    fn seal(&mut self, lane: u8, epoch: u8, ctrs: &[u8]) {
        let Some(lane) = Lane::new(1 + lane % 32) else {
            return;
        };
        let kid = Kid::new(lane, CHANNEL, Epoch(epoch.into()));
        let secret = root(epoch).prk().lane_secret(kid.value());
        let key = SealKey::new(&secret);
        for &ctr in ctrs {
            // Every number once: no server seals two packets under one nonce.
            let index = u32::try_from(self.sealed.len()).expect("few packets");
            let ctr = Ctr(CTR_FIRST + (u64::from(ctr) << 10 | u64::from(index)));
            let mut packet = vec![0; OVERHEAD + 4];
            PacketHeader { kid, ctr }.write(&mut packet);
            packet[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&index.to_be_bytes());
            let span = Span {
                offset: 0,
                header_len: HEADER_LEN,
                payload_len: 4,
                ctr: ctr.0,
            };
            key.seal(&mut packet, &[span]);
            self.sealed.push(packet);
        }
    }

    /// Any of the packets sealed, in any order, as often as wanted.
    fn replay(&mut self, leg: usize, indexes: &[u8]) {
        let packets = indexes
            .iter()
            .filter_map(|&index| self.sealed.get(usize::from(index)));
        let buffer = packets.flatten().copied().collect();
        self.batch(leg, OVERHEAD + 4, buffer);
    }

    /// The server vouches for any of the packets sealed.
    fn vouch(&mut self, indexes: &[u8]) {
        for &index in indexes {
            let packet = self.sealed.get(usize::from(index));
            let Some((header, packet)) = packet.and_then(|it| Some((PacketHeader::parse(it)?, it)))
            else {
                continue;
            };
            let (kid, epoch) = (header.kid, header.kid.epoch_low().to_le_bytes()[0]);
            let mut list = List::new(kid, header.ctr);
            list.push(&PacketDigest::of(packet));
            let group = GroupId(1 + u64::from(kid.lane().number() - 1) / 8);
            let mac_key = root(epoch).prk().lane_secret(kid.value()).manifest_key();
            for datagram in manifest::sign(vec![list], group, &key(), &mac_key) {
                self.datagram(datagram);
            }
        }
    }

    fn grant(&mut self, current: u8, next: u8) {
        let half = |epoch: u8| DecipherHalf {
            epoch: Epoch(epoch.into()),
            root: root(epoch),
            remaining: Remaining(60_000),
        };
        self.granted(Granted {
            number: self.asked,
            channel: CHANNEL,
            current: half(current),
            next: (next > current).then(|| half(next)),
            fetch_offset: Remaining(u32::from(next)),
            authority: key().verifying_key(),
            successor: None,
            timing: timing(),
            cookies: Vec::new(),
        });
    }

    /// What a hostile door may say to what was asked last.
    fn answer(&mut self, data: &[u8]) {
        let number = self.asked;
        if let Ok(granted) = Granted::decode_all(data) {
            self.granted(granted.clone());
            self.granted(Granted { number, ..granted });
        }
        if let Ok(refused) = Refused::decode_all(data) {
            self.refused(&Refused { number, ..refused });
            self.refused(&refused);
        }
    }

    fn step(&mut self, what: u8, data: &[u8]) {
        let leg = usize::from(what >> 7);
        match (what & 7, data) {
            (0, indexes) if what & 8 != 0 => self.vouch(indexes),
            (0, &[segment, ref bytes @ ..]) => {
                self.batch(leg, 1 + usize::from(segment), bytes.to_vec())
            }
            (1, data) if what & 8 != 0 => {
                if let Ok(part) = KeyBlock::decode_all(data) {
                    self.datagram(sign(&part, &key()));
                }
            }
            (1, data) => {
                if let Ok(notice) = Notice::decode_all(data) {
                    self.datagram(sign(&notice, &key()));
                }
            }
            (2, &[epoch, gone, ..]) if what & 8 != 0 => {
                let parts = key_block(epoch, gone % 2 == 1);
                parts.into_iter().for_each(|part| self.datagram(part));
            }
            (2, &[server, first, ..]) => self.datagram(certificate(server % 4, first)),
            (3, &[lane, epoch, ref ctrs @ ..]) if self.sealed.len() + ctrs.len() < 1024 => {
                let first = self.sealed.len();
                self.seal(lane, epoch, ctrs);
                let buffer = self.sealed[first..].concat();
                self.batch(leg, OVERHEAD + 4, buffer);
            }
            (4, indexes) => self.replay(leg, indexes),
            (5, &[current, next, ..]) => self.grant(current.max(1), next),
            (6, data) => self.answer(data),
            (7, []) => self.act(|receiver, now, rng, _| receiver.session_renewed(now, rng)),
            (7, &[successor, ..]) => {
                let successor = SigningKey::from_seed(&[successor; 32]).verifying_key();
                self.receiver
                    .set_authority(key().verifying_key(), Some(successor));
            }
            _ => {}
        }
    }
}

fn root(epoch: u8) -> EpochRoot {
    EpochRoot::from_bytes([epoch; 32])
}

/// The certificate of server 0 to 3 from an epoch on.
fn certificate(server: u8, first: u8) -> Vec<u8> {
    let certificate = LaneCertificate {
        channel: CHANNEL,
        term: TERM,
        group: GroupId(1 + u64::from(server)),
        follows: None,
        server: ServerId(server.into()),
        server_key: key().verifying_key(),
        first_lane: Lane::new(1 + server * 8).expect("above 0"),
        lanes: 8,
        first_epoch: Epoch(first.max(1).into()),
        last_epoch: Epoch(255),
        auth: if server == 3 {
            AuthLevel::Manifest
        } else {
            AuthLevel::Group
        },
    };
    sign(&certificate, &key())
}

/// Only what was sealed comes out, and only once. Returns how many packets did.
pub fn receiver(bytes: &[u8]) -> usize {
    let mut device = Device::new(1);
    for (what, pause, data) in steps(bytes) {
        device.wait(pause);
        device.step(what, data);
    }
    device.act(|receiver, _, _, deliver| receiver.finish(deliver));
    device.wait(Duration::ZERO);
    device.delivered.len()
}

/// An authority among hostile nodes, and what it must never do again.
struct Master {
    authority: Authority,
    rng: ChaCha8Rng,
    now: Time,
    stored: Stored,
    /// Lanes that were handed out, as their servers would report them.
    offers: Vec<Held>,
    owners: BTreeMap<Vec<u8>, (ServerId, RunId)>,
    revision: (Term, u32),
}

impl Master {
    fn new(mode: Mode) -> Self {
        let channel = ChannelConfig {
            channel: CHANNEL,
            mode,
            timing: Timing::default(),
            auth: AuthLevel::Group,
        };
        let config = Config {
            keys: Keys::single(key()),
            channels: vec![channel],
            start_wait: START_WAIT,
            known_servers: Vec::new(),
            slaves: SlaveQuorum::default(),
        };
        Self {
            authority: Authority::start(config, Stored::default(), Time(0)),
            rng: ChaCha8Rng::seed_from_u64(1),
            now: Time(0),
            stored: Stored::default(),
            offers: Vec::new(),
            owners: BTreeMap::new(),
            revision: (Term::NONE, 0),
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Authority, Time, &mut ChaCha8Rng, &mut Vec<Output>)) {
        let mut out = Vec::new();
        act(&mut self.authority, self.now, &mut self.rng, &mut out);
        for output in out {
            match output {
                Output::Store => self.stored = self.authority.stored().clone(),
                Output::Send(_, message) => self.sent(&message),
                Output::Door(Update::Channel(served)) => self.serves(&served),
                Output::Door(_) | Output::Leads(_) => {}
                Output::Event(_) => {}
            }
        }
        assert!(
            self.stored == *self.authority.stored(),
            "a change without Output::Store"
        );
    }

    /// Devices are given nothing that a crash could make the authority forget.
    fn serves(&self, served: &Served) {
        let stored = self.stored.channels.get(&served.channel);
        let stored = || stored.into_iter().flat_map(|stored| &stored.epochs);
        let durable = |key: &ServedKey| {
            stored().any(|one| (one.epoch, &one.root, one.opened) == (key.epoch, &key.root, true))
        };
        let keys = served.others.iter();
        let mut keys = keys.chain(&served.in_use).chain(&served.next);
        assert!(keys.all(durable), "served before it is durable");
    }

    fn sent(&mut self, message: &FromAuthority) {
        match message {
            FromAuthority::CipherHalf(half) => {
                let certificate: LaneCertificate = verified(&half.certificate);
                let owner = (certificate.server, half.run);
                for lane in &half.lanes {
                    let known = self.owners.entry(lane.key().to_vec()).or_insert(owner);
                    assert_eq!(*known, owner, "SEC-06: a lane was handed out twice");
                }
                self.offers.push(Held {
                    epoch: half.epoch,
                    term: certificate.term,
                    group: certificate.group,
                    first_lane: certificate.first_lane,
                    remaining: half.remaining,
                });
            }
            FromAuthority::Notice(relay) => {
                let notice: Notice = verified(&relay.datagram);
                assert!(notice.term != self.revision.0 || notice.revision >= self.revision.1);
                self.revision = (notice.term, notice.revision);
            }
            _ => {}
        }
    }

    /// What a well-behaved server says: its Hello, or a report of lanes that were handed out.
    fn plausible(&self, server: u8, mode: Mode, data: &[u8]) -> ToAuthority {
        let &[current, next, run, flags, ..] = data else {
            return ToAuthority::Hello(Hello {
                server: ServerId(server.into()),
                key: key().verifying_key(),
                term: self.stored.term,
                other_master: !data.is_empty(),
            });
        };
        let held = |index: u8| self.offers.get(usize::from(index)).copied();
        ToAuthority::Report(Report {
            channel: CHANNEL,
            run: RunId(1 + u64::from(run)),
            mode,
            lanes: 1 + (flags >> 4),
            current: held(current),
            next: held(next),
            spare: None,
            notice: None,
            wants_next: flags & 1 != 0,
            early: None,
            new_group: flags & 2 != 0,
            sent: Sent::default(),
        })
    }

    /// No group has number 0: here it stands for lanes that were really handed out.
    fn complete(&self, held: &mut Option<Held>) {
        if let Some(held) = held.as_mut().filter(|held| held.group.0 == 0)
            && let Some(count) = u32::try_from(self.offers.len())
                .ok()
                .filter(|&count| count > 0)
        {
            *held = self.offers[(held.remaining.0 % count) as usize];
        }
    }
}

fn verified<T: Signed>(datagram: &[u8]) -> T {
    let unverified = Unverified::parse(datagram).expect("what we say is well formed");
    let verified = unverified.verify(&key().verifying_key()).ok();
    verified.expect("the signature is the authority's")
}

/// Every change is stored, no lane is handed out twice, no revision comes back. Returns how many lanes were handed out.
pub fn authority(bytes: &[u8]) -> usize {
    let (&[mode], bytes) = bytes.split_first_chunk().unwrap_or((&[0], &[]));
    let mode = [Mode::Authority, Mode::DeliveryServer][usize::from(mode & 1)];
    let mut master = Master::new(mode);
    let mut links = [0, 1, 2, 3];
    for (what, pause, data) in steps(bytes) {
        master.now = master.now.after(pause);
        master.act(|authority, now, rng, out| authority.poll(now, rng, out));
        let link = &mut links[usize::from(what & 3)];
        let conn = ConnId(*link);
        let message = match what >> 5 {
            0..4 => Some(master.plausible(what & 3, mode, data)),
            _ => read(data),
        };
        match (what >> 2 & 7, message) {
            (0, _) => {
                // A new link has a new number.
                *link += 4;
                master.act(|authority, _, _, _| authority.disconnected(conn));
            }
            (1, _) => master.act(|authority, now, rng, out| {
                let _ = authority.early(now, CHANNEL, rng, out);
            }),
            (_, Some(mut message)) => {
                if let ToAuthority::Report(report) = &mut message {
                    master.complete(&mut report.current);
                    master.complete(&mut report.next);
                }
                master.act(|authority, now, rng, out| {
                    authority.handle(now, conn, message, rng, out);
                });
            }
            _ => {}
        }
    }
    master.owners.len()
}
