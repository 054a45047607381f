//! The demo's business: one device buys a licence for the channel, another one has none and is refused, and what the first one had is
//! counted and comes to a bill.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use reqwest::Method;
use sealcast_control::offline;
use sealcast_control::store::Location;
use sealcast_objects::api::{Bill, LineKind};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::{AccountId, TransferId};
use serde_json::{Value, json};

use super::cast::{Api, CHANNEL};
use crate::rng;

/// What is counted is there within this.
const COUNTED: Duration = Duration::from_secs(20);

/// One who buys.
pub(super) struct Buyer {
    account: Text<AccountId>,
}

/// What the stream came to.
pub(super) struct Billed {
    /// Keys that it had, as counted.
    pub(super) keys: u64,
    /// Bytes sealed under these.
    pub(super) bytes: u64,
    /// In cents, with tax.
    pub(super) gross: i64,
    /// As it would be printed.
    pub(super) text: String,
}

pub(super) fn euros(cents: i64) -> String {
    format!("{}.{:02} EUR", cents / 100, cents % 100)
}

/// Runs this program; its JSON.
fn command(args: &[&str]) -> Result<Value> {
    let output = Command::new(std::env::current_exe()?).args(args).output()?;
    ensure!(
        output.status.success(),
        "`sealcast {}` failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("what it printed is no JSON")
}

impl Buyer {
    /// A device of this name, enrolled, buys a licence for the channel and has it; its account has a tariff.
    pub(super) fn buys(api: &Api, folder: &Path, name: &str) -> Result<Self> {
        let device = api.enrolled(folder, name)?;
        let shown: Value = api.get(&format!("/v1/devices/{device}"))?;
        let account: Text<AccountId> = serde_json::from_value(shown["account"].clone())?;
        let id = Text(TransferId::new(
            std::time::SystemTime::now().into(),
            &mut rng(),
        ));
        let paid = json!({"kind": "pay-in", "price": {"amount": 2000, "currency": "EUR"}});
        let path = format!("/v1/accounts/{account}/payments/{id}");
        let _: Value = api.call(Method::PUT, &path, &paid)?;
        let offer = json!({
            "title": "The demo's channel, a quarter", "subject": {"kind": "channel", "channel": CHANNEL},
            "price": {"amount": 999, "currency": "EUR"},
        });
        let offer: Value = api.call(Method::POST, "/v1/offers", &offer)?;
        let offer = offer["id"].as_str().context("an offer without an id")?;
        let tariff = json!({
            "currency": "EUR", "tax": {"of": 19, "parts": 100}, "pay_within_days": 14,
            "rates": [
                {"kind": "requests", "channel": CHANNEL, "price": 5, "per": 1},
                {"kind": "data", "channel": CHANNEL, "price": 1, "per": 1_000_000},
            ],
        });
        let _: Value = api.call(Method::PUT, "/v1/tariffs/demo", &tariff)?;
        let has = json!({"tariff": "demo", "paying": "invoice"});
        let path = format!("/v1/accounts/{account}/tariff");
        let _: Value = api.call(Method::PUT, &path, &has)?;
        let identity = folder.join(format!("{name}.json")).display().to_string();
        let bought = command(&["device", "buy", "--json", "--identity", &identity, offer])?;
        let certificate = &bought[0]["certificates"][0];
        ensure!(
            certificate["licence"].is_string(),
            "device \"{name}\" bought and has no licence: {bought}"
        );
        println!(
            "\"{name}\" has paid in {} and bought a licence for the channel: {}.",
            euros(2000),
            euros(999)
        );
        Ok(Self { account })
    }

    /// The bill of this month, as far as it has come, when the counts of the stream are there: keys are counted at key doors, bytes at the
    /// delivery server.
    pub(super) fn bill(&self, api: &Api) -> Result<Billed> {
        let path = format!("/v1/accounts/{}/bill", self.account);
        let (begun, mut before) = (Instant::now(), None);
        loop {
            let bill: Bill = api.get(&path)?;
            let of = |kind| {
                let line = bill.lines.iter().find(move |line| line.kind == kind);
                line.map_or(0, |line| line.quantity)
            };
            let (keys, bytes) = (of(LineKind::Requests), of(LineKind::Data));
            // All files are counted when nothing comes any more.
            if keys > 0 && bytes > 0 && before == Some((keys, bytes)) {
                return Ok(Billed {
                    keys,
                    bytes,
                    gross: bill.gross,
                    text: crate::bill::page(&bill),
                });
            }
            ensure!(
                begun.elapsed() < COUNTED,
                "only {keys} keys and {bytes} bytes were counted"
            );
            before = Some((keys, bytes));
            std::thread::sleep(Duration::from_millis(1500));
        }
    }
}

/// The auditor's look at the store that no server uses: log, ledger, purchases and bills computed again.
pub(super) fn audit(data: &Path) -> Result<()> {
    let found = offline::verify(data, &Location::default(), Vec::new())?;
    let faults = found.audit.len() + found.ledger.len() + found.bills.len();
    ensure!(faults == 0, "the auditor finds {faults} faults");
    Ok(())
}

/// Why a device without a licence got nothing, in the words of its own program.
pub(super) fn refusal(said: &str) -> Result<String> {
    let line = said.lines().find(|line| line.contains("nothing to open"));
    let line =
        line.ok_or_else(|| anyhow!("nobody told the device why it gets nothing:\n{said}"))?;
    let why = line.split("nothing to open: ").nth(1).unwrap_or(line);
    Ok(why
        .split(';')
        .next()
        .unwrap_or(why)
        .trim_end_matches('"')
        .to_owned())
}
