//! A sender, an authority by hand, a key door, and devices with places in a key tree, in virtual time.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sealcast_crypto::{EpochRoot, SigningKey, Span, TreeTop};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Kid, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::key_block::{Generation, Path, Plan, Seal, size};
use sealcast_proto::key_tree::{Position, Tree};
use sealcast_proto::limits::{HEADER_LEN, NOTICE_INTERVAL, OVERHEAD};
use sealcast_proto::receiver::{ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::sender::{Hold, Output, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, Notice, sign};
use sealcast_proto::wire::door::{DecipherHalf, Granted, Reason, Refused, Wanted};
use sealcast_proto::wire::link::{
    BlockPart, CipherHalf, Frame, FromAuthority, Mode, NoticeRelay, Welcome,
};

pub(crate) const CHANNEL: ChannelId = ChannelId(9);
pub(crate) const MILLION: u32 = 1_000_000;
/// 4 Mbit/s.
pub(crate) const RATE: u64 = 500_000;
const PAYLOAD: usize = 1316;
const TERM: Term = Term {
    number: 1,
    instance: 1,
};
const RUN: RunId = RunId(8);
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// A step of the clock.
const STEP: Duration = Duration::from_millis(5);
/// From a request to its answer.
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// From the key half to the announcement.
const LOCKSTEP: Duration = Duration::from_millis(50);

pub(crate) fn root(epoch: u64) -> EpochRoot {
    let mut bytes = [0x11; 32];
    bytes[..8].copy_from_slice(&epoch.to_be_bytes());
    EpochRoot::from_bytes(bytes)
}

/// A generation with a million positions, without these.
pub(crate) fn generation(gone: &BTreeSet<u32>) -> Generation {
    Generation {
        number: 1,
        tree: Tree::new(20).unwrap(),
        top: TreeTop::from_bytes(&[4; 32]),
        given: MILLION,
        gone: gone.iter().copied().map(Position).collect(),
    }
}

/// So many positions, anywhere.
pub(crate) fn scattered(count: usize, seed: u64) -> BTreeSet<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut gone = BTreeSet::new();
    while gone.len() < count {
        gone.insert(rng.next_u32() % MILLION);
    }
    gone
}

/// One device.
pub(crate) struct Device {
    pub(crate) position: u32,
    receiver: Receiver,
    /// Requests that it has sent.
    pub(crate) requests: u64,
    /// Payloads that it has delivered, and the number of the last one.
    pub(crate) delivered: u64,
    last: u64,
    /// Of this epoch's key block it gets nothing.
    pub(crate) loses: Option<u64>,
    /// Answers that are under way.
    answers: Vec<(Time, Time, Wanted)>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    timing: Timing,
    authority: SigningKey,
    sender: Sender,
    pub(crate) devices: Vec<Device>,
    pub(crate) gone: BTreeSet<u32>,
    /// Thousandths that key blocks may take.
    pub(crate) permille: u16,
    rng: ChaCha8Rng,
    /// The epoch in use, and when it is over.
    pub(crate) epoch: u64,
    boundary: Time,
    /// When the next half is given, when the change is announced; over, if it was.
    prepared: bool,
    announced: Option<Time>,
    sent_bytes: u64,
    pub(crate) sent: u64,
    began: Time,
    /// Every datagram of a key block that was on the air, by epoch.
    pub(crate) blocks: Vec<(u64, Vec<u8>)>,
    /// Epochs whose block was too long.
    pub(crate) off: Vec<u64>,
}

impl World {
    pub(crate) fn new(timing: Timing, gone: BTreeSet<u32>, permille: u16) -> Self {
        let config = SenderConfig {
            channel: CHANNEL,
            server: ServerId(1),
            run: RUN,
            mode: Mode::Authority,
            lanes: 1,
            timing,
            hold: Hold::Hold,
            payload_max: PAYLOAD,
            keylog: false,
        };
        let now = Time(1_000_000_000);
        let mut world = Self {
            now,
            timing,
            authority: SigningKey::from_seed(&[7; 32]),
            sender: Sender::new(config, &[9; 32]),
            devices: Vec::new(),
            gone,
            permille,
            rng: ChaCha8Rng::seed_from_u64(1),
            epoch: 1,
            boundary: now.after(timing.lifetime()),
            prepared: false,
            announced: None,
            sent_bytes: 0,
            sent: 0,
            began: now,
            blocks: Vec::new(),
            off: Vec::new(),
        };
        world.sender.link_up(now);
        let welcome = Welcome {
            term: TERM,
            authority: world.authority.verifying_key(),
            successor: None,
        };
        world.tell(FromAuthority::Welcome(welcome));
        world.half(1, timing.lifetime(), true);
        world
    }

