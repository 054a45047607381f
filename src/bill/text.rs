//! A bill for a terminal.

use std::fmt::Write as _;

use sealcast_objects::api::Bill;

use super::{how, money, what};
use crate::table::table;

/// A bill as a few tables.
pub fn page(bill: &Bill) -> String {
    let amount = |amount| money(amount, &bill.currency);
    let name = match bill.number {
        0 => "What the bill would be".to_owned(),
        number => format!("Bill {number} ({})", bill.id),
    };
    let mut text = format!(
        "{name}, {}, for {}\naccount {}, tariff {}\n\n",
        bill.issued, bill.month, bill.account, bill.tariff
    );
    let lines: Vec<_> = bill
        .lines
        .iter()
        .map(|line| [what(line), how(line, &bill.currency), amount(line.amount)])
        .collect();
    text += &table(["FOR", "CALCULATION", "AMOUNT"], &lines);
    let tax = format!("tax, {} of {} parts", bill.tax_rate.of, bill.tax_rate.parts);
    let mut sums = vec![
        ["sum".to_owned(), amount(bill.net)],
        [tax, amount(bill.tax)],
        ["with tax".to_owned(), amount(bill.gross)],
    ];
    if !bill.purchases.is_empty() {
        let bought: i64 = bill.purchases.iter().map(|of| of.amount).sum();
        let bought = [
            format!("bought, {} of it tax", amount(bill.purchases_tax)),
            amount(bought),
        ];
        sums.push(bought);
    }
    if bill.from_balance != 0 {
        sums.push(["from the balance".to_owned(), amount(-bill.from_balance)]);
    }
    sums.push([format!("to be paid by {}", bill.pay_by), amount(bill.due)]);
    let _ = write!(text, "\n{}", table(["", ""], &sums).trim_start());
    text
}
