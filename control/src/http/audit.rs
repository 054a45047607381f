//! The audit log: pages, the signed head, exports.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use sealcast_domain::audit::{self, Act};
use sealcast_objects::audit::{AuditEntry, AuditPage, HeadStatement, SignedHead};
use sealcast_objects::problem::Problem;
use sealcast_objects::signed;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::act::Operator;
use super::error::{ApiError, Json, Query, Reply};
use super::openapi::{Routes, about};
use super::pages::Limit;
use super::permits::ReadAudit;
use super::{App, internal, now};

/// Entries of an export that are read at once.
const PIECE: u32 = 1000;

pub(super) fn routes() -> Routes {
    Routes::of("Audit")
        .get(
            "/v1/audit",
            list,
            "Entries of the audit log, by their numbers",
        )
        .get("/v1/audit/head", head, "The log's last hash, signed")
        .get(
            "/v1/audit/export",
            export,
            about("The whole log")
                .answers_with(
                    200,
                    Some("application/jsonl"),
                    "A line for each entry, as JSON or CSV.",
                )
                .or_as("text/csv"),
        )
}

/// Which page: the log is read by the numbers of its entries, which everybody may know.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Page {
    /// Entries after this number.
    #[serde(default)]
    after: u64,
    /// How many, at most.
    #[serde(default)]
    limit: Limit,
}

async fn list(
    _: Operator<ReadAudit>,
    State(app): State<App>,
    Query(Page { after, limit }): Query<Page>,
) -> Reply<AuditPage> {
    let entries = app
        .read(move |store| audit::page(store, after, limit.0))
        .await?;
    let full = entries.len() == limit.0 as usize;
    let next = entries.last().filter(|_| full).map(|last| last.number);
    Ok(Json(AuditPage { entries, next }))
}

async fn head(_: Operator<ReadAudit>, State(app): State<App>) -> Reply<SignedHead> {
    let (head, at) = (app.read(|store| audit::head(store)).await?, now());
    let key = &app.signers().audit;
    let statement = HeadStatement(head.number, head.hash, at.0);
    Ok(Json(SignedHead {
        number: head.number,
        hash: head.hash.to_vec(),
        at,
        key: key.verifying_key().as_bytes().to_vec(),
        signed: signed::sign(&statement, key),
    }))
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Jsonl,
    Csv,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Export {
    /// `jsonl`, or `csv`.
    #[serde(default)]
    format: Format,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; header=present",
        }
    }

    fn begin(self) -> &'static str {
        match self {
            Self::Jsonl => "",
            Self::Csv => "number,at,actor,act,subject,detail,hash\r\n",
        }
    }

    fn line(self, entry: &AuditEntry) -> String {
        match self {
            Self::Jsonl => serde_json::to_string(entry).unwrap_or_default() + "\n",
            Self::Csv => {
                let hash = data_encoding::BASE64URL_NOPAD.encode(&entry.hash);
                let AuditEntry {
                    number,
                    at,
                    actor,
                    act,
                    subject,
                    detail,
                    ..
                } = entry;
                let texts = [actor, act, subject, detail].map(|text| csv_field(text));
                format!("{number},{at},{},{hash}\r\n", texts.join(","))
            }
        }
    }
}

/// RFC 4180: quotes where they are needed. What a spreadsheet would take for a formula gets an apostrophe before it.
fn csv_field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let mark = if formula { "'" } else { "" };
    if formula || text.contains(['"', ',', '\r', '\n']) {
        format!("\"{mark}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The whole log up to the entry of this export, which is one, too.
async fn export(
    operator: Operator<ReadAudit>,
    State(app): State<App>,
    Query(Export { format }): Query<Export>,
) -> Result<Response, ApiError> {
    let exported = operator.act(&app, move |tx| {
        let act = Act::on("audit.export", "audit").with("format", format.name());
        Ok((audit::head(tx)?.number + 1, act))
    });
    let last = exported.await?;
    let (lines, body) = mpsc::channel(2);
    tokio::spawn(async move {
        if let Err(error) = send(&app, format, last, &lines).await {
            // The body ends without its end: whoever takes it sees that it is not whole.
            let _ = lines.send(Err(std::io::Error::other(error))).await;
        }
    });
    let name = format!("attachment; filename=\"audit-{last}.{}\"", format.name());
    let headers = [
        (CONTENT_TYPE, format.content_type().to_owned()),
        (CONTENT_DISPOSITION, name),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(ReceiverStream::new(body))).into_response())
}

async fn send(
    app: &App,
    format: Format,
    last: u64,
    lines: &mpsc::Sender<std::io::Result<String>>,
) -> Result<(), Problem> {
    let (mut after, mut text) = (0, format.begin().to_owned());
    while after < last {
        let entries = app
            .read(move |store| audit::page(store, after, PIECE))
            .await?;
        let Some(end) = entries.last() else {
            return Err(internal(
                "the audit log ends before the entry of its export",
            ));
        };
        after = end.number;
        for entry in entries.iter().filter(|entry| entry.number <= last) {
            text += &format.line(entry);
        }
        if lines.send(Ok(std::mem::take(&mut text))).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_table_are_quoted_and_no_formulas() {
        for (text, field) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"so\"", "\"say \"\"so\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "\"'=1+1\""),
            ("@cmd", "\"'@cmd\""),
        ] {
            assert_eq!(csv_field(text), field);
        }
    }
}
