//! A wallet as bytes. No IO.
//!
//! | bytes | what |
//! |---|---|
//! | 8, 2 | `SEALWALT`, format |
//! | 2 | 1: a passphrase is needed, too; 0: the identity is enough |
//! | 16 | the device |
//! | 16 | salt |
//! | 4, 4, 4 | Argon2id (RFC 9106): KiB, passes, lanes; 0 without a passphrase |
//! | 16 | tells another identity |
//! | 16 | tells another passphrase |
//! | 12 | nonce |
//! | ... | AES-256-GCM-SIV (RFC 8452), its associated data all that stands before: 64 bytes of keys, then the state as CBOR |
//! | 32 | SHA-256 of all that stands before: tells damage from a wrong key |
//!
//! Numbers are big endian. The key comes by HKDF-SHA-512 from the identity's private key and, with a passphrase, what Argon2id makes of it.

use argon2::{Algorithm, Argon2, Params, Version};
use sealcast_crypto::{Prk, SivKey, sha256};
use sealcast_objects::DeviceId;
use sealcast_objects::id::Text;
use zeroize::Zeroizing;

use super::Passphrase;

const MAGIC: &[u8; 8] = b"SEALWALT";
/// The format that is described here.
const FORMAT: u16 = 1;
/// All before the nonce.
const FIXED: usize = 8 + 2 + 2 + 16 + 16 + 12 + 16 + 16;
/// All before the ciphertext.
const HEADER: usize = FIXED + SivKey::NONCE_LEN;
const DIGEST: usize = 32;
/// Argon2id of a new wallet: KiB, passes, lanes; the second choice of RFC 9106 section 4, for machines with little memory.
const COST: [u32; 3] = [64 << 10, 3, 4];
/// More than this is no wallet of ours, and would take this machine's memory or time.
const COST_MAX: [u32; 3] = [256 << 10, 16, 16];

/// Why bytes are no wallet that can be used: what, why, what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unreadable {
    /// Something else.
    #[error("this is no wallet: name another file")]
    NotOne,
    /// Of a newer program.
    #[error(
        "the wallet has format {0}, and this program knows format {FORMAT}: use a newer sealcast"
    )]
    Newer(u16),
    /// Bytes of it are not as they were written.
    #[error(
        "the wallet is damaged: put back a copy of it, or move it away, and `sealcast device sync` makes a new one (licences for contents are to be had anew then)"
    )]
    Damaged,
    /// Of another device.
    #[error(
        "the wallet is of {is}, and the identity of {wanted}: name the files that belong together"
    )]
    OtherDevice {
        /// Whose it is.
        is: Text<DeviceId>,
        /// Whose was opened.
        wanted: Text<DeviceId>,
    },
    /// The device has another private key now.
    #[error(
        "the wallet was made with another identity of this device: name that one; if it is lost, so is what is in the wallet"
    )]
    OtherIdentity,
    /// There is a passphrase.
    #[error("the wallet needs its passphrase: --passphrase-file, or SEALCAST_WALLET_PASSPHRASE")]
    NeedsPassphrase,
    /// There is none.
    #[error("the wallet has no passphrase: leave it out")]
    HasNoPassphrase,
    /// It is another one.
    #[error("this is not the wallet's passphrase: try again")]
    WrongPassphrase,
}

/// Whose wallet it is: what its key is made of.
pub(super) struct Owner<'a> {
    pub(super) device: DeviceId,
    /// The identity's private key.
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) passphrase: Option<&'a Passphrase>,
}

/// What a wallet is sealed with.
pub(super) struct Sealing {
    key: SivKey,
    /// The header without its nonce.
    fixed: [u8; FIXED],
}

/// Fields of a header.
struct Fields {
    flag: u16,
    device: [u8; 16],
    salt: [u8; 16],
    cost: [u32; 3],
    identity: [u8; 16],
    complete: [u8; 16],
}

