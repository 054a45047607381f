//! A sender and a receiver of the protocol that hold the key of one epoch for hours, from a root drawn here: no servers.

use std::net::IpAddr;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_crypto::{EpochRoot, SigningKey};
use sealcast_proto::ids::{
    ChannelId, Epoch, GroupId, Kid, Lane, Remaining, RunId, ServerId, Term, Time,
};
use sealcast_proto::receiver::{ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::sender::{Hold, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, sign};
use sealcast_proto::wire::door::{DecipherHalf, Granted};
use sealcast_proto::wire::link::{CipherHalf, Frame, FromAuthority, Mode, Welcome};

const CHANNEL: ChannelId = ChannelId(1);
const EPOCH: Epoch = Epoch(1);
const RUN: RunId = RunId(1);
const SERVER: ServerId = ServerId(1);
const TERM: Term = Term {
    number: 1,
    instance: 1,
};
const HOUR: Duration = Duration::from_secs(3600);
/// 19 hours, in milliseconds.
const REMAINING: Remaining = Remaining(68_400_000);

/// Both, ready to seal and to open payloads of up to `payload_max` bytes, on a channel of this auth level.
///
/// # Errors
/// Says what the protocol did not take.
pub fn parties(
    payload_max: usize,
    auth: AuthLevel,
    now: Time,
    rng: &mut dyn CryptoRng,
) -> Result<(Sender, Receiver), &'static str> {
    let timing = Timing::new(20 * HOUR, 8 * HOUR, 4 * HOUR, HOUR).map_err(|_| "the key times")?;
    let mut seed = [0; 32];
    let mut root = [0; 32];
    rng.fill_bytes(&mut seed);
    rng.fill_bytes(&mut root);
    let (authority, root) = (SigningKey::from_seed(&seed), EpochRoot::from_bytes(root));
    rng.fill_bytes(&mut seed);
    let lane = Lane::new(1).ok_or("the lane")?;
    let certificate = LaneCertificate {
        channel: CHANNEL,
        term: TERM,
        group: GroupId(1),
        follows: None,
        server: SERVER,
        server_key: SigningKey::from_seed(&seed).verifying_key(),
        first_lane: lane,
        lanes: 1,
        first_epoch: EPOCH,
        last_epoch: EPOCH,
        auth,
    };
    let certificate = sign(&certificate, &authority);
    let sender = sender(
        payload_max,
        &seed,
        timing,
        now,
        rng,
        [
            FromAuthority::Welcome(Welcome {
                term: TERM,
                authority: authority.verifying_key(),
                successor: None,
            }),
            FromAuthority::CipherHalf(CipherHalf {
                channel: CHANNEL,
                run: RUN,
                epoch: EPOCH,
                lanes: vec![
                    root.prk()
                        .lane_secret(Kid::new(lane, CHANNEL, EPOCH).value()),
                ],
                remaining: REMAINING,
                at_once: true,
                certificate: certificate.clone(),
            }),
        ],
    );
    let receiver = receiver(timing, now, rng, &authority, root, certificate).ok_or("the key")?;
    Ok((sender, receiver))
}

fn sender(
    payload_max: usize,
    seed: &[u8; 32],
    timing: Timing,
    now: Time,
    rng: &mut dyn CryptoRng,
    said: [FromAuthority; 2],
) -> Sender {
    let config = SenderConfig {
        channel: CHANNEL,
        server: SERVER,
        run: RUN,
        mode: Mode::Authority,
        lanes: 1,
        timing,
        hold: Hold::Hold,
        payload_max,
        keylog: false,
    };
    let mut sender = Sender::new(config, seed);
    sender.link_up(now);
    for message in said {
        sender.handle_link(now, Frame { sent: now, message }, rng);
    }
    // What it says to an authority and to groups has nobody to hear it.
    while sender.poll_output().is_some() {}
    sender
}

/// A receiver that was granted the key and has heard the lane's certificate; `None` if it did not ask.
fn receiver(
    timing: Timing,
    now: Time,
    rng: &mut dyn CryptoRng,
    authority: &SigningKey,
    root: EpochRoot,
    mut certificate: Vec<u8>,
) -> Option<Receiver> {
    let config = ReceiverConfig::new(CHANNEL, timing);
    let mut receiver = Receiver::new(config, ParkingBudget::default(), now);
    let deliver = &mut |_: &[u8]| ();
    receiver.set_authority(authority.verifying_key(), None);
    receiver.poll(now, rng, deliver);
    let request = receiver.poll_request()?;
    let granted = Granted {
        number: request.number,
        channel: CHANNEL,
        current: DecipherHalf {
            epoch: EPOCH,
            root,
            remaining: REMAINING,
        },
        next: None,
        fetch_offset: Remaining(0),
        authority: authority.verifying_key(),
        successor: None,
        timing,
        cookies: Vec::new(),
    };
    receiver.handle_granted(now, now, granted, deliver);
    let length = certificate.len();
    let source = IpAddr::from([127, 0, 0, 1]);
    receiver.handle_batch(now, source, 0, &mut certificate, length, rng, deliver);
    Some(receiver)
}
