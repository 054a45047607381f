//! `sealcast receive`: a receiver.

use std::path::PathBuf;
use std::time::Duration;

use sealcast_dataplane::endpoint::Output;
use sealcast_dataplane::fleet::{Fleet, Running};
use sealcast_dataplane::meter::{Meter, MeterHandle};
use sealcast_dataplane::status::{Published, ReceiveStatus};
use sealcast_objects::id::Id as _;
use sealcast_proto::receiver::ParkingBudget;
use sealcast_proto::records::SourceKind;

use crate::Failure;
use crate::channels;
use crate::config::{
    ChannelArgs, ChannelPlan, CommonArgs, MergeSetting, Plan, Role, VerifySetting,
};
use crate::device::{self, Lock};
use crate::door_hub::DoorHub;
use crate::keylog::KeyLog;
use crate::run::{self, Kind, Outcome, RunArgs};
use crate::usage;

/// Flags of `sealcast receive`.
#[derive(Debug, clap::Args)]
pub struct ReceiveArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Identity and session of this device, made by `sealcast device enrol`
    #[arg(long, env = "SEALCAST_SESSION", value_name = "FILE")]
    session: Option<PathBuf>,
    /// Receives only what a licence in this wallet allows; without it, the key server alone decides
    #[arg(long, env = "SEALCAST_WALLET", value_name = "FILE")]
    wallet: Option<PathBuf>,
    #[command(flatten)]
    lock: Lock,
    /// Output: udp://, rtp://, file path, - (stdout)
    #[arg(long, value_name = "URL")]
    output: Option<Output>,
    /// How several delivery servers are used [default: none]
    #[arg(long, value_enum)]
    merge: Option<MergeSetting>,
    /// What to do with packets of channels of auth level 1 [default: verify-then-deliver]
    #[arg(long, value_enum)]
    verify: Option<VerifySetting>,
    /// Delivery server to prefer at the start
    #[arg(long, value_name = "NUMBER")]
    preferred_server: Option<u32>,
    /// Wait for a missing packet, and skew between two legs [default: 50ms, at most 500ms]
    #[arg(long, value_parser = humantime::parse_duration)]
    skew: Option<Duration>,
    /// End after this
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    duration: Option<Duration>,
}

/// The receiving side of [`run::run`].
struct Receiving {
    hub: DoorHub,
    budget: ParkingBudget,
    keylog: KeyLog,
    meter: Option<MeterHandle>,
}

impl Kind for Receiving {
    type Status = ReceiveStatus;

    fn usage(&self) -> Option<MeterHandle> {
        self.meter.clone()
    }

    fn start(
        &self,
        fleet: &Fleet,
        shard: usize,
        plan: &ChannelPlan,
        status: Published<ReceiveStatus>,
    ) -> Running<Outcome> {
        let link = self.hub.attach(plan.channel);
        let (plan, budget, keylog) = (plan.clone(), self.budget.clone(), self.keylog.clone());
        let meter = self.meter.clone();
        fleet.spawn(shard, move |stop| async move {
            match channels::receiving(&plan, budget, link, &keylog, meter.as_ref(), status, stop) {
                Ok(channel) => Ok(channel.run().await),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }
}

/// Runs until INT or TERM comes, or for as long as asked.
pub fn run(args: &ReceiveArgs) -> Result<(), Failure> {
    let flags = ChannelArgs {
        identity: args.session.clone(),
        output: args.output.clone(),
        merge: args.merge,
        verify: args.verify,
        preferred: args.preferred_server,
        skew: args.skew,
        ..ChannelArgs::default()
    };
    let resolve = || Plan::resolve(Role::Receive, &args.common, &flags);
    let plan = resolve().map_err(Failure::Configuration)?;
    if args.common.check {
        return Ok(());
    }
    let keylog = KeyLog::open(plan.keylog.as_deref()).map_err(Failure::CannotOpen)?;
    let wanted: Vec<_> = plan.channels.iter().map(|plan| plan.channel.0).collect();
    if let Some(wallet) = &args.wallet {
        device::receive::check((wallet, &args.lock), &plan.identity, &wanted)?;
    }
    let hub = DoorHub::connect(&plan.identity, wanted).map_err(Failure::CannotOpen)?;
    let meter = usage::start(&plan, SourceKind::Device, hub.device().to_bytes())?;
    let receiving = Receiving {
        hub,
        meter: meter.as_ref().map(Meter::handle),
        budget: ParkingBudget::default(),
        keylog,
    };
    let ran = run::run(
        &receiving,
        plan,
        &RunArgs {
            json: args.common.json,
            limit: args.duration,
            resolve: &resolve,
        },
    );
    drop(receiving);
    let counted = usage::finish(meter);
    ran.and(counted)
}