    /// A device with this position; `path` is what its session brought.
    pub(crate) fn join(&mut self, position: u32, path: Option<&Generation>) {
        let config = ReceiverConfig::new(CHANNEL, self.timing);
        let mut receiver = Receiver::new(config, ParkingBudget::default(), self.now);
        receiver.set_authority(self.authority.verifying_key(), None);
        if let Some(generation) = path {
            let path = Path::new(generation, Position(position), Epoch(self.epoch));
            receiver.set_path(path.unwrap());
        }
        self.devices.push(Device {
            position,
            receiver,
            requests: 0,
            delivered: 0,
            last: 0,
            loses: None,
            answers: Vec::new(),
        });
    }

    fn tell(&mut self, message: FromAuthority) {
        let frame = Frame {
            sent: self.now,
            message,
        };
        self.sender.handle_link(self.now, frame, &mut self.rng);
    }

    fn half(&mut self, epoch: u64, remaining: Duration, at_once: bool) {
        let lane = Lane::new(1).unwrap();
        let kid = Kid::new(lane, CHANNEL, Epoch(epoch));
        let certificate = LaneCertificate {
            channel: CHANNEL,
            term: TERM,
            group: GroupId(5),
            follows: None,
            server: ServerId(1),
            server_key: SigningKey::from_seed(&[9; 32]).verifying_key(),
            first_lane: lane,
            lanes: 1,
            first_epoch: Epoch(epoch),
            last_epoch: Epoch(epoch),
            auth: AuthLevel::Group,
        };
        let half = CipherHalf {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(epoch),
            lanes: vec![root(epoch).prk().lane_secret(kid.value())],
            remaining: millis(remaining),
            at_once,
            certificate: sign(&certificate, &self.authority),
        };
        self.tell(FromAuthority::CipherHalf(half));
    }

    /// The authority's part: half, announcement with the key block, Notices until the boundary.
    fn change(&mut self) {
        let next = self.epoch + 1;
        let left = self.boundary.since(self.now);
        if !self.prepared && left <= self.timing.prepare_ahead() {
            self.prepared = true;
            self.half(next, left + self.timing.lifetime(), false);
            self.announced = None;
        }
        let due = self
            .boundary
            .before(self.timing.prepare_ahead())
            .after(LOCKSTEP);
        if self.prepared && self.announced.is_none() && self.now >= due {
            self.block(next);
        }
        if self.prepared
            && self.now >= due
            && self
                .announced
                .is_none_or(|last| self.now.since(last) >= NOTICE_INTERVAL)
        {
            self.announced = Some(self.now);
            self.notice(next, left);
        }
        if self.now >= self.boundary {
            self.epoch = next;
            self.boundary = self.boundary.after(self.timing.lifetime());
            (self.prepared, self.announced) = (false, None);
        }
    }

    fn notice(&mut self, next: u64, left: Duration) {
        let commitment = |epoch: u64| Some(root(epoch).prk().commitment(CHANNEL.0, epoch));
        let notice = Notice {
            channel: CHANNEL,
            term: TERM,
            current: Epoch(self.epoch),
            next: Epoch(next),
            current_commitment: commitment(self.epoch),
            next_commitment: commitment(next),
            revision: u32::try_from(next).unwrap(),
            remaining: millis(left),
        };
        let datagram = sign(&notice, &self.authority);
        self.tell(FromAuthority::Notice(NoticeRelay { datagram }));
    }

    /// As the master does: whoever may have the root is read at the announcement; a block that is too long is off.
    fn block(&mut self, next: u64) {
        let generation = generation(&self.gone);
        let length = size(generation.cover().count());
        let plan = Plan::new(length, RATE, self.timing.lifetime(), self.permille);
        let Some(plan) = plan else {
            return self.off.push(next);
        };
        let seal = Seal {
            channel: CHANNEL,
            term: TERM,
            epoch: Epoch(next),
            root: &root(next),
            key: &self.authority,
        };
        let datagrams = seal.block(&generation);
        let parts = u16::try_from(datagrams.len().div_ceil(48)).unwrap();
        for (part, some) in (0..).zip(datagrams.chunks(48)) {
            self.tell(FromAuthority::BlockPart(BlockPart {
                channel: CHANNEL,
                epoch: Epoch(next),
                part,
                parts,
                plan,
                datagrams: some.to_vec(),
            }));
        }
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now.after(time);
        while self.now < until {
            self.now = self.now.after(STEP);
            self.change();
            self.sender.poll(self.now, &mut self.rng);
            self.flush();
            self.packets();
            self.doors();
        }
    }

