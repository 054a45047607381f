//! `sealcast demo`: the whole system on loopback, no root, no set-up. Streams a TS to three receivers, one of which joins
//! late, changes keys every few seconds, and proves that nothing was lost or altered.

use std::io::IsTerminal as _;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use rand_core::Rng as _;
use sealcast_crypto::SigningKey;
use sealcast_dataplane::endpoint::{Group, Input, Output};
use sealcast_dataplane::fleet::{Fleet, Running};
use sealcast_dataplane::source;
use sealcast_dataplane::status::{Published, ReceiveStatus, SendStatus};
use sealcast_proto::authority::{ChannelConfig, Config};
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::{ChannelId, ServerId};
use sealcast_proto::limits::{SKEW_DEFAULT, SOURCE_TIMEOUT};
use sealcast_proto::receiver::{FetchOn, Merge, ParkingBudget};
use sealcast_proto::sender::Hold;
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::link::Mode;

use crate::Failure;
use crate::channels;
use crate::config::ChannelPlan;
use crate::keylog::KeyLog;
use crate::keys::{Hub, KeyServer, KeyServerConfig};
use crate::keys_command::rng;
use crate::live::Totals as _;
use crate::run::Outcome;

const CHANNEL: ChannelId = ChannelId(1);
const RECEIVERS: usize = 3;
/// Streams that are still under way when the sender has ended arrive within this.
const DRAIN: Duration = Duration::from_millis(700);
/// A file longer than this is streamed from its start only this long.
const SECONDS_MAX: u64 = 20;

/// Flags of `sealcast demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Stream this TS instead of a generated one
    #[arg(long, value_name = "FILE")]
    ts: Option<PathBuf>,
    /// Seconds of a generated TS
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(3..=SECONDS_MAX))]
    seconds: u64,
    /// Bit rate of a generated TS, Mbit/s
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100))]
    mbit: u64,
}

/// One receiver of the demo.
struct Party {
    name: &'static str,
    late: bool,
    file: PathBuf,
    status: Published<ReceiveStatus>,
    running: Option<Running<Outcome>>,
    // The link lives as long as the receiver.
    _hub: Hub,
}

/// Runs the demo; fails when anything is not proved.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let scratch = tempfile::tempdir().map_err(|error| Failure::CannotOpen(error.into()))?;
    let input = input(args).map_err(Failure::CannotOpen)?;
    let stage = Stage::set(scratch.path(), &input).map_err(Failure::CannotOpen)?;
    stage.play(&input).map_err(Failure::NotAsItMustBe)
}

fn input(args: &DemoArgs) -> Result<Input> {
    match &args.ts {
        None => format!("gen:?rate={}M&seconds={}", args.mbit, args.seconds)
            .parse()
            .map_err(Into::into),
        Some(path) => {
            ensure!(
                path.is_file(),
                "cannot read {}: it is no file",
                path.display()
            );
            Ok(Input::file(path))
        }
    }
}

/// Everything that is set up before the stream begins.
struct Stage {
    fleet: Fleet,
    keys: KeyServer,
    receivers: Vec<Party>,
    plan: ChannelPlan,
    sender_hub: Hub,
    timing: Timing,
}

fn timing() -> Result<Timing> {
    let ms = Duration::from_millis;
    Ok(Timing::new(ms(2500), ms(1500), ms(900), ms(400))?)
}

impl Stage {
    fn set(scratch: &Path, input: &Input) -> Result<Self> {
        let timing = timing()?;
        let mut seed = [0; 32];
        rng().fill_bytes(&mut seed);
        let keys = KeyServer::start(KeyServerConfig {
            path: scratch.join("keys.sock"),
            authority: Config {
                key: SigningKey::from_seed(&seed),
                successor: None,
                channels: vec![ChannelConfig {
                    channel: CHANNEL,
                    mode: Mode::Authority,
                    timing,
                }],
                start_wait: Duration::from_secs(2),
                known_servers: vec![ServerId(1)],
            },
            rng: Box::new(rng()),
            on_event: Box::new(|event| tracing::debug!(?event, "keys")),
        })?;
        let plan = plan(timing, group()?, Some(input.clone()));
        let party = |index: usize| -> Result<Party> {
            let (name, late) = [
                ("receiver 1", false),
                ("receiver 2", false),
                ("late receiver", true),
            ][index];
            let hub = Hub::connect(keys.path())?;
            Ok(Party {
                name,
                late,
                file: scratch.join(format!("{index}.ts")),
                status: Published::default(),
                running: None,
                _hub: hub,
            })
        };
        let receivers = (0..RECEIVERS).map(party).collect::<Result<_>>()?;
        let sender_hub = Hub::connect(keys.path())?;
        Ok(Self {
            fleet: Fleet::start(&[None, None])?,
            keys,
            receivers,
            plan,
            sender_hub,
            timing,
        })
    }

