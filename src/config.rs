//! What a person may set: flags and TOML files, resolved into plans. Unknown keys are refused; every error says what, why,
//! and what to do.

pub(crate) mod cards;
mod contents;
mod interop;
mod oidc;
mod postgres;
mod rates;
mod sales;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use sealcast_dataplane::coalesce::{BUDGET_DEFAULT, BUDGET_MAX, BUDGET_MIN};
use sealcast_dataplane::endpoint::{Group, Input, Output};
use sealcast_dataplane::pacer::{BURST_DEFAULT, Pacing, Rate};
use sealcast_dataplane::status::PUBLISH_INTERVAL;
use sealcast_proto::ids::{ChannelId, ServerId};
use sealcast_proto::limits::{LANES_MAX, SKEW_DEFAULT, SKEW_MAX, SOURCE_TIMEOUT};
use sealcast_proto::receiver::{FetchOn, Merge};
use sealcast_proto::sender::{Hold, ManifestConfig, PACKETS_PER_SIGNATURE_MAX};
use sealcast_proto::wire::link::Mode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use cards::{CardsFile, CardsPlan};
pub use contents::{ContentsFile, ContentsPlan};
pub use interop::{InteropFile, InteropPlan};
pub use oidc::{OidcArgs, OidcFile, OidcPlan};
pub use postgres::{PostgresArgs, PostgresFile, StorePlan};
pub use rates::{RatesArgs, RatesFile, RatesPlan};
pub use sales::{SalesFile, SalesPlan};
use settings::opt_as_text;
pub use settings::{
    ExecutorArgs, ExecutorSetting, FetchSetting, HoldSetting, MergeSetting, ModeSetting,
    VerifySetting,
};
pub(crate) use settings::{as_text, opt_duration};

/// How often counts of usage are written, unless a setting says otherwise.
const USAGE_INTERVAL: Duration = Duration::from_secs(5);
/// And at most: what a kill may lose.
const USAGE_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// One channel in a file. Each program reads the parts that are its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ChannelFile {
    id: u16,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    mode: Option<ModeSetting>,
    #[serde(default)]
    input: Option<Input>,
    #[serde(default)]
    groups: Vec<Group>,
    #[serde(default)]
    output: Option<Output>,
    #[serde(default)]
    lanes: Option<u16>,
    #[serde(default)]
    hold: Option<HoldSetting>,
    #[serde(
        default,
        deserialize_with = "opt_duration",
        serialize_with = "opt_as_text"
    )]
    start_delay: Option<Duration>,
    #[serde(
        default,
        deserialize_with = "opt_duration",
        serialize_with = "opt_as_text"
    )]
    budget: Option<Duration>,
    #[serde(default)]
    rate: Option<Rate>,
    #[serde(default)]
    burst: Option<u16>,
    #[serde(default)]
    zero_copy: Option<bool>,
    #[serde(default)]
    packets_per_signature: Option<u16>,
    #[serde(default)]
    shard: Option<usize>,
    #[serde(default)]
    merge: Option<MergeSetting>,
    #[serde(default)]
    verify: Option<VerifySetting>,
    #[serde(default)]
    preferred_server: Option<u32>,
    #[serde(
        default,
        deserialize_with = "opt_duration",
        serialize_with = "opt_as_text"
    )]
    skew: Option<Duration>,
    #[serde(
        default,
        deserialize_with = "opt_duration",
        serialize_with = "opt_as_text"
    )]
    source_timeout: Option<Duration>,
    #[serde(default)]
    fetch_on: Option<Vec<FetchSetting>>,
}

/// A configuration file of `send` or `receive`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    node: Option<PathBuf>,
    #[serde(default)]
    session: Option<PathBuf>,
    #[serde(default)]
    metrics: Option<SocketAddr>,
    #[serde(default)]
    keylog: Option<PathBuf>,
    #[serde(default)]
    usage_dir: Option<PathBuf>,
    #[serde(
        default,
        deserialize_with = "opt_duration",
        serialize_with = "opt_as_text"
    )]
    usage_interval: Option<Duration>,
    #[serde(default)]
    usage_ship: Option<bool>,
    #[serde(default)]
    cores: Option<Vec<usize>>,
    #[serde(default)]
    executor: Option<ExecutorSetting>,
    #[serde(default)]
    channel: Vec<ChannelFile>,
}

