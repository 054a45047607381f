//! A file of sessions: checked once, read where it lies by every core.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use sealcast_crypto::VerifyingKey;
use sealcast_net::{FileMap, FileMapError};
use sealcast_proto::door::Session;
use sealcast_proto::ids::ChannelId;
use sealcast_proto::records::{RecordError, RecordFile, SessionFile};

use super::mint::DEVICES_MAX;
use crate::records::mapped_records;

/// The longest file: as many sessions as can be made.
const FILE_MAX: u64 = 1 << 32;
/// Cookies that a device keeps: it uses one and asks for one each time, as a device does that has its full stock.
const STOCK: u8 = 2;

/// Why sessions are not used.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// No file that can be read.
    #[error(transparent)]
    File(#[from] FileMapError),
    /// Not a whole file of sessions of this version.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Nothing in it.
    #[error("the file holds no sessions: make it again with `sealcast load keys mint`")]
    Empty,
    /// Sessions without any channel.
    #[error("the sessions are for no channel: make them again with `sealcast load keys mint`")]
    NoChannels,
}

mapped_records!(Checked, SessionFile);

/// Sessions of devices. Clones share the file.
#[derive(Clone)]
pub struct Sessions {
    file: Arc<Checked>,
    channels: Arc<[ChannelId]>,
    count: u32,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("count", &self.count)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Opens and checks a file.
    ///
    /// # Errors
    /// [`SessionsError`] says what is wrong with it, and what to do.
    pub fn open(path: &Path) -> Result<Self, SessionsError> {
        let file = FileMap::open(path, FILE_MAX)?;
        let file = Checked::try_new(file, |bytes| RecordFile::read(bytes))?;
        let records = file.borrow_dependent();
        let channels: Arc<[_]> = records.identity().channels().into();
        let count = u32::try_from(records.len()).unwrap_or(DEVICES_MAX);
        if count == 0 {
            return Err(SessionsError::Empty);
        }
        if channels.is_empty() {
            return Err(SessionsError::NoChannels);
        }
        Ok(Self {
            file: Arc::new(file),
            channels,
            count,
        })
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// What each may have.
    #[must_use]
    pub fn channels(&self) -> &[ChannelId] {
        &self.channels
    }

    /// The channel that a device watches: they are dealt out one by one.
    #[must_use]
    pub fn channel_of(&self, device: u32) -> ChannelId {
        self.channels[device as usize % self.channels.len()]
    }

    /// The authority key of the channels, and its successor.
    #[must_use]
    pub fn authority(&self) -> (VerifyingKey, Option<VerifyingKey>) {
        self.file.borrow_dependent().identity().authority()
    }

    /// The session of this device, as new.
    #[must_use]
    pub fn session(&self, device: u32) -> Option<Session> {
        let minted = self.file.borrow_dependent().get(device as usize)?;
        Session::new(minted.grant()).map(|session| session.with_stock(STOCK))
    }
}
