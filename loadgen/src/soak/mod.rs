//! A soak: hundreds of channels in one process for as long as one likes, each with its own keys and epochs, sent over loopback
//! multicast by the dataplane and received by it again, checked byte by byte.

mod checker;
mod pair;
mod process;
mod verdict;

use std::io;
use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};
use sealcast_dataplane::fleet::Fleet;
use sealcast_net::Interface;
use sealcast_net::shard::Placement;
use sealcast_proto::ids::ChannelId;
use sealcast_proto::receiver::ParkingBudget;
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::control::AuthLevel;

use crate::keys::LocalKeys;
use pair::{Pair, Setting};
pub use verdict::{Quantiles, Report, Sample};

/// The most channels: each has a group of its own in 239.200.0.0/16.
pub const CHANNELS_MAX: u16 = 10_000;
/// How often totals are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// Until all channels must have delivered something, besides the time over which they begin.
const START: Duration = Duration::from_secs(20);
/// What is under way when senders stop has arrived after this.
const DRAIN: Duration = Duration::from_millis(500);

/// What is soaked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Channels, 1 to [`CHANNELS_MAX`].
    pub channels: u16,
    /// Bits per second of each.
    pub rate: u64,
    /// How long, from when all channels run.
    pub duration: Duration,
    /// Where they run.
    pub shards: Vec<Placement>,
    /// Key times. Channels begin, and so change keys, at different moments of a life.
    pub timing: Timing,
    /// Latency budget of the senders.
    pub budget: Duration,
    /// One more channel ends and begins anew this often; the others must not notice.
    pub churn: Option<Duration>,
    /// The interface that everything goes over, `lo` for example.
    pub iface: String,
}

/// Runs a soak; `progress` sees a sample a second, and ends the run early when it returns false.
///
/// # Errors
/// When shards or sockets cannot be opened, or a channel delivers nothing at all.
pub fn run(plan: &Plan, mut progress: impl FnMut(&Sample) -> bool) -> io::Result<Report> {
    let rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
    let iface = Interface::resolve(&plan.iface).map_err(io::Error::other)?;
    let numbers = 1..=plan.channels + u16::from(plan.churn.is_some());
    let keys = LocalKeys::start(numbers.map(ChannelId), plan.timing, AuthLevel::Group, rng)?;
    let fleet = Fleet::start(&plan.shards)?;
    let setting = Setting {
        iface,
        rate: plan.rate,
        timing: plan.timing,
        budget: plan.budget,
        parking: ParkingBudget::default(),
    };
    let begin = |number: u16| {
        let group =
            Ipv4Addr::from_bits(Ipv4Addr::new(239, 200, 0, 0).to_bits() + u32::from(number));
        Pair::begin(&fleet, &keys, ChannelId(number), group, &setting)
    };
    let mut pairs = Vec::new();
    for number in 1..=plan.channels {
        pairs.push(begin(number));
        sleep(plan.timing.lifetime() / u32::from(plan.channels).max(2));
    }
    let report = wait_for_all(&mut pairs).and_then(|()| {
        let mut visitor = plan.churn.map(|_| begin(plan.channels + 1));
        let mut come = 1;
        let start = Instant::now();
        let mut samples = vec![Sample::of(Duration::ZERO, &pairs)?];
        loop {
            sleep(INTERVAL.min(plan.duration.saturating_sub(start.elapsed())));
            let at = start.elapsed();
            let sample = Sample::of(at, &pairs)?;
            let go_on = progress(&sample) && at < plan.duration;
            samples.push(sample);
            if let Some(failed) = pairs.iter_mut().find_map(Pair::failure) {
                return Err(failed);
            }
            if !go_on {
                break;
            }
            if let Some(churn) = plan.churn
                && at > churn * come
            {
                come += 1;
                if let Some(gone) = visitor.take() {
                    gone.end(DRAIN);
                }
                visitor = Some(begin(plan.channels + 1));
            }
        }
        if let Some(visitor) = visitor {
            visitor.end(Duration::ZERO);
        }
        Ok((samples, come))
    });
    for pair in &pairs {
        pair.stop_sending();
    }
    sleep(DRAIN);
    let ends: Vec<_> = pairs
        .into_iter()
        .map(|pair| pair.end(Duration::ZERO))
        .collect();
    fleet.join()?;
    let (samples, come) = report?;
    Ok(Report::new(plan, &samples, &ends, come))
}

/// Waits until every channel has delivered something.
fn wait_for_all(pairs: &mut [Pair]) -> io::Result<()> {
    let start = Instant::now();
    loop {
        if let Some(failed) = pairs.iter_mut().find_map(Pair::failure) {
            return Err(failed);
        }
        let silent = pairs.iter().filter(|pair| !pair.delivers()).count();
        if silent == 0 {
            return Ok(());
        }
        if start.elapsed() > START {
            return Err(io::Error::other(format!(
                "{silent} of {} channels delivered nothing within {START:?}: is the host too slow for so many, or multicast not \
                 allowed on this interface?",
                pairs.len()
            )));
        }
        sleep(Duration::from_millis(50));
    }
}
