//! From a channel's plan to the channel that runs on a shard: sockets, files, protocol machines.

use std::fs::File;
use std::io::{self, Write};

use anyhow::{Context as _, Result};
use rand_core::Rng as _;
use sealcast_dataplane::endpoint::{Group, Input, Output, RtpHeader, UdpOptions, UdpOutput};
use sealcast_dataplane::feeder::Feed;
use sealcast_dataplane::ingest::{Header, Ingest};
use sealcast_dataplane::lanes::{Lane, LaneWork};
use sealcast_dataplane::link::{ChannelLink, KeyLink};
use sealcast_dataplane::meter::MeterHandle;
use sealcast_dataplane::output::Sink;
use sealcast_dataplane::receive::ReceiveChannel;
use sealcast_dataplane::rtp::RtpWriter;
use sealcast_dataplane::send::{SendChannel, SendEvent};
use sealcast_dataplane::smooth::Smoother;
use sealcast_dataplane::status::{Published, ReceiveStatus, SendStatus};
use sealcast_net::mailbox::Receiver as Stop;
use sealcast_net::{GroupOptions, Interface, UdpReceiver, UdpSender, clock};
use sealcast_proto::ids::{RunId, ServerId, Time};
use sealcast_proto::limits::{MTU_COST_V4, MTU_COST_V6};
use sealcast_proto::receiver::{self, ParkingBudget, Receiver, ReceiverConfig};
use sealcast_proto::sender::{self, ManifestConfig, Rejection, Sender, SenderConfig};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::door::Reason;

use crate::config::ChannelPlan;
use crate::keylog::KeyLog;
use crate::rng;

/// The socket's view of an endpoint.
pub fn group_options(options: &UdpOptions) -> Result<GroupOptions> {
    let mut group = GroupOptions::new(options.addr);
    group.source = options.source;
    group.iface = options
        .iface
        .as_deref()
        .map(Interface::resolve)
        .transpose()?;
    group.ttl = options.ttl;
    group.dscp = options.dscp;
    group.loopback = options.loopback.unwrap_or(true);
    group.buffer = options.buffer.unwrap_or(group.buffer);
    Ok(group)
}

/// The largest payload that fits the path of every leg.
fn payload_max(legs: &[UdpSender]) -> Result<usize> {
    let mut max = usize::MAX;
    for leg in legs {
        let cost = if leg.peer().is_ipv4() {
            MTU_COST_V4
        } else {
            MTU_COST_V6
        };
        let mtu = leg
            .path_mtu()
            .with_context(|| format!("asking for the MTU towards {}", leg.peer()))?;
        max = max.min(mtu.min(usize::from(u16::MAX)).saturating_sub(cost));
    }
    Ok(max)
}

fn warn_short(grant: sealcast_net::BufferGrant, name: &str) {
    if grant.is_short() {
        tracing::warn!(channel = name, "{grant}");
    }
}

fn legs_out(plan: &ChannelPlan) -> Result<Vec<UdpSender>> {
    let connect = |group: &Group| {
        let mut leg = UdpSender::connect(&group_options(group.options())?)?;
        warn_short(leg.grant(), &plan.name);
        if plan.zero_copy {
            leg.use_zero_copy(&sealcast_dataplane::zero_copy()?);
        }
        Ok(leg)
    };
    plan.groups.iter().map(connect).collect()
}

fn bind(options: &UdpOptions, name: &str) -> Result<UdpReceiver> {
    let socket = UdpReceiver::bind(&group_options(options)?)?;
    warn_short(socket.grant(), name);
    Ok(socket)
}

fn ingest(input: &Input, name: &str, payload_max: usize) -> Result<Ingest> {
    Ok(match input {
        Input::Udp(options) => Ingest::udp(bind(options, name)?, false, Header::Keep, payload_max),
        Input::Rtp { options, header } => {
            let header = if *header == RtpHeader::Keep {
                Header::Keep
            } else {
                Header::Strip
            };
            Ingest::udp(bind(options, name)?, true, header, payload_max)
        }
        other => {
            let source = sealcast_dataplane::source::open(other)
                .with_context(|| format!("opening the input {other}"))?;
            let feed = match other {
                Input::Generated { .. } => Feed::here(source),
                _ => Feed::start("feeder", source)?,
            };
            Ingest::feed(feed, payload_max)
        }
    })
}

/// What a further lane of a sending channel does on its shard.
pub async fn lane(plan: ChannelPlan, work: LaneWork) {
    let legs = legs_out(&plan).map_err(|error| format!("{error:#}"));
    work.run(legs, manifests(&plan)).await;
}

