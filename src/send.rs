//! `sealcast send`: a delivery server.

use std::path::PathBuf;
use std::time::Duration;

use rand_core::Rng as _;
use sealcast_dataplane::endpoint::Input;
use sealcast_dataplane::fleet::{Fleet, Running};
use sealcast_dataplane::lanes::lane;
use sealcast_dataplane::meter::{Meter, MeterHandle};
use sealcast_dataplane::pacer::Rate;
use sealcast_dataplane::status::{Published, SendStatus};
use sealcast_proto::ids::ServerId;
use sealcast_proto::records::SourceKind;

use crate::Failure;
use crate::channels;
use crate::config::{ChannelArgs, ChannelPlan, CommonArgs, HoldSetting, ModeSetting, Plan, Role};
use crate::keylog::KeyLog;
use crate::node_hub::NodeHub;
use crate::rng;
use crate::run::{self, Kind, Outcome, RunArgs};
use crate::upstream::Shipping;
use crate::usage;

/// Flags of `sealcast send`.
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Input: udp://, rtp://, file path, - (stdin), pcap:FILE, gen:?rate=4M&seconds=10
    #[arg(long, value_name = "URL")]
    input: Option<Input>,
    /// Identity of this delivery server, made by `sealcast node enrol`
    #[arg(long, env = "SEALCAST_NODE", value_name = "FILE")]
    node: Option<PathBuf>,
    /// Who generates keys [default: authority]
    #[arg(long, value_enum)]
    mode: Option<ModeSetting>,
    /// What to do at the end of a key without a next [default: hold]
    #[arg(long, value_enum)]
    hold: Option<HoldSetting>,
    /// Pause between the first key and the first packet of a file or generator, so that receivers can fetch the key [default: 0s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    start_delay: Option<Duration>,
    /// Send at this rate, in bits of payload per second, for example 8M [default: that of the input]
    #[arg(long, value_name = "BITS")]
    rate: Option<Rate>,
    /// Seal and send on so many of --cores [default: 1]
    #[arg(long, value_name = "N")]
    lanes: Option<u16>,
    /// Let the network card read packets where they were sealed; for cards with UDP segmentation offload
    #[arg(long)]
    zero_copy: bool,
    /// Packets under one signature, on channels of auth level 1: 1 to 512 [default: 64]
    #[arg(long, value_name = "N")]
    packets_per_signature: Option<u16>,
    /// Carry finished usage files to the key server, which charges by them; needs --usage-dir
    #[arg(long)]
    usage_ship: bool,
    /// With --rate: datagrams that may leave at once [default: 7]
    #[arg(long, value_name = "N")]
    burst: Option<u16>,
}

/// The sending side of [`run::run`].
struct Sending {
    hub: NodeHub,
    server: ServerId,
    /// One signing key for all channels of this run.
    seed: [u8; 32],
    keylog: KeyLog,
    meter: Option<MeterHandle>,
}

impl Kind for Sending {
    type Status = SendStatus;

    fn usage(&self) -> Option<MeterHandle> {
        self.meter.clone()
    }

    fn start(
        &self,
        fleet: &Fleet,
        shard: usize,
        plan: &ChannelPlan,
        status: Published<SendStatus>,
    ) -> Running<Outcome> {
        let link = self.hub.attach(plan.channel);
        let (plan, server, seed, keylog) =
            (plan.clone(), self.server, self.seed, self.keylog.clone());
        // Lane 0 is the channel's own; the others are on the shards after it.
        let mut lanes = Vec::new();
        for index in 1..usize::from(plan.lanes) {
            let ((lane, work), plan) = (lane(), plan.clone());
            lanes.push(lane);
            fleet.spawn(shard + index, move |_| channels::lane(plan, work));
        }
        let meter = self.meter.clone();
        fleet.spawn(shard, move |stop| async move {
            let meter = meter.as_ref();
            match channels::sending(
                &plan, server, &seed, link, lanes, &keylog, meter, status, stop,
            ) {
                Ok(channel) => Ok(channel.run().await),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }
}

/// Runs until the input ends or INT or TERM comes.
pub fn run(args: &SendArgs) -> Result<(), Failure> {
    let flags = ChannelArgs {
        identity: args.node.clone(),
        input: args.input.clone(),
        mode: args.mode,
        hold: args.hold,
        start_delay: args.start_delay,
        lanes: args.lanes,
        rate: args.rate,
        burst: args.burst,
        zero_copy: args.zero_copy,
        packets_per_signature: args.packets_per_signature,
        usage_ship: args.usage_ship,
        ..ChannelArgs::default()
    };
    let resolve = || Plan::resolve(Role::Send, &args.common, &flags);
    let plan = resolve().map_err(Failure::Configuration)?;
    if args.common.check {
        return Ok(());
    }
    let keylog = KeyLog::open(plan.keylog.as_deref()).map_err(Failure::CannotOpen)?;
    let hub = NodeHub::connect(&plan.identity).map_err(Failure::CannotOpen)?;
    let mut seed = [0; 32];
    rng().fill_bytes(&mut seed);
    let ServerId(number) = hub.server();
    let id = u128::from(number).to_be_bytes();
    let meter = usage::start(&plan, SourceKind::DeliveryServer, id)?;
    let ships = plan.usage_dir.as_deref().filter(|_| plan.usage_ship);
    let source = SourceKind::DeliveryServer.source_name(id);
    let shipping = ships
        .map(|folder| Shipping::start(folder, &source, &plan.identity))
        .transpose()?;
    let sending = Sending {
        server: hub.server(),
        hub,
        seed,
        keylog,
        meter: meter.as_ref().map(Meter::handle),
    };
    let ran = run::run(
        &sending,
        plan,
        &RunArgs {
            json: args.common.json,
            limit: None,
            resolve: &resolve,
        },
    );
    drop(sending);
    let counted = usage::finish(meter);
    shipping.into_iter().for_each(Shipping::finish);
    ran.and(counted)
}
