//! What must hold for any bytes: nothing panics, and what parses is written back the same. Shared by the smoke run and the
//! fuzz targets, one function each.

use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use sealcast_crypto::SigningKey;
use sealcast_proto::ids::{ChannelId, Term, Time};
use sealcast_proto::receiver::{ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::Wire;
use sealcast_proto::wire::control::{LaneCertificate, Notice, Unverified};
use sealcast_proto::wire::door::{
    DoorMessage as _, Granted, KeyReply, KeyRequest, Refusal, Wanted,
};
use sealcast_proto::wire::header::Header;
use sealcast_proto::wire::link::{Frame, FromAuthority, ToAuthority, Welcome};

/// The authority's key in these checks.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn written_back<T: Wire>(bytes: &[u8]) {
    if let Ok(message) = T::decode_all(bytes) {
        let mut again = Vec::new();
        message.encode(&mut again);
        assert_eq!(again, bytes);
    }
}

/// RFC 9605 headers.
pub(crate) fn header(bytes: &[u8]) {
    if let Ok((header, length)) = Header::parse(bytes) {
        let mut out = [0; 17];
        let written = header.write(&mut out);
        assert_eq!((written, &out[..length]), (length, &bytes[..length]));
    }
}

/// Control datagrams.
pub(crate) fn control(bytes: &[u8]) {
    let key = key().verifying_key();
    let _ = Unverified::<Notice>::parse(bytes).map(|notice| notice.verify(&key).is_ok());
    let _ = Unverified::<LaneCertificate>::parse(bytes).map(|lanes| lanes.verify(&key).is_ok());
}

/// Messages of the key door.
pub(crate) fn door(bytes: &[u8]) {
    written_back::<Wanted>(bytes);
    written_back::<Granted>(bytes);
    let _ =
        KeyRequest::from_datagram(bytes).map(|request| assert_eq!(request.to_datagram(), bytes));
    let _ = KeyReply::from_datagram(bytes).map(|reply| assert_eq!(reply.to_datagram(), bytes));
    let _ = Refusal::from_datagram(bytes).map(|refusal| assert_eq!(refusal.to_datagram(), bytes));
}

/// Messages of the node link.
pub(crate) fn link(bytes: &[u8]) {
    written_back::<Frame<ToAuthority>>(bytes);
    written_back::<Frame<FromAuthority>>(bytes);
    written_back::<ToAuthority>(bytes);
    written_back::<FromAuthority>(bytes);
}

/// All of them.
pub(crate) fn everything(bytes: &[u8]) {
    [header, control, door, link]
        .into_iter()
        .for_each(|check| check(bytes));
}

/// A receiver that gets whatever comes, a millisecond apart.
pub(crate) struct Device {
    receiver: Receiver,
    rng: ChaCha8Rng,
    now: u64,
}

impl Device {
    pub(crate) fn new(seed: u64) -> Self {
        let seconds = Duration::from_secs;
        let timing =
            Timing::new(seconds(60), seconds(20), seconds(10), seconds(2)).expect("they fit");
        let config = ReceiverConfig::new(ChannelId(7), timing);
        let mut device = Self {
            receiver: Receiver::new(config, ParkingBudget::default(), Time(0)),
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
        };
        let welcome = FromAuthority::Welcome(Welcome {
            term: Term {
                number: 3,
                instance: 4,
            },
            authority: key().verifying_key(),
            successor: None,
        });
        let Self { receiver, rng, .. } = &mut device;
        receiver.handle_link(Time(0), welcome, rng, &mut |_| {});
        device
    }

    /// One buffer of datagrams. Nothing in it opens.
    pub(crate) fn take(&mut self, bytes: &mut [u8], segment: usize) {
        self.now += 1_000_000;
        let (now, from) = (Time(self.now), IpAddr::from([10, 0, 0, 1]));
        let before = self.receiver.stats().datagrams;
        let count = bytes.len().div_ceil(segment.max(1)) as u64;
        let deliver = &mut |_: &[u8]| panic!("bytes that nobody sealed came out");
        self.receiver
            .handle_batch(now, from, 0, bytes, segment, &mut self.rng, deliver);
        self.receiver.poll(now, &mut self.rng, deliver);
        assert_eq!(self.receiver.stats().datagrams, before + count);
    }
}
