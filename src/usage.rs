//! Usage files: the meter of `send` and `receive`, and `sealcast usage show`.

mod keys;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use rand_core::Rng as _;
use sealcast_dataplane::meter::{Meter, MeterConfig, MeterEvent};
use sealcast_net::FileMap;
use sealcast_proto::records::{
    End, KeyUsageFile, Kind, KindNumber, RecordError, RecordFile, Rotation, Source, SourceKind,
    Usage, UsageFile, UsageIdentity,
};
use serde_json::{Value, json};

use crate::Failure;
use crate::config::Plan;
use crate::rng;
use crate::table::table;

/// Files that are shipped end at this age, so that bills are not behind.
const SHIPPED_AGE: Duration = Duration::from_secs(60);
/// The longest file that is read. Meters end theirs long before.
const FILE_MAX: u64 = 1 << 30;

/// Starts the meter of a process, if its plan has one.
pub fn start(plan: &Plan, kind: SourceKind, id: [u8; 16]) -> Result<Option<Meter>, Failure> {
    let Some(folder) = &plan.usage_dir else {
        return Ok(None);
    };
    let mut boot = [0; 16];
    rng().fill_bytes(&mut boot);
    let config = MeterConfig {
        folder: folder.clone(),
        source: Source { kind, id, boot },
        interval: plan.usage_interval,
        rotation: if plan.usage_ship {
            Rotation {
                age: plan.usage_interval.max(SHIPPED_AGE),
                ..Rotation::default()
            }
        } else {
            Rotation::default()
        },
    };
    let told = folder.display().to_string();
    let meter = Meter::start(config, move |event| tell(&told, event));
    meter
        .map(Some)
        .with_context(|| format!("cannot count usage in {}", folder.display()))
        .map_err(Failure::CannotOpen)
}

/// Ends the meter: everything is on disk, or it is told what is not.
pub fn finish(meter: Option<Meter>) -> Result<(), Failure> {
    let finished = meter.map_or(Ok(()), Meter::finish);
    finished.map_err(|unwritten| Failure::NotAsItMustBe(unwritten.into()))
}

fn tell(folder: &str, event: MeterEvent) {
    match event {
        MeterEvent::CannotWrite(error) => tracing::error!(
            folder,
            %error,
            "ALARM: usage cannot be written; counts are kept in memory and tried again: make room, or put the folder right"
        ),
        MeterEvent::WritesAgain => {
            tracing::info!(folder, "usage is written again, nothing was lost")
        }
    }
}

/// `sealcast usage`.
#[derive(Debug, clap::Subcommand)]
pub enum UsageCommand {
    /// Checks a usage file (records, chain) and shows what it counts
    #[command(
        after_help = "Exit codes: 0 good (also when it is still being written, or its writer was killed), 1 damaged or no usage \
        file, 3 cannot be opened."
    )]
    Show(ShowArgs),
}

/// Flags of `sealcast usage show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The file
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows a file.
pub fn run(command: &UsageCommand) -> Result<(), Failure> {
    let UsageCommand::Show(args) = command;
    let map = open(&args.file)?;
    let shown = match RecordFile::<UsageFile>::read(&map) {
        Ok(file) => Shown::of(&file).show(&file, args.json),
        Err(RecordError::OtherKind {
            found: KindNumber::KeyUsage,
            ..
        }) => {
            let file = RecordFile::<KeyUsageFile>::read(&map);
            file.map(|file| keys::show(&file, args.json))
                .with_context(|| args.file.display().to_string())
                .map_err(Failure::NotAsItMustBe)?
        }
        Err(error) => {
            let error = anyhow::Error::new(error).context(args.file.display().to_string());
            return Err(Failure::NotAsItMustBe(error));
        }
    };
    print!("{shown}");
    Ok(())
}

fn open(path: &Path) -> Result<FileMap, Failure> {
    FileMap::open(path, FILE_MAX)
        .map_err(|error| Failure::CannotOpen(anyhow!("{}: {error}", path.display())))
}