/// One channel, resolved.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelPlan {
    /// Which.
    pub channel: ChannelId,
    /// For people.
    pub name: String,
    /// `send`: who generates keys.
    pub mode: Mode,
    /// `send`: where payloads come from.
    pub input: Option<Input>,
    /// One or two groups.
    pub groups: Vec<Group>,
    /// `receive`: where payloads go.
    pub output: Option<Output>,
    /// `send`: sending cores.
    pub lanes: u8,
    /// `send`: what to do without a next key.
    pub hold: Hold,
    /// `send`: pause between the first key and the first packet of a file, so that receivers can fetch the key.
    pub start_delay: Duration,
    /// How long a datagram may wait for others that are worked on with it.
    pub budget: Duration,
    /// `send`: the rate at which payloads leave; that of the source if not given.
    pub pacing: Option<Pacing>,
    /// `send`: the network card reads packets where they were sealed.
    pub zero_copy: bool,
    /// `send`: packets under one signature, on channels with manifests.
    pub packets_per_signature: u16,
    /// On which shard; by load if not given.
    pub shard: Option<usize>,
    /// `receive`: how several delivery servers are used.
    pub merge: Merge,
    /// `receive`: what to do with packets of channels with manifests.
    pub verify: VerifySetting,
    /// `receive`: which delivery server to prefer.
    pub preferred: Option<ServerId>,
    /// `receive`: wait for a missing packet.
    pub skew: Duration,
    /// `receive`: silence until another server takes over.
    pub source_timeout: Duration,
    /// `receive`: when keys are fetched.
    pub fetch_on: FetchOn,
}

/// What a process runs on.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// File of the identity: of a delivery server (`send`) or a device (`receive`).
    pub identity: PathBuf,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Where keys are logged.
    pub keylog: Option<PathBuf>,
    /// Where usage is counted.
    pub usage_dir: Option<PathBuf>,
    /// How often counts are written.
    pub usage_interval: Duration,
    /// Whether usage files go to the key server.
    pub usage_ship: bool,
    /// Cores to pin shards to; one unpinned shard if empty.
    pub cores: Vec<usize>,
    /// What shards wait in.
    pub executor: ExecutorSetting,
    /// The channels.
    pub channels: Vec<ChannelPlan>,
}

/// Which program the plan is for: what it must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// `sealcast send`.
    Send,
    /// `sealcast receive`.
    Receive,
}

/// Flags that `send` and `receive` share.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommonArgs {
    /// Configuration file (TOML); flags go before it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Serve Prometheus metrics at this address, for example 127.0.0.1:9100
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Write keys to this file for Wireshark and the like: whoever reads it can read the content
    #[arg(long, value_name = "FILE")]
    pub keylog: Option<PathBuf>,
    /// Count packets and bytes by channel, epoch and lane in files in this folder (`sealcast usage show`)
    #[arg(long, value_name = "FOLDER")]
    pub usage_dir: Option<PathBuf>,
    /// How often counts are written: what a kill may lose [default: 5s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub usage_interval: Option<Duration>,
    /// Pin a shard to each of these cores, for example 0,1
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    pub cores: Option<Vec<usize>>,
    #[command(flatten)]
    pub executor: ExecutorArgs,
    /// Check flags and configuration, open nothing
    #[arg(long)]
    pub check: bool,
    /// Print totals as JSON, a line per second
    #[arg(long)]
    pub json: bool,
    /// Channel number (without --config)
    #[arg(long)]
    pub channel: Option<u16>,
    /// Multicast group: udp://GROUP:PORT?iface=..&ttl=..&source=..; twice for two legs
    #[arg(long = "group", value_name = "URL")]
    pub groups: Vec<Group>,
    /// Let datagrams wait so long for others, which costs far less CPU; 0ms: none waits [default: 2ms to send, 0ms to receive]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub budget: Option<Duration>,
}