    fn play(mut self, input: &Input) -> Result<()> {
        println!(
            "sealcast demo: {input} to {RECEIVERS} receivers over {}, keys change every {:.1} s",
            self.plan.groups[0],
            self.timing.lifetime().as_secs_f64()
        );
        let expected = content(input)?;
        for index in 0..RECEIVERS {
            if !self.receivers[index].late {
                self.join(index);
            }
        }
        let status = Published::<SendStatus>::default();
        let mut sender = self.send(status.clone());
        let view = View::new(RECEIVERS);
        let start = Instant::now();
        let length = Duration::from_nanos(expected.length_ns);
        let limit = length + Duration::from_secs(15);
        let why = loop {
            std::thread::sleep(Duration::from_millis(100));
            let sent = status.read();
            view.show(&sent, &self.receivers);
            let sending_since = (sent.stats.packets > 0).then(|| start.elapsed());
            if sending_since.is_some_and(|elapsed| elapsed > length * 2 / 5)
                && self
                    .receivers
                    .iter()
                    .any(|party| party.late && party.running.is_none())
            {
                self.join(RECEIVERS - 1);
            }
            if let Some(outcome) = sender.try_result() {
                break outcome.map_err(|why| anyhow!(why))?;
            }
            ensure!(
                start.elapsed() < limit,
                "the stream did not end in {} s: {}",
                limit.as_secs(),
                sent.line()
            );
        };
        if let Some(why) = why {
            return Err(anyhow!("the input failed: {why}"));
        }
        std::thread::sleep(DRAIN);
        view.clear();
        self.judge(&expected, &status.read(), start)
    }

    fn join(&mut self, index: usize) {
        let party = &mut self.receivers[index];
        let mut plan = self.plan.clone();
        plan.output = Some(Output::file(&party.file));
        let (link, status) = (party._hub.attach(CHANNEL), party.status.clone());
        party.running = Some(self.fleet.spawn(1, move |stop| async move {
            match channels::receiving(
                &plan,
                ParkingBudget::default(),
                link,
                &KeyLog::off(),
                status,
                stop,
            ) {
                Ok(channel) => Ok(channel.run().await),
                Err(error) => Err(format!("{error:#}")),
            }
        }));
    }