/// A file's records, added up.
struct Shown {
    rows: BTreeMap<(u16, u64, u8), Usage>,
    packets: u64,
    bytes: u64,
}

impl Shown {
    fn of(file: &RecordFile<'_, UsageFile>) -> Self {
        let mut shown = Self {
            rows: BTreeMap::new(),
            packets: 0,
            bytes: 0,
        };
        for usage in file.records() {
            let key = (usage.channel, usage.epoch, usage.lane);
            let row = shown.rows.entry(key).or_insert(Usage {
                packets: 0,
                bytes: 0,
                ..usage
            });
            // Whoever wrote the file chose the numbers: they may be anything.
            row.packets = row.packets.saturating_add(usage.packets);
            row.bytes = row.bytes.saturating_add(usage.bytes);
            row.from = row.from.min(usage.from);
            row.until = row.until.max(usage.until);
            shown.packets = shown.packets.saturating_add(usage.packets);
            shown.bytes = shown.bytes.saturating_add(usage.bytes);
        }
        shown
    }

    fn show(&self, file: &RecordFile<'_, UsageFile>, json: bool) -> String {
        if json {
            format!("{}\n", self.json(file))
        } else {
            self.text(file)
        }
    }

    fn text(&self, file: &RecordFile<'_, UsageFile>) -> String {
        let identity = file.identity();
        let rows: Vec<_> = self
            .rows
            .values()
            .map(|row| text_row(identity, row))
            .collect();
        let headings = [
            "channel", "epoch", "lane", "packets", "bytes", "from", "until",
        ];
        format!(
            "{}\n{} packets, {} bytes in {} records; chain ends in {}\n\n{}",
            title(file),
            self.packets,
            self.bytes,
            file.len(),
            hex(file.chain_hash()),
            table(headings, &rows)
        )
    }

    fn json(&self, file: &RecordFile<'_, UsageFile>) -> Value {
        let identity = file.identity();
        let rows = self.rows.values().map(|row| {
            json!({
                "channel": row.channel,
                "epoch": row.epoch,
                "lane": row.lane,
                "packets": row.packets,
                "bytes": row.bytes,
                "from": wall(identity, row.from),
                "until": wall(identity, row.until),
            })
        });
        json!({
            "source": identity.source_name(),
            "boot": hex(&identity.boot),
            "sequence": identity.sequence,
            "end": end_name(file.end()),
            "records": file.len(),
            "packets": self.packets,
            "bytes": self.bytes,
            "chain": hex(file.chain_hash()),
            "usage": rows.collect::<Vec<_>>(),
        })
    }
}

fn text_row(identity: &UsageIdentity, row: &Usage) -> [String; 7] {
    [
        row.channel.to_string(),
        row.epoch.to_string(),
        row.lane.to_string(),
        row.packets.to_string(),
        row.bytes.to_string(),
        wall(identity, row.from),
        wall(identity, row.until),
    ]
}

/// Whose file it is and whether it is whole.
fn title<K: Kind<Identity = UsageIdentity>>(file: &RecordFile<'_, K>) -> String {
    let identity = file.identity();
    format!(
        "{}, run {}, file {}: {}",
        identity.source_name(),
        hex(&identity.boot),
        identity.sequence,
        end(file.end()),
    )
}

fn end_name(end: End) -> &'static str {
    match end {
        End::Closed => "closed",
        End::Open => "open",
        End::Torn { .. } => "torn",
    }
}

fn end(end: End) -> String {
    match end {
        End::Closed => "whole".to_owned(),
        End::Open => "whole so far (being written, or its writer was killed)".to_owned(),
        End::Torn { at, bytes } => format!(
            "whole up to byte {at}; the {bytes} bytes after it are a block that was not written to its end, and count nothing"
        ),
    }
}

/// A moment of the file's host as people know it.
fn wall(identity: &UsageIdentity, boot: u64) -> String {
    let wall = boot.checked_add_signed(identity.wall_minus_boot);
    let time = UNIX_EPOCH + Duration::from_nanos(wall.unwrap_or(0));
    humantime::format_rfc3339_millis(time).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
