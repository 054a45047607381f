//! A sender with two lanes and a receiver that hold the keys of as many epochs as a test wants.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, SigningKey, Span};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Kid, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::limits::{HEADER_LEN, OVERHEAD};
use sealcast_proto::receiver::{Event, ParkingBudget, Receiver, ReceiverConfig, VerifyConfig};
use sealcast_proto::sender::{Hold, ManifestConfig, Manifests, Prover, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, sign};
use sealcast_proto::wire::door::{DecipherHalf, Granted};
use sealcast_proto::wire::link::{CipherHalf, Frame, FromAuthority, Mode, Welcome};
use sealcast_proto::wire::manifest::MANIFEST_MAX;

pub(crate) const CHANNEL: ChannelId = ChannelId(3);
pub(crate) const GROUP: GroupId = GroupId(5);
pub(crate) const LANES: u8 = 2;
const RUN: RunId = RunId(8);
const TERM: Term = Term {
    number: 1,
    instance: 1,
};
const SENDER_SEED: [u8; 32] = [9; 32];
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const HOUR: Duration = Duration::from_secs(3600);
const REMAINING: Remaining = Remaining(30_000_000);

pub(crate) fn us(us: u64) -> Time {
    Time(us * 1000)
}

pub(crate) fn root(epoch: u64) -> EpochRoot {
    EpochRoot::from_bytes(*blake(epoch).as_bytes())
}

/// Some root that differs by epoch.
fn blake(epoch: u64) -> sealcast_crypto::Commitment {
    EpochRoot::from_bytes([1; 32])
        .prk()
        .commitment(CHANNEL.0, epoch)
}

pub(crate) fn kid(lane: usize, epoch: u64) -> Kid {
    let lane = Lane::new(u8::try_from(lane + 1).unwrap()).unwrap();
    Kid::new(lane, CHANNEL, Epoch(epoch))
}

pub(crate) struct World {
    authority: SigningKey,
    sender: Sender,
    manifests: Vec<Manifests>,
    pub(crate) receiver: Receiver,
    rng: ChaCha8Rng,
    pub(crate) delivered: Vec<Vec<u8>>,
    /// The number of the next payload, and the lane that it is for.
    next: u64,
    lane: usize,
    current: u64,
}

impl World {
    /// Sender and receiver under epoch 1.
    pub(crate) fn new(manifests: ManifestConfig, verify: VerifyConfig) -> Self {
        let timing = Timing::new(20 * HOUR, 8 * HOUR, 4 * HOUR, HOUR).unwrap();
        let sending = SenderConfig {
            channel: CHANNEL,
            server: ServerId(1),
            run: RUN,
            mode: Mode::Authority,
            lanes: LANES,
            timing,
            hold: Hold::Hold,
            payload_max: 1444,
            keylog: false,
        };
        let receiving = ReceiverConfig {
            verify,
            ..ReceiverConfig::new(CHANNEL, timing)
        };
        let authority = SigningKey::from_seed(&[7; 32]);
        let mut world = Self {
            sender: Sender::new(sending, &SENDER_SEED),
            manifests: (0..LANES).map(|_| Manifests::new(manifests)).collect(),
            receiver: Receiver::new(receiving, ParkingBudget::default(), us(0)),
            rng: ChaCha8Rng::seed_from_u64(1),
            delivered: Vec::new(),
            next: 0,
            lane: 0,
            current: 0,
            authority,
        };
        let authority = world.authority.verifying_key();
        world.receiver.set_authority(authority, None);
        world.sender.link_up(us(0));
        let welcome = Welcome {
            term: TERM,
            authority,
            successor: None,
        };
        world.tell(us(0), FromAuthority::Welcome(welcome));
        world.epoch(us(0), 1);
        world
    }

    fn tell(&mut self, now: Time, message: FromAuthority) {
        let frame = Frame { sent: now, message };
        self.sender.handle_link(now, frame, &mut self.rng);
        while self.sender.poll_output().is_some() {}
    }

    /// The sender goes over to this epoch at once; the receiver fetches its key when it sees packets.
    pub(crate) fn epoch(&mut self, now: Time, epoch: u64) {
        let certificate = self.certificate(epoch);
        let half = CipherHalf {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(epoch),
            lanes: [0, 1]
                .map(|lane| root(epoch).prk().lane_secret(kid(lane, epoch).value()))
                .to_vec(),
            remaining: REMAINING,
            at_once: true,
            certificate: certificate.clone(),
        };
        self.tell(now, FromAuthority::CipherHalf(half));
        self.arrive(now, 0, &certificate);
        self.current = epoch;
        self.poll(now);
    }

    /// Answers what the receiver asks the key doors.
    fn grant(&mut self, now: Time, number: u64) {
        let granted = Granted {
            number,
            channel: CHANNEL,
            current: DecipherHalf {
                epoch: Epoch(self.current),
                root: root(self.current),
                remaining: REMAINING,
            },
            next: None,
            fetch_offset: Remaining(0),
            authority: self.authority.verifying_key(),
            successor: None,
            timing: Timing::new(20 * HOUR, 8 * HOUR, 4 * HOUR, HOUR).unwrap(),
            cookies: Vec::new(),
        };
        let delivered = &mut self.delivered;
        let deliver = &mut |payload: &[u8]| delivered.push(payload.to_vec());
        self.receiver.handle_granted(now, now, granted, deliver);
    }

