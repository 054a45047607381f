//! What was counted, for bills: totals, rows, and the files that it comes from (MD-33, MD-34, INT-03).

use std::path::PathBuf;

use sealcast_objects::api::{UsagePage, UsageRow, UsageRun, UsageTotals};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};
use sealcast_terminal::https::RequestError;

use super::{Api, Done};
use crate::table::{Page, table};

#[derive(Debug, clap::Subcommand)]
pub(super) enum UsageCommand {
    /// Adds up requests, keys and bytes
    Totals(Filter),
    /// Prints rows for bills: epochs in a row that a device got of a channel on one day (UTC)
    Rows(Filter),
    /// Lists from whom usage files were taken in, and how many are missing
    Runs,
    /// Brings a usage file by hand, for example of a server that will not run again; it counts once
    Take {
        /// The file
        file: PathBuf,
    },
}

/// What is asked for; what is left out is not asked for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filter {
    /// Of this account
    #[arg(long, value_name = "ID")]
    account: Option<Text<AccountId>>,
    /// Of this device
    #[arg(long, value_name = "ID")]
    device: Option<Text<DeviceId>>,
    /// Of this channel
    #[arg(long, value_name = "NUMBER")]
    channel: Option<u16>,
    /// First keys given from here on, for example 2026-11-01T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    from: Option<Timestamp>,
    /// First keys given before
    #[arg(long, value_name = "INSTANT")]
    until: Option<Timestamp>,
}

impl Filter {
    fn pairs(&self) -> [(&'static str, Option<String>); 5] {
        [
            ("account", self.account.map(|id| id.to_string())),
            ("device", self.device.map(|id| id.to_string())),
            ("channel", self.channel.map(|channel| channel.to_string())),
            ("from", self.from.map(|from| from.to_string())),
            ("until", self.until.map(|until| until.to_string())),
        ]
    }
}

pub(super) fn run(api: &Api, command: &UsageCommand) -> Done {
    match command {
        UsageCommand::Totals(filter) => {
            let path = Page::default().of("/v1/usage/totals", &filter.pairs());
            let totals: UsageTotals = api.get(&path)?;
            api.show(&totals, show_totals);
            Ok(())
        }
        UsageCommand::Rows(filter) => rows(api, filter),
        UsageCommand::Runs => {
            let runs: Vec<UsageRun> = api.get("/v1/usage/runs")?;
            api.show(&runs, |runs| show_runs(runs));
            Ok(())
        }
        UsageCommand::Take { file } => {
            let bytes = std::fs::read(file).map_err(|error| {
                let detail = format!("{} cannot be read: {error}", file.display());
                RequestError::Refused(Problem::new(Kind::Invalid, detail))
            })?;
            let taken = api.runtime.block_on(api.client.usage(bytes))?;
            api.show(&taken, |taken| match taken.before {
                true => "it was counted before; nothing was added".to_owned(),
                false => format!("{} records counted", taken.records),
            });
            Ok(())
        }
    }
}

/// Page after page, so that any number of rows can be printed.
fn rows(api: &Api, filter: &Filter) -> Done {
    let mut part = Page::default();
    loop {
        let page: UsagePage = api.get(&part.of("/v1/usage", &filter.pairs()))?;
        if api.json {
            for row in &page.rows {
                api.show(row, |_| String::new());
            }
        } else if part.after.is_none() || !page.rows.is_empty() {
            api.show(&page, |page| show_rows(&page.rows));
        }
        match page.next {
            None => return Ok(()),
            after => part.after = after,
        }
    }
}

fn show_totals(totals: &UsageTotals) -> String {
    let UsageTotals {
        subscriptions,
        requests,
        answers,
        keys,
        bytes,
    } = totals;
    format!(
        "{requests} requests ({answers} answers, those to requests asked again among them)\n{keys} keys of {subscriptions} devices and \
         channels\n{bytes} bytes of payload sent under these keys"
    )
}

fn show_rows(rows: &[UsageRow]) -> String {
    let row = |row: &UsageRow| {
        [
            row.account.to_string(),
            row.device.to_string(),
            row.channel.to_string(),
            row.first_epoch.to_string(),
            row.last_epoch.to_string(),
            row.requests.to_string(),
            row.answers.to_string(),
            row.bytes.to_string(),
            row.since.to_string(),
            row.until.to_string(),
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    let headings = [
        "ACCOUNT", "DEVICE", "CHANNEL", "FIRST", "LAST", "REQUESTS", "ANSWERS", "BYTES", "SINCE",
        "UNTIL",
    ];
    table(headings, &rows)
}

fn show_runs(runs: &[UsageRun]) -> String {
    let row = |run: &UsageRun| {
        let number = match run.number {
            0 => "master".to_owned(),
            number => number.to_string(),
        };
        [
            run.source.name().to_owned(),
            number,
            format!("{:032x}", run.run),
            run.files.to_string(),
            run.missing.to_string(),
            run.records.to_string(),
            run.taken_at.to_string(),
        ]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    let headings = [
        "SOURCE", "NUMBER", "RUN", "FILES", "MISSING", "RECORDS", "LATEST",
    ];
    table(headings, &rows)
}
