//! Computes a bill again, from what anybody with an operator's eyes can ask the server for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use sealcast_control::offline;
use sealcast_domain::billing::bills;
use sealcast_domain::billing::compute::{self, Basis};
use sealcast_domain::sales::{balance, credit};
use sealcast_objects::api::{
    Bill, Charge, ChargePage, LicencePage, LicenceRecord, Tariff, Transfer, TransferPage,
    UsagePage, UsageRow,
};
use sealcast_objects::id::Text;
use sealcast_objects::month::Month;
use sealcast_objects::problem::Kind;
use sealcast_terminal::https::RequestError;

use super::{VerifyArgs, read};
use crate::Failure;
use crate::admin::{Api, failure};

pub(super) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let (bill, bytes) = read(&args.file)?;
    let api = Api::open(&args.access)?;
    let asked = Asked::of(&api, &bill).map_err(failure)?;
    let again = asked.compute(&bill);
    let mut wrong = Vec::new();
    let same = bills::to_bytes(&again).map_err(|error| Failure::NotAsItMustBe(error.into()))?;
    if same != bytes {
        wrong.extend(differences(&bill, &again));
    }
    wrong.extend(asked.booked_otherwise(&bill));
    if !args.deep.is_empty() {
        let counted = count(&args.deep, &bill).map_err(Failure::CannotOpen)?;
        wrong.extend(counted_otherwise(&asked.usage, &counted));
    }
    if wrong.is_empty() {
        let deep = match args.deep.is_empty() {
            true => "",
            false => ", and its usage is counted so in the files",
        };
        println!(
            "{}: computed again from {} rows of usage, {} licences, {} charges and {} transfers, it is the same, byte for byte{deep}",
            bill.id,
            asked.usage.len(),
            asked.licences.len(),
            asked.charges.len(),
            asked.booked.len()
        );
        return Ok(());
    }
    let error = anyhow!(
        "{} is not what it comes to:\n  {}",
        bill.id,
        wrong.join("\n  ")
    );
    Err(Failure::NotAsItMustBe(error))
}

/// What the server was asked for.
struct Asked {
    tariff: Tariff,
    usage: Vec<UsageRow>,
    licences: Vec<LicenceRecord>,
    charges: Vec<Charge>,
    booked: Vec<Transfer>,
    /// What each step of the bill moved.
    moved: Vec<u64>,
}

impl Asked {
    fn of(api: &Api, bill: &Bill) -> Result<Self, RequestError> {
        let (account, month) = (bill.account, bill.month);
        let of_account = [("account", Some(account.to_string()))];
        let of_month = [
            ("account", Some(account.to_string())),
            ("from", Some(month.start().to_string())),
            ("until", Some(month.end().to_string())),
        ];
        let in_month = |at| Month::of(at) == month;
        let mut booked = Vec::new();
        for book in [
            balance(account.0, &bill.currency),
            credit(account.0, &bill.currency),
        ] {
            let book = Text(book.id).to_string();
            let filter = [("book", Some(book))];
            let all = api.whole("/v1/transfers", &filter, |page: TransferPage| {
                (page.transfers, page.next)
            })?;
            booked.extend(all.into_iter().filter(|made: &Transfer| in_month(made.at)));
        }
        booked.sort_by_key(|made| made.number);
        let charges = format!("/v1/accounts/{account}/charges");
        let mut charges = api.whole(&charges, &[], |page: ChargePage| (page.charges, page.next))?;
        charges.retain(|made: &Charge| in_month(made.at));
        Ok(Self {
            tariff: api.get(&format!("/v1/tariffs/{}", bill.tariff))?,
            usage: api.whole("/v1/usage", &of_month, |page: UsagePage| {
                (page.rows, page.next)
            })?,
            licences: api.whole("/v1/licences", &of_account, |page: LicencePage| {
                (page.licences, page.next)
            })?,
            charges,
            booked,
            moved: moved(api, bill)?,
        })
    }

