//! `sealcast bill`: bills as people read them, and computed again by whoever doubts them.

mod html;
mod pdf;
mod text;
mod verify;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sealcast_domain::billing::bills;
use sealcast_objects::api::Bill;

use crate::Failure;
use crate::admin::Access;
pub use text::page;

#[derive(Debug, clap::Subcommand)]
pub enum BillCommand {
    /// Shows a bill
    Show(ShowArgs),
    /// Computes a bill again, from what the key server has counted, licensed, charged and booked: it must come out the same, byte for byte, and be
    /// booked so
    #[command(
        after_help = "Exit codes: 0 the same, 1 another, 3 cannot be read or the server cannot be asked."
    )]
    Verify(VerifyArgs),
}

/// Flags of `sealcast bill show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The bill, as `sealcast admin bill get --format json` wrote it
    file: PathBuf,
    /// As what
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Who sells: a file with the lines that are to stand on the page, name, address, tax number
    #[arg(long, value_name = "FILE")]
    seller: Option<PathBuf>,
    /// To whom: as that
    #[arg(long, value_name = "FILE")]
    customer: Option<PathBuf>,
}

/// Flags of `sealcast bill verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// The bill, as `sealcast admin bill get --format json` wrote it
    file: PathBuf,
    /// Counts anew, too: usage files of delivery servers and key servers, or folders of them, all that the server took in
    #[arg(long, value_name = "PATH", num_args = 1..)]
    deep: Vec<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// What a bill is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// For a terminal
    Text,
    /// Its canonical form
    Json,
    /// A page to be printed
    Html,
    /// The text, to be printed
    Pdf,
}

/// Who sells, and to whom, in lines.
#[derive(Clone, Debug, Default)]
struct Parties {
    seller: String,
    customer: String,
}

/// Runs one.
pub fn run(command: &BillCommand) -> Result<(), Failure> {
    match command {
        BillCommand::Show(args) => show(args),
        BillCommand::Verify(args) => verify::run(args),
    }
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let (bill, _) = read(&args.file)?;
    let lines = |file: &Option<PathBuf>| match file {
        Some(file) => read_file(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        None => Ok(String::new()),
    };
    let parties = Parties {
        seller: lines(&args.seller)?,
        customer: lines(&args.customer)?,
    };
    put(&as_format(&bill, args.format, &parties)?, None)
}

/// Writes a bill to a file, or to standard output.
pub fn write(bill: &Bill, format: Format, out: Option<&Path>) -> Result<(), Failure> {
    put(&as_format(bill, format, &Parties::default())?, out)
}

fn put(bytes: &[u8], out: Option<&Path>) -> Result<(), Failure> {
    let written = match out {
        Some(out) => fs::write(out, bytes).with_context(|| out.display().to_string()),
        None => io::stdout().write_all(bytes).context("standard output"),
    };
    written.map_err(Failure::CannotOpen)
}

fn as_format(bill: &Bill, format: Format, parties: &Parties) -> Result<Vec<u8>, Failure> {
    Ok(match format {
        Format::Text => page(bill).into_bytes(),
        Format::Html => html::page(bill, parties).into_bytes(),
        Format::Pdf => pdf::file(bill, parties),
        Format::Json => {
            let bytes = bills::to_bytes(bill);
            let mut bytes = bytes.map_err(|error| Failure::NotAsItMustBe(error.into()))?;
            bytes.push(b'\n');
            bytes
        }
    })
}

fn read_file(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file)
        .with_context(|| file.display().to_string())
        .map_err(Failure::CannotOpen)
}

/// A bill, and its bytes without a line break at the end.
fn read(file: &Path) -> Result<(Bill, Vec<u8>), Failure> {
    let mut bytes = read_file(file)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    let bill = serde_json::from_slice(&bytes)
        .with_context(|| {
            format!(
                "{} is no bill: `sealcast admin bill get ID --format json --out FILE` writes one",
                file.display()
            )
        })
        .map_err(Failure::CannotOpen)?;
    Ok((bill, bytes))
}

/// Minor units as people write amounts; all currencies are shown with two decimals but those that have none, or three (ISO 4217).
fn money(amount: i64, currency: &str) -> String {
    let digits = match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let sign = if amount < 0 { "-" } else { "" };
    let amount = amount.unsigned_abs();
    if digits == 0 {
        return format!("{sign}{amount} {currency}");
    }
    let unit = 10_u64.pow(digits);
    let width = digits as usize;
    format!(
        "{sign}{}.{:0width$} {currency}",
        amount / unit,
        amount % unit
    )
}

/// What a line is for.
fn what(line: &sealcast_objects::api::BillLine) -> String {
    use sealcast_objects::api::LineKind;
    let what = match line.kind {
        LineKind::Data => "Data sent while keys were held, bytes",
        LineKind::Requests => "Keys asked for",
        LineKind::Period => "Days of devices with a licence",
        LineKind::Licence => "Licences supplied",
        LineKind::MoveCertificate => "Move certificates",
        LineKind::Premium => "Insurance premiums",
        LineKind::Correction => "Correction",
    };
    let channel = line.channel.map(|channel| format!(", channel {channel}"));
    let note = line.note.as_ref().map(|note| format!(": {note}"));
    format!(
        "{what}{}{}",
        channel.unwrap_or_default(),
        note.unwrap_or_default()
    )
}

/// How a line came to its amount.
fn how(line: &sealcast_objects::api::BillLine, currency: &str) -> String {
    let price = money(i64::try_from(line.price).unwrap_or(i64::MAX), currency);
    let quantity = match line.free {
        0 => line.quantity.to_string(),
        free => format!("({} - {free} free)", line.quantity),
    };
    match line.per {
        1 => format!("{quantity} x {price}"),
        per => format!("{quantity} x {price} / {per}"),
    }
}

#[cfg(test)]
mod tests {
    use super::money;

    #[test]
    fn amounts_are_written_with_the_decimals_of_their_currency() {
        assert_eq!(money(499, "EUR"), "4.99 EUR");
        assert_eq!(money(-5, "EUR"), "-0.05 EUR");
        assert_eq!(money(499, "JPY"), "499 JPY");
        assert_eq!(money(-1_001, "KWD"), "-1.001 KWD");
    }
}
