//! The undo journal: former values of what was changed, written before each change.
//!
//! It holds for one boot and one network namespace. Whatever the doctor changes is gone after a boot, so a journal of an
//! earlier boot describes nothing that is in force.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::setting::Setting;

/// Where the journal lies when nothing else is said.
pub const JOURNAL: &str = "/var/lib/sealcast/doctor-undo.json";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// What was changed.
    pub(crate) setting: Setting,
    /// Its value before the first change.
    pub(crate) former: String,
    /// The value it was given last.
    pub(crate) given: String,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// The kernel's id of this boot; absent where it has none.
    boot: Option<String>,
    /// The network namespace.
    network: Option<String>,
    entries: Vec<Entry>,
}

/// A journal and its file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    content: Content,
}

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("the undo journal {}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not one.
    #[error("{} is no undo journal: {error}", path.display())]
    NotOne {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// Somebody else owns it or may write to it: it could name any value.
    #[error("the undo journal {} belongs to somebody else, or others may write to it", .0.display())]
    NotOurs(PathBuf),
    /// There is nothing to undo.
    #[error("there is no undo journal {}: nothing was changed, or it was undone", .0.display())]
    Absent(PathBuf),
    /// It is of another network namespace, where the same names mean other settings.
    #[error("the undo journal {} is of another network namespace; run it there, or give each its --journal", .0.display())]
    OtherNamespace(PathBuf),
}

impl Journal {
    /// Opens the journal of this boot, or begins one; nothing is written yet.
    pub(crate) fn begin(host: &Host, path: &Path) -> Result<Self, JournalError> {
        let now = here(host);
        let content = match Self::read(path)? {
            Some(content) if content.boot != now.boot => now,
            Some(content) if content.network != now.network => {
                return Err(JournalError::OtherNamespace(path.to_owned()));
            }
            Some(content) => content,
            None => now,
        };
        let path = path.to_owned();
        Ok(Self { path, content })
    }

    /// Opens a journal to undo it. Of an earlier boot there is nothing to undo: then it has no entries.
    pub(crate) fn open(host: &Host, path: &Path) -> Result<Self, JournalError> {
        if !path.exists() {
            return Err(JournalError::Absent(path.to_owned()));
        }
        Self::begin(host, path)
    }

    fn read(path: &Path) -> Result<Option<Content>, JournalError> {
        let failed = failed(path);
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // The folder may belong to a service; what root writes into the kernel must not.
        let owner = file.metadata().map_err(&failed)?;
        let own = fs::metadata("/proc/self").map_err(&failed)?.uid();
        if owner.uid() != own || owner.mode() & 0o022 != 0 {
            return Err(JournalError::NotOurs(path.to_owned()));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let not_one = |error| JournalError::NotOne {
            path: path.to_owned(),
            error,
        };
        serde_json::from_slice(&text).map(Some).map_err(not_one)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.content.entries
    }

    /// Notes a change that is about to be made. The first former value stays. Returns what stood there, for
    /// [`Self::put_back`].
    pub(crate) fn note(
        &mut self,
        setting: &Setting,
        now: &str,
        given: &str,
    ) -> Result<Option<Entry>, JournalError> {
        let entries = &mut self.content.entries;
        let before = entries.iter_mut().find(|entry| entry.setting == *setting);
        let earlier = match before {
            Some(entry) => {
                let earlier = entry.clone();
                given.clone_into(&mut entry.given);
                Some(earlier)
            }
            None => {
                entries.push(Entry {
                    setting: setting.clone(),
                    former: now.to_owned(),
                    given: given.to_owned(),
                });
                None
            }
        };
        self.save()?;
        Ok(earlier)
    }

    /// The change was not made: what stood there before stands there again.
    pub(crate) fn put_back(
        &mut self,
        setting: &Setting,
        earlier: Option<Entry>,
    ) -> Result<(), JournalError> {
        let entries = &mut self.content.entries;
        if let Some(at) = entries.iter().position(|entry| entry.setting == *setting) {
            entries.splice(at..=at, earlier);
        }
        self.save()
    }

    /// Removes an entry that is undone.
    pub(crate) fn remove(&mut self, setting: &Setting) -> Result<(), JournalError> {
        self.put_back(setting, None)
    }

    /// Writes it, durably; an empty journal has no file.
    pub(crate) fn save(&self) -> Result<(), JournalError> {
        let failed = failed(&self.path);
        if self.content.entries.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        }
        self.replace().map_err(failed)
    }

    fn replace(&self) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder)?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        // What was left by a crash, or laid there by others, is not written through.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        serde_json::to_writer_pretty(&file, &self.content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> JournalError {
    let path = path.to_owned();
    move |error| JournalError::File {
        path: path.clone(),
        error,
    }
}

/// An empty journal of this boot and network namespace.
fn here(host: &Host) -> Content {
    Content {
        boot: host.read("/proc/sys/kernel/random/boot_id"),
        network: host.link("/proc/self/ns/net"),
        entries: Vec::new(),
    }
}