    fn flush(&mut self) {
        while let Some(output) = self.sender.poll_output() {
            if let Output::Multicast(datagram) | Output::KeyBlock(datagram) = output {
                let is_block = datagram[0] == 4;
                if is_block {
                    let epoch = u64::from_be_bytes(datagram[20..28].try_into().unwrap());
                    self.blocks.push((epoch, datagram.clone()));
                }
                self.arrive(&datagram, is_block);
            }
        }
    }

    fn packets(&mut self) {
        let elapsed = u64::try_from(self.now.since(self.began).as_millis()).unwrap();
        while self.sent_bytes < RATE * elapsed / 1000 {
            self.sent_bytes += PAYLOAD as u64;
            self.sent += 1;
            let mut packet = vec![0; PAYLOAD + OVERHEAD];
            packet[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&self.sent.to_be_bytes());
            let mut spans = [Span {
                offset: 0,
                header_len: HEADER_LEN,
                payload_len: PAYLOAD,
                ctr: 0,
            }];
            let sealed = self.sender.seal(self.now, 0, &mut packet, &mut spans);
            sealed.unwrap();
            self.flush();
            self.arrive(&packet, false);
        }
    }

    fn arrive(&mut self, datagram: &[u8], is_block: bool) {
        for device in &mut self.devices {
            let epoch = is_block.then(|| u64::from_be_bytes(datagram[20..28].try_into().unwrap()));
            if epoch.is_some() && epoch == device.loses {
                continue;
            }
            let (delivered, last) = (&mut device.delivered, &mut device.last);
            let mut deliver = |payload: &[u8]| {
                let number = u64::from_be_bytes(payload[..8].try_into().unwrap());
                assert!(number > *last, "in order, each once");
                (*delivered, *last) = (*delivered + 1, number);
            };
            let (mut buffer, len) = (datagram.to_vec(), datagram.len());
            let receiver = &mut device.receiver;
            receiver.handle_batch(
                self.now,
                SERVER,
                0,
                &mut buffer,
                len,
                &mut self.rng,
                &mut deliver,
            );
        }
    }

    /// A datagram of before comes to one device again.
    pub(crate) fn replay(&mut self, device: usize, datagram: &[u8]) {
        let (mut buffer, len) = (datagram.to_vec(), datagram.len());
        let receiver = &mut self.devices[device].receiver;
        let rng = &mut self.rng;
        receiver.handle_batch(self.now, SERVER, 0, &mut buffer, len, rng, &mut |_| {});
    }

    /// Requests go to a key door, which answers those who are entitled.
    fn doors(&mut self) {
        for device in &mut self.devices {
            let delivered = &mut device.delivered;
            let mut deliver = |_: &[u8]| *delivered += 1;
            let receiver = &mut device.receiver;
            receiver.poll(self.now, &mut self.rng, &mut deliver);
            while let Some(wanted) = receiver.poll_request() {
                device.requests += 1;
                let asked = (self.now.after(ROUND_TRIP), self.now, wanted);
                device.answers.push(asked);
            }
            let now = self.now;
            for (_, asked, wanted) in device.answers.extract_if(.., |(due, _, _)| *due <= now) {
                if self.gone.contains(&device.position) {
                    let refused = Refused {
                        number: wanted.number,
                        channel: CHANNEL,
                        reason: Reason::NotEntitled,
                        retry_after: Remaining(1000),
                    };
                    receiver.handle_refused(now, &refused, &mut self.rng);
                    continue;
                }
                let half = |epoch, end: Time| DecipherHalf {
                    epoch: Epoch(epoch),
                    root: root(epoch),
                    remaining: end.remaining(now),
                };
                let next = self.boundary.after(self.timing.lifetime());
                let granted = Granted {
                    number: wanted.number,
                    channel: CHANNEL,
                    current: half(self.epoch, self.boundary),
                    next: self.announced.map(|_| half(self.epoch + 1, next)),
                    fetch_offset: Remaining(self.rng.next_u32() % 200),
                    authority: self.authority.verifying_key(),
                    successor: None,
                    timing: self.timing,
                    cookies: Vec::new(),
                };
                receiver.handle_granted(now, asked, granted, &mut deliver);
            }
        }
    }

    /// Roots that came to a device in key blocks.
    pub(crate) fn roots(&self, device: usize) -> u64 {
        self.devices[device].receiver.stats().key_blocks
    }
}

fn millis(duration: Duration) -> Remaining {
    Remaining(u32::try_from(duration.as_millis()).unwrap())
}
