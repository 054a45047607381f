//! Files of contents: an operator's upload, sealed on its way; downloads of the sealed file, whole or in part (RFC 9110 14).

mod range;

use std::path::Path as FsPath;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;
use rand_core::Rng as _;
use sealcast_domain::audit::Act;
use sealcast_domain::catalogue::downloads;
use sealcast_domain::catalogue::files::{self, Complete, FileName, InUse};
use sealcast_objects::ContentId;
use sealcast_objects::api::{ContentVersion, Device, Role};
use sealcast_objects::content::{ContentKey, Header};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};

use super::act::Operator;
use super::error::{ApiError, Json, Path, Reply};
use super::openapi::{Routes, about};
use super::permits::Curate;
use super::{Answer, App, internal, now};
use crate::ca::Peer;
use crate::content::{ContentsConfig, ContentsError, Storage, Stored, key_name, seal_into};
use range::Wanted;

pub(super) fn routes() -> Routes {
    Routes::of("Catalogue")
        .get(
            "/v1/contents/{id}/versions/{n}/data",
            download,
            about("The sealed file, or a part of it")
                .answers_with(200, Some("application/octet-stream"), "The sealed file.")
                .answers_with(
                    206,
                    Some("application/octet-stream"),
                    "The part of it that was asked for.",
                )
                .answers_with(304, None, "The asker has it already.")
                .refuses(416),
        )
        .put(
            "/v1/contents/{id}/versions/{n}/data",
            upload,
            about("The file of a version, which is sealed on its way")
                .takes("application/octet-stream")
                .refuses(411),
        )
}

/// Where files are, and how long a plaintext may be.
#[derive(Debug)]
pub struct Contents {
    pub(crate) storage: Storage,
    max: u64,
}

impl Contents {
    /// Opens the storage; a folder is in `data`.
    ///
    /// # Errors
    /// [`ContentsError`].
    pub fn open(config: &ContentsConfig, data: &FsPath) -> Result<Self, ContentsError> {
        Ok(Self {
            storage: Storage::open(config, data)?,
            max: config.max,
        })
    }
}

/// Who may ask for contents: an operator, or a device in good standing.
pub(super) enum Asker {
    Operator,
    Device(Device),
}

impl FromRequestParts<App> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let peer = Peer::asking(&parts.extensions);
        match &peer {
            Some(device) if device.role == Role::Device => {
                Ok(Self::Device(app.authenticate_device(device).await?))
            }
            _ => {
                app.authenticate_operator(peer)?;
                Ok(Self::Operator)
            }
        }
    }
}

/// What the body's length is said to be: it is in the file's header, so it is known before the body.
fn length(headers: &HeaderMap, max: u64) -> Result<u64, Problem> {
    let said = headers.get(header::CONTENT_LENGTH);
    let length = said.and_then(|length| length.to_str().ok()?.parse().ok());
    let (status, detail) = match length {
        Some(length) if length <= max => return Ok(length),
        Some(length) => (
            413,
            format!(
                "{length} bytes are too much: this server takes {max} at most ([contents] max_bytes)"
            ),
        ),
        None => (
            411,
            "an upload says how long it is: Content-Length".to_owned(),
        ),
    };
    let mut problem = Problem::new(Kind::Invalid, detail);
    problem.status = status;
    Err(problem)
}

/// The plaintext of a version comes in, its sealed file is kept. It begins at its beginning each time; the first that comes whole counts.
async fn upload(
    operator: Operator<Curate>,
    State(app): State<App>,
    Path((Text(content), version)): Path<(Text<ContentId>, u32)>,
    headers: HeaderMap,
    body: Body,
) -> Reply<ContentVersion> {
    let length = length(&headers, app.contents().max)?;
    let header = Header::new(content, version, length);
    let header = header.map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    let mut rng = app.fork_rng();
    let key = ContentKey::new(&mut rng);
    let mut name = FileName::default();
    rng.fill_bytes(&mut name);
    let began = now();
    app.write(move |tx| files::begin(tx, began, (content, version), name))
        .await?;
    // A task of its own: when the asker goes away, what there is of the file is removed still.
    let task = tokio::spawn(async move {
        let done = keep(&operator, &app, (name, &key, header), body).await;
        if done.is_err() {
            app.write(move |tx| files::abandon(tx, name)).await?;
            // Who took too long may have put it in place after its row was gone.
            app.contents().storage.remove(name).await?;
        }
        done
    });
    Ok(Json(task.await.map_err(internal)??))
}

