//! The audit log, as an operator reads it.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sealcast_objects::audit::{AuditEntry, AuditPage, SignedHead};

use super::{Api, failure};
use crate::Failure;
use crate::table::table;

#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditCommand {
    /// Lists entries, the oldest first
    List {
        /// After the entry with this number
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        after: u64,
        /// At most so many
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
        limit: u32,
    },
    /// The last entry, signed. Kept outside of the server, it shows later whether anything before it was changed or removed
    Head,
    /// Writes the whole log; that is an entry, too
    Export {
        /// As what
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        /// Where to; it must not exist [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// What an export looks like.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Format {
    /// One JSON object per line
    Jsonl,
    /// A table (RFC 4180)
    Csv,
}

pub(super) fn run(api: &Api, command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { after, limit } => {
            let page: AuditPage = api
                .get(&format!("/v1/audit?after={after}&limit={limit}"))
                .map_err(failure)?;
            api.show(&page, |page| {
                let rows: Vec<_> = page.entries.iter().map(row).collect();
                let shown = table(["NUMBER", "AT", "WHO", "ACT", "SUBJECT", "DETAIL"], &rows);
                let more = page.next.map(|next| format!("\n\nMore: --after {next}"));
                shown.trim_end().to_owned() + &more.unwrap_or_default()
            });
            Ok(())
        }
        AuditCommand::Head => {
            let head: SignedHead = api.get("/v1/audit/head").map_err(failure)?;
            // To be kept as it is: JSON always.
            println!("{}", serde_json::to_string(&head).unwrap_or_default());
            Ok(())
        }
        AuditCommand::Export { format, out } => export(api, *format, out.as_deref()),
    }
}

fn row(entry: &AuditEntry) -> [String; 6] {
    [
        entry.number.to_string(),
        entry.at.to_string(),
        entry.actor.clone(),
        entry.act.clone(),
        entry.subject.clone(),
        entry.detail.clone(),
    ]
}

fn export(api: &Api, format: Format, out: Option<&Path>) -> Result<(), Failure> {
    let format = match format {
        Format::Jsonl => "jsonl",
        Format::Csv => "csv",
    };
    let open = || -> io::Result<Box<dyn io::Write>> {
        Ok(match out {
            Some(out) => Box::new(File::create_new(out)?),
            None => Box::new(io::stdout()),
        })
    };
    let written = |error: io::Error| {
        let file = out
            .unwrap_or_else(|| Path::new("standard output"))
            .display();
        Failure::CannotOpen(anyhow::Error::new(error).context(format!("{file} cannot be written")))
    };
    let mut to = BufWriter::new(open().map_err(written)?);
    let path = format!("/v1/audit/export?format={format}");
    let download = api.client.download(&path, |piece| to.write_all(piece));
    let kept = api.runtime.block_on(download).map_err(failure)?;
    kept.and_then(|()| to.flush()).map_err(written)
}