fn manifests(plan: &ChannelPlan) -> ManifestConfig {
    ManifestConfig::default().with_packets(plan.packets_per_signature)
}

/// Builds a sending channel, of which `lanes` work on other shards. Runs on its shard.
pub fn sending(
    plan: &ChannelPlan,
    server: ServerId,
    seed: &[u8; 32],
    link: ChannelLink,
    lanes: Vec<Lane>,
    keylog: &KeyLog,
    meter: Option<&MeterHandle>,
    status: Published<SendStatus>,
    stop: Stop<()>,
) -> Result<SendChannel> {
    let name = plan.name.clone();
    let legs = legs_out(plan)?;
    let payload_max = payload_max(&legs)?;
    let input = plan.input.as_ref().context("no input")?;
    let mut ingest = ingest(input, &name, payload_max)?;
    let mut budget = plan.budget;
    if let Some(pacing) = plan.pacing {
        ingest = ingest.paced(pacing);
        // What gathers must not be more than a burst.
        budget = budget.min(pacing.burst_time());
    }
    let mut rng = rng();
    let config = SenderConfig {
        channel: plan.channel,
        server,
        run: RunId(rng.next_u64()),
        mode: plan.mode,
        lanes: plan.lanes,
        timing: Timing::default(),
        hold: plan.hold,
        payload_max,
        keylog: keylog.is_on(),
    };
    let keylog = keylog.clone();
    let mut sender = Sender::new(config, seed);
    Ok(SendChannel {
        meter: meter.map(|meter| meter.channel(plan.channel, sender.tally())),
        sender,
        ingest,
        legs,
        lanes,
        manifests: manifests(plan),
        link,
        rng: Box::new(rng),
        status,
        stop,
        start_delay: (!matches!(input, Input::Udp(_) | Input::Rtp { .. }))
            .then_some(plan.start_delay),
        budget,
        on_event: Box::new(move |event| tell_sending(&name, &keylog, event)),
    })
}

fn tell_sending(channel: &str, keylog: &KeyLog, event: SendEvent) {
    let event = match event {
        SendEvent::Protocol(event) => event,
        SendEvent::Input(warning) => return tracing::warn!(channel, "{warning}"),
        SendEvent::Oversize {
            longest,
            payload_max,
        } => {
            return tracing::warn!(
                channel,
                "the input has payloads of up to {longest} bytes, but the path takes {payload_max}: longer ones are dropped and \
                 counted; make them shorter (7 TS packets are 1316 bytes) or raise the MTU"
            );
        }
        SendEvent::LegFailed { group, error } => {
            return tracing::warn!(
                channel,
                "sending to {group} failed ({error}); failures are counted, the channel goes on"
            );
        }
        SendEvent::ZeroCopyUseless { group } => {
            return tracing::warn!(
                channel,
                "the kernel copies what goes to {group} all the same (loopback, veth, receivers on this host, an interface \
                 that does not cut datagrams apart itself): it is sent without --zero-copy from now on; leave it out there"
            );
        }
    };
    match event {
        sender::Event::KeyLog(line) => keylog.write(&line),
        sender::Event::Started { epoch } => {
            tracing::info!(channel, epoch = epoch.0, "sending begins")
        }
        sender::Event::NextHeld { epoch } => {
            tracing::debug!(channel, epoch = epoch.0, "next key held")
        }
        sender::Event::Switched { epoch } => tracing::info!(channel, epoch = epoch.0, "switched"),
        sender::Event::Holding { epoch } => {
            tracing::warn!(
                channel,
                epoch = epoch.0,
                "ALARM: holding: the key's time is over and there is no next; is the key server down?"
            );
        }
        sender::Event::Stopped { epoch } => {
            tracing::error!(
                channel,
                epoch = epoch.0,
                "ALARM: stopped sending: the key's time is over and there is no next; goes on by itself when the key server is back"
            );
        }
        sender::Event::Rejected {
            why: Rejection::Mode,
        } => tracing::error!(
            channel,
            "the key server has this channel in the other mode, so it gives no keys: set --mode here as `sealcast admin channel \
             list` shows it"
        ),
        sender::Event::Rejected { why } => {
            tracing::warn!(channel, ?why, "a message of the key server was not taken")
        }
    }
}

