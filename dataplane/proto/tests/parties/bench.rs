//! An authority that says what a test wants, a sender, a receiver.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::{EpochRoot, SigningKey, Span, VerifyingKey};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Kid, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::limits::{HEADER_LEN, OVERHEAD};
use sealcast_proto::receiver::{FetchOn, ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::sender::{self, Hold, NotSending, Output, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, Notice, sign};
use sealcast_proto::wire::door::{DecipherHalf, Granted, Wanted};
use sealcast_proto::wire::link::{
    CipherHalf, Frame, FromAuthority, Mode, NoticeRelay, Report, ToAuthority, Welcome,
};

pub(crate) const CHANNEL: ChannelId = ChannelId(3);
pub(crate) const RUN: RunId = RunId(8);
pub(crate) const TERM: Term = Term {
    number: 1,
    instance: 1,
};
pub(crate) const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

pub(crate) fn at(ms: u64) -> Time {
    Time(ms * 1_000_000)
}

pub(crate) fn timing() -> Timing {
    let ms = Duration::from_millis;
    Timing::new(ms(10_000), ms(4_000), ms(2_000), ms(500)).unwrap()
}

pub(crate) fn root(epoch: u64) -> EpochRoot {
    EpochRoot::from_bytes([u8::try_from(epoch).unwrap(); 32])
}

/// An authority that says what a test wants, a sender, a receiver.
pub(crate) struct Bench {
    /// What signs.
    pub(crate) authority: SigningKey,
    /// What is told of it: the authority key and its successor.
    pub(crate) keys: (VerifyingKey, Option<VerifyingKey>),
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) delivered: Vec<Vec<u8>>,
    /// What the sender said to the authority.
    pub(crate) said: Vec<ToAuthority>,
    pub(crate) events: Vec<sender::Event>,
    pub(crate) multicast: Vec<Vec<u8>>,
    /// When the receiver was polled last, and when each request left.
    polled: Time,
    asked: BTreeMap<u64, Time>,
}

pub(crate) const SENDER_SEED: [u8; 32] = [9; 32];

impl Bench {
    pub(crate) fn new(hold: Hold, fetch_on: FetchOn) -> Self {
        let config = SenderConfig {
            channel: CHANNEL,
            server: ServerId(1),
            run: RUN,
            mode: Mode::Authority,
            lanes: 1,
            timing: timing(),
            hold,
            payload_max: 1444,
            keylog: false,
        };
        let receiving = ReceiverConfig {
            fetch_on,
            ..ReceiverConfig::new(CHANNEL, timing())
        };
        let authority = SigningKey::from_seed(&[7; 32]);
        let mut bench = Self {
            keys: (authority.verifying_key(), None),
            authority,
            sender: Sender::new(config, &SENDER_SEED),
            receiver: Receiver::new(receiving, ParkingBudget::default(), at(0)),
            rng: ChaCha8Rng::seed_from_u64(1),
            delivered: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
            multicast: Vec::new(),
            polled: at(0),
            asked: BTreeMap::new(),
        };
        bench.sender.link_up(at(0));
        bench.tell_keys(0);
        bench.receiver.set_authority(bench.keys.0, bench.keys.1);
        bench
    }

    /// The sender is told of the keys.
    pub(crate) fn tell_keys(&mut self, ms: u64) {
        let (authority, successor) = self.keys;
        let welcome = Welcome {
            term: TERM,
            authority,
            successor,
        };
        self.tell_sender(ms, FromAuthority::Welcome(welcome));
    }

    pub(crate) fn tell_sender(&mut self, ms: u64, message: FromAuthority) {
        self.sender.handle_link(
            at(ms),
            Frame {
                sent: at(ms),
                message,
            },
            &mut self.rng,
        );
        self.drain(ms);
    }

    /// A key door gave the receiver keys.
    pub(crate) fn give_receiver(&mut self, ms: u64, granted: Granted) {
        let delivered = &mut self.delivered;
        let deliver = &mut |payload: &[u8]| delivered.push(payload.to_vec());
        let asked = self.asked.get(&granted.number).copied();
        let asked = asked.unwrap_or_else(|| at(ms));
        self.receiver
            .handle_granted(at(ms), asked, granted, deliver);
    }