async fn keep(
    operator: &Operator<Curate>,
    app: &App,
    (name, key, header): (FileName, &ContentKey, Header),
    body: Body,
) -> Answer<ContentVersion> {
    let storage = &app.contents().storage;
    let silence = app.limits().silence;
    let stored = seal_into(
        storage,
        name,
        (key, header),
        body.into_data_stream(),
        silence,
    );
    let Stored {
        length,
        sealed_length,
        sha256,
    } = stored.await?;
    let (content, version) = (header.content(), header.version());
    let secret = key_name(content, version, name);
    let complete = Complete {
        length,
        sealed_length,
        sha256,
        sealed_key: app
            .vault()
            .seal(&secret, key.as_bytes(), &mut app.fork_rng()),
    };
    let now = now();
    let finished = operator.act(app, move |tx| {
        let ready = files::finish(tx, now, name, &complete)?;
        let act = Act::on("content.upload", Text(content))
            .with("version", version)
            .with("bytes", complete.length)
            .with("sha256", HEXLOWER.encode(&complete.sha256));
        Ok((ready, act))
    });
    finished.await
}

/// The sealed file, or a part of it. A device's download is written down when its beginning or its end is asked for (MV-19).
async fn download(
    asker: Asker,
    State(app): State<App>,
    Path((Text(content), version)): Path<(Text<ContentId>, u32)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = app.file(&asker, (content, version)).await?;
    let tag = format!("\"{}\"", HEXLOWER.encode(&file.sha256));
    if range::known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, describe(&tag)).into_response());
    }
    let wanted = range::wanted(&headers, &tag, file.sealed_length);
    let (status, bytes) = match wanted {
        Wanted::All => (StatusCode::OK, 0..file.sealed_length),
        Wanted::Part(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        Wanted::Nothing => return Ok(not_there(file.sealed_length)),
    };
    let mut answer = describe(&tag);
    answer.insert(header::CONTENT_LENGTH, (bytes.end - bytes.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        let (from, last) = (bytes.start, bytes.end - 1);
        let place = format!("bytes {from}-{last}/{}", file.sealed_length);
        answer.insert(header::CONTENT_RANGE, value(&place));
    }
    if method == Method::HEAD {
        return Ok((status, answer).into_response());
    }
    if let Asker::Device(device) = asker
        && (bytes.start == 0 || bytes.end == file.sealed_length)
    {
        app.downloads(device, (content, version)).await?;
    }
    let pieces = app.contents().storage.read(file.name, bytes).await;
    let pieces = pieces.map_err(Problem::from)?;
    Ok((status, answer, Body::from_stream(pieces)).into_response())
}

impl App {
    /// The file of a version, if it is the asker's to have.
    async fn file(&self, asker: &Asker, which: (ContentId, u32)) -> Answer<InUse> {
        match asker {
            Asker::Operator => {
                let (content, version) = which;
                self.read(move |store| files::in_use(store, content, version))
                    .await
            }
            Asker::Device(device) => {
                let device = device.clone();
                self.read(move |store| downloads::allowed(store, &device, which))
                    .await
            }
        }
    }

    /// Writes down that a device gets this.
    async fn downloads(&self, device: Device, which: (ContentId, u32)) -> Answer<()> {
        let now = now();
        let new = self.write(move |tx| {
            let (_, new) = downloads::begin(tx, now, &device, which)?;
            Ok(new.then_some(device))
        });
        if let Some(device) = new.await? {
            let (content, version) = (Text(which.0), which.1);
            tracing::info!(device = %device.id, account = %device.account, %content, version, "a download begins");
        }
        Ok(())
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What is said of every file.
fn describe(tag: &str) -> HeaderMap {
    [
        (header::ETAG, value(tag)),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
    ]
    .into_iter()
    .collect()
}

/// 416.
fn not_there(length: u64) -> Response {
    let detail = format!("the file has {length} bytes: ask for some of them");
    let mut problem = Problem::new(Kind::Invalid, detail);
    problem.status = StatusCode::RANGE_NOT_SATISFIABLE.as_u16();
    let mut answer = ApiError(problem).into_response();
    let place = value(&format!("bytes */{length}"));
    answer.headers_mut().insert(header::CONTENT_RANGE, place);
    answer
}
