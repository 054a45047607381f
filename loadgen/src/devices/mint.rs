//! Sessions made in advance, with the ticket keys of a key server.
//!
//! The devices and accounts are in no store: doors believe cookies. Whoever may read a key server's store and master key may do this.

use std::io::{self, Write};

use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_crypto::VerifyingKey;
use sealcast_proto::door::{SessionKey, Ticket, Tickets};
use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, SessionId};
use sealcast_proto::records::{
    BLOCK_RECORDS, MintedSession, RecordWriter, SESSION_FILE_CHANNELS, SessionFile,
    SessionsIdentity,
};
use zeroize::Zeroizing;

/// Sessions of a file, at most.
pub const DEVICES_MAX: u32 = 10_000_000;

/// What sessions are made of.
#[derive(Clone, Debug)]
pub struct Mint {
    /// The ticket keys of the key server.
    pub tickets: Tickets,
    /// The authority key of its channels, and its successor.
    pub authority: (VerifyingKey, Option<VerifyingKey>),
    /// What each session may have.
    pub channels: Vec<ChannelId>,
    /// Wall clock, milliseconds since 1970.
    pub made: u64,
}

/// Why no sessions can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MintError {
    /// None, or more than there is memory for.
    #[error("{0} devices: choose 1 to {DEVICES_MAX}")]
    Devices(u32),
    /// A record has room for a cookie with so many.
    #[error("{0} channels: a session in a file may have 1 to {SESSION_FILE_CHANNELS}")]
    Channels(usize),
    /// A record has no room to tell it from none.
    #[error("channel 0 cannot be in a file of sessions: name another one")]
    ChannelZero,
}

impl Mint {
    /// Whether so many can be made.
    ///
    /// # Errors
    /// [`MintError`] says what to choose.
    pub fn check(&self, devices: u32) -> Result<(), MintError> {
        if !(1..=DEVICES_MAX).contains(&devices) {
            return Err(MintError::Devices(devices));
        }
        if !(1..=SESSION_FILE_CHANNELS).contains(&self.channels.len()) {
            return Err(MintError::Channels(self.channels.len()));
        }
        if self.channels.contains(&ChannelId(0)) {
            return Err(MintError::ChannelZero);
        }
        Ok(())
    }

    /// Writes `devices` sessions; each block is wiped when it has been written.
    ///
    /// # Errors
    /// As `out` says, or as [`Mint::check`].
    pub fn write(&self, devices: u32, rng: &mut StdRng, mut out: impl Write) -> io::Result<()> {
        self.check(devices)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let identity =
            SessionsIdentity::new(self.authority, &self.tickets, self.made, &self.channels);
        let (mut writer, header) = RecordWriter::<SessionFile>::create(&identity);
        out.write_all(&header)?;
        let (mut left, mut block) = (devices as usize, Vec::with_capacity(BLOCK_RECORDS));
        while left > 0 {
            let count = left.min(BLOCK_RECORDS);
            block.extend((0..count).filter_map(|_| self.session(rng)));
            let bytes = Zeroizing::new(writer.block(&block));
            block.iter_mut().for_each(MintedSession::wipe);
            block.clear();
            out.write_all(&bytes)?;
            left -= count;
        }
        out.write_all(&writer.close())?;
        out.flush()
    }

    /// Of a device and an account that nobody knows.
    fn session(&self, rng: &mut StdRng) -> Option<MintedSession> {
        let ticket = Ticket {
            session: SessionId(random(rng)),
            account: AccountId(random(rng)),
            device: DeviceId(random(rng)),
            request_key: key(rng),
            reply_key: key(rng),
            rights_version: 1,
            period: self.tickets.period(),
            channels: self.channels.clone(),
        };
        MintedSession::new(&ticket, &self.tickets, rng)
    }
}

fn random<const N: usize>(rng: &mut StdRng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn key(rng: &mut StdRng) -> SessionKey {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    SessionKey::from_bytes(*bytes)
}