    fn send(&self, status: Published<SendStatus>) -> Running<Outcome> {
        let (plan, link) = (self.plan.clone(), self.sender_hub.attach(CHANNEL));
        let mut seed = [0; 32];
        rng().fill_bytes(&mut seed);
        self.fleet.spawn(0, move |stop| async move {
            match channels::sending(
                &plan,
                ServerId(1),
                &seed,
                link,
                &KeyLog::off(),
                status,
                stop,
            ) {
                Ok(channel) => Ok(channel.run().await),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }

    /// Stops the receivers, compares what they wrote with what was sent, and says what is proved.
    fn judge(mut self, expected: &Content, sent: &SendStatus, start: Instant) -> Result<()> {
        let mut faults = Vec::new();
        println!(
            "{:14} {:>12} {:>10} {:>9} {:>6} {:>8} {:>9}  join to first packet",
            "", "bytes", "identical", "switches", "lost", "corrupt", "cc errors"
        );
        for party in &mut self.receivers {
            let outcome = party.running.take().and_then(Running::stop_and_wait);
            if let Some(Ok(None)) = outcome {
                party.judge(expected, sent, &mut faults)?;
            } else {
                faults.push(format!("{} failed: {outcome:?}", party.name));
            }
        }
        drop(self.sender_hub);
        drop(self.receivers);
        drop(self.keys);
        self.fleet.join()?;
        let changes = sent.stats.switches;
        if changes < 2 {
            faults.push(format!(
                "only {changes} key changes happened; stream for longer (--seconds)"
            ));
        }
        if !faults.is_empty() {
            return Err(anyhow!("NOT PROVED: {}", faults.join("; ")));
        }
        println!(
            "PROVED in {:.1} s: {} packets encrypted once reached every receiver byte for byte across {changes} key changes; 0 lost, 0 corrupt.",
            start.elapsed().as_secs_f64(),
            sent.stats.packets
        );
        Ok(())
    }
}

impl Party {
    fn judge(&self, expected: &Content, sent: &SendStatus, faults: &mut Vec<String>) -> Result<()> {
        let got = std::fs::read(&self.file)
            .with_context(|| format!("reading {}", self.file.display()))?;
        let status = self.status.read();
        let identical = if self.late {
            !got.is_empty() && expected.bytes.ends_with(&got)
        } else {
            got == expected.bytes
        };
        let corrupt = status.discards.of(Discard::BadTag) + status.discards.of(Discard::Malformed);
        let join = status.first_packet_ns.map_or(f64::NAN, |ns| {
            Duration::from_nanos(ns).as_secs_f64() * 1000.0
        });
        let what = match (identical, self.late) {
            (true, false) => "yes",
            (true, true) => "yes, tail",
            (false, _) => "NO",
        };
        // Receivers that wait for the sender do not join, they start.
        let join = if self.late {
            format!("{join:.1} ms")
        } else {
            "-".to_owned()
        };
        println!(
            "{:14} {:>12} {what:>10} {:>9} {:>6} {corrupt:>8} {:>9}  {join}",
            self.name,
            got.len(),
            status.stats.switches,
            status.gaps.lost,
            status.continuity_errors
        );
        let mut check = |good: bool, what: &str| {
            if !good {
                faults.push(format!("{}: {what}", self.name));
            }
        };
        check(identical, "its bytes are not what was sent");
        check(status.gaps.lost == 0, "packets are missing");
        check(corrupt == 0, "packets were altered");
        check(
            status.continuity_errors == 0,
            "the TS has continuity errors",
        );
        check(
            self.late || status.stats.switches == sent.stats.switches,
            "it did not follow every key change",
        );
        check(status.stats.switches > 0, "it saw no key change");
        Ok(())
    }
}

fn plan(timing: Timing, group: Group, input: Option<Input>) -> ChannelPlan {
    ChannelPlan {
        channel: CHANNEL,
        name: "demo".into(),
        mode: Mode::Authority,
        timing,
        input,
        groups: vec![group],
        output: None,
        lanes: 1,
        hold: Hold::Hold,
        // Receivers that are there when the first key is made get the stream from its first byte.
        start_delay: Duration::from_millis(800),
        shard: None,
        merge: Merge::None,
        preferred: None,
        skew: SKEW_DEFAULT,
        source_timeout: SOURCE_TIMEOUT,
        fetch_on: FetchOn::default(),
    }
}

/// A group on the loopback interface with a port that the kernel says is free.
fn group() -> Result<Group> {
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut host = [0; 2];
    rng().fill_bytes(&mut host);
    format!(
        "udp://239.255.{}.{}:{port}?iface=127.0.0.1&loop=1",
        host[0], host[1]
    )
    .parse()
    .map_err(Into::into)
}

/// What will be sent.
struct Content {
    bytes: Vec<u8>,
    length_ns: u64,
}

/// Reads the input once, as the sender will.
fn content(input: &Input) -> Result<Content> {
    let mut source = source::open(input)?;
    let mut content = Content {
        bytes: Vec::new(),
        length_ns: 0,
    };
    while let Some(due) = source.next(&mut content.bytes)? {
        if let source::Due::At(due) = due {
            content.length_ns = due;
        }
    }
    ensure!(
        content.length_ns <= SECONDS_MAX * 1_000_000_000,
        "the file lasts {} s; the demo takes at most {SECONDS_MAX} s (use `sealcast send` for more)",
        content.length_ns / 1_000_000_000
    );
    Ok(content)
}

/// A live table on a terminal.
struct View {
    lines: Vec<ProgressBar>,
    all: MultiProgress,
}

impl View {
    fn new(receivers: usize) -> Self {
        let all = MultiProgress::new();
        if !std::io::stderr().is_terminal() {
            return Self {
                lines: Vec::new(),
                all,
            };
        }
        let style = ProgressStyle::with_template("  {prefix:14} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let line = |_| all.add(ProgressBar::new_spinner().with_style(style.clone()));
        Self {
            lines: (0..=receivers).map(line).collect(),
            all,
        }
    }

    fn show(&self, sent: &SendStatus, receivers: &[Party]) {
        let Some((sender, rest)) = self.lines.split_first() else {
            return;
        };
        sender.set_prefix("sender");
        sender.set_message(sent.line());
        for (line, party) in rest.iter().zip(receivers) {
            line.set_prefix(party.name);
            let waiting = party.running.is_none();
            line.set_message(if waiting {
                "has not joined yet".to_owned()
            } else {
                party.status.read().line()
            });
        }
    }

    fn clear(&self) {
        let _ = self.all.clear();
    }
}
