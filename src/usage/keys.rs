//! Usage files of key servers, shown.

use std::collections::{BTreeMap, BTreeSet};

use sealcast_objects::id::Id as _;
use sealcast_proto::ids::{AccountId, DeviceId};
use sealcast_proto::records::{KeyUsageFile, RecordFile};
use serde_json::json;

use super::{end_name, hex, title, wall};
use crate::table::table;

/// What a device got of a channel.
#[derive(Default)]
struct Row {
    account: [u8; 16],
    requests: BTreeSet<([u8; 16], u64)>,
    epochs: BTreeSet<u64>,
    answers: u64,
    from: u64,
    until: u64,
}

/// A file as text, or as one JSON object.
pub(super) fn show(file: &RecordFile<'_, KeyUsageFile>, json: bool) -> String {
    let identity = file.identity();
    let mut rows = BTreeMap::<([u8; 16], u16), Row>::new();
    for record in file.records() {
        let row = rows.entry((record.device, record.channel)).or_default();
        for (number, current, next) in record.given() {
            row.requests.insert((record.session, number));
            row.epochs.extend(
                [Some(current), next]
                    .into_iter()
                    .flatten()
                    .map(|epoch| epoch.0),
            );
        }
        row.account = record.account;
        row.from = if row.answers == 0 {
            record.from
        } else {
            row.from.min(record.from)
        };
        row.until = row.until.max(record.until);
        // Whoever wrote the file chose the numbers: they may be anything.
        row.answers = row.answers.saturating_add(record.answers.into());
    }
    let requests: usize = rows.values().map(|row| row.requests.len()).sum();
    let keys: usize = rows.values().map(|row| row.epochs.len()).sum();
    if json {
        let rows = rows.iter().map(|((device, channel), row)| {
            json!({
                "account": AccountId(row.account).text(),
                "device": DeviceId(*device).text(),
                "channel": channel,
                "epochs": row.epochs,
                "requests": row.requests.len(),
                "answers": row.answers,
                "from": wall(identity, row.from),
                "until": wall(identity, row.until),
            })
        });
        let shown = json!({
            "source": identity.source_name(),
            "boot": hex(&identity.boot),
            "sequence": identity.sequence,
            "end": end_name(file.end()),
            "records": file.len(),
            "requests": requests,
            "keys": keys,
            "chain": hex(file.chain_hash()),
            "usage": rows.collect::<Vec<_>>(),
        });
        return format!("{shown}\n");
    }
    let row = |((device, channel), row): (&([u8; 16], u16), &Row)| {
        let ends = row.epochs.first().zip(row.epochs.last());
        let epochs = ends.map(|(first, last)| format!("{first}-{last}"));
        [
            DeviceId(*device).text(),
            channel.to_string(),
            epochs.unwrap_or_default(),
            row.epochs.len().to_string(),
            row.requests.len().to_string(),
            row.answers.to_string(),
            wall(identity, row.from),
            wall(identity, row.until),
        ]
    };
    let headings = [
        "device", "channel", "epochs", "keys", "requests", "answers", "from", "until",
    ];
    let text: Vec<_> = rows.iter().map(row).collect();
    format!(
        "{}\n{requests} requests, {keys} keys in {} records; chain ends in {}\n\n{}",
        title(file),
        file.len(),
        hex(file.chain_hash()),
        table(headings, &text)
    )
}
