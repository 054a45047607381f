//! The wallet of a device, and what a player does with it: buy, keep licences, decide whether they may be used, play what they open.
//!
//! | room | what |
//! |---|---|
//! | `format` | a wallet as bytes: sealed, with everything that can be wrong with them named |
//! | `disk` | where it lies: one process at a time, and a crash leaves the former or the new one |
//! | `state` | what is in it, and what may be put into it |
//! | `decision` | whether a licence may be used, and if not, why: pure |
//! | `orders` | purchases: what is bought, where each stands |
//! | `steps` | buying, step by step: sans-IO |
//! | `player` | the API: [`Player`] |
//! | `asking` | what it asks of the key server |
//! | `fetching` | sealed files are fetched |
//! | `play` | a sealed content is opened, piece by piece: [`Playing`] |
//!
//! The wallet holds the private keys that the device's licences are made for. Whoever has a copy of it and of the identity (and knows the passphrase) has
//! the device's licences; whoever puts back an older copy of both undoes counts of plays. What must not be undone is kept by the key server.
//!
//! A player of its own, from an enrolled device to its picture:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use sealcast_objects::api::{Method, Role};
//! use sealcast_terminal::https::Client;
//! use sealcast_terminal::identity::Identity;
//! use sealcast_terminal::wallet::{Player, Wallet};
//!
//! # async fn watch(content: sealcast_objects::ContentId) -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::load(Path::new("device.json"), Role::Device)?;
//! let wallet = Wallet::open_or_create(Path::new("device.wallet"), &identity, None)?;
//! let mut player = Player::new(Client::new(&identity)?, wallet);
//!
//! player.sync(false).await?;
//! let offers = player.offers().await?;
//! if let Some(offer) = offers.first() {
//!     player.buy(std::slice::from_ref(offer), Method::Balance).await?;
//! }
//! player.download(content, Some(Path::new("film.sealed")), |_, _| {}).await?;
//!
//! let mut playing = player.playing(content)?; // refused: the error says why
//! drop(player); // other programs may use the wallet from here on
//! playing.write_to(&mut std::io::stdout())?;
//! # Ok(())
//! # }
//! ```

mod asking;
mod decision;
mod disk;
mod fetching;
mod format;
mod orders;
mod play;
mod player;
mod state;
mod steps;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use rand::rngs::SysRng;
use rand_core::TryRng as _;
use rcgen::KeyPair;
use sealcast_crypto::{SigningKey, SivKey, WrapKeyPair};
use sealcast_objects::DeviceId;
use sealcast_objects::api::Role;
use sealcast_objects::device_keys::PublicKeys;
use sealcast_objects::id::Text;
use zeroize::Zeroizing;

pub use decision::{Holding, Refusal, Valid, Wanted, read, validity};
pub use disk::WalletError;
pub use format::Unreadable;
pub use orders::{Grant, Item, Order, Stage};
pub use play::{PlayError, Playing};
pub use player::{Judgement, Player, PlayerError, Service, Synced, card, offers};
pub use state::{Distrust, Download};

use crate::identity::Identity;
use disk::Disk;
use format::{Owner, Sealing};
use state::State;

/// Bytes of a private key.
const SEED: usize = 32;

/// What a wallet may be locked with beside the identity.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// This one; what surrounds it (the end of a line) does not belong to it.
    #[must_use]
    pub fn new(text: String) -> Self {
        let text = Zeroizing::new(text);
        Self(Zeroizing::new(text.trim().to_owned()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// What a device signs with, and what is wrapped for it.
struct Keys {
    sign_seed: Zeroizing<[u8; SEED]>,
    sign: SigningKey,
    wrap: WrapKeyPair,
}

impl Keys {
    fn of(sign_seed: Zeroizing<[u8; SEED]>, wrap_seed: &[u8; SEED]) -> Self {
        Self {
            sign: SigningKey::from_seed(&sign_seed),
            wrap: WrapKeyPair::from_private_bytes(wrap_seed),
            sign_seed,
        }
    }
}

/// Who signs, and unwraps.
struct Holder<'a> {
    device: DeviceId,
    sign: &'a SigningKey,
    wrap: &'a WrapKeyPair,
}

/// An open wallet. As long as it is there, no other program opens it.
pub struct Wallet {
    disk: Disk,
    sealing: Sealing,
    device: DeviceId,
    keys: Keys,
    state: State,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet")
            .field("file", &self.disk.path())
            .field("device", &Text(self.device).to_string())
            .field("licences", &self.state.licences.len())
            .finish_non_exhaustive()
    }
}

/// The operating system's.
fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut random = Zeroizing::new([0; N]);
    SysRng
        .try_fill_bytes(random.as_mut())
        .expect("the operating system gives randomness");
    random
}

/// Whose wallet it is.
fn owner<'a>(
    identity: &Identity,
    passphrase: Option<&'a Passphrase>,
) -> Result<Owner<'a>, WalletError> {
    if identity.role != Role::Device {
        let why = format!(
            "it is of a {}, and wallets are of devices",
            identity.role.name()
        );
        return Err(WalletError::Identity(why));
    }
    let not_one = |why: String| WalletError::Identity(why);
    let Text(device) = identity
        .subject
        .parse()
        .map_err(|_| not_one(format!("{:?} names no device", identity.subject)))?;
    let key = KeyPair::from_pem(&identity.key).map_err(|error| not_one(error.to_string()))?;
    Ok(Owner {
        device,
        secret: Zeroizing::new(key.serialize_der()),
        passphrase,
    })
}