    pub(crate) fn drain(&mut self, _ms: u64) {
        while let Some(output) = self.sender.poll_output() {
            match output {
                Output::Link(message) => self.said.push(message),
                Output::Multicast(datagram) | Output::KeyBlock(datagram) => {
                    self.multicast.push(datagram)
                }
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    pub(crate) fn poll(&mut self, ms: u64) {
        self.sender.poll(at(ms), &mut self.rng);
        self.drain(ms);
        let delivered = &mut self.delivered;
        let deliver = &mut |payload: &[u8]| delivered.push(payload.to_vec());
        self.receiver.poll(at(ms), &mut self.rng, deliver);
        self.polled = at(ms);
    }

    pub(crate) fn certificate(&self, epoch: u64, group: u64) -> Vec<u8> {
        self.certificate_of(epoch, group, &SENDER_SEED)
    }

    /// A certificate of the delivery server whose key has this seed.
    pub(crate) fn certificate_of(&self, epoch: u64, group: u64, server: &[u8; 32]) -> Vec<u8> {
        let certificate = LaneCertificate {
            channel: CHANNEL,
            term: TERM,
            group: GroupId(group),
            follows: None,
            server: ServerId(1),
            server_key: SigningKey::from_seed(server).verifying_key(),
            first_lane: Lane::new(1).unwrap(),
            lanes: 1,
            first_epoch: Epoch(epoch),
            last_epoch: Epoch(epoch),
            auth: AuthLevel::Group,
        };
        sign(&certificate, &self.authority)
    }

    /// Gives the sender its half of `epoch`, which ends `remaining` ms from now.
    pub(crate) fn cipher(&mut self, ms: u64, epoch: u64, remaining: u32, at_once: bool) {
        let half = self.cipher_half(epoch, remaining, at_once);
        self.tell_sender(ms, FromAuthority::CipherHalf(half));
        self.poll(ms);
    }

    pub(crate) fn cipher_half(&self, epoch: u64, remaining: u32, at_once: bool) -> CipherHalf {
        let kid = Kid::new(Lane::new(1).unwrap(), CHANNEL, Epoch(epoch));
        CipherHalf {
            channel: CHANNEL,
            run: RUN,
            epoch: Epoch(epoch),
            lanes: vec![root(epoch).prk().lane_secret(kid.value())],
            remaining: Remaining(remaining),
            at_once,
            certificate: self.certificate(epoch, 5),
        }
    }

    pub(crate) fn notice(&self, current: u64, remaining: u32, key: &SigningKey) -> Vec<u8> {
        sign(&self.unsigned_notice(current, remaining), key)
    }

    /// A change from `current` to the epoch after it.
    pub(crate) fn unsigned_notice(&self, current: u64, remaining: u32) -> Notice {
        let commitment = |epoch: u64| Some(root(epoch).prk().commitment(CHANNEL.0, epoch));
        Notice {
            channel: CHANNEL,
            term: TERM,
            current: Epoch(current),
            next: Epoch(current + 1),
            current_commitment: commitment(current),
            next_commitment: commitment(current + 1),
            revision: u32::try_from(current).unwrap(),
            remaining: Remaining(remaining),
        }
    }

    pub(crate) fn announce(&mut self, ms: u64, current: u64, remaining: u32) {
        let datagram = self.notice(current, remaining, &self.authority);
        self.tell_sender(ms, FromAuthority::Notice(NoticeRelay { datagram }));
    }

    /// The requests a receiver has for the key doors: which epoch each wants.
    pub(crate) fn requests(&mut self) -> Vec<(u64, Option<Epoch>)> {
        let requests: Vec<_> = std::iter::from_fn(|| self.receiver.poll_request()).collect();
        let asked = |wanted: Wanted| {
            assert_eq!(wanted.channel, CHANNEL);
            self.asked.insert(wanted.number, self.polled);
            (wanted.number, wanted.epoch)
        };
        requests.into_iter().map(asked).collect()
    }

    pub(crate) fn grant(
        &mut self,
        ms: u64,
        number: u64,
        current: (u64, u32),
        next: Option<(u64, u32)>,
    ) {
        let half = |(epoch, remaining): (u64, u32)| DecipherHalf {
            epoch: Epoch(epoch),
            root: root(epoch),
            remaining: Remaining(remaining),
        };
        let granted = Granted {
            number,
            channel: CHANNEL,
            current: half(current),
            next: next.map(half),
            fetch_offset: Remaining(300),
            authority: self.keys.0,
            successor: self.keys.1,
            timing: timing(),
            cookies: Vec::new(),
        };
        self.give_receiver(ms, granted);
    }

    pub(crate) fn seal(&mut self, ms: u64, content: &[u8]) -> Result<Vec<u8>, NotSending> {
        let mut packet = vec![0; content.len() + OVERHEAD];
        packet[HEADER_LEN..HEADER_LEN + content.len()].copy_from_slice(content);
        let mut spans = [Span {
            offset: 0,
            header_len: HEADER_LEN,
            payload_len: content.len(),
            ctr: 0,
        }];
        let sealed = self.sender.seal(at(ms), 0, &mut packet, &mut spans);
        self.drain(ms);
        sealed.map(|()| packet)
    }

    pub(crate) fn arrive(&mut self, ms: u64, datagram: &[u8]) {
        let mut bytes = datagram.to_vec();
        let segment = bytes.len();
        let delivered = &mut self.delivered;
        let deliver = &mut |payload: &[u8]| delivered.push(payload.to_vec());
        self.receiver.handle_batch(
            at(ms),
            SERVER,
            0,
            &mut bytes,
            segment,
            &mut self.rng,
            deliver,
        );
    }

    /// Sender and receiver both under epoch 1, which ends at 10,000 ms.
    pub(crate) fn started(hold: Hold, fetch_on: FetchOn) -> Self {
        let mut bench = Self::new(hold, fetch_on);
        bench.cipher(0, 1, 10_000, true);
        let certificate = bench.certificate(1, 5);
        bench.arrive(1, &certificate);
        bench.poll(2);
        let (number, wanted) = bench.requests()[0];
        assert_eq!(
            wanted, None,
            "MD-06: a device asks for the current key at its start"
        );
        bench.grant(3, number, (1, 10_000), None);
        bench
    }

    pub(crate) fn last_report(&self) -> &Report {
        let reports = self.said.iter().rev().find_map(|message| match message {
            ToAuthority::Report(report) => Some(report),
            _ => None,
        });
        reports.expect("a sender reports")
    }
}