/// What one channel takes from flags alone.
#[derive(Clone, Debug, Default)]
pub struct ChannelArgs {
    /// File of the identity.
    pub identity: Option<PathBuf>,
    /// `send`.
    pub input: Option<Input>,
    /// `receive`.
    pub output: Option<Output>,
    /// Both.
    pub mode: Option<ModeSetting>,
    /// `send`.
    pub hold: Option<HoldSetting>,
    /// `send`.
    pub start_delay: Option<Duration>,
    /// `send`.
    pub lanes: Option<u16>,
    /// `send`.
    pub rate: Option<Rate>,
    /// `send`.
    pub burst: Option<u16>,
    /// `send`.
    pub zero_copy: bool,
    /// `send`.
    pub packets_per_signature: Option<u16>,
    /// `send`.
    pub usage_ship: bool,
    /// `receive`.
    pub merge: Option<MergeSetting>,
    /// `receive`.
    pub verify: Option<VerifySetting>,
    /// `receive`.
    pub preferred: Option<u32>,
    /// `receive`.
    pub skew: Option<Duration>,
}

impl Plan {
    /// Resolves flags and, if named, the configuration file.
    ///
    /// # Errors
    /// Says which setting of which channel is wrong, why, and what to do.
    pub fn resolve(role: Role, common: &CommonArgs, args: &ChannelArgs) -> Result<Self> {
        let mut file = match &common.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        if common.config.is_none() || common.channel.is_some() {
            ensure!(
                file.channel.is_empty(),
                "--channel and a configuration file with channels exclude each other: leave one out"
            );
            file.channel.push(from_flags(common, args)?);
        }
        ensure!(
            !file.channel.is_empty(),
            "no channel is configured: add a [[channel]] table to the file"
        );
        let (named, what, flag) = match role {
            Role::Send => (file.node, "the identity of this delivery server", "node"),
            Role::Receive => (file.session, "the identity of this device", "session"),
        };
        let identity = args.identity.clone().or(named).with_context(|| {
            format!(
                "{what} is not given: make it with `sealcast {} enrol` and give --{flag} FILE (or {flag} = \"FILE\")",
                if role == Role::Send { "node" } else { "device" }
            )
        })?;
        let channels = file
            .channel
            .into_iter()
            .map(|channel| plan(role, channel))
            .collect::<Result<Vec<_>>>()?;
        let cores = common.cores.clone().or(file.cores).unwrap_or_default();
        for (index, channel) in channels.iter().enumerate() {
            let twice = channels[..index]
                .iter()
                .any(|other| other.channel == channel.channel);
            ensure!(!twice, "channel {} is configured twice", channel.channel.0);
            ensure!(
                usize::from(channel.lanes) <= cores.len().max(1),
                "channel {}: {} lanes need as many cores: name them (--cores 0,1, or cores = [0, 1]), or use fewer lanes",
                channel.channel.0,
                channel.lanes
            );
        }
        let usage_interval = common.usage_interval.or(file.usage_interval);
        let usage_interval = usage_interval.unwrap_or(USAGE_INTERVAL);
        ensure!(
            (PUBLISH_INTERVAL..=USAGE_INTERVAL_MAX).contains(&usage_interval),
            "usage_interval = {usage_interval:?}: from {PUBLISH_INTERVAL:?} to {USAGE_INTERVAL_MAX:?}"
        );
        let usage_dir = common.usage_dir.clone().or(file.usage_dir);
        let usage_ship = args.usage_ship || file.usage_ship.unwrap_or(false);
        ensure!(
            !usage_ship || role == Role::Send,
            "usage_ship = true: key servers take counts of delivery servers, not of devices; leave it out"
        );
        ensure!(
            !usage_ship || usage_dir.is_some(),
            "usage_ship = true needs usage_dir, the folder in which usage files wait: give --usage-dir FOLDER"
        );
        Ok(Self {
            identity,
            metrics: common.metrics.or(file.metrics),
            keylog: common.keylog.clone().or(file.keylog),
            usage_dir,
            usage_interval,
            usage_ship,
            cores,
            executor: common.executor.or(file.executor),
            channels,
        })
    }
}

