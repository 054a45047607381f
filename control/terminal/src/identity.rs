//! The file that says who a device, delivery server or operator is. It holds a private key: mode 0600, written whole or not
//! at all.

#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sealcast_objects::api::{Role, SessionReply};
use sealcast_objects::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::replace::replace;

/// An identity.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// What it is.
    pub role: Role,
    /// Who: a device id, a server number, an operator's name.
    pub subject: String,
    /// Address of the key server, https://HOST:PORT.
    pub server: String,
    /// Private key, PKCS #8 PEM. Made here, never sent.
    pub key: String,
    /// Certificate, PEM.
    pub certificate: String,
    /// The CA's certificate, PEM.
    pub ca: String,
    /// The certificate counts until then.
    pub until: Timestamp,
    /// The authority key.
    #[serde(with = "sealcast_objects::bytes")]
    pub authority: Vec<u8>,
    /// A device's last session, so that a restart needs no new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionReply>,
}

impl Drop for Identity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("role", &self.role)
            .field("subject", &self.subject)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Why an identity cannot be read or written: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file.
    #[error(
        "cannot {what} the identity {}: {why}; `sealcast {role} enrol` makes one, and another file can be named", file.display()
    )]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which file.
        file: PathBuf,
        /// Of whom.
        role: &'static str,
        /// The system's word.
        why: std::io::Error,
    },
    /// It exists.
    #[error("{} exists already: choose another file, or remove it if it is not needed any more", .0.display())]
    Exists(PathBuf),
    /// Others may read it.
    #[error("others may read {} (mode {mode:03o}), and it holds a private key: `chmod 600 {}`, and enrol again if others had it", .file.display(), .file.display())]
    Exposed {
        /// Which file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not an identity.
    #[error("{} is no identity ({why}): make one with `sealcast device enrol` or `sealcast node enrol`", file.display())]
    NotOne {
        /// Which file.
        file: PathBuf,
        /// The parser's word.
        why: String,
    },
    /// Of another kind.
    #[error("{} is the identity of a {}, but a {} is needed here", file.display(), is.name(), wanted.name())]
    OtherRole {
        /// Which file.
        file: PathBuf,
        /// What it is.
        is: Role,
        /// What is needed.
        wanted: Role,
    },
}

/// The command that enrols this role.
fn command(role: Role) -> &'static str {
    match role {
        Role::Admin => "operator",
        Role::Node => "node",
        Role::Device => "device",
        Role::Slave => "slave",
    }
}

impl Identity {
    /// Reads an identity of this role.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn load(file: &Path, wanted: Role) -> Result<Self, FileError> {
        let io = |why| FileError::Io {
            what: "read",
            file: file.to_path_buf(),
            role: command(wanted),
            why,
        };
        let mode = fs::metadata(file).map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(FileError::Exposed {
                file: file.to_path_buf(),
                mode,
            });
        }
        let mut text = fs::read(file).map_err(io)?;
        let parsed = serde_json::from_slice::<Self>(&text);
        text.zeroize();
        let identity = parsed.map_err(|error| FileError::NotOne {
            file: file.to_path_buf(),
            why: error.to_string(),
        })?;
        if identity.role == wanted {
            Ok(identity)
        } else {
            Err(FileError::OtherRole {
                file: file.to_path_buf(),
                is: identity.role,
                wanted,
            })
        }
    }

    /// Writes it in the place of what is there: first beside it, then by renaming, so that a crash leaves one or the other.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn save(&self, file: &Path) -> Result<(), FileError> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let beside = file.with_file_name(name);
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        let written = replace(file, &beside, &text).map_err(|why| FileError::Io {
            what: "write",
            file: file.to_path_buf(),
            role: command(self.role),
            why,
        });
        text.zeroize();
        written
    }
}