impl Wallet {
    /// Makes an empty one, with new keys, in a file (mode 0600) that must not exist. It opens with this identity only, and with the passphrase,
    /// if there is one.
    ///
    /// # Errors
    /// [`WalletError`].
    pub fn create(
        file: &Path,
        identity: &Identity,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, WalletError> {
        let owner = owner(identity, passphrase)?;
        let disk = Disk::lock(file)?;
        if disk.read()?.is_some() {
            return Err(WalletError::Exists(file.to_path_buf()));
        }
        Self::new(disk, &owner)
    }

    fn new(disk: Disk, owner: &Owner<'_>) -> Result<Self, WalletError> {
        let sealing = Sealing::new(owner, *random());
        let wallet = Self {
            sealing: sealing.map_err(|why| disk.unreadable(why))?,
            disk,
            device: owner.device,
            keys: Keys::of(random(), &random()),
            state: State::default(),
        };
        wallet.save()?;
        Ok(wallet)
    }

    /// Opens one.
    ///
    /// # Errors
    /// [`WalletError`]; the file stays as it is.
    pub fn open(
        file: &Path,
        identity: &Identity,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, WalletError> {
        let owner = owner(identity, passphrase)?;
        // Where there is none, no lock is left behind.
        if !file.exists() {
            return Err(WalletError::Missing(file.to_path_buf()));
        }
        let disk = Disk::lock(file)?;
        match disk.read()? {
            Some(bytes) => Self::of(disk, &bytes, &owner),
            None => Err(WalletError::Missing(file.to_path_buf())),
        }
    }

    /// Opens one, or makes an empty one where there is none.
    ///
    /// # Errors
    /// [`WalletError`].
    pub fn open_or_create(
        file: &Path,
        identity: &Identity,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, WalletError> {
        let owner = owner(identity, passphrase)?;
        let disk = Disk::lock(file)?;
        match disk.read()? {
            Some(bytes) => Self::of(disk, &bytes, &owner),
            None => Self::new(disk, &owner),
        }
    }

    fn of(disk: Disk, bytes: &[u8], owner: &Owner<'_>) -> Result<Self, WalletError> {
        let opened = opened(bytes, owner);
        let (sealing, keys, state) = opened.map_err(|why| disk.unreadable(why))?;
        Ok(Self {
            disk,
            sealing,
            device: owner.device,
            keys,
            state,
        })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        self.disk.path()
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The public halves of its keys.
    #[must_use]
    pub fn public_keys(&self) -> PublicKeys {
        PublicKeys {
            sign: self.keys.sign.verifying_key(),
            wrap: self.keys.wrap.public().clone(),
        }
    }

    fn holder(&self) -> Holder<'_> {
        Holder {
            device: self.device,
            sign: &self.keys.sign,
            wrap: &self.keys.wrap,
        }
    }

    /// Changes what is in it, on the disk before it is so here; what fails changes nothing.
    fn change<T, E>(
        &mut self,
        change: impl FnOnce(&mut State, &Holder<'_>) -> Result<T, E>,
    ) -> Result<T, PlayerError>
    where
        PlayerError: From<E>,
    {
        let mut state = self.state.clone();
        let done = change(&mut state, &self.holder())?;
        if state != self.state {
            let file = sealed(&self.sealing, &self.keys, &state);
            self.disk.write(&file)?;
            self.state = state;
        }
        Ok(done)
    }

    fn save(&self) -> Result<(), WalletError> {
        let file = sealed(&self.sealing, &self.keys, &self.state);
        self.disk.write(&file)
    }
}

/// A wallet as bytes.
fn sealed(sealing: &Sealing, keys: &Keys, state: &State) -> Vec<u8> {
    let mut cbor = Vec::new();
    ciborium::into_writer(state, &mut cbor).expect("writing to memory");
    // With room for all, so that no copy of a secret is left where it grew.
    let room = 2 * SEED + cbor.len() + SivKey::TAG_LEN;
    let mut plain = Zeroizing::new(Vec::with_capacity(room));
    plain.extend_from_slice(keys.sign_seed.as_ref());
    plain.extend_from_slice(keys.wrap.private_bytes().as_ref());
    plain.extend_from_slice(&cbor);
    sealing.seal(*random(), plain)
}

/// What is in these bytes.
fn opened(bytes: &[u8], owner: &Owner<'_>) -> Result<(Sealing, Keys, State), Unreadable> {
    let (sealing, plain) = format::open(bytes, owner)?;
    let (sign, rest) = plain
        .split_first_chunk::<SEED>()
        .ok_or(Unreadable::Damaged)?;
    let (wrap, state) = rest
        .split_first_chunk::<SEED>()
        .ok_or(Unreadable::Damaged)?;
    let state = ciborium::from_reader(state).map_err(|_| Unreadable::Damaged)?;
    let keys = Keys::of(Zeroizing::new(*sign), wrap);
    Ok((sealing, keys, state))
}