fn sink(output: &Output, name: &str) -> Result<Sink> {
    let stream = |writer: Box<dyn Write + Send>, strip| {
        Sink::stream("writer", writer, strip).map_err(Into::into)
    };
    match output {
        Output::Udp(output) => Ok(Sink::udp(connect(&output.options, name)?, None)),
        Output::Rtp(output) => Ok(Sink::udp(
            connect(&output.options, name)?,
            Some(RtpWriter::new(rng().next_u32())),
        )),
        Output::File { path, strip } => {
            let file = File::create(path)
                .with_context(|| format!("cannot write the output {}", path.display()))?;
            stream(Box::new(file), *strip)
        }
        Output::Stdout { strip } => stream(Box::new(io::stdout()), *strip),
    }
}

fn connect(options: &UdpOptions, name: &str) -> Result<UdpSender> {
    let socket = UdpSender::connect(&group_options(options)?)?;
    warn_short(socket.grant(), name);
    Ok(socket)
}

/// Builds a receiving channel. Runs on its shard.
pub fn receiving(
    plan: &ChannelPlan,
    budget: ParkingBudget,
    link: KeyLink,
    keylog: &KeyLog,
    meter: Option<&MeterHandle>,
    status: Published<ReceiveStatus>,
    stop: Stop<()>,
) -> Result<ReceiveChannel> {
    let name = plan.name.clone();
    let legs = plan
        .groups
        .iter()
        .map(|group| bind(group.options(), &name))
        .collect::<Result<Vec<_>>>()?;
    let output = plan.output.as_ref().context("no output")?;
    let sink = sink(output, &name)?;
    let smoother = match output {
        Output::Udp(UdpOutput { smooth, .. }) | Output::Rtp(UdpOutput { smooth, .. }) => {
            (!smooth.is_zero()).then(|| Smoother::new(*smooth))
        }
        Output::File { .. } | Output::Stdout { .. } => None,
    };
    let config = ReceiverConfig {
        fetch_on: plan.fetch_on,
        skew: plan.skew,
        preferred: plan.preferred,
        source_timeout: plan.source_timeout,
        merge: plan.merge,
        verify: plan.verify.into(),
        keylog: keylog.is_on(),
        ..ReceiverConfig::new(plan.channel, Timing::default())
    };
    let keylog = keylog.clone();
    let mut receiver = Receiver::new(config, budget, Time(clock::boottime()));
    Ok(ReceiveChannel {
        meter: meter.map(|meter| meter.channel(plan.channel, receiver.tally())),
        receiver,
        legs,
        sink,
        link,
        rng: Box::new(rng()),
        status,
        stop,
        budget: plan.budget,
        smoother,
        on_event: Box::new(move |event| tell_receiving(&name, &keylog, event)),
    })
}

fn tell_receiving(channel: &str, keylog: &KeyLog, event: receiver::Event) {
    match event {
        receiver::Event::KeyLog(line) => keylog.write(&line),
        receiver::Event::KeyHeld { epoch } => tracing::debug!(channel, epoch = epoch.0, "key held"),
        receiver::Event::Switched { epoch } => tracing::info!(channel, epoch = epoch.0, "switched"),
        receiver::Event::KeyMissing { epoch, held } => {
            tracing::warn!(channel, wanted = epoch.0, held = ?held.map(|held| held.0), "packets come under a key that is not held; fetching it");
        }
        receiver::Event::CommitmentMismatch { epoch } => {
            tracing::error!(
                channel,
                epoch = epoch.0,
                "ALARM: a key does not match what the authority signed; not used"
            );
        }
        receiver::Event::RootReplaced { epoch } => {
            tracing::warn!(
                channel,
                epoch = epoch.0,
                "a new master put another key under this number; fetching it"
            );
        }
        receiver::Event::SourceSwitched { from, to } => tracing::warn!(
            channel,
            ?from,
            ?to,
            "another delivery server's packets are delivered"
        ),
        receiver::Event::Forged { packets, delivered } => tracing::error!(
            channel,
            packets,
            delivered,
            "ALARM: somebody who has the channel's keys sends packets that are not its delivery server's"
        ),
        receiver::Event::Unverified { packets } => tracing::error!(
            channel,
            packets,
            "ALARM: packets came without manifests; are they lost, or kept away?"
        ),
        receiver::Event::Refused { reason } => {
            tracing::warn!(
                channel,
                why = refusal(reason),
                "the key server refuses keys"
            )
        }
    }
}

fn refusal(reason: Reason) -> &'static str {
    match reason {
        Reason::CookieUnknown => "the session is not known; a new one is opened",
        Reason::NotEntitled => "this device has no right to the channel, or not any more",
        Reason::ChannelUnknown => "it does not know the channel",
        Reason::EpochUnavailable => {
            "no key is in use, or not the one asked for: does a delivery server send?"
        }
        Reason::Busy => "it is starting, or this device asks too often",
        Reason::RightsChanged => "rights have changed; a new session is opened",
    }
}