    fn certificate(&self, epoch: u64) -> Vec<u8> {
        let certificate = LaneCertificate {
            channel: CHANNEL,
            term: TERM,
            group: GROUP,
            follows: None,
            server: ServerId(1),
            server_key: SigningKey::from_seed(&SENDER_SEED).verifying_key(),
            first_lane: Lane::new(1).unwrap(),
            lanes: LANES,
            first_epoch: Epoch(epoch),
            last_epoch: Epoch(epoch),
            auth: AuthLevel::Manifest,
        };
        sign(&certificate, &self.authority)
    }

    /// Seals the next payloads, dealt to the lanes one by one; each payload is its number. Returns the packets, then the manifests that are
    /// due.
    pub(crate) fn seal(&mut self, now: Time, count: u64) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        const LEN: usize = 8 + OVERHEAD;
        let mut packets = vec![Vec::new(); usize::try_from(count).unwrap()];
        for turn in 0..usize::from(LANES) {
            let lane = (self.lane + turn) % usize::from(LANES);
            let mine: Vec<_> = (turn..packets.len()).step_by(LANES.into()).collect();
            let mut buffer = vec![0; mine.len() * LEN];
            let mut spans: Vec<_> = (0..mine.len())
                .map(|place| Span {
                    offset: place * LEN,
                    header_len: HEADER_LEN,
                    payload_len: 8,
                    ctr: 0,
                })
                .collect();
            for (span, &index) in spans.iter().zip(&mine) {
                let number = (self.next + index as u64).to_be_bytes();
                buffer[span.offset + HEADER_LEN..][..8].copy_from_slice(&number);
            }
            let reserved = self
                .sender
                .reserve(now, lane, &mut buffer, &mut spans)
                .unwrap();
            let prover: Arc<Prover> = reserved
                .prover()
                .expect("the certificate asks for manifests");
            reserved.seal(&mut buffer, &spans);
            self.manifests[lane].sealed(now, &prover, &buffer, &spans);
            for (packet, &index) in buffer.chunks(LEN).zip(&mine) {
                packets[index] = packet.to_vec();
            }
        }
        self.next += count;
        self.lane = (self.lane + packets.len()) % usize::from(LANES);
        let manifests = self.due(now);
        (packets, manifests)
    }

    /// The manifests that are due.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for manifests in &mut self.manifests {
            manifests.poll(now);
            due.extend(std::iter::from_fn(|| manifests.poll_datagram(MANIFEST_MAX)));
        }
        due
    }

    /// All manifests that are left.
    pub(crate) fn last(&mut self, now: Time) -> Vec<Vec<u8>> {
        self.manifests
            .iter_mut()
            .for_each(|manifests| manifests.finish(now));
        self.due(now)
    }

    pub(crate) fn arrive(&mut self, now: Time, leg: usize, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        let (segment, delivered) = (bytes.len(), &mut self.delivered);
        let deliver = &mut |payload: &[u8]| delivered.push(payload.to_vec());
        self.receiver.handle_batch(
            now,
            SERVER,
            leg,
            &mut bytes,
            segment,
            &mut self.rng,
            deliver,
        );
    }

    pub(crate) fn poll(&mut self, now: Time) {
        let delivered = &mut self.delivered;
        let deliver = &mut |payload: &[u8]| delivered.push(payload.to_vec());
        self.receiver.poll(now, &mut self.rng, deliver);
        while let Some(wanted) = self.receiver.poll_request() {
            self.grant(now, wanted.number);
        }
    }

    pub(crate) fn finish(&mut self) {
        let delivered = &mut self.delivered;
        self.receiver
            .finish(&mut |payload| delivered.push(payload.to_vec()));
    }

    /// The numbers that were delivered since it was asked last, and what else was: nothing a sender of this world sealed.
    pub(crate) fn take_delivered(&mut self) -> (Vec<u64>, Vec<Vec<u8>>) {
        let (mut numbers, mut others) = (Vec::new(), Vec::new());
        for payload in self.delivered.drain(..) {
            match <[u8; 8]>::try_from(payload.as_slice()) {
                Ok(bytes) if u64::from_be_bytes(bytes) < self.next => {
                    numbers.push(u64::from_be_bytes(bytes))
                }
                _ => others.push(payload),
            }
        }
        (numbers, others)
    }

    /// Alarms: packets forged, of these delivered, and packets without manifests.
    pub(crate) fn alarms(&mut self) -> (u64, u64, u64) {
        let mut told = (0, 0, 0);
        while let Some(event) = self.receiver.poll_event() {
            match event {
                Event::Forged { packets, delivered } => {
                    told = (told.0 + packets, told.1 + delivered, told.2)
                }
                Event::Unverified { packets } => told.2 += packets,
                _ => {}
            }
        }
        told
    }
}
