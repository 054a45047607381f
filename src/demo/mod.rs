//! `sealcast demo`: the whole system as real processes on loopback, no root, no set-up. Streams a TS, changes keys every few
//! seconds, kills the key server for several lives of a key while receivers come and go, and says what was expected and what
//! happened.

mod cast;
mod child;
mod sale;
mod view;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use sealcast_dataplane::endpoint::Input;
use sealcast_dataplane::source;
use serde_json::Value;

use crate::Failure;
use cast::Cast;
use child::Child;
use view::View;

/// Streams that are still under way when the sender has ended arrive within this.
const DRAIN: Duration = Duration::from_millis(1200);
/// A longer file is refused.
const SECONDS_MAX: u64 = 60;
/// How often the demo looks at its processes.
const TICK: Duration = Duration::from_millis(50);

/// Flags of `sealcast demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Stream this TS instead of a generated one
    #[arg(long, value_name = "FILE")]
    ts: Option<PathBuf>,
    /// Seconds of a generated TS
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(16..=SECONDS_MAX))]
    seconds: u64,
    /// Bit rate of a generated TS, Mbit/s
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100))]
    mbit: u64,
}

/// Runs the demo; fails when anything is not as expected.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let scratch = tempfile::tempdir().map_err(|error| Failure::CannotOpen(error.into()))?;
    let input = input(args).map_err(Failure::CannotOpen)?;
    let content = content(&input).map_err(Failure::CannotOpen)?;
    let cast = Cast::set(scratch.path()).map_err(Failure::CannotOpen)?;
    Play::new(cast, scratch.path(), &input, content)
        .run()
        .map_err(Failure::NotAsItMustBe)
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
            Ok(Input::file(&path.canonicalize()?))
        }
    }
}

/// What will be sent.
struct Content {
    bytes: Vec<u8>,
    length: Duration,
}

/// Reads the input once, as the sender will.
fn content(input: &Input) -> Result<Content> {
    let mut source = source::open(input)?;
    let (mut bytes, mut length) = (Vec::new(), Duration::ZERO);
    while let Some(due) = source.next(&mut bytes)? {
        if let source::Due::At(due) = due {
            length = Duration::from_nanos(due);
        }
    }
    ensure!(
        length <= Duration::from_secs(SECONDS_MAX),
        "the file lasts {} s; the demo takes at most {SECONDS_MAX} s (use `sealcast send` for more)",
        length.as_secs()
    );
    ensure!(
        length >= Duration::from_secs(15),
        "the file lasts {} s; the demo needs at least 15 s to show an outage",
        length.as_secs()
    );
    Ok(Content { bytes, length })
}

/// Part of the stream that is over, in percent.
type Moment = u32;
const KEY_SERVER_DIES: Moment = 25;
const ONE_LEAVES: Moment = 38;
const ONE_JOINS: Moment = 46;
const KEY_SERVER_RETURNS: Moment = 62;

struct Play<'a> {
    cast: Cast,
    folder: &'a Path,
    input: String,
    content: Content,
    key_server: Option<Child>,
    stays: Option<Child>,
    leaves: Option<Child>,
    joins: Option<Child>,
    refused: Option<Child>,
    away_since: Option<Instant>,
    away: Duration,
    faults: Vec<String>,
}

impl<'a> Play<'a> {
    fn new(cast: Cast, folder: &'a Path, input: &Input, content: Content) -> Self {
        Self {
            cast,
            folder,
            input: input.to_string(),
            content,
            key_server: None,
            stays: None,
            leaves: None,
            joins: None,
            refused: None,
            away_since: None,
            away: Duration::ZERO,
            faults: Vec::new(),
        }
    }

    fn receiver(&self, name: &str) -> Result<Child> {
        self.cast.receiver(self.folder, name)
    }

