//! Files of contents: an operator's are sent as they are read; sealed ones are fetched piece by piece, and the next time from where it ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, IF_RANGE, RANGE};
use reqwest::{Body, Method, Response, StatusCode};
use sealcast_crypto::Sha256;
use sealcast_objects::api::ContentVersion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::https::{Client, RequestError};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;
/// Pieces that wait to be sent.
const AHEAD: usize = 4;

/// Why a file was not sent or fetched: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The server, or the way there.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The file here.
    #[error("cannot {what} {}: {why}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's word.
        why: io::Error,
    },
    /// What came is not what the server said it would be.
    #[error(
        "what came is not what the server says the file is (SHA-256 {is} instead of {expected}): what was fetched is removed; fetch it again"
    )]
    Damaged {
        /// SHA-256 of what is there, hexadecimal.
        is: String,
        /// What it must be.
        expected: String,
    },
    /// There is no file to fetch.
    #[error("version {0} waits for its file still: try again when it is ready")]
    NotReady(u32),
}

fn path(of: &ContentVersion) -> String {
    format!("/v1/contents/{}/versions/{}/data", of.content, of.version)
}

/// Sends `file` as that of a version; `progress` hears how many bytes went out so far, from another thread.
///
/// # Errors
/// [`TransferError`]. An upload cannot go on later: it is sealed as it comes, and begins again.
pub async fn upload(
    client: &Client,
    of: &ContentVersion,
    file: &Path,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<ContentVersion, TransferError> {
    let failed = |why| TransferError::File {
        what: "read",
        path: file.to_path_buf(),
        why,
    };
    let open = File::open(file).map_err(failed)?;
    let length = open.metadata().map_err(failed)?.len();
    let (sender, pieces) = mpsc::channel(AHEAD);
    let reading = tokio::task::spawn_blocking(move || read(open, length, &sender, progress));
    let request = client
        .long(Method::PUT, &path(of))
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, length)
        .body(Body::wrap_stream(ReceiverStream::new(pieces)));
    let sent = request.send().await;
    // What is wrong with the file is the cause, whatever the connection says of it.
    match reading.await {
        Ok(Err(why)) if why.kind() != ErrorKind::BrokenPipe => return Err(failed(why)),
        _ => {}
    }
    let answer = client.checked(sent).await?.json().await;
    Ok(answer.map_err(|error| client.broken(&error))?)
}

type Pieces = mpsc::Sender<io::Result<Vec<u8>>>;

/// Reads `length` bytes for whoever sends them.
fn read(mut file: File, length: u64, to: &Pieces, progress: impl Fn(u64)) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let most = usize::try_from(length - done).map_or(PIECE, |left| left.min(PIECE));
        let mut piece = vec![0; most];
        if let Err(why) = file.read_exact(&mut piece) {
            let _ = to.blocking_send(Err(why.kind().into()));
            return Err(why);
        }
        if to.blocking_send(Ok(piece)).is_err() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        done += most as u64;
        progress(done);
    }
    Ok(())
}

/// What was fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// Bytes of the file.
    pub length: u64,
    /// Those of them that were here from before.
    pub before: u64,
}

/// Where a file is until it is whole: its name and `.part`.
#[must_use]
pub fn part_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Fetches the sealed file of a version to `out`, which must not exist. It is in [`part_of`] until it is whole and its SHA-256 is right; what is
/// there from before is not fetched again. `progress` hears how many bytes are here so far.
///
/// # Errors
/// [`TransferError`]; what came so far stays for the next time, unless it is damaged.
pub async fn download(
    client: &Client,
    of: &ContentVersion,
    out: &Path,
    mut progress: impl FnMut(u64),
) -> Result<Fetched, TransferError> {
    let (Some(length), Some(sha256)) = (of.sealed_length, of.sha256.as_deref()) else {
        return Err(TransferError::NotReady(of.version));
    };
    if out.exists() {
        return Err(TransferError::File {
            what: "write",
            path: out.to_path_buf(),
            why: ErrorKind::AlreadyExists.into(),
        });
    }
    let expected = HEXLOWER.encode(sha256);
    let mut part = Part::open(part_of(out), length)?;
    let before = part.length;
    progress(part.length);
    if part.length < length {
        let request = client
            .long(Method::GET, &path(of))
            .header(RANGE, format!("bytes={}-", part.length))
            .header(IF_RANGE, format!("\"{expected}\""));
        let answer = client.checked(request.send().await).await?;
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            part.begin_again()?;
        }
        part.take(client, answer, &mut progress).await?;
    }
    part.finish(out, length, &expected)?;
    Ok(Fetched { length, before })
}

/// A file that is not whole.
struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    sha256: Sha256,
}

impl Part {
    fn failed(path: &Path, what: &'static str) -> impl Fn(io::Error) -> TransferError + use<> {
        let path = path.to_path_buf();
        move |why| TransferError::File {
            what,
            path: path.clone(),
            why,
        }
    }

    /// What there is from before; one that is too long is of something else.
    fn open(path: PathBuf, most: u64) -> Result<Self, TransferError> {
        let failed = Self::failed(&path, "read");
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true);
        let mut part = Self {
            file: options.open(&path).map_err(Self::failed(&path, "open"))?,
            path,
            length: 0,
            sha256: Sha256::default(),
        };
        if part.file.metadata().map_err(&failed)?.len() > most {
            part.begin_again()?;
        }
        let mut piece = vec![0; PIECE];
        loop {
            match part.file.read(&mut piece).map_err(&failed)? {
                0 => return Ok(part),
                count => {
                    part.length += count as u64;
                    part.sha256.update(&piece[..count]);
                }
            }
        }
    }

    fn begin_again(&mut self) -> Result<(), TransferError> {
        let emptied = self.file.set_len(0);
        emptied.map_err(Self::failed(&self.path, "empty"))?;
        self.length = 0;
        self.sha256 = Sha256::default();
        Ok(())
    }

    async fn take(
        &mut self,
        client: &Client,
        mut answer: Response,
        progress: &mut impl FnMut(u64),
    ) -> Result<(), TransferError> {
        loop {
            let piece = answer.chunk().await;
            let Some(piece) = piece.map_err(|error| client.broken(&error))? else {
                return Ok(());
            };
            let written = self.file.write_all(&piece);
            written.map_err(Self::failed(&self.path, "write"))?;
            self.length += piece.len() as u64;
            self.sha256.update(&piece);
            progress(self.length);
        }
    }

    /// Puts it in its place, if it is what it must be.
    fn finish(self, out: &Path, length: u64, expected: &str) -> Result<(), TransferError> {
        let is = HEXLOWER.encode(&self.sha256.finish());
        if self.length != length || is != expected {
            let removed = fs::remove_file(&self.path);
            removed.map_err(Self::failed(&self.path, "remove"))?;
            return Err(TransferError::Damaged {
                is,
                expected: expected.to_owned(),
            });
        }
        let synced = self.file.sync_all();
        synced.map_err(Self::failed(&self.path, "write"))?;
        fs::rename(&self.path, out).map_err(Self::failed(out, "make"))
    }
}
