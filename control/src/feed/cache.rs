//! What a slave keeps on disk, sealed, so that after a restart it answers before a parent is there (SEC-14). Its instants are of
//! one boot of the host: after another boot nobody can say how old it is, and only the term counts.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use rand::rngs::StdRng;
use sealcast_proto::door::Known;
use sealcast_proto::feed::Kept;
use sealcast_proto::ids::Time;
use sealcast_proto::wire::feed::Change;
use zeroize::Zeroizing;

use super::{convert, pb};
use crate::vault::{Vault, VaultError};

/// The file's name, and what its content is sealed as.
const FILE: &str = "feed.cache";
/// More than any state has.
const LONGEST: u64 = 1 << 30;

/// The cache of one slave.
#[derive(Debug)]
pub struct Cache {
    file: PathBuf,
    vault: Vault,
    pub(super) boot: Vec<u8>,
}

impl Cache {
    /// The cache in `folder`, sealed under the key in `key`, which is made if it is not there.
    ///
    /// # Errors
    /// Folder or key cannot be used.
    pub fn open(folder: &Path, key: &Path, rng: &mut StdRng) -> Result<Self, VaultError> {
        let io = |why| VaultError::Io {
            what: "make the folder of",
            file: key.to_path_buf(),
            why,
        };
        fs::create_dir_all(folder).map_err(io)?;
        Ok(Self {
            file: folder.join(FILE),
            vault: Vault::of_file(key, rng)?,
            boot: fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        })
    }

    /// What is kept, if it is of this boot.
    #[must_use]
    pub fn load(&self) -> Option<Kept> {
        let loaded = self.read();
        match &loaded {
            Ok(Some(kept)) => {
                tracing::info!(
                    term = kept.at.term.number,
                    change = kept.at.seq.0,
                    "the kept state is used until a parent is there"
                );
            }
            Ok(None) => {}
            Err(why) => {
                tracing::warn!(file = %self.file.display(), why, "the kept state is not used")
            }
        }
        loaded.ok().flatten()
    }

    fn read(&self) -> Result<Option<Kept>, String> {
        let length = match fs::metadata(&self.file) {
            Ok(file) => file.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if length > LONGEST {
            return Err(format!("it has {length} bytes"));
        }
        let sealed = fs::read(&self.file).map_err(|error| error.to_string())?;
        let opened = self.vault.open_secret(FILE, &sealed);
        let opened =
            opened.map_err(|_| "it does not open: damaged, or sealed under another key")?;
        let kept = pb::Kept::decode(opened.as_slice()).map_err(|error| error.to_string())?;
        if kept.boot != self.boot {
            return Err(
                "the host was started anew since, so nobody can say how old it is".to_owned(),
            );
        }
        self.kept(kept).map(Some).map_err(|error| error.to_string())
    }

    fn kept(&self, kept: pb::Kept) -> Result<Kept, convert::Unreadable> {
        let term = convert::kept_term(&kept)?;
        let (at, changes, _) = convert::snapshot(kept.snapshot.unwrap_or_default())?;
        let mut known = Known::default();
        for change in changes {
            known.update(change.into_update(Time(kept.sent_ns)));
        }
        Ok(Kept {
            at,
            term,
            known,
            leased_until: Time(kept.leased_until_ns),
        })
    }

    /// Keeps this in the place of what is kept.
    ///
    /// # Errors
    /// The disk's.
    pub fn store(&self, now: Time, kept: &Kept, rng: &mut StdRng) -> std::io::Result<()> {
        let updates = kept.known.updates();
        let changes = updates.filter_map(|update| Change::of(&update, now));
        let message = pb::Kept {
            boot: self.boot.clone(),
            sent_ns: now.0,
            term: convert::from_kept_term(kept.term),
            leased_until_ns: kept.leased_until.0,
            snapshot: Some(convert::from_snapshot(kept.at, changes.collect(), true)),
        };
        let plain = Zeroizing::new(message.encode_to_vec());
        let sealed = self.vault.seal(FILE, &plain, rng);
        let beside = self.file.with_extension("new");
        let mut made = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        made.write_all(&sealed)?;
        made.sync_all()?;
        fs::rename(&beside, &self.file)?;
        let folder = self.file.parent().unwrap_or_else(|| Path::new("."));
        File::open(folder)?.sync_all()
    }
}
