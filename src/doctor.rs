//! `sealcast doctor`: checks the host, says what is wrong and what it costs, puts it right, and takes that back.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use sealcast_tuning::profile::BUILT_IN;
use sealcast_tuning::registry::RULES;
use sealcast_tuning::{
    CoreSet, Facts, Finding, Host, JOURNAL, JournalError, Outcome, Plan, Profile, Report, Severity,
    Step, apply, undo,
};
use serde_json::{Value, json};

use crate::Failure;

/// Flags of `sealcast doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --fix and --undo nothing is ever changed. What --fix changes is gone after a boot: run it at every start \
    (docs/systemd/sealcast-tuning.service).\n\
    Exit codes: 0 nothing but notes, 1 a warning or an error was found (with --fix and --undo: a change failed), 2 wrong flags \
    or profile, 3 no such interface, or the undo journal cannot be used."
)]
pub struct DoctorArgs {
    /// What the host is for: sender, receiver, key-server, lab, or a TOML file
    #[arg(long, default_value = "lab", value_name = "NAME|FILE")]
    profile: String,
    /// Look at this interface, or several (default: the one that multicast would take)
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// Multicast groups that it sends or receives
    #[arg(long)]
    groups: Option<u64>,
    /// Cores of the program's shards, for example 2-3 or 0,1
    #[arg(long)]
    cores: Option<CoreSet>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Change what warnings and errors name, and note the former values
    #[arg(long)]
    fix: bool,
    /// With --fix: only say what would be changed
    #[arg(long, requires = "fix")]
    dry_run: bool,
    /// Put the former values back
    #[arg(long, conflicts_with = "fix")]
    undo: bool,
    /// Where former values are noted
    #[arg(long, value_name = "FILE", default_value = JOURNAL)]
    journal: PathBuf,
    /// List the rules
    #[arg(long, exclusive = true)]
    rules: bool,
}

/// Examines, fixes or undoes.
pub fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let host = Host::this();
    if args.rules {
        for rule in RULES {
            println!("{:<17} {}", rule.id, rule.about);
        }
        return Ok(());
    }
    if args.undo {
        return take_back(&host, args);
    }
    let profile = profile(args).map_err(Failure::Configuration)?;
    let report = examine(&host, args, &profile)?;
    if !args.fix {
        print(args, Some(&report), None);
        return verdict(&report);
    }
    let plan = Plan::of(&report);
    if args.dry_run {
        let steps = plan.dry_run(&host);
        print(args, Some(&report), Some(&steps));
        return all_done(&steps);
    }
    let steps = plan
        .apply(&host, &args.journal)
        .map_err(|error| Failure::CannotOpen(error.into()))?;
    // What is left to do is told, not what was found before.
    let report = examine(&host, args, &profile)?;
    print(args, Some(&report), Some(&steps));
    all_done(&steps)
}

fn take_back(host: &Host, args: &DoctorArgs) -> Result<(), Failure> {
    let steps = match undo(host, &args.journal) {
        Ok(steps) => steps,
        // Stopping twice is no error.
        Err(error @ JournalError::Absent(_)) => {
            eprintln!("sealcast: {error}");
            Vec::new()
        }
        Err(error) => return Err(Failure::CannotOpen(error.into())),
    };
    print(args, None, Some(&steps));
    all_done(&steps)
}

/// The profile, with what flags say in its place.
fn profile(args: &DoctorArgs) -> anyhow::Result<Profile> {
    let name = &args.profile;
    let mut profile = match Profile::built_in(name) {
        Some(profile) => profile,
        None => {
            let text = fs::read_to_string(name).with_context(|| {
                let names: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                format!("{name} is none of {}, and no file", names.join(", "))
            })?;
            Profile::parse(&text).with_context(|| format!("the profile {name}"))?
        }
    };
    profile.groups = args.groups.unwrap_or(profile.groups);
    profile.cores = args.cores.clone().unwrap_or(profile.cores);
    Ok(profile)
}

fn examine(host: &Host, args: &DoctorArgs, profile: &Profile) -> Result<Report, Failure> {
    let facts =
        Facts::read(host, &args.interfaces).map_err(|error| Failure::CannotOpen(error.into()))?;
    Ok(Report::of(&facts, &args.profile, profile))
}

fn print(args: &DoctorArgs, report: Option<&Report>, steps: Option<&[Step]>) {
    let text = match args.json {
        true => in_json(report, steps),
        false => in_words(args, report, steps),
    };
    // Whoever reads may have read enough (`| head`).
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn in_json(report: Option<&Report>, steps: Option<&[Step]>) -> String {
    let mut object = report.map_or_else(|| json!({"format": 1}), |report| json!(report));
    if let (Value::Object(fields), Some(steps)) = (&mut object, steps) {
        fields.insert("steps".to_owned(), json!(steps));
    }
    format!("{object:#}\n")
}

fn in_words(args: &DoctorArgs, report: Option<&Report>, steps: Option<&[Step]>) -> String {
    let steps = steps.map(|steps| match steps.is_empty() {
        true if args.undo => "nothing to undo\n".to_owned(),
        true => "nothing to change\n".to_owned(),
        false => apply::to_text(steps),
    });
    let parts = [steps, report.map(Report::to_text)];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join("\n")
}

/// Exit code 1 when there is more than notes.
fn verdict(report: &Report) -> Result<(), Failure> {
    if report.worst < Severity::Warning {
        return Ok(());
    }
    let matter = |finding: &&Finding| finding.severity >= Severity::Warning;
    let matter = report.findings.iter().filter(matter).count();
    Err(Failure::NotAsItMustBe(
        match Plan::of(report).changes().len() {
            0 => anyhow!("{matter} findings matter; none can be put right by --fix"),
            changes => anyhow!(
                "{matter} findings matter; --fix makes {changes} changes, --fix --dry-run shows them"
            ),
        },
    ))
}

/// Exit code 1 when a change failed.
fn all_done(steps: &[Step]) -> Result<(), Failure> {
    let failed = |step: &&Step| step.outcome == Outcome::Failed;
    match steps.iter().filter(failed).count() {
        0 => Ok(()),
        count => Err(Failure::NotAsItMustBe(anyhow!(
            "{count} of {} changes failed; those that were done are noted, --undo takes them back",
            steps.len()
        ))),
    }
}
