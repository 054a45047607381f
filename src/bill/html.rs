//! A bill as a page to be printed: one file, nothing fetched.

use std::fmt::Write as _;

use sealcast_loadgen::report::escaped;
use sealcast_objects::api::{Bill, Paying};

use super::{Parties, how, money, what};

const STYLE: &str = "body{font:11pt/1.4 sans-serif;max-width:19cm;margin:1cm auto;color:#111}\
table{border-collapse:collapse;width:100%;margin:1em 0}th,td{padding:.3em .6em;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}\
td.n,th.n{text-align:right;white-space:nowrap}tr.sum td{font-weight:bold;border-top:2px solid #111}\
pre{font:inherit;margin:0}header{display:flex;justify-content:space-between;gap:2cm}small{color:#555}@page{margin:1.5cm}";

fn row(cells: [&str; 3]) -> String {
    let [what, how, amount] = cells.map(escaped);
    format!("<tr><td>{what}</td><td>{how}</td><td class=\"n\">{amount}</td></tr>\n")
}

fn sum(what: &str, amount: &str) -> String {
    let (what, amount) = (escaped(what), escaped(amount));
    format!("<tr class=\"sum\"><td colspan=\"2\">{what}</td><td class=\"n\">{amount}</td></tr>\n")
}

/// The whole page.
pub(super) fn page(bill: &Bill, parties: &Parties) -> String {
    let amount = |amount| money(amount, &bill.currency);
    let mut rows = String::new();
    for line in &bill.lines {
        rows += &row([
            &what(line),
            &how(line, &bill.currency),
            &amount(line.amount),
        ]);
    }
    rows += &sum("Sum", &amount(bill.net));
    let tax = format!("Tax: {} of {} parts", bill.tax_rate.of, bill.tax_rate.parts);
    rows += &row([&tax, "", &amount(bill.tax)]);
    rows += &sum("With tax", &amount(bill.gross));
    for of in &bill.purchases {
        let how = match of.paying {
            Paying::Balance => "paid from the balance",
            Paying::Invoice => "by invoice",
        };
        let what = if of.amount < 0 { "Paid back" } else { "Bought" };
        let what = format!("{what}: {} ({})", of.purchase, of.at);
        rows += &row([&what, how, &amount(of.amount)]);
    }
    if !bill.purchases.is_empty() {
        rows += &row(["Tax in what was bought", "", &amount(bill.purchases_tax)]);
    }
    if bill.from_balance != 0 {
        rows += &row(["Taken from the balance", "", &amount(-bill.from_balance)]);
    }
    rows += &sum("To be paid", &amount(bill.due));
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Bill {number}, {month}</title>\
         <style>{STYLE}</style></head>\n<body>\n<header><pre>{seller}</pre><pre>{customer}</pre></header>\n\
         <h1>Bill {number}</h1>\n<p>For {month} (UTC). Issued {issued}, to be paid by {pay_by}.<br>\
         Account {account}, tariff {tariff}.</p>\n\
         <table><thead><tr><th>For</th><th>Calculation</th><th class=\"n\">Amount</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n\
         <p><small>{id}. Each line is rounded once, to the nearest unit and from the middle to the even one; so is the tax. A month's price \
         is for all of its days: parts of it are charged by the day, UTC.</small></p>\n</body></html>\n",
        number = bill.number,
        month = bill.month,
        seller = escaped(&parties.seller),
        customer = escaped(&parties.customer),
        issued = bill.issued,
        pay_by = bill.pay_by,
        account = bill.account,
        tariff = escaped(&bill.tariff),
        id = bill.id,
    );
    page
}
