//! `sealcast load keys run`: devices ask.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use clap::ValueEnum;
use sealcast_dataplane::endpoint::Input;
use sealcast_loadgen::devices::run::{self, DOORS_MAX, Hostile, Plan, SOCKETS_MAX, Sample};
use sealcast_loadgen::devices::scenario::{RATE_MAX, Scenario, Trace};
use sealcast_loadgen::devices::sessions::Sessions;
use sealcast_loadgen::report::{self, Cell, Fact};
use sealcast_loadgen::trace::replay::Speed;
use sealcast_net::GroupOptions;
use sealcast_net::shard::Placement;

use crate::Failure;
use crate::channels::group_options;
use crate::config::ExecutorArgs;
use crate::load::make::count;
use crate::load::progress::Progress;
use crate::load::stream::{fact, tell, write_page};
use crate::signals::Signals;

/// Flags of `sealcast load keys run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Sessions of the devices, of `sealcast load keys mint`
    #[arg(long, value_name = "FILE")]
    sessions: PathBuf,
    /// A key door; repeatable: each device knows all, in an order of its own
    #[arg(long, value_name = "ADDR:PORT", required = true)]
    door: Vec<SocketAddr>,
    /// What the devices do
    #[arg(long, value_enum)]
    scenario: ScenarioName,
    /// How many devices [default: all sessions]
    #[arg(long, value_name = "N", value_parser = count)]
    devices: Option<u32>,
    /// Requests per second, of steady and hostile
    #[arg(long, default_value = "10k", value_name = "N", value_parser = count)]
    rate: u32,
    /// How long, of steady and hostile
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Within this all devices tune in, evenly: of cold, switch and replaced
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    within: Duration,
    /// The trace of key requests to play (of `sealcast load make requests`)
    #[arg(long, value_name = "FILE", required_if_eq("scenario", "trace"))]
    trace: Option<PathBuf>,
    /// Of a trace: how many times faster, from 0.001 to 1000
    #[arg(long, value_name = "TIMES", default_value = "1")]
    speed: Speed,
    /// A group of the channel (udp://ADDRESS:PORT?iface=NAME): devices hear its Notices; repeatable
    #[arg(long, value_name = "URL", required_if_eq("scenario", "replaced"))]
    group: Vec<String>,
    /// A command (of the shell) that is started once, --exec-before the change of key: to revoke, to kill, to restart
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// When it is started
    #[arg(long, value_name = "TIME", requires = "exec", default_value = "5s", value_parser = humantime::parse_duration)]
    exec_before: Duration,
    /// Cores of the devices [default: one shard, not pinned]
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    cores: Vec<usize>,
    /// Sockets of all devices together, spread over the cores
    #[arg(long, default_value_t = 512, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SOCKETS_MAX)))]
    sockets: u16,
    /// Of hostile: cores of the attackers [default: one shard, not pinned]
    #[arg(long, value_delimiter = ',', value_name = "CORES")]
    hostile_cores: Vec<usize>,
    /// Of hostile: datagrams per second of each core of attackers [default: as many as can be sent]
    #[arg(long, value_name = "N", value_parser = count)]
    hostile_rate: Option<u32>,
    /// Resolution of what is counted over time
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = humantime::parse_duration)]
    bin: Duration,
    /// Chooses what is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    executor: ExecutorArgs,
    /// Print JSON instead of a report
    #[arg(long)]
    json: bool,
    /// Write the report as a page, with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What devices do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ScenarioName {
    /// They ask for the current key in turn, at --rate
    Steady,
    /// All tune in --within a time
    Cold,
    /// All tune in, and follow the next change of key whose fetch window begins after that
    Switch,
    /// The same while the announced key is replaced (`admin right revoke --immediate`): needs --group, and --exec or an operator
    Replaced,
    /// Requests of a --trace at its times
    Trace,
    /// Steady, beside attackers that send all they can
    Hostile,
}

/// Runs it and tells what came of it.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let plan = args.plan()?;
    if let Some(file) = &args.html {
        write_page(file, "")?;
    }
    let signals = Signals::listen().map_err(|error| Failure::CannotOpen(error.into()))?;
    let (line, mut command) = (Progress::endless(), Started::default());
    let outcome = run::run(&plan, &mut |sample| {
        line.say(where_it_stands(sample));
        command.at(args, sample);
        !signals.stop()
    });
    line.clear();
    let outcome = outcome.map_err(|error| Failure::CannotOpen(error.into()))?;
    let mut report = report::of_keys(args.parameters(&plan), &plan, &outcome);
    report.notes.extend(command.note());
    tell(args.json, args.html.as_deref(), &report)
}

fn where_it_stands(sample: &Sample) -> String {
    let standing = sample.standing;
    let mut words = format!(
        "{} devices, {} hold a key; {} requests, {} answered, {} waiting",
        standing.begun, standing.holding, standing.sent, standing.keys, standing.waiting
    );
    if let Some(seconds) = sample.change_in {
        words.push_str(&format!("; the change is in {seconds:.1} s"));
    }
    words
}

/// The command that is started during the run.
#[derive(Default)]
struct Started {
    child: Option<std::io::Result<Child>>,
}

impl Started {
    fn at(&mut self, args: &RunArgs, sample: &Sample) {
        let Some(command) = &args.exec else {
            return;
        };
        let is_time = sample
            .change_in
            .is_some_and(|left| left <= args.exec_before.as_secs_f64());
        if is_time && self.child.is_none() {
            // Standard output is the report's.
            let shell = Command::new("sh")
                .args(["-c", command])
                .stdout(std::io::stderr())
                .spawn();
            self.child = Some(shell);
        }
    }