/// A plan as a file (`sealcast config print`).
impl Plan {
    /// The text of a file that says everything that is in force, defaults included.
    ///
    /// # Errors
    /// A path that is no text.
    pub fn in_force(&self, role: Role) -> Result<String> {
        let identity = |its: Role| (role == its).then(|| self.identity.clone());
        let file = File {
            node: identity(Role::Send),
            session: identity(Role::Receive),
            metrics: self.metrics,
            keylog: self.keylog.clone(),
            usage_dir: self.usage_dir.clone(),
            usage_interval: self.usage_dir.as_ref().map(|_| self.usage_interval),
            usage_ship: self.usage_ship.then_some(true),
            cores: (!self.cores.is_empty()).then(|| self.cores.clone()),
            executor: Some(self.executor),
            channel: self
                .channels
                .iter()
                .map(|plan| channel_in_force(role, plan))
                .collect(),
        };
        toml::to_string(&file).context("the settings cannot be printed")
    }
}

fn channel_in_force(role: Role, plan: &ChannelPlan) -> ChannelFile {
    let (sends, receives) = (role == Role::Send, role == Role::Receive);
    let occasions = [
        (plan.fetch_on.timer, FetchSetting::Timer),
        (plan.fetch_on.notice, FetchSetting::Notice),
        (plan.fetch_on.demand, FetchSetting::Demand),
    ];
    let fetch_on = occasions.into_iter().filter(|(on, _)| *on);
    ChannelFile {
        id: plan.channel.0,
        name: Some(plan.name.clone()),
        mode: sends.then_some(match plan.mode {
            Mode::Authority => ModeSetting::Authority,
            Mode::DeliveryServer => ModeSetting::DeliveryServer,
        }),
        input: plan.input.clone(),
        groups: plan.groups.clone(),
        output: plan.output.clone(),
        lanes: sends.then_some(plan.lanes.into()),
        hold: sends.then_some(match plan.hold {
            Hold::Hold => HoldSetting::Hold,
            Hold::Stop => HoldSetting::Stop,
        }),
        start_delay: sends.then_some(plan.start_delay),
        budget: Some(plan.budget),
        rate: plan.pacing.map(|pacing| pacing.rate),
        burst: plan.pacing.map(|pacing| pacing.burst),
        zero_copy: sends.then_some(plan.zero_copy),
        packets_per_signature: sends.then_some(plan.packets_per_signature),
        shard: plan.shard,
        merge: receives.then_some(match plan.merge {
            Merge::None => MergeSetting::None,
            Merge::Rtp => MergeSetting::Rtp,
        }),
        verify: receives.then_some(plan.verify),
        preferred_server: plan.preferred.map(|server| server.0),
        skew: receives.then_some(plan.skew),
        source_timeout: receives.then_some(plan.source_timeout),
        fetch_on: receives.then(|| fetch_on.map(|(_, setting)| setting).collect()),
    }
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("the configuration {} is wrong", path.display()))
}

fn from_flags(common: &CommonArgs, args: &ChannelArgs) -> Result<ChannelFile> {
    Ok(ChannelFile {
        id: common
            .channel
            .context("which channel? Give --channel NUMBER or --config FILE")?,
        name: None,
        mode: args.mode,
        input: args.input.clone(),
        groups: common.groups.clone(),
        output: args.output.clone(),
        lanes: args.lanes,
        hold: args.hold,
        start_delay: args.start_delay,
        budget: common.budget,
        rate: args.rate,
        burst: args.burst,
        zero_copy: args.zero_copy.then_some(true),
        packets_per_signature: args.packets_per_signature,
        shard: None,
        merge: args.merge,
        verify: args.verify,
        preferred_server: args.preferred,
        skew: args.skew,
        source_timeout: None,
        fetch_on: None,
    })
}