    fn run(mut self) -> Result<()> {
        let lives = self.content.length.as_secs_f64() / cast::LIFETIME.as_secs_f64();
        println!(
            "sealcast demo: {} ({:.0} s) over {}, a key change every {:.1} s; every part is a process of its own",
            self.input,
            self.content.length.as_secs_f64(),
            self.cast.group(),
            cast::LIFETIME.as_secs_f64()
        );
        self.key_server = self.cast.take_key_server();
        self.stays = Some(self.receiver("stays")?);
        self.leaves = Some(self.receiver("leaves")?);
        self.refused = Some(self.receiver("refused")?);
        let mut sender = self.cast.sender(self.folder, &self.input)?;
        let view = View::new();
        let limit = self.content.length + Duration::from_secs(30);
        let (begun, mut streaming) = (Instant::now(), None);
        while sender.is_running()? {
            std::thread::sleep(TICK);
            ensure!(
                begun.elapsed() < limit,
                "the stream has not ended after {} s:\n{}",
                limit.as_secs(),
                sender.errors()
            );
            if streaming.is_none() && sender.errors().contains("sending begins") {
                // The first packet follows after the start delay.
                streaming = Some(Instant::now() + cast::START_DELAY);
            }
            if let Some(at) = streaming {
                let done = at.elapsed().as_millis() * 100 / self.content.length.as_millis();
                self.act(u32::try_from(done).unwrap_or(100), &view)?;
            }
            view.show(&sender, [&self.stays, &self.leaves, &self.joins]);
        }
        std::thread::sleep(DRAIN);
        view.clear();
        let sent = sender.status();
        self.judge(&sent, lives)
    }

    /// What is to happen by now.
    fn act(&mut self, done: Moment, view: &View) -> Result<()> {
        if done >= KEY_SERVER_DIES
            && self.away_since.is_none()
            && let Some(mut server) = self.key_server.take()
        {
            server.kill();
            self.away_since = Some(Instant::now());
            view.say(
                "the key server is killed (SIGKILL): delivery servers and receivers must go on",
            );
        }
        if done >= ONE_LEAVES
            && let Some(leaves) = self.leaves.as_mut().filter(|leaves| !leaves.has_ended())
        {
            leaves.stop()?;
            view.say("a receiver leaves");
        }
        if done >= ONE_JOINS && self.joins.is_none() {
            self.joins = Some(self.receiver("joins")?);
            view.say("a receiver joins: it can have no key before the key server is back");
        }
        if done >= KEY_SERVER_RETURNS
            && self.key_server.is_none()
            && let Some(since) = self.away_since
        {
            let waiting = self.joins.as_ref().map_or(Value::Null, Child::status);
            if waiting["keys"]["epoch"].is_u64() {
                self.faults
                    .push("the receiver that joined had a key without a key server".to_owned());
            }
            self.key_server = Some(self.cast.key_server(self.folder)?);
            self.away = since.elapsed();
            view.say("the key server is back, under a new term");
        }
        Ok(())
    }

