//! Secrets at rest: sealed under keys derived from a master key that lies outside the store (SEC-14).
//!
//! The master key is 32 random bytes as 64 hexadecimal digits, in a file of mode 0600 or a systemd credential. The store holds
//! a probe sealed under it, so that a wrong one is noticed before anything is read or written.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use sealcast_crypto::{Prk, SivKey};
use sealcast_domain::{Error, keys};
use zeroize::Zeroizing;

use crate::store::Store;

/// Where the store keeps the probe.
pub(crate) const PROBE: &str = "probe";

/// Why the master key cannot be used: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file is not there, and the store is not new.
    #[error(
        "the master key {} is missing, and the store was made with one: put it back from where you keep it; without it the \
         secrets in the store cannot be opened (a new store needs another --data folder)", .0.display()
    )]
    Missing(PathBuf),
    /// The file cannot be read or made.
    #[error("cannot {what} the master key {}: {why}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's word.
        why: std::io::Error,
    },
    /// Others may read the file.
    #[error(
        "others may read the master key {} (mode {mode:03o}): make it yours alone with `chmod 600 {}`, and consider it known",
        .file.display(), .file.display()
    )]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// No key.
    #[error("{} holds no master key: 64 hexadecimal digits are expected", .0.display())]
    NoKey(PathBuf),
    /// Another key.
    #[error(
        "{} is not the master key that this store was made with: give the right one with --master-key; nothing was changed",
        .0.display()
    )]
    Wrong(PathBuf),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Seals and opens what the store keeps secret.
pub struct Vault(SivKey);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

/// Sealed bytes that do not open: damaged, or moved from another row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a secret in the store does not open: the row is damaged, or not from this store; restore a backup"
)]
pub struct NotOurs;

impl Vault {
    /// Opens the vault of `store` with the master key in `file`. A new store gets a new key, in a new file, if there is none.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open(store: &Store, file: &Path, rng: &mut dyn CryptoRng) -> Result<Self, VaultError> {
        let probe = store.read_blocking(|store| keys::secret(store, PROBE))?;
        if !file.exists() {
            if probe.is_some() {
                return Err(VaultError::Missing(file.to_path_buf()));
            }
            make(file, rng)?;
            tracing::info!(
                file = %file.display(),
                "made the master key; keep a copy elsewhere: without it a backup of the store is worth nothing"
            );
        }
        let master = read(file)?;
        let vault = Self::from_master(&master);
        match probe {
            Some(sealed) => match vault.open_secret(PROBE, &sealed) {
                Ok(_) => {}
                Err(NotOurs) => return Err(VaultError::Wrong(file.to_path_buf())),
            },
            None => {
                let sealed = vault.seal(PROBE, PROBE.as_bytes(), rng);
                store.write_blocking(move |tx| keys::put_secret(tx, PROBE, &sealed))?;
            }
        }
        Ok(vault)
    }

    /// A vault without a store: of the key in `file`, which is made if it is not there.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn of_file(file: &Path, rng: &mut dyn CryptoRng) -> Result<Self, VaultError> {
        if !file.exists() {
            make(file, rng)?;
        }
        Ok(Self::from_master(&*read(file)?))
    }

    /// The vault of a store that is only read, whose probe is this: nothing is made.
    ///
    /// # Errors
    /// [`VaultError`].
    pub(crate) fn of_store(probe: Option<&[u8]>, file: &Path) -> Result<Self, VaultError> {
        if !file.exists() {
            return Err(VaultError::Missing(file.to_path_buf()));
        }
        let vault = Self::from_master(&*read(file)?);
        match probe.map(|sealed| vault.open_secret(PROBE, sealed)) {
            Some(Ok(_)) => Ok(vault),
            Some(Err(NotOurs)) | None => Err(VaultError::Wrong(file.to_path_buf())),
        }
    }

    fn from_master(master: &[u8; 32]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        Prk::extract(master).expand(&[b"sealcast store secrets"], key.as_mut());
        Self(SivKey::new(*key))
    }

    /// Seals `secret` as that of `what`: a name that no other row has.
    #[must_use]
    pub fn seal(&self, what: &str, secret: &[u8], rng: &mut dyn CryptoRng) -> Vec<u8> {
        let mut nonce = [0; SivKey::NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let mut sealed = secret.to_vec();
        self.0.seal_in_place(nonce, what.as_bytes(), &mut sealed);
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed as that of `what`.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn open_secret(&self, what: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotOurs> {
        let (nonce, sealed) = sealed.split_first_chunk().ok_or(NotOurs)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let length = self
            .0
            .open_in_place(*nonce, what.as_bytes(), &mut bytes)
            .map_err(|_| NotOurs)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// As [`Vault::open_secret`], for secrets of 32 bytes.
    ///
    /// # Errors
    /// [`NotOurs`].
    pub fn open_key(&self, what: &str, sealed: &[u8]) -> Result<Zeroizing<[u8; 32]>, NotOurs> {
        let bytes = self.open_secret(what, sealed)?;
        let key = bytes.as_slice().try_into().map_err(|_| NotOurs)?;
        Ok(Zeroizing::new(key))
    }
}

fn make(file: &Path, rng: &mut dyn CryptoRng) -> Result<(), VaultError> {
    let mut key = Zeroizing::new([0; 32]);
    rng.fill_bytes(key.as_mut());
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in *key {
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text.push('\n');
    let write = || {
        let mut made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        made.write_all(text.as_bytes())?;
        made.sync_all()
    };
    write().map_err(|why| VaultError::Io {
        what: "make",
        file: file.to_path_buf(),
        why,
    })
}

fn read(file: &Path) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let io = |why| VaultError::Io {
        what: "read",
        file: file.to_path_buf(),
        why,
    };
    let mode = fs::metadata(file).map_err(io)?.mode() & 0o777;
    if mode & 0o077 != 0 && !is_credential(file) {
        return Err(VaultError::Exposed {
            file: file.to_path_buf(),
            mode,
        });
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(io)?);
    let digits = text.trim().as_bytes();
    let no_key = || VaultError::NoKey(file.to_path_buf());
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != 2 * key.len() {
        return Err(no_key());
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| {
            let value = char::from(digit).to_digit(16)?;
            u8::try_from(value).ok()
        };
        match pair {
            [high, low] => {
                let (high, low) = value(*high).zip(value(*low)).ok_or_else(no_key)?;
                *byte = high << 4 | low;
            }
            _ => return Err(no_key()),
        }
    }
    Ok(key)
}

/// systemd's credentials are readable by the service only, whatever their mode says.
fn is_credential(file: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| file.starts_with(folder))
}