    /// What became of it.
    fn note(self) -> Option<String> {
        Some(match self.child? {
            Err(error) => format!("the command could not be started: {error}"),
            Ok(mut child) => match child.try_wait() {
                Ok(Some(status)) if status.success() => return None,
                Ok(Some(status)) => format!("the command ended with {status}"),
                Ok(None) => "the command still runs".to_owned(),
                Err(error) => format!("of the command nothing is known: {error}"),
            },
        })
    }
}

impl RunArgs {
    fn plan(&self) -> Result<Plan, Failure> {
        let sessions = Sessions::open(&self.sessions).map_err(|error| {
            Failure::CannotOpen(anyhow!("{}: {error}", self.sessions.display()))
        })?;
        let scenario = self.scenario()?;
        self.check(&sessions).map_err(Failure::Configuration)?;
        let groups = self.groups().map_err(Failure::Configuration)?;
        let executor = self.executor.chosen();
        let hostile = (self.scenario == ScenarioName::Hostile).then(|| Hostile {
            shards: Placement::each(&self.hostile_cores, executor),
            sockets: 16,
            rate: self.hostile_rate.map(u64::from),
        });
        Ok(Plan {
            devices: self.devices.unwrap_or_else(|| sessions.count()),
            sessions,
            doors: self.door.clone(),
            scenario,
            sockets: self.sockets,
            groups,
            shards: Placement::each(&self.cores, executor),
            bin: self.bin,
            hostile,
            seed: self.seed,
        })
    }

    fn check(&self, sessions: &Sessions) -> anyhow::Result<()> {
        let devices = self.devices.unwrap_or_else(|| sessions.count());
        ensure!(
            (1..=sessions.count()).contains(&devices),
            "{devices} devices, but {} holds {} sessions: make more, or choose fewer devices",
            self.sessions.display(),
            sessions.count()
        );
        ensure!(
            self.door.len() <= DOORS_MAX,
            "{} doors: at most {DOORS_MAX}",
            self.door.len()
        );
        let v4 = self.door.iter().filter(|door| door.is_ipv4()).count();
        ensure!(
            v4 == 0 || v4 == self.door.len(),
            "doors of IPv4 and IPv6 in one run: give those of one, and run it again with the others"
        );
        ensure!(
            (1..=RATE_MAX).contains(&u64::from(self.rate)),
            "a rate of {}: choose 1 to {RATE_MAX} requests per second",
            self.rate
        );
        let named = [("duration", self.duration), ("within", self.within)];
        for (name, time) in named {
            ensure!(
                !time.is_zero() && time <= Duration::from_secs(24 * 3600),
                "--{name} {time:?}: more than nothing, at most a day"
            );
        }
        ensure!(
            (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&self.bin),
            "--bin {:?}: 10ms to 60s",
            self.bin
        );
        Ok(())
    }

    fn scenario(&self) -> Result<Scenario, Failure> {
        let within = self.within;
        Ok(match self.scenario {
            ScenarioName::Steady | ScenarioName::Hostile => Scenario::Steady {
                rate: self.rate.into(),
                duration: self.duration,
            },
            ScenarioName::Cold => Scenario::Cold { within },
            ScenarioName::Switch | ScenarioName::Replaced => Scenario::Switch { within },
            ScenarioName::Trace => {
                let path = self.trace.as_deref().unwrap_or_else(|| Path::new(""));
                let trace = Trace::open(path, self.speed);
                let trace = trace
                    .map_err(|error| Failure::CannotOpen(anyhow!("{}: {error}", path.display())))?;
                Scenario::Trace(trace)
            }
        })
    }

    fn groups(&self) -> anyhow::Result<Vec<GroupOptions>> {
        let parsed = self.group.iter().map(|text| match text.parse()? {
            Input::Udp(options) => group_options(&options),
            _ => Err(anyhow!(
                "{text:?}: a group is written udp://ADDRESS:PORT?iface=NAME"
            )),
        });
        parsed.collect()
    }

    fn parameters(&self, plan: &Plan) -> Vec<Fact> {
        let doors: Vec<_> = self.door.iter().map(ToString::to_string).collect();
        let name = self.scenario.to_possible_value();
        let name = name.map_or(String::new(), |name| name.get_name().to_owned());
        let mut facts = vec![
            fact("scenario", "scenario", Cell::words(name)),
            fact("doors", "doors", Cell::words(doors.join(", "))),
            fact("devices", "devices", Cell::count(plan.devices.into())),
            fact("sockets", "sockets", Cell::count(plan.sockets.into())),
            fact(
                "cores",
                "shards of devices",
                Cell::count(plan.shards.len() as u64),
            ),
            fact(
                "bin_ms",
                "a bin, ms",
                Cell::number(self.bin.as_secs_f64() * 1e3, 0),
            ),
        ];
        facts.extend(match &plan.scenario {
            Scenario::Steady { rate, duration } => vec![
                fact("rate", "requests per second", Cell::count(*rate)),
                fact(
                    "duration_s",
                    "seconds",
                    Cell::number(duration.as_secs_f64(), 1),
                ),
            ],
            Scenario::Cold { within } | Scenario::Switch { within } => {
                vec![fact(
                    "within_s",
                    "tune in within, s",
                    Cell::number(within.as_secs_f64(), 1),
                )]
            }
            Scenario::Trace(trace) => vec![
                fact(
                    "requests",
                    "requests of the trace",
                    Cell::count(trace.requests() as u64),
                ),
                fact(
                    "speed",
                    "times faster",
                    Cell::number(self.speed.factor(), 3),
                ),
            ],
        });
        facts
    }
}