    fn compute(&self, bill: &Bill) -> Bill {
        compute::bill(&Basis {
            account: bill.account.0,
            month: bill.month,
            number: bill.number,
            issued: bill.issued,
            tariff: &self.tariff,
            paying: bill.paying,
            usage: &self.usage,
            licences: &self.licences,
            charges: &self.charges,
            booked: &self.booked,
            balance: u64::try_from(bill.from_balance).unwrap_or(0),
        })
    }

    /// Where the ledger says something else.
    fn booked_otherwise(&self, bill: &Bill) -> Vec<String> {
        let otherwise = bills::steps(bill).into_iter().zip(&self.moved);
        let otherwise = otherwise.filter(|((_, billed), moved)| billed.unsigned_abs() != **moved);
        otherwise
            .map(|((step, billed), moved)| {
                format!(
                    "{}: the ledger moved {moved}, the bill says {billed}",
                    step.name()
                )
            })
            .collect()
    }
}

/// What the bill's own transfers moved, either way.
fn moved(api: &Api, bill: &Bill) -> Result<Vec<u64>, RequestError> {
    let moved = bills::steps(bill).map(|(step, _)| {
        let id = Text(step.of(bill.id.0));
        match api.get::<Transfer>(&format!("/v1/transfers/{id}")) {
            Ok(made) => Ok(made.amount),
            Err(RequestError::Refused(problem)) if problem.kind == Kind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    });
    moved.into_iter().collect()
}

/// Fields that differ.
fn differences(bill: &Bill, again: &Bill) -> Vec<String> {
    let fields = |bill: &Bill| match serde_json::to_value(bill) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (is, should) = (fields(bill), fields(again));
    let names = is
        .keys()
        .chain(should.keys().filter(|name| !is.contains_key(*name)));
    let differ = names
        .filter(|name| is.get(*name) != should.get(*name))
        .map(|name| {
            let text = |fields: &serde_json::Map<_, _>| {
                fields
                    .get(name)
                    .map_or_else(|| "nothing".to_owned(), serde_json::Value::to_string)
            };
            format!(
                "{name}: {} in the file, {} computed",
                text(&is),
                text(&should)
            )
        });
    let differ: Vec<_> = differ.collect();
    if differ.is_empty() {
        return vec!["it says the same in other bytes: it was written anew".to_owned()];
    }
    differ
}

fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let told = || path.display().to_string();
        if fs::metadata(path).with_context(told)?.is_dir() {
            for entry in fs::read_dir(path).with_context(told)? {
                let file = entry.with_context(told)?.path();
                if file.extension().is_some_and(|ending| ending == "usage") {
                    files.push(file);
                }
            }
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("there are no usage files: give those that the server took in");
    }
    Ok(files)
}

/// The account's rows of the month, counted anew.
fn count(paths: &[PathBuf], bill: &Bill) -> anyhow::Result<Vec<UsageRow>> {
    let files = files(paths)?;
    let read = |file: &PathBuf| fs::read(file).with_context(|| Path::display(file).to_string());
    let bodies = files.iter().map(read);
    let bodies: Vec<_> = bodies.collect::<anyhow::Result<_>>()?;
    let folder = tempfile::tempdir().context("a folder to count in")?;
    let bytes = bodies.iter().map(Vec::as_slice);
    let rows = offline::count_usage(folder.path(), bytes, bill.account.0, bill.month);
    rows.map_err(|(index, why)| anyhow!("{}: {why}", files[index].display()))
}

/// Where files say something else than the server: rows that are not the same.
fn counted_otherwise(server: &[UsageRow], files: &[UsageRow]) -> Vec<String> {
    let told = |row: &UsageRow| {
        format!(
            "{} channel {} epochs {} to {}: {} requests, {} bytes",
            row.device, row.channel, row.first_epoch, row.last_epoch, row.requests, row.bytes
        )
    };
    let missing = |here: &[UsageRow], there: &[UsageRow], whose: &str| {
        let missing = here.iter().filter(|row| !there.contains(row));
        missing
            .map(|row| format!("only {whose}: {}", told(row)))
            .collect::<Vec<_>>()
    };
    let mut otherwise = missing(server, files, "the server counts");
    otherwise.extend(missing(files, server, "in the files"));
    otherwise
}
