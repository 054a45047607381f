//! `sealcast audit`: whether what a key server has written down is as it was written.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use data_encoding::BASE64URL_NOPAD;
use sealcast_control::offline;
use sealcast_crypto::VerifyingKey;
use sealcast_objects::audit::{AuditEntry, Chain, Head, HeadStatement, SignedHead};
use sealcast_objects::signed;

use crate::Failure;
use crate::config::{PostgresArgs, PostgresFile};

#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Follows the chain of the audit log, counts the ledger anew, and computes all bills again. A server may be using the store. Ends with 1 if anything is wrong
    Verify(VerifyArgs),
}

/// Flags of `sealcast audit verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Folder of the store
    #[arg(
        long,
        env = "SEALCAST_DATA",
        default_value = "sealcast-data",
        value_name = "FOLDER"
    )]
    data: PathBuf,
    #[command(flatten)]
    postgres: PostgresArgs,
    /// A JSONL export of the log instead of a store
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// A head that `sealcast admin audit head` gave: it must be in the log. Without one, nobody can tell whether the newest entries were removed,
    /// or all of them written anew
    #[arg(long, value_name = "FILE")]
    head: Vec<PathBuf>,
}

/// Verifies.
pub fn run(command: &AuditCommand) -> Result<(), Failure> {
    let AuditCommand::Verify(args) = command;
    let kept = args.head.iter().map(|file| read_head(file));
    let kept: Vec<_> = kept.collect::<Result<_>>().map_err(Failure::CannotOpen)?;
    let kept_heads = kept.len();
    let (head, faults) = match &args.export {
        Some(export) => of_export(export, kept).map_err(Failure::CannotOpen)?,
        None => {
            let store = args.postgres.resolve(PostgresFile::default());
            let store = store.map_err(Failure::Configuration)?;
            let found = offline::verify(&args.data, &store.location, kept);
            let found = found.map_err(|error| Failure::CannotOpen(error.into()))?;
            let faults = found.audit.iter().map(ToString::to_string);
            let ledger = found.ledger.iter().map(|fault| format!("ledger: {fault}"));
            let bills = found.bills.iter().map(|fault| format!("bills: {fault}"));
            (found.head, faults.chain(ledger).chain(bills).collect())
        }
    };
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        return Err(Failure::NotAsItMustBe(anyhow!(
            "{} things are not as they must be: compare with a backup",
            faults.len()
        )));
    }
    // As heads and exports write it.
    let hash = BASE64URL_NOPAD.encode(&head.hash);
    let ledger = if args.export.is_some() {
        ""
    } else {
        "; the ledger is as its transfers say, and bills come out the same again"
    };
    println!(
        "{} entries, the last with hash {hash}, each as it was written; kept heads in the log: {kept_heads}{ledger}",
        head.number
    );
    Ok(())
}

/// A kept head, whose signature holds.
fn read_head(file: &Path) -> Result<Head> {
    let shown = file.display();
    let text = std::fs::read(file).with_context(|| format!("{shown} cannot be read"))?;
    let head: SignedHead = serde_json::from_slice(&text)
        .with_context(|| format!("{shown} is no head that `sealcast admin audit head` gave"))?;
    let key = head.key.as_slice().try_into().map(VerifyingKey::from_bytes);
    let key = key.map_err(|_| anyhow!("the key in {shown} is none"))?;
    let HeadStatement(number, hash, at) =
        signed::verify(&head.signed, &key).with_context(|| format!("{shown} does not hold"))?;
    if (head.number, head.hash.as_slice(), head.at.0) != (number, &hash, at) {
        bail!("{shown} says something else than what is signed in it");
    }
    Ok(Head { number, hash })
}

fn of_export(file: &Path, kept: Vec<Head>) -> Result<(Head, Vec<String>)> {
    let shown = file.display();
    let lines = File::open(file).with_context(|| format!("{shown} cannot be opened"))?;
    let mut chain = Chain::new(kept);
    for (line, number) in BufReader::new(lines).lines().zip(1..) {
        let line = line.with_context(|| format!("{shown} cannot be read"))?;
        let entry: AuditEntry = serde_json::from_str(&line)
            .with_context(|| format!("line {number} of {shown} is no entry of a JSONL export"))?;
        chain.add(&entry);
    }
    let (head, faults) = chain.finish();
    Ok((head, faults.iter().map(ToString::to_string).collect()))
}
