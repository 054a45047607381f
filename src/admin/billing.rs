//! Tariffs, charges, months that are closed, bills.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use reqwest::Method;
use sealcast_objects::AccountId;
use sealcast_objects::api::{
    AccountTariffs, AssignTariff, Bill, BillPage, BillSummary, BillingMonth, BillingMonths, Charge,
    ChargeKind, ChargePage, CloseMonth, NewCharge, NewTariff, Paying, Tariff, TariffPage,
};
use sealcast_objects::id::{BillId, ChargeId, Text};
use sealcast_objects::month::Month;

use super::devices::parse_id;
use super::ledger::new_id;
use super::{Api, Done, failure};
use crate::Failure;
use crate::bill::{self, Format};
use crate::table::{self, Page, or_dash, table};

/// How often it is asked whether all bills are made.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Subcommand)]
pub(super) enum TariffCommand {
    /// Lists tariffs
    List(Page),
    /// Shows a tariff
    Show {
        /// Its name
        name: String,
    },
    /// Adds a tariff, which never changes: another price is another tariff
    Put {
        /// Its name: letters, digits, '-', '_', '.'
        name: String,
        /// What it says: TOML, or JSON where the name ends so
        file: PathBuf,
    },
    /// Says which tariff an account has, and how it pays
    Assign {
        /// Which
        #[arg(value_parser = parse_id::<AccountId>)]
        account: Text<AccountId>,
        /// The name of a tariff
        tariff: String,
        /// From its balance, or by invoice
        #[arg(long, value_enum, default_value_t = PayingArg::Invoice)]
        paying: PayingArg,
        /// From this month on, 2026-12 [default: this one]
        #[arg(long, value_name = "MONTH")]
        from: Option<Month>,
    },
    /// Shows which tariffs an account has, from when on
    Of {
        /// Which
        #[arg(value_parser = parse_id::<AccountId>)]
        account: Text<AccountId>,
    },
}

/// How an account pays its bills.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum PayingArg {
    /// From what it paid before
    Balance,
    /// When it has got them
    Invoice,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ChargeCommand {
    /// Lists the charges of an account
    List {
        /// Which
        #[arg(value_parser = parse_id::<AccountId>)]
        account: Text<AccountId>,
        #[command(flatten)]
        page: Page,
    },
    /// Corrects an earlier bill on this month's
    Correct {
        /// Which
        #[arg(value_parser = parse_id::<AccountId>)]
        account: Text<AccountId>,
        /// How much without tax, in minor units of the tariff's currency; below 0: it is given back
        #[arg(allow_negative_numbers = true)]
        amount: i64,
        /// Why; stands on the bill
        note: String,
        /// Its id: a retry has the same, and is done once [default: a new one]
        #[arg(long, value_parser = parse_id::<ChargeId>)]
        id: Option<Text<ChargeId>>,
    },
    /// Charges for what the tariff prices
    Add {
        /// Which
        #[arg(value_parser = parse_id::<AccountId>)]
        account: Text<AccountId>,
        /// What for
        kind: PricedArg,
        /// What was supplied; stands in the list of charges
        note: String,
        /// Its id: a retry has the same, and is done once [default: a new one]
        #[arg(long, value_parser = parse_id::<ChargeId>)]
        id: Option<Text<ChargeId>>,
    },
}

