//! The whole bench: who takes part, rounds in which everybody has a turn, what is told.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::contender::{Contender, Name};
use super::options::Options;
use super::ours::Sealcast;
use super::packages;
use super::report;
use super::row::{self, Turn};
use super::turn::{Stage, play};
use crate::cpu;
use crate::host::{self, Host};
use crate::interrupt::Interrupt;
use crate::lab::Lab;
use crate::progress::progress;
use crate::record::{Origin, printed};

/// The tick whose cost is told, and for how many of them it is measured in a round.
const TICK: Duration = Duration::from_millis(2);
const TICKS: u32 = 250;
const SYSCTL: &str = "/proc/sys/net/core/rmem_max";

/// Who takes part at which rate.
type Field = Vec<(Name, u32, Contender)>;

/// Runs the bench, and says what is to be printed.
///
/// # Errors
/// Without root or iproute2; if the cores are not there, sealcast takes part and is not there or refuses to be enrolled,
/// nobody came through a turn, or it is interrupted.
pub fn run(options: &Options) -> Result<String> {
    ensure!(
        options.peer_core != options.own_core,
        "core {0} cannot be both --peer-core and --own-core: what is measured needs a core of its own",
        options.own_core
    );
    let interrupt = Interrupt::listen()?;
    let host = Host::pinned(Some(options.own_core))?;
    let (names, mut told) = who(options)?;
    let (lab, folder) = (Lab::new()?, tempfile::tempdir()?);
    let mut sealcast = None;
    if names.contains(&Name::Sealcast) {
        let ours = Sealcast::enrol(&lab, options.own_core, folder.path(), options, &interrupt)
            .context("setting sealcast up")?;
        told.insert(0, ours.version()?);
        sealcast = Some(ours);
    }
    let field = field(options, &names, sealcast.as_ref());
    let mut origin = Origin::new(host, told);
    let stage = Stage {
        lab: &lab,
        folder: folder.path(),
        peer_core: options.peer_core,
        own_core: options.own_core,
        gro: options.gro,
        interrupt: &interrupt,
    };
    let played = play_all(stage, options, &field)?;
    origin.versions.extend(played.failures.iter().cloned());
    let rows = row::rows(&played.turns, &field, &played.wakes);
    ensure!(
        !rows.is_empty(),
        "nobody came through a turn:\n{}",
        played.failures.join("\n")
    );
    if let Some(file) = &options.plot {
        report::plot(file, &rows)?;
    }
    Ok(printed(options.json, &origin, &rows, report::text)?)
}

/// Who can take part, and what is told of them: versions, or why they cannot.
fn who(options: &Options) -> Result<(Vec<Name>, Vec<String>)> {
    let install = !options.no_install;
    let mut wanted = options.only.clone();
    wanted.sort_unstable();
    wanted.dedup();
    let packages: Vec<_> = wanted
        .iter()
        .flat_map(|name| name.packages())
        .copied()
        .collect();
    packages::refresh(&packages, install);
    packages::require("iproute2", install)?;
    let (mut names, mut told) = (Vec::new(), Vec::new());
    for name in wanted {
        match packages::require_all(name, install) {
            Ok(versions) => {
                names.push(name);
                told.extend(versions);
            }
            Err(why) => told.push(format!("{} does not take part: {why:#}", name.text())),
        }
    }
    told.dedup();
    let buffers = fs::read_to_string(SYSCTL).unwrap_or_default();
    told.push(format!("net.core.rmem_max = {}", buffers.trim()));
    Ok((names, told))
}

fn field(options: &Options, names: &[Name], sealcast: Option<&Sealcast>) -> Field {
    let mut rates = options.rates.clone();
    rates.sort_unstable();
    rates.dedup();
    let all = rates.iter().flat_map(|&rate| {
        let at =
            move |&name: &Name| Some((name, rate, name.contender(rate, options.often, sealcast)?));
        names.iter().filter_map(at)
    });
    all.collect()
}

/// What came of all turns.
#[derive(Default)]
struct Played {
    turns: Vec<Turn>,
    failures: Vec<String>,
    /// What an empty wake cost, before each round.
    wakes: Vec<Duration>,
}

fn play_all(stage: Stage<'_>, options: &Options, field: &Field) -> Result<Played> {
    let mut played = Played::default();
    let bar = progress(field.len() * usize::from(options.rounds));
    for round in 1..=options.rounds {
        played.wakes.push(empty_wake(stage.peer_core)?);
        for (name, rate, contender) in field {
            let what = format!("round {round}, {}, {rate} packets/s", name.text());
            bar.set_message(what.clone());
            let folder = turn_folder(stage.folder, name.text(), *rate, round)?;
            let stage = Stage {
                folder: &folder,
                ..stage
            };
            match play(stage, contender, *rate, options.window()) {
                Ok(outcome) => played.turns.push(Turn {
                    round,
                    rate: *rate,
                    name: *name,
                    outcome,
                }),
                Err(why) => {
                    stage.interrupt.check()?;
                    bar.suspend(|| note(&what, &why));
                    let why = format!("{why:#}").replace('\n', " | ");
                    played.failures.push(format!("{what}, failed: {why}"));
                }
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(played)
}

#[expect(clippy::print_stderr, reason = "a turn that failed is told at once")]
fn note(what: &str, why: &anyhow::Error) {
    eprintln!("{what}, failed: {why:#}");
}

fn turn_folder(folder: &Path, name: &str, rate: u32, round: u16) -> Result<std::path::PathBuf> {
    let folder = folder.join(format!("{name}-{rate}-{round}"));
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// On a thread of its own, which is pinned there.
fn empty_wake(core: usize) -> Result<Duration> {
    let measure = move || {
        host::pin(Some(core))?;
        cpu::empty_wake(TICK, TICKS)
    };
    let measured = thread::spawn(measure).join();
    measured.unwrap_or_else(|_| Err(anyhow!("measuring an empty wake failed")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn everybody_is_in_the_field_once_at_each_rate() {
        let options = Options::parse_from(["peers", "--rates", "2000,1000,2000"]);
        let field = field(&options, &[Name::Srt, Name::Librist], None);
        let field: Vec<_> = field.iter().map(|(name, rate, _)| (*name, *rate)).collect();
        assert_eq!(
            field,
            [
                (Name::Srt, 1000),
                (Name::Librist, 1000),
                (Name::Srt, 2000),
                (Name::Librist, 2000)
            ]
        );
    }

    #[test]
    fn one_core_cannot_be_both() {
        let options = Options::parse_from(["peers", "--own-core", "0"]);
        let why = run(&options).unwrap_err().to_string();
        assert!(why.contains("core 0"), "{why}");
    }
}