fn plan(role: Role, file: ChannelFile) -> Result<ChannelPlan> {
    let id = file.id;
    check(role, &file).with_context(|| format!("channel {id}"))?;
    let fetch = |on| {
        file.fetch_on
            .as_ref()
            .is_none_or(|list: &Vec<FetchSetting>| list.contains(&on))
    };
    let packets_per_signature = packets_per_signature(&file);
    Ok(ChannelPlan {
        channel: ChannelId(id),
        name: file.name.clone().unwrap_or_else(|| format!("channel {id}")),
        mode: file.mode.unwrap_or_default().into(),
        fetch_on: FetchOn {
            timer: fetch(FetchSetting::Timer),
            notice: fetch(FetchSetting::Notice),
            demand: fetch(FetchSetting::Demand),
        },
        input: file.input,
        groups: file.groups,
        output: file.output,
        lanes: u8::try_from(file.lanes.unwrap_or(1))
            .with_context(|| format!("channel {id}: too many lanes"))?,
        hold: file.hold.unwrap_or_default().into(),
        start_delay: file.start_delay.unwrap_or_default(),
        budget: file.budget.unwrap_or(match role {
            Role::Send => BUDGET_DEFAULT,
            Role::Receive => Duration::ZERO,
        }),
        pacing: file.rate.map(|rate| Pacing {
            rate,
            burst: file.burst.unwrap_or(BURST_DEFAULT),
        }),
        zero_copy: file.zero_copy.unwrap_or_default(),
        packets_per_signature,
        shard: file.shard,
        merge: file.merge.unwrap_or_default().into(),
        verify: file.verify.unwrap_or_default(),
        preferred: file.preferred_server.map(ServerId),
        skew: file.skew.unwrap_or(SKEW_DEFAULT),
        source_timeout: file.source_timeout.unwrap_or(SOURCE_TIMEOUT),
    })
}

fn packets_per_signature(file: &ChannelFile) -> u16 {
    let default = ManifestConfig::default().packets();
    file.packets_per_signature.unwrap_or(default)
}

fn check(role: Role, file: &ChannelFile) -> Result<()> {
    let lanes = file.lanes.unwrap_or(1);
    ensure!(
        (1..=LANES_MAX).contains(&usize::from(lanes)),
        "lanes = {lanes}: a channel has 1 to {LANES_MAX} lanes in one epoch; use fewer sending cores"
    );
    match file.groups.len() {
        1 | 2 => {}
        0 => {
            bail!("no multicast group: give --group udp://GROUP:PORT (or groups = [\"udp://..\"])")
        }
        more => bail!("{more} groups: a channel has one leg or two"),
    }
    if let Some(budget) = file.budget {
        ensure!(
            budget.is_zero() || (BUDGET_MIN..=BUDGET_MAX).contains(&budget),
            "budget = {budget:?}: 0ms, or {BUDGET_MIN:?} to {BUDGET_MAX:?}; 2ms is a good value"
        );
    }
    ensure!(
        file.burst.is_none() || file.rate.is_some(),
        "burst is for a set rate: give rate as well, or leave burst out"
    );
    ensure!(
        file.burst != Some(0),
        "burst = 0: at least 1 datagram leaves at once"
    );
    let packets = packets_per_signature(file);
    ensure!(
        (1..=PACKETS_PER_SIGNATURE_MAX).contains(&packets),
        "packets_per_signature = {packets}: 1 to {PACKETS_PER_SIGNATURE_MAX}"
    );
    let skew = file.skew.unwrap_or(SKEW_DEFAULT);
    ensure!(skew <= SKEW_MAX, "skew = {skew:?}: at most {SKEW_MAX:?}");
    match role {
        Role::Send => ensure!(
            file.input.is_some(),
            "no input: give --input URL (or input = \"URL\")"
        ),
        Role::Receive => ensure!(
            file.output.is_some(),
            "no output: give --output URL (or output = \"URL\")"
        ),
    }
    Ok(())
}
