//! What is told of a run.

use sealcast_loadgen::latency::Times;
use sealcast_loadgen::report::{self, Cell, Report, Table};

use super::check::Click;
use super::faults::Tally;
use super::{Outcome, ShopArgs};
use crate::load::stream::fact;

const ABOUT: &str = "\
    Devices of real accounts buy over HTTPS, each with a wallet of its own and by the very steps of a player: offers, thinking, one to three of \
    them in a basket, certificates, the notice that they are here, settlement, licences, their notices, the list of licences that count. \
    Clicks are due on a schedule that waits for nobody (open loop). Messages are lost, doubled and late, programs are killed and started \
    again with the wallet that is on the disk, devices of one account buy in the same moment, and some accounts cannot pay. At the end \
    everything is compared with what the shop shows to an operator.";
/// Errors that are told in words.
const ERRORS_MAX: usize = 20;

#[derive(Default)]
struct Sums {
    done: u64,
    refused: u64,
    open: u64,
    tries: u64,
    killed: u64,
    throttled: u64,
    errors: u64,
    took: Times,
    messages: Tally,
}

impl Sums {
    fn of(outcome: &Outcome) -> Self {
        let mut sums = Self::default();
        for story in &outcome.stories {
            for click in &story.clicks {
                match click {
                    Click::Done(_) => sums.done += 1,
                    Click::Refused(_) => sums.refused += 1,
                    Click::Open(_) => sums.open += 1,
                }
            }
            sums.tries += story.tries;
            sums.killed += story.killed;
            sums.throttled += story.throttled;
            sums.errors += story.errors.len() as u64;
            for took in &story.took {
                let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                sums.took.record(took);
            }
            sums.messages.add(&story.messages);
        }
        sums
    }
}

fn outcomes(sums: &Sums) -> Table {
    let rows = [
        ("bought", sums.done),
        ("refused", sums.refused),
        ("not over", sums.open),
        ("errors", sums.errors),
        ("tries", sums.tries),
        ("killed while buying", sums.killed),
        ("told to ask less often", sums.throttled),
    ];
    Table {
        key: "clicks",
        title: "Clicks".to_owned(),
        columns: report::columns(&[("what", ""), ("count", "count")]),
        rows: rows.map(|(name, count)| report::row(name, count)).to_vec(),
    }
}

fn messages(tally: &Tally) -> Table {
    let row = |(kind, of): (&&'static str, &super::faults::Messages)| {
        let counts = [of.sent, of.asks_lost, of.answers_lost, of.doubled, of.late];
        let name = [Cell::words(*kind)].into_iter();
        name.chain(counts.map(Cell::count)).collect()
    };
    Table {
        key: "messages",
        title: "Requests, and what happened to them".to_owned(),
        columns: report::columns(&[
            ("what", ""),
            ("sent", "sent"),
            ("requests_lost", "lost"),
            ("answers_lost", "answer lost"),
            ("doubled", "doubled"),
            ("late", "late"),
        ]),
        rows: tally.0.iter().map(row).collect(),
    }
}

impl ShopArgs {
    pub(super) fn report(&self, outcome: &Outcome) -> Report {
        let sums = Sums::of(outcome);
        let (verdict, took) = (&outcome.verdict, outcome.took.as_secs_f64());
        let rules = verdict.rules.iter().map(|(rule, (looked, broken))| {
            vec![
                Cell::words(*rule),
                Cell::count(*looked),
                Cell::count(*broken),
            ]
        });
        let rules = Table {
            key: "invariants",
            title: "What must be".to_owned(),
            columns: report::columns(&[
                ("rule", ""),
                ("looked_at", "looked at"),
                ("broken", "broken"),
            ]),
            rows: rules.collect(),
        };
        let mut times = vec![("click", &sums.took)];
        times.extend(sums.messages.0.iter().map(|(kind, of)| (*kind, &of.times)));
        let times = report::latency(
            "From when a click was due to its end, without thinking; and of single requests, us",
            &times,
        );
        let over = sums.done + sums.refused;
        let errors = outcome.stories.iter().flat_map(|story| &story.errors);
        let notes = errors.take(ERRORS_MAX).chain(&verdict.words).cloned();
        Report {
            title: "sealcast load shop".to_owned(),
            about: ABOUT.to_owned(),
            parameters: self.parameters(),
            result: format!(
                "{} of {} clicks came to a purchase, {} were refused, {} are not over; {:.1} per second; {} of {} looks found something wrong",
                sums.done,
                outcome.due,
                sums.refused,
                outcome.due - over.min(outcome.due),
                over as f64 / took.max(f64::MIN_POSITIVE),
                verdict.broken(),
                verdict
                    .rules
                    .values()
                    .map(|(looked, _)| looked)
                    .sum::<u64>(),
            ),
            good: verdict.broken() == 0 && sums.errors == 0 && over == outcome.due && over > 0,
            tables: vec![outcomes(&sums), messages(&sums.messages), rules, times],
            plots: Vec::new(),
            notes: notes.collect(),
        }
    }

    fn parameters(&self) -> Vec<report::Fact> {
        let share = |of: f64| Cell::number(of * 100.0, 1);
        let facts = [
            ("seed", "seed", Cell::count(self.seed)),
            ("accounts", "accounts", Cell::count(self.accounts.into())),
            (
                "devices",
                "devices of each",
                Cell::count(self.devices.into()),
            ),
            ("rate", "purchases per second", Cell::number(self.rate, 1)),
            (
                "duration_s",
                "seconds",
                Cell::number(self.duration.as_secs_f64(), 1),
            ),
            (
                "think_ms",
                "thinking, ms on average",
                Cell::number(self.think.as_secs_f64() * 1e3, 0),
            ),
            ("lost", "lost, %", share(self.lost)),
            ("doubled", "doubled, %", share(self.doubled)),
            ("late", "late, %", share(self.late)),
            ("killed", "killed, %", share(self.killed)),
            ("together", "devices together, %", share(self.together)),
            ("poor", "accounts with too little, %", share(self.poor)),
            ("threads", "threads", Cell::count(self.threads.into())),
        ];
        let facts = facts.into_iter();
        facts
            .map(|(key, name, cell)| fact(key, name, cell))
            .collect()
    }
}
