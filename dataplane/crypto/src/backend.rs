//! The implementations of the packet AEAD. One is chosen when a key is made; a batch is dispatched once, not a packet.
//!
//! A further implementation is a file of its own, a variant here, and a line in [`Backend::available`]; the tests run
//! every available one against the others' results.

use std::env;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::aead::AesKey;
use crate::batch::{Packets, Verdicts};
use crate::portable;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::x86;

/// An implementation of the packet AEAD. All of them compute the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// x86-64 with 512-bit vectors: AVX-512 (F, BW, DQ, VL), VAES, VPCLMULQDQ, BMI2.
    Vaes512,
    /// x86-64 with 256-bit vectors: AVX2, VAES, VPCLMULQDQ.
    Vaes256,
    /// x86-64 with 128-bit vectors: AES-NI, PCLMULQDQ, SSSE3, SSE4.1.
    Aesni,
    /// Runs everywhere; the crates `aes` and `ghash`, which find the processor's instructions themselves.
    Portable,
}

/// The name of a backend is unknown, or this processor cannot run it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// No backend has this name.
    #[error("there is no crypto backend `{0}`: it is one of {names}", names = Names(&Backend::ALL))]
    Unknown(String),
    /// This processor, or this build, has not what it takes.
    #[error("the crypto backend `{0}` does not run on this processor: it has {names}", names = Names(Backend::available()))]
    Unavailable(Backend),
}

/// Names of backends, as a sentence lists them.
struct Names(&'static [Backend]);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|backend| backend.name()).collect();
        f.write_str(&names.join(", "))
    }
}

impl Backend {
    /// All there are, the fastest first.
    pub const ALL: [Self; 4] = [Self::Vaes512, Self::Vaes256, Self::Aesni, Self::Portable];

    /// The environment variable that names the backend in place of the fastest one.
    pub const ENV: &str = "SEALCAST_CRYPTO_BACKEND";

    /// The one that [`ENV`](Self::ENV) names; without it, the fastest one that this processor can run. Looked up once.
    ///
    /// # Panics
    /// If `ENV` names none that can run. A program calls [`from_env`](Self::from_env) when it starts, which says so
    /// without a panic.
    #[must_use]
    pub fn detect() -> Self {
        Self::from_env().unwrap_or_else(|error| panic!("{}: {error}", Self::ENV))
    }

    /// Like [`detect`](Self::detect).
    ///
    /// # Errors
    /// [`BackendError`] if [`ENV`](Self::ENV) names none that can run.
    pub fn from_env() -> Result<Self, BackendError> {
        static CHOSEN: OnceLock<Result<Backend, BackendError>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| match env::var_os(Self::ENV) {
            Some(name) if !name.is_empty() => name.to_string_lossy().parse(),
            _ => Ok(Self::available()[0]),
        });
        chosen.clone()
    }

    /// All that this processor can run, the fastest first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Backend>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            let mut all = Self::ALL.to_vec();
            all.retain(|backend| backend.runs_here());
            all
        })
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn runs_here(self) -> bool {
        match self {
            Self::Vaes512 => x86::Width::W512.runs_here(),
            Self::Vaes256 => x86::Width::W256.runs_here(),
            Self::Aesni => x86::Width::W128.runs_here(),
            Self::Portable => true,
        }
    }

    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    fn runs_here(self) -> bool {
        self == Self::Portable
    }

    /// Its name in logs, reports and [`ENV`](Self::ENV).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vaes512 => "vaes512",
            Self::Vaes256 => "vaes256",
            Self::Aesni => "aesni",
            Self::Portable => "portable",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = BackendError;

    /// The backend of this [name](Self::name), if this processor can run it.
    fn from_str(name: &str) -> Result<Self, BackendError> {
        let named = Self::ALL.into_iter().find(|backend| backend.name() == name);
        match named {
            None => Err(BackendError::Unknown(name.to_owned())),
            Some(backend) if Self::available().contains(&backend) => Ok(backend),
            Some(backend) => Err(BackendError::Unavailable(backend)),
        }
    }
}

/// An expanded key of the chosen implementation.
pub(crate) enum Kernel {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    X86(x86::Gcm),
    Portable(portable::Gcm),
}

impl Kernel {
    /// # Panics
    /// If the processor cannot run `backend`.
    pub(crate) fn new(key: &AesKey, backend: Backend) -> Self {
        match backend {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Backend::Vaes512 => Self::X86(x86::Gcm::new(key, x86::Width::W512)),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Backend::Vaes256 => Self::X86(x86::Gcm::new(key, x86::Width::W256)),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Backend::Aesni => Self::X86(x86::Gcm::new(key, x86::Width::W128)),
            Backend::Portable => Self::Portable(portable::Gcm::new(key)),
            #[cfg(not(all(target_arch = "x86_64", not(miri))))]
            _ => panic!("{}", BackendError::Unavailable(backend)),
        }
    }

    pub(crate) const fn backend(&self) -> Backend {
        match self {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Self::X86(gcm) => match gcm.width() {
                x86::Width::W512 => Backend::Vaes512,
                x86::Width::W256 => Backend::Vaes256,
                x86::Width::W128 => Backend::Aesni,
            },
            Self::Portable(_) => Backend::Portable,
        }
    }

    /// Encrypts the payloads and writes the tags.
    pub(crate) fn seal(&self, packets: &mut Packets<'_, '_>) {
        match self {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Self::X86(gcm) => gcm.seal(packets),
            Self::Portable(gcm) => packets.for_each(|packet| gcm.seal(packet)),
        }
    }

    /// Checks the tags and decrypts the payloads; zeroes the payloads of forged packets.
    pub(crate) fn open(&self, packets: &mut Packets<'_, '_>) -> Verdicts {
        match self {
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Self::X86(gcm) => gcm.open(packets),
            Self::Portable(gcm) => Verdicts::collect(packets.map(|packet| gcm.open(packet))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_runs_it() {
        for &backend in Backend::available() {
            for key in [AesKey::Aes128([1; 16]), AesKey::Aes256([1; 32])] {
                assert_eq!(Kernel::new(&key, backend).backend(), backend);
            }
        }
        assert_eq!(Backend::available().last(), Some(&Backend::Portable));
    }

    #[test]
    fn a_backend_has_a_name_and_the_name_a_backend() {
        for backend in Backend::ALL {
            let runs = Backend::available().contains(&backend);
            let expected = if runs {
                Ok(backend)
            } else {
                Err(BackendError::Unavailable(backend))
            };
            assert_eq!(backend.to_string().parse(), expected);
        }
        let unknown = "avx1024".parse::<Backend>().unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "there is no crypto backend `avx1024`: it is one of vaes512, vaes256, aesni, portable"
        );
        let unavailable = BackendError::Unavailable(Backend::Vaes512).to_string();
        assert!(unavailable.ends_with("portable"), "{unavailable}");
    }
}