impl Fields {
    fn read(fixed: &[u8; FIXED]) -> Option<Self> {
        let rest = fixed.get(MAGIC.len() + 2..)?;
        let (flag, rest) = rest.split_first_chunk()?;
        let (device, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (memory, rest) = rest.split_first_chunk()?;
        let (passes, rest) = rest.split_first_chunk()?;
        let (lanes, rest) = rest.split_first_chunk()?;
        let (identity, rest) = rest.split_first_chunk()?;
        let complete = rest.first_chunk()?;
        Some(Self {
            flag: u16::from_be_bytes(*flag),
            device: *device,
            salt: *salt,
            cost: [memory, passes, lanes].map(|number| u32::from_be_bytes(*number)),
            identity: *identity,
            complete: *complete,
        })
    }

    fn write(&self) -> [u8; FIXED] {
        let cost = self.cost.map(u32::to_be_bytes);
        let parts: [&[u8]; 8] = [
            MAGIC,
            &FORMAT.to_be_bytes(),
            &self.flag.to_be_bytes(),
            &self.device,
            &self.salt,
            cost.as_flattened(),
            &self.identity,
            &self.complete,
        ];
        let mut fixed = [0; FIXED];
        let all = parts.into_iter().flatten();
        fixed.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        fixed
    }
}

fn expand<const N: usize>(prk: &Prk, label: &[u8], salt: &[u8; 16]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    prk.expand(&[label, salt], out.as_mut());
    out
}

/// What tells that it is this identity.
fn of_identity(owner: &Owner<'_>, salt: &[u8; 16]) -> [u8; 16] {
    let prk = Prk::extract(&owner.secret);
    *expand(&prk, b"sealcast wallet identity", salt)
}

/// What a passphrase comes to.
fn stretch(
    passphrase: &Passphrase,
    salt: &[u8; 16],
    [memory, passes, lanes]: [u32; 3],
) -> Result<Zeroizing<[u8; 32]>, Unreadable> {
    let params = Params::new(memory, passes, lanes, None).map_err(|_| Unreadable::Damaged)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = Zeroizing::new([0; 32]);
    let done = argon.hash_password_into(passphrase.0.as_bytes(), salt, out.as_mut());
    done.map_err(|_| Unreadable::Damaged)?;
    Ok(out)
}

/// The key, and what tells that it is this one.
fn complete(
    owner: &Owner<'_>,
    salt: &[u8; 16],
    cost: [u32; 3],
) -> Result<(SivKey, [u8; 16]), Unreadable> {
    let stretched = owner
        .passphrase
        .map(|passphrase| stretch(passphrase, salt, cost));
    let stretched = stretched.transpose()?;
    let added = stretched.as_deref().map_or(&[][..], |hash| &hash[..]);
    let secret = Zeroizing::new([&owner.secret[..], added].concat());
    let both = expand::<48>(&Prk::extract(&secret), b"sealcast wallet key", salt);
    let (mut key, mut check) = (Zeroizing::new([0; 32]), [0; 16]);
    key.copy_from_slice(&both[..32]);
    check.copy_from_slice(&both[32..]);
    Ok((SivKey::new(*key), check))
}

impl Sealing {
    /// For a new wallet; `salt` is random.
    pub(super) fn new(owner: &Owner<'_>, salt: [u8; 16]) -> Result<Self, Unreadable> {
        let cost = owner.passphrase.map_or([0; 3], |_| COST);
        let (key, check) = complete(owner, &salt, cost)?;
        let fields = Fields {
            flag: owner.passphrase.is_some().into(),
            device: owner.device.0,
            salt,
            cost,
            identity: of_identity(owner, &salt),
            complete: check,
        };
        Ok(Self {
            key,
            fixed: fields.write(),
        })
    }

    /// The file of this plaintext; `nonce` is random. `plain` has room for a tag, or its secrets are copied.
    pub(super) fn seal(
        &self,
        nonce: [u8; SivKey::NONCE_LEN],
        mut plain: Zeroizing<Vec<u8>>,
    ) -> Vec<u8> {
        let header = [&self.fixed[..], &nonce].concat();
        self.key.seal_in_place(nonce, &header, &mut plain);
        let mut file = [&header[..], &plain].concat();
        let digest = sha256(&[&file]);
        file.extend_from_slice(&digest);
        file
    }
}

/// Opens a file.
pub(super) fn open(
    file: &[u8],
    owner: &Owner<'_>,
) -> Result<(Sealing, Zeroizing<Vec<u8>>), Unreadable> {
    let format = file.strip_prefix(MAGIC).ok_or(Unreadable::NotOne)?;
    let format = format.first_chunk().ok_or(Unreadable::Damaged)?;
    let format = u16::from_be_bytes(*format);
    if format > FORMAT {
        return Err(Unreadable::Newer(format));
    }
    let (body, digest) = file
        .split_last_chunk::<DIGEST>()
        .ok_or(Unreadable::Damaged)?;
    if format != FORMAT || sha256(&[body]) != *digest {
        return Err(Unreadable::Damaged);
    }
    let (header, sealed) = body.split_at_checked(HEADER).ok_or(Unreadable::Damaged)?;
    let (fixed, nonce) = header
        .split_first_chunk::<FIXED>()
        .ok_or(Unreadable::Damaged)?;
    let nonce = nonce.first_chunk().ok_or(Unreadable::Damaged)?;
    let key = key(fixed, owner)?;
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let length = match key.open_in_place(*nonce, header, &mut sealed) {
        Ok(plain) => plain.len(),
        Err(_) => return Err(Unreadable::Damaged),
    };
    sealed.truncate(length);
    Ok((Sealing { key, fixed: *fixed }, sealed))
}

/// The key of the file with this header, if the owner is the right one.
fn key(fixed: &[u8; FIXED], owner: &Owner<'_>) -> Result<SivKey, Unreadable> {
    let fields = Fields::read(fixed).ok_or(Unreadable::Damaged)?;
    let within = fields
        .cost
        .iter()
        .zip(COST_MAX)
        .all(|(cost, most)| *cost <= most);
    if !within || fields.flag > 1 {
        return Err(Unreadable::Damaged);
    }
    let is = DeviceId(fields.device);
    if is != owner.device {
        return Err(Unreadable::OtherDevice {
            is: Text(is),
            wanted: Text(owner.device),
        });
    }
    if of_identity(owner, &fields.salt) != fields.identity {
        return Err(Unreadable::OtherIdentity);
    }
    match (fields.flag == 1, owner.passphrase.is_some()) {
        (true, false) => return Err(Unreadable::NeedsPassphrase),
        (false, true) => return Err(Unreadable::HasNoPassphrase),
        _ => {}
    }
    let (key, check) = complete(owner, &fields.salt, fields.cost)?;
    if check != fields.complete {
        return Err(Unreadable::WrongPassphrase);
    }
    Ok(key)
}
