//! Events as they happen: the audit log as server-sent events (WHATWG HTML 9.2). A reader that comes back says which it had last, and gets
//! each that came after it once.
//!
//! Each reader has a task that reads a page of the log when there is more, and waits until its reader has taken it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use sealcast_domain::audit;
use sealcast_objects::audit::AuditEntry;
use sealcast_objects::events::{Event, check_filter, matches};
use sealcast_objects::problem::{Kind, Problem};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::accept::Cut;
use super::act::Operator;
use super::error::{ApiError, Query};
use super::openapi::{Routes, about};
use super::permits::ReadAudit;
use super::{Answer, App};
use crate::ca::Peer;
use crate::webhooks::EventsConfig;

/// Readers that are refused are told to come again after so many seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
/// Pages that are read at once.
const READS: usize = 4;
/// Entries of a page: what is held for a reader, and as many on their way.
const PAGE: u32 = 100;
/// A comment comes when nothing else does for so long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A reader whose connection broke comes back after this, unless it decides otherwise.
const COME_BACK: Duration = Duration::from_secs(2);
/// Whether the reader may still read is asked this often.
const CHECK: Duration = Duration::from_secs(1);
/// The last event that a reader had.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> Routes {
    Routes::of("Events").get(
        "/v1/events",
        follow,
        about("The audit log as it grows")
            .answers_with(200, Some("text/event-stream"), "Server-sent events.")
            .refuses(409),
    )
}

/// What readers share.
#[derive(Debug)]
pub(super) struct Events {
    /// The number of the last entry of the log.
    heads: watch::Receiver<u64>,
    stopped: watch::Receiver<bool>,
    readers: Arc<Semaphore>,
    reads: Semaphore,
    /// A reader that takes nothing for so long is cut off.
    write: Duration,
}

impl Events {
    pub(super) fn new(
        config: &EventsConfig,
        heads: watch::Receiver<u64>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            heads,
            stopped,
            readers: Arc::new(Semaphore::new(config.readers)),
            reads: Semaphore::new(READS),
            write: config.write,
        }
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Entries after this number; nothing: those that come.
    #[serde(default)]
    after: Option<u64>,
    /// Names of acts or beginnings of them, with commas between.
    #[serde(default)]
    events: String,
}

/// Where a reader begins: after the last event that it had; nothing: with what comes now.
fn begin(headers: &HeaderMap, asked: &Asked) -> Answer<Option<u64>> {
    let Some(last) = headers.get(LAST_EVENT_ID) else {
        return Ok(asked.after);
    };
    let last = last.to_str().ok().and_then(|last| last.trim().parse().ok());
    last.map(Some).ok_or_else(|| {
        let detail = "Last-Event-ID is the number of an event: give the id of the last one";
        Problem::new(Kind::Invalid, detail)
    })
}

fn filter(asked: &Asked) -> Answer<Vec<String>> {
    let names = asked.events.split(',').map(str::trim);
    let filter: Vec<_> = names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    match check_filter(&filter) {
        Ok(()) => Ok(filter),
        Err(bad) => Err(Problem::new(Kind::Invalid, bad.to_string())),
    }
}

async fn follow(
    _: Operator<ReadAudit>,
    State(app): State<App>,
    Extension(peer): Extension<Option<Peer>>,
    Extension(cut): Extension<Cut>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let (begin, filter) = (begin(&headers, &asked)?, filter(&asked)?);
    let Ok(place) = Arc::clone(&app.events().readers).try_acquire_owned() else {
        let detail = "there are as many readers of events as there may be: try again";
        let problem = ApiError(Problem::new(Kind::Unavailable, detail));
        return Ok(([(header::RETRY_AFTER, RETRY_AFTER)], problem).into_response());
    };
    let head = app.read(|store| audit::head(store)).await?.number;
    let after = begin.unwrap_or(head);
    if after > head {
        let detail = format!(
            "the last event has the number {head}, and {after} was had already: is the store a restored copy? Begin anew"
        );
        return Err(Problem::new(Kind::Conflict, detail).into());
    }
    let (events, body) = mpsc::channel(1);
    let reader = Reader {
        app,
        peer,
        filter,
        after,
        events,
        _place: place,
    };
    tokio::spawn(async move {
        if let Err(Slow) = reader.run().await {
            cut.now();
        }
    });
    let sent =
        Sse::new(ReceiverStream::new(body)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([(header::CACHE_CONTROL, "no-store")], sent).into_response())
}

/// One reader.
struct Reader {
    app: App,
    peer: Option<Peer>,
    filter: Vec<String>,
    /// Entries up to this number were looked at.
    after: u64,
    events: mpsc::Sender<Result<Sent, Infallible>>,
    _place: OwnedSemaphorePermit,
}

/// It does not take what is sent.
struct Slow;

impl Reader {
    /// Until the reader goes away, may read no more, or the server stops.
    async fn run(mut self) -> Result<(), Slow> {
        let (mut heads, mut stopped) = {
            let events = self.app.events();
            (events.heads.clone(), events.stopped.clone())
        };
        // Something comes at once, so that a reader knows that it is connected.
        if !self.send(Sent::default().retry(COME_BACK)).await? {
            return Ok(());
        }
        loop {
            if self.app.authenticate_reader(self.peer.clone()).is_err() {
                return Ok(());
            }
            let more = *heads.borrow_and_update() > self.after;
            if more && !self.page(&mut stopped).await? {
                return Ok(());
            }
            if more {
                continue;
            }
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
                () = self.events.closed() => return Ok(()),
                changed = heads.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = tokio::time::sleep(CHECK) => {}
            }
        }
    }

    /// Sends the next page; whether to go on.
    async fn page(&mut self, stopped: &mut watch::Receiver<bool>) -> Result<bool, Slow> {
        let Ok(entries) = self.read().await else {
            // The store is away: whoever reads comes back.
            return Ok(false);
        };
        for entry in entries {
            self.after = entry.number;
            if !matches(&self.filter, &entry.act) {
                continue;
            }
            let going_on = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => false,
                sent = self.send(event(&entry)) => sent?,
            };
            if !going_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn read(&self) -> Answer<Vec<AuditEntry>> {
        // Readers together hold no more of the store's connections than a few.
        let _turn = self.app.events().reads.acquire().await;
        let after = self.after;
        self.app
            .read(move |store| audit::page(store, after, PAGE))
            .await
    }

    /// Whether the reader is still there.
    async fn send(&self, event: Sent) -> Result<bool, Slow> {
        match timeout(self.app.events().write, self.events.send(Ok(event))).await {
            Ok(sent) => Ok(sent.is_ok()),
            Err(_) => Err(Slow),
        }
    }
}

impl App {
    /// Whether whoever began to read may still.
    fn authenticate_reader(&self, peer: Option<Peer>) -> Answer<()> {
        let (name, acting) = self.authenticate_operator(peer)?;
        let permit = sealcast_objects::api::Permit::ReadAudit;
        sealcast_domain::operators::check_permit(&name, acting.role, permit).map_err(super::problem)
    }
}

fn event(entry: &AuditEntry) -> Sent {
    // Texts and numbers: nothing of it can fail.
    let data = serde_json::to_string(&Event::from(entry)).unwrap_or_default();
    Sent::default()
        .id(entry.number.to_string())
        .event(&entry.act)
        .data(data)
}
