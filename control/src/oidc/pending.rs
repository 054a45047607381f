//! A login that was begun: what must be known again when the person comes back. The server keeps nothing of it: whoever asked has it, sealed.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rand_core::CryptoRng;
use sealcast_objects::AccountId;
use sealcast_objects::code::sha256;
use sealcast_objects::id::Text;
use sealcast_objects::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::vault::Vault;

/// How long a person may take at the provider.
const LIFE: Duration = Duration::from_secs(600);

/// A login that was begun.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Pending {
    /// PKCE: whoever exchanges the code is who asked for it (RFC 7636).
    pub(super) verifier: String,
    /// Stands in the ID token: it was made for this login.
    pub(super) nonce: String,
    /// Comes back with the person.
    pub(crate) state: String,
    pub(super) redirect_uri: String,
    /// It counts until then.
    #[zeroize(skip)]
    pub(crate) until: Timestamp,
    /// The account that the identity is to be linked with; none: the person logs in.
    #[zeroize(skip)]
    account: Option<Text<AccountId>>,
}

/// 256 random bits, as text.
fn random(rng: &mut dyn CryptoRng) -> String {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

/// No login of another provider opens.
fn sealed_as(issuer: &str) -> String {
    format!("login at {issuer}")
}

impl Pending {
    pub(crate) fn new(
        now: Timestamp,
        redirect_uri: String,
        account: Option<AccountId>,
        rng: &mut dyn CryptoRng,
    ) -> Self {
        Self {
            verifier: random(rng),
            nonce: random(rng),
            state: random(rng),
            redirect_uri,
            until: now.after(LIFE),
            account: account.map(Text),
        }
    }

    /// What of the verifier the provider gets at first (RFC 7636 4.2).
    pub(super) fn challenge(&self) -> String {
        BASE64URL_NOPAD.encode(&sha256(self.verifier.as_bytes()))
    }

    pub(super) fn seal(
        &self,
        issuer: &str,
        vault: &Vault,
        rng: &mut dyn CryptoRng,
    ) -> serde_json::Result<String> {
        let bytes = Zeroizing::new(serde_json::to_vec(self)?);
        Ok(BASE64URL_NOPAD.encode(&vault.seal(&sealed_as(issuer), &bytes, rng)))
    }

    /// A login that was begun with this provider, if it is what the person came back for.
    pub(super) fn open(
        issuer: &str,
        vault: &Vault,
        now: Timestamp,
        back: &Back<'_>,
    ) -> Result<Self, NoLogin> {
        let sealed = BASE64URL_NOPAD.decode(back.login.as_bytes());
        let sealed = sealed.map_err(|_| NoLogin::Unknown)?;
        let bytes = vault.open_secret(&sealed_as(issuer), &sealed);
        let bytes = bytes.map_err(|_| NoLogin::Unknown)?;
        let pending: Self = serde_json::from_slice(&bytes).map_err(|_| NoLogin::Unknown)?;
        if pending.account.map(|Text(of)| of) != back.account {
            return Err(NoLogin::Unknown);
        }
        if pending.until <= now {
            return Err(NoLogin::Over);
        }
        if pending.state != back.state {
            return Err(NoLogin::State);
        }
        Ok(pending)
    }
}

/// What a person came back with.
pub(crate) struct Back<'a> {
    /// As it was given at the beginning.
    pub(crate) login: &'a str,
    /// As it came back.
    pub(crate) state: &'a str,
    /// Whose identity is to be linked; none: the person logs in.
    pub(crate) account: Option<AccountId>,
}

/// Why a login does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NoLogin {
    #[error("this login was not begun here, or for something else: begin anew")]
    Unknown,
    #[error("this login took too long: begin anew")]
    Over,
    #[error(
        "state is not the one of this login: it was begun in another browser, or by somebody else; begin anew"
    )]
    State,
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    const HERE: &str = "https://id.example";
    const T0: Timestamp = Timestamp(1_790_000_000_000);

    #[test]
    fn a_login_opens_for_whom_it_was_begun_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let vault = Vault::of_file(&folder.path().join("key"), &mut rng).unwrap();
        let eve = Some(AccountId([1; 16]));
        let pending = Pending::new(T0, "https://shop.example/".to_owned(), eve, &mut rng);
        let sealed = pending.seal(HERE, &vault, &mut rng).unwrap();
        assert!(!sealed.contains(&pending.verifier) && !pending.challenge().is_empty());
        let open = |issuer: &str, ms, login: &str, state: &str, account| {
            let back = Back {
                login,
                state,
                account,
            };
            let opened = Pending::open(issuer, &vault, Timestamp(T0.0 + ms), &back);
            opened.map(|pending| pending.nonce.clone())
        };
        let (state, life) = (pending.state.as_str(), 600_000);
        let good = open(HERE, life - 1, &sealed, state, eve);
        assert_eq!(good, Ok(pending.nonce.clone()));
        assert_eq!(open(HERE, life, &sealed, state, eve), Err(NoLogin::Over));
        assert_eq!(open(HERE, 0, &sealed, "x", eve), Err(NoLogin::State));
        let bob = Some(AccountId([2; 16]));
        for account in [None, bob] {
            let other = open(HERE, 0, &sealed, state, account);
            assert_eq!(other, Err(NoLogin::Unknown));
        }
        let other = open("https://other.example", 0, &sealed, state, eve);
        assert_eq!(other, Err(NoLogin::Unknown));
        for cut in [0, 1, 20, sealed.len() - 1] {
            let other = open(HERE, 0, &sealed[..cut], state, eve);
            assert_eq!(other, Err(NoLogin::Unknown));
        }
    }
}
