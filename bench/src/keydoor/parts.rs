//! What an answer costs without a network: the door's work, and the sealing and opening in it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::SivKey;
use sealcast_net::clock;
use sealcast_proto::door::{Door, Outcome};
use sealcast_proto::ids::Time;
use sealcast_proto::wire::door::KeyRequestView;

use super::mint::Mint;

/// Requests that are answered; no session twice.
const COUNT: usize = 20_000;
/// How long the cryptography is repeated.
const LONG: Duration = Duration::from_millis(100);

/// Nanoseconds of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    /// All that the door does.
    pub(super) answer: f64,
    /// Its AES-256-GCM-SIV: two keys expanded; cookie and request opened; cookie and reply sealed.
    pub(super) crypto: f64,
    /// Bytes of a request and of its reply.
    pub(super) lengths: (usize, usize),
}

/// Measures both.
pub(super) fn alone(mint: &mut Mint) -> Result<Alone> {
    let mut rng = StdRng::seed_from_u64(9);
    let requests = mint.requests(COUNT)?;
    let mut door = Door::new(&mut rng);
    mint.updates()
        .into_iter()
        .for_each(|update| door.update(update));
    let (mut reply, source) = (Vec::new(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let now = Time(clock::boottime());
    let start = Instant::now();
    for index in 0..COUNT {
        let outcome = door.answer(now, source, requests.get(index), &mut rng, &mut reply);
        ensure!(outcome == Outcome::Granted, "{outcome:?}");
    }
    let answer = start.elapsed().as_nanos() as f64 / COUNT as f64;
    Ok(Alone {
        answer,
        crypto: crypto(requests.get(0), reply.len())?,
        lengths: (requests.len(), reply.len()),
    })
}

/// The same amounts under keys of the same kind.
fn crypto(request: &[u8], reply: usize) -> Result<f64> {
    let view = KeyRequestView::parse(request)?;
    let ticket_key = SivKey::new([1; 32]);
    let plain = |sealed: usize| vec![0; sealed - SivKey::TAG_LEN];
    let sealed = |key: &SivKey, aad: &[u8], len| {
        let mut buffer = plain(len);
        key.seal_in_place([2; 12], aad, &mut buffer);
        buffer
    };
    // Period and nonce of a cookie stand before what is sealed; a reply has a head of its own.
    let (cookie_len, request_len, reply_len) =
        (view.cookie.len() - 16, view.ciphertext.len(), reply - 28);
    let cookie = sealed(&ticket_key, &[0; 19], cookie_len);
    let asked = sealed(&SivKey::new([3; 32]), view.cookie, request_len);
    let (mut space, mut count) = (Vec::with_capacity(2048), 0);
    let start = Instant::now();
    while start.elapsed() < LONG {
        for _ in 0..100 {
            let mut open = |key: &SivKey, aad: &[u8], sealed: &[u8]| {
                space.clear();
                space.extend_from_slice(sealed);
                black_box(key.open_in_place([2; 12], aad, &mut space)).map(drop)
            };
            open(&ticket_key, &[0; 19], &cookie)?;
            open(&SivKey::new(black_box([3; 32])), view.cookie, &asked)?;
            let mut seal = |key: &SivKey, aad: &[u8], len: usize| {
                space.clear();
                space.resize(len - SivKey::TAG_LEN, 0);
                key.seal_tail([2; 12], aad, &mut space, 0);
                black_box(&space);
            };
            seal(&ticket_key, &[0; 19], cookie_len);
            seal(&SivKey::new(black_box([4; 32])), &[0; 12], reply_len);
        }
        count += 100;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(count))
}
