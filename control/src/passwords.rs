//! Passwords of persons: Argon2id (RFC 9106) away from the threads that serve, a few at a time, so that nobody can take the memory.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use rand_core::CryptoRng;
use sealcast_objects::api::Password;
use sealcast_objects::problem::{Kind, Problem};
use tokio::sync::Semaphore;

/// Memory of one hash in KiB, passes, lanes: what OWASP's cheat sheet asks of Argon2id at least.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Hashes that are under way at once.
const AT_ONCE: usize = 2;
/// Hashes that may wait for their turn; more are refused.
const WAITING: usize = 64;
/// Shortest password, in characters (NIST SP 800-63B asks for 8).
const SHORTEST: usize = 10;
/// Longest password, in bytes: hashing one must not take long.
const LONGEST: usize = 1024;

/// Hashes passwords and compares them.
pub(crate) struct Passwords {
    running: Arc<Semaphore>,
    waiting: Semaphore,
    /// Of a password that nobody has: a name that is not known takes as long as one that is.
    nobodys: String,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passwords(..)")
    }
}

fn hasher() -> Argon2<'static> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).expect("these are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &Password, salt: [u8; 16]) -> String {
    hasher()
        .hash_password_with_salt(password.0.as_bytes(), &salt)
        .expect("the salt has a good length, and the password is bounded")
        .to_string()
}

/// A new salt.
pub(crate) fn salt(rng: &mut dyn CryptoRng) -> [u8; 16] {
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    salt
}

impl Passwords {
    /// Takes as long as one hash.
    pub(crate) fn new(rng: &mut dyn CryptoRng) -> Self {
        let nobodys = Password(data_encoding::HEXLOWER.encode(&salt(rng)));
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
            nobodys: hash(&nobodys, salt(rng)),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::new(Kind::Unavailable, "too many log in at once: try again");
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(running);
            done
        });
        done.await.map_err(crate::http::internal)
    }

    /// The hash of a new password, in the PHC string format.
    ///
    /// # Errors
    /// It is too short or too long; too many wait.
    pub(crate) async fn hash(&self, password: Password, salt: [u8; 16]) -> Result<String, Problem> {
        let fits = password.0.chars().count() >= SHORTEST && password.0.len() <= LONGEST;
        if !fits {
            let why = format!(
                "a password has at least {SHORTEST} characters and at most {LONGEST} bytes"
            );
            return Err(Problem::new(Kind::Invalid, why));
        }
        self.run(move || hash(&password, salt)).await
    }

    /// Whether it is the password of this hash. Without one it is not, and that takes as long.
    ///
    /// # Errors
    /// Too many wait; the hash is damaged.
    pub(crate) async fn is(
        &self,
        password: Password,
        hash: Option<String>,
    ) -> Result<bool, Problem> {
        if password.0.len() > LONGEST {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobodys.clone());
        let same = self.run(move || {
            let hash = PasswordHash::new(&hash).map_err(crate::http::internal)?;
            Ok::<_, Problem>(
                hasher()
                    .verify_password(password.0.as_bytes(), &hash)
                    .is_ok(),
            )
        });
        Ok(same.await?? && known)
    }
}