    fn judge(mut self, sent: &Value, lives: f64) -> Result<()> {
        let away = self.away.as_secs_f64() / cast::LIFETIME.as_secs_f64();
        println!(
            "\nThe key server was away for {:.1} s, {away:.1} lives of a key.",
            self.away.as_secs_f64()
        );
        println!(
            "{:18} {:>9} {:>9} {:>6} {:>8} {:>9}  expected, and what happened",
            "", "bytes", "switches", "lost", "corrupt", "cc errors"
        );
        let whole = self.content.bytes.clone();
        let receivers = [
            ("stays", self.stays.take(), "every byte"),
            ("leaves", self.leaves.take(), "every byte until it left"),
            (
                "joins",
                self.joins.take(),
                "every byte from when the key server was back",
            ),
        ];
        for (name, child, expected) in receivers {
            let Some(mut child) = child else {
                self.faults.push(format!("receiver \"{name}\" never ran"));
                continue;
            };
            if !child.has_ended() {
                child.stop()?;
            }
            let got = std::fs::read(self.folder.join(format!("{name}.ts")))?;
            let good = match name {
                "stays" => got == whole,
                "leaves" => !got.is_empty() && whole.starts_with(&got),
                _ => !got.is_empty() && whole.ends_with(&got),
            };
            self.row(name, &child.status(), got.len(), expected, good);
        }
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let (switches, holds) = (number(&sent["switches"]), number(&sent["holds"]));
        println!(
            "{:18} {:>9} {switches:>9} {:>6} {:>8} {:>9}  to hold its key while there is no next: {holds} times, {} not sent",
            "delivery server",
            number(&sent["bytes"]),
            "",
            "",
            "",
            sent["not_sent"]
        );
        self.judge_refused()?;
        let billed = self.judge_bill(sent)?;
        let expected = lives - away - 3.0;
        let mut check = |good: bool, what: String| {
            if !good {
                self.faults.push(what);
            }
        };
        check(
            away >= 2.0,
            format!("the key server was away for {away:.1} lives only"),
        );
        check(
            holds >= 1,
            "the delivery server never held its key".to_owned(),
        );
        check(
            number(&sent["not_sent"]) == 0,
            "payloads were not sent".to_owned(),
        );
        check(
            f64::from(u32::try_from(switches).unwrap_or(0)) >= expected,
            format!("only {switches} key changes happened, at least {expected:.0} were expected"),
        );
        if !self.faults.is_empty() {
            return Err(anyhow!("NOT PROVED: {}", self.faults.join("; ")));
        }
        println!("\n{billed}");
        println!(
            "PROVED: {} packets, encrypted once, reached every receiver that was there byte for byte across {switches} key \
             changes and an outage of the key server.",
            sent["packets"]
        );
        Ok(())
    }

    /// The device without a licence: nothing for it, and it is told why.
    fn judge_refused(&mut self) -> Result<()> {
        let Some(mut refused) = self.refused.take() else {
            return Ok(());
        };
        refused.stop()?;
        let got = std::fs::read(self.folder.join("refused.ts"))?.len();
        if got > 0 {
            self.faults
                .push(format!("a device without a licence got {got} bytes"));
        }
        let why = sale::refusal(&refused.errors())?;
        println!("{:18} {got:>9} bytes: {why}", "receiver \"refused\"");
        Ok(())
    }

    /// What the device that bought comes to besides; returns its bill. Ends the key server, and lets the auditor look.
    fn judge_bill(&mut self, sent: &Value) -> Result<String> {
        let buyer = self.cast.take_buyer();
        let buyer = buyer.ok_or_else(|| anyhow!("nobody bought anything"))?;
        let billed = buyer.bill(&self.cast.api()?)?;
        let sealed = sent["bytes"].as_u64().unwrap_or(0);
        if billed.bytes > sealed {
            self.faults.push(format!(
                "{} bytes are billed, {sealed} were sent",
                billed.bytes
            ));
        }
        if let Some(mut server) = self.key_server.take() {
            server.stop()?;
        }
        sale::audit(&self.folder.join("data"))?;
        Ok(format!(
            "{}\n\"stays\" had {} keys, under which {} bytes were sent: {} more this month. Log, ledger and purchases are as an auditor \
             computes them again.",
            billed.text,
            billed.keys,
            billed.bytes,
            sale::euros(billed.gross)
        ))
    }

    fn row(&mut self, name: &str, status: &Value, bytes: usize, expected: &str, good: bool) {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let corrupt =
            number(&status["discards"]["bad_tag"]) + number(&status["discards"]["malformed"]);
        let happened = if good { "so it was" } else { "IT WAS NOT" };
        println!(
            "{:18} {bytes:>9} {:>9} {:>6} {corrupt:>8} {:>9}  {expected}: {happened}",
            format!("receiver \"{name}\""),
            number(&status["switches"]),
            number(&status["lost"]),
            number(&status["continuity_errors"])
        );
        let clean = number(&status["lost"]) + corrupt + number(&status["continuity_errors"]) == 0;
        if !good || !clean {
            self.faults
                .push(format!("receiver \"{name}\" did not get {expected}"));
        }
    }
}