/// What a tariff prices.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum PricedArg {
    /// A move certificate
    MoveCertificate,
    /// A premium of an insurance
    Premium,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum BillCommand {
    /// Closes a month that is over, and waits until its bills are made
    Close {
        /// Which, 2026-11
        month: Month,
        /// Though usage files of it may still come, or are missing: what comes later counts for the next month
        #[arg(long)]
        anyway: bool,
        /// Does not wait
        #[arg(long)]
        no_wait: bool,
    },
    /// Lists the months that are closed
    Months,
    /// Lists bills, and what is still to be paid
    List {
        /// Only of this account
        #[arg(long, value_parser = parse_id::<AccountId>)]
        account: Option<Text<AccountId>>,
        /// Only of this month, 2026-11
        #[arg(long, value_name = "MONTH")]
        month: Option<Month>,
        /// All of them, as CSV
        #[arg(long, conflicts_with_all = ["after", "limit"])]
        csv: bool,
        #[command(flatten)]
        page: Page,
    },
    /// Shows what the bill of this month would be, if it ended now
    Preview {
        /// Of which account
        #[arg(value_parser = parse_id::<AccountId>)]
        account: Text<AccountId>,
    },
    /// Gets a bill: `sealcast bill verify` computes it again
    Get {
        /// Which
        #[arg(value_parser = parse_id::<BillId>)]
        bill: Text<BillId>,
        /// As what
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
        /// Into this file [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

fn read_tariff(file: &Path) -> anyhow::Result<NewTariff> {
    let text = std::fs::read_to_string(file)?;
    if file.extension().is_some_and(|ending| ending == "json") {
        return Ok(serde_json::from_str(&text)?);
    }
    Ok(toml::from_str(&text)?)
}

pub(super) fn tariffs(api: &Api, command: &TariffCommand) -> Result<(), Failure> {
    let show = |tariff: &Tariff| toml::to_string(&tariff.terms).unwrap_or_default();
    match command {
        TariffCommand::List(page) => {
            let page: TariffPage = api.get(&page.of("/v1/tariffs", &[])).map_err(failure)?;
            api.show(&page, |page| {
                table::page(&show_tariffs(&page.tariffs), page.next.as_ref())
            });
        }
        TariffCommand::Show { name } => {
            let tariff: Tariff = api.get(&format!("/v1/tariffs/{name}")).map_err(failure)?;
            api.show(&tariff, show);
        }
        TariffCommand::Put { name, file } => {
            let new = read_tariff(file)
                .with_context(|| file.display().to_string())
                .map_err(Failure::CannotOpen)?;
            let path = format!("/v1/tariffs/{name}");
            let tariff: Tariff = api.call(Method::PUT, &path, Some(&new)).map_err(failure)?;
            api.show(&tariff, |tariff| show_tariffs(std::slice::from_ref(tariff)));
        }
        TariffCommand::Assign {
            account,
            tariff,
            paying,
            from,
        } => {
            let asked = AssignTariff {
                tariff: tariff.clone(),
                paying: match paying {
                    PayingArg::Balance => Paying::Balance,
                    PayingArg::Invoice => Paying::Invoice,
                },
                from: *from,
            };
            let path = format!("/v1/accounts/{account}/tariff");
            let has: AccountTariffs = api
                .call(Method::PUT, &path, Some(&asked))
                .map_err(failure)?;
            api.show(&has, show_assigned);
        }
        TariffCommand::Of { account } => {
            let path = format!("/v1/accounts/{account}/tariff");
            let has: AccountTariffs = api.get(&path).map_err(failure)?;
            api.show(&has, show_assigned);
        }
    }
    Ok(())
}

pub(super) fn charges(api: &Api, command: &ChargeCommand) -> Done {
    let put = |account: &Text<AccountId>, id: Option<Text<ChargeId>>, new: &NewCharge| {
        let id = id.unwrap_or_else(new_id);
        let path = format!("/v1/accounts/{account}/charges/{id}");
        let charge: Charge = api.call(Method::PUT, &path, Some(new))?;
        api.show(&charge, |charge| show_charges(std::slice::from_ref(charge)));
        Ok(())
    };
    match command {
        ChargeCommand::List { account, page } => {
            let path = format!("/v1/accounts/{account}/charges");
            let page: ChargePage = api.get(&page.of(&path, &[]))?;
            api.show(&page, |page| {
                table::page(&show_charges(&page.charges), page.next.as_ref())
            });
            Ok(())
        }
        ChargeCommand::Correct {
            account,
            amount,
            note,
            id,
        } => {
            let new = NewCharge {
                kind: ChargeKind::Correction,
                amount: Some(*amount),
                note: note.clone(),
            };
            put(account, *id, &new)
        }
        ChargeCommand::Add {
            account,
            kind,
            note,
            id,
        } => {
            let new = NewCharge {
                kind: match kind {
                    PricedArg::MoveCertificate => ChargeKind::MoveCertificate,
                    PricedArg::Premium => ChargeKind::Premium,
                },
                amount: None,
                note: note.clone(),
            };
            put(account, *id, &new)
        }
    }
}

pub(super) fn bills(api: &Api, command: &BillCommand) -> Result<(), Failure> {
    match command {
        BillCommand::Close {
            month,
            anyway,
            no_wait,
        } => {
            let path = format!("/v1/billing/months/{month}");
            let asked = CloseMonth { anyway: *anyway };
            let mut closed: BillingMonth = api
                .call(Method::PUT, &path, Some(&asked))
                .map_err(failure)?;
            let begun = Instant::now();
            while closed.billed.is_none() && !no_wait {
                if begun.elapsed() > Duration::from_secs(3600) {
                    let error = anyhow!(
                        "{month} is closed, but its bills are not all made after an hour: see the server's log"
                    );
                    return Err(Failure::NotAsItMustBe(error));
                }
                std::thread::sleep(POLL);
                closed = api.get(&path).map_err(failure)?;
            }
            api.show(&closed, |closed| show_months(std::slice::from_ref(closed)));
        }
        BillCommand::Months => {
            let months: BillingMonths = api.get("/v1/billing/months").map_err(failure)?;
            api.show(&months, |months| show_months(&months.months));
        }
        BillCommand::List {
            account,
            month,
            csv,
            page,
        } => {
            let filter = [
                ("account", account.map(|id| id.to_string())),
                ("month", month.map(|month| month.to_string())),
            ];
            if *csv {
                return list_csv(api, &filter).map_err(failure);
            }
            let page: BillPage = api.get(&page.of("/v1/bills", &filter)).map_err(failure)?;
            api.show(&page, |page| {
                table::page(&show_bills(&page.bills), page.next.as_ref())
            });
        }
        BillCommand::Preview { account } => {
            let path = format!("/v1/accounts/{account}/bill");
            let bill: Bill = api.get(&path).map_err(failure)?;
            api.show(&bill, bill::page);
        }
        BillCommand::Get {
            bill: id,
            format,
            out,
        } => {
            let bill: Bill = api.get(&format!("/v1/bills/{id}")).map_err(failure)?;
            bill::write(&bill, *format, out.as_deref())?;
        }
    }
    Ok(())
}

/// All of them.
fn list_csv(api: &Api, filter: &[(&str, Option<String>)]) -> Done {
    let bills = api.whole("/v1/bills", filter, |page: BillPage| {
        (page.bills, page.next)
    })?;
    println!("bill,number,account,month,currency,gross,due,open,pay_by,state,reminders");
    for bill in &bills {
        println!("{}", row(bill).join(","));
    }
    Ok(())
}

fn row(bill: &BillSummary) -> [String; 11] {
    [
        bill.id.to_string(),
        bill.number.to_string(),
        bill.account.to_string(),
        bill.month.to_string(),
        bill.currency.clone(),
        bill.gross.to_string(),
        bill.due.to_string(),
        bill.open.to_string(),
        bill.pay_by.to_string(),
        bill.state.name().to_owned(),
        bill.reminders.to_string(),
    ]
}

fn show_bills(bills: &[BillSummary]) -> String {
    let rows: Vec<_> = bills.iter().map(row).collect();
    table(
        [
            "BILL",
            "NUMBER",
            "ACCOUNT",
            "MONTH",
            "CURRENCY",
            "GROSS",
            "DUE",
            "OPEN",
            "PAY BY",
            "STATE",
            "REMINDERS",
        ],
        &rows,
    )
}

fn show_tariffs(tariffs: &[Tariff]) -> String {
    let row = |tariff: &Tariff| {
        let terms = &tariff.terms;
        [
            tariff.name.clone(),
            terms.currency.clone(),
            format!("{}/{}", terms.tax.of, terms.tax.parts),
            terms.rates.len().to_string(),
            format!("{} days", terms.pay_within_days),
            tariff.added.to_string(),
        ]
    };
    let rows: Vec<_> = tariffs.iter().map(row).collect();
    table(
        ["TARIFF", "CURRENCY", "TAX", "RATES", "PAY WITHIN", "ADDED"],
        &rows,
    )
}

fn show_assigned(has: &AccountTariffs) -> String {
    let row = |one: &sealcast_objects::api::AccountTariff| {
        [
            one.from.to_string(),
            one.tariff.clone(),
            one.paying.name().to_owned(),
        ]
    };
    let rows: Vec<_> = has.tariffs.iter().map(row).collect();
    table(["FROM", "TARIFF", "PAYING"], &rows)
}

fn show_charges(charges: &[Charge]) -> String {
    let row = |made: &Charge| {
        [
            made.id.to_string(),
            made.at.to_string(),
            made.charge.kind.name().to_owned(),
            or_dash(made.charge.amount),
            made.charge.note.clone(),
        ]
    };
    let rows: Vec<_> = charges.iter().map(row).collect();
    table(["CHARGE", "AT", "FOR", "AMOUNT", "NOTE"], &rows)
}

fn show_months(months: &[BillingMonth]) -> String {
    let row = |month: &BillingMonth| {
        [
            month.month.to_string(),
            month.closed.to_string(),
            month.bills.to_string(),
            or_dash(month.billed),
        ]
    };
    let rows: Vec<_> = months.iter().map(row).collect();
    table(["MONTH", "CLOSED", "BILLS", "ALL MADE"], &rows)
}
