//! Sealed files are fetched: the wallet knows where to before there is one.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sealcast_crypto::Sha256;
use sealcast_objects::ContentId;
use sealcast_objects::api::ContentVersion;
use sealcast_objects::content::Header;
use sealcast_objects::id::Text;
use sealcast_objects::licence::Subject;

use super::decision::Wanted;
use super::player::{Player, PlayerError, Service};
use super::state::Download;
use crate::content::{self, TransferError};
use crate::https::Client;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// Whether a file is what the server says it is.
fn is_whole(file: &Path, of: &ContentVersion) -> bool {
    let sha256 = || {
        let (mut file, mut sha256) = (File::open(file)?, Sha256::default());
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok::<_, io::Error>(sha256.finish()),
                count => sha256.update(&piece[..count]),
            }
        }
    };
    let is = sha256().ok();
    is.is_some_and(|is| of.sha256.as_deref() == Some(&is[..]))
}

/// Whether a file is a sealed one of this version of a content, be it damaged or not.
fn is_of(file: &Path, (content, version): (Text<ContentId>, u32)) -> bool {
    let mut head = [0; Header::LEN];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut head));
    let header = read.ok().and_then(|()| Header::read(&head).ok());
    header.is_some_and(|header| (header.content(), header.version()) == (content.0, version))
}

/// Makes room for a file that is not what it was when it was fetched.
fn remove(file: &Path) -> Result<(), TransferError> {
    fs::remove_file(file).map_err(|why| TransferError::File {
        what: "remove",
        path: file.to_path_buf(),
        why,
    })
}

impl Player<Client> {
    /// Fetches the sealed file of a content (the version that there is a licence for, or the newest) to `out`, or beside the wallet. What is there from
    /// before is not fetched again. A file that was fetched before and is damaged by now is fetched anew. `progress`
    /// hears how many bytes are here, of how many.
    ///
    /// # Errors
    /// [`PlayerError`]; what came so far stays for the next time.
    pub async fn download(
        &mut self,
        content: ContentId,
        out: Option<&Path>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Download, PlayerError> {
        let of = self.version(content).await?;
        let key = (of.content, of.version);
        let bytes = of
            .sealed_length
            .ok_or(TransferError::NotReady(of.version))?;
        let known = self.wallet.state.downloads.get(&key).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.file.exists()) {
            if is_whole(&known.file, &of) {
                // Ended between the file's being whole and the wallet's knowing it.
                let whole = Download {
                    complete: true,
                    ..known.clone()
                };
                self.keep_download(key, &whole)?;
                return Ok(whole);
            }
            // What lies there may be somebody else's: then it stays, and the fetching is refused.
            if known.complete && is_of(&known.file, key) {
                remove(&known.file)?;
            }
        }
        let mut download = Download {
            file: self.place(out, known.as_ref(), key)?,
            bytes,
            complete: false,
        };
        self.keep_download(key, &download)?;
        let fetching = content::download(&self.service, &of, &download.file, |here| {
            progress(here, bytes);
        });
        fetching.await?;
        download.complete = true;
        self.keep_download(key, &download)?;
        Ok(download)
    }

    /// Where a file is to be: where it was said, where it was begun, or beside the wallet.
    fn place(
        &self,
        out: Option<&Path>,
        known: Option<&Download>,
        (content, version): (Text<ContentId>, u32),
    ) -> Result<PathBuf, PlayerError> {
        let begun = known.map(|known| known.file.clone());
        let beside = || {
            let name = format!("{content}-{version}.sealed");
            self.wallet.file().with_file_name(name)
        };
        let place = out.map(Path::to_path_buf).or(begun);
        let place = place.unwrap_or_else(beside);
        let failed = |why| TransferError::File {
            what: "find",
            path: place.clone(),
            why,
        };
        Ok(std::path::absolute(&place).map_err(failed)?)
    }
}

impl<S: Service> Player<S> {
    /// Says where a file is to be, before it is.
    pub(super) fn keep_download(
        &mut self,
        key: (Text<ContentId>, u32),
        download: &Download,
    ) -> Result<(), PlayerError> {
        self.wallet.change(|state, _| {
            state.downloads.insert(key, download.clone());
            Ok::<_, PlayerError>(())
        })
    }

    /// The version that there is a licence for, or the newest.
    async fn version(&self, content: ContentId) -> Result<ContentVersion, PlayerError> {
        let path = format!("/v1/contents/{}/versions", Text(content));
        let all: Vec<ContentVersion> = self.get(&path).await?;
        let usable = self.usable(Wanted::Content(content)).unwrap_or_default();
        let licensed = usable.iter().find_map(|(licence, _)| {
            let Subject::Content(_, version) = licence.subject else {
                return None;
            };
            all.iter().find(|one| one.version == version)
        });
        let ready = || {
            let ready = all.iter().filter(|one| one.sealed_length.is_some());
            ready.max_by_key(|one| one.version)
        };
        let found = licensed.or_else(ready).cloned();
        found.ok_or(PlayerError::NoVersion(Text(content)))
    }
}
