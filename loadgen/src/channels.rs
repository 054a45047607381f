//! Channels of one process, as `sealcast send` and `sealcast receive` run them, with keys from [`crate::keys::LocalKeys`]. What
//! should be otherwise is set in what is returned.

use std::io;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};
use rand_core::Rng as _;
use sealcast_dataplane::coalesce::BUDGET_DEFAULT;
use sealcast_dataplane::ingest::Ingest;
use sealcast_dataplane::link::{ChannelLink, KeyLink};
use sealcast_dataplane::output::Sink;
use sealcast_dataplane::receive::ReceiveChannel;
use sealcast_dataplane::send::SendChannel;
use sealcast_dataplane::status::{Published, ReceiveStatus, SendStatus};
use sealcast_net::mailbox::Receiver as Stop;
use sealcast_net::{UdpReceiver, UdpSender, clock};
use sealcast_proto::ids::{ChannelId, RunId, ServerId, Time};
use sealcast_proto::receiver::{ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::sender::{Hold, ManifestConfig, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::link::Mode;

/// A channel, and the times of its keys.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its number; that of its delivery server is the same.
    pub channel: ChannelId,
    /// Of its keys.
    pub timing: Timing,
}

impl Identity {
    /// A channel that sends on one leg, with the default budget, and takes its input at once.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn sending(
        self,
        link: ChannelLink,
        ingest: Ingest,
        leg: UdpSender,
        status: Published<SendStatus>,
        stop: Stop<()>,
    ) -> io::Result<SendChannel> {
        let mut rng = rng()?;
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let config = SenderConfig {
            channel: self.channel,
            server: ServerId(self.channel.0.into()),
            run: RunId(rng.next_u64()),
            mode: Mode::Authority,
            lanes: 1,
            timing: self.timing,
            hold: Hold::Hold,
            payload_max: ingest.payload_max(),
            keylog: false,
        };
        Ok(SendChannel {
            sender: Sender::new(config, &seed),
            ingest,
            legs: vec![leg],
            lanes: Vec::new(),
            link,
            manifests: ManifestConfig::default(),
            rng: Box::new(rng),
            status,
            stop,
            start_delay: None,
            budget: BUDGET_DEFAULT,
            meter: None,
            on_event: Box::new(|_| {}),
        })
    }

    /// A channel that receives from one leg, without a budget and without smoothing.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn receiving(
        self,
        link: KeyLink,
        leg: UdpReceiver,
        sink: Sink,
        parking: ParkingBudget,
        status: Published<ReceiveStatus>,
        stop: Stop<()>,
    ) -> io::Result<ReceiveChannel> {
        let config = ReceiverConfig::new(self.channel, self.timing);
        Ok(ReceiveChannel {
            receiver: Receiver::new(config, parking, Time(clock::boottime())),
            legs: vec![leg],
            sink,
            link,
            rng: Box::new(rng()?),
            status,
            stop,
            budget: Duration::ZERO,
            smoother: None,
            meter: None,
            on_event: Box::new(|_| {}),
        })
    }
}

fn rng() -> io::Result<StdRng> {
    StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)
}
