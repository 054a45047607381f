//! Settings of the card provider, checked before anything runs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use url::Url;
use zeroize::Zeroizing;

use crate::oidc::address;

/// Where Stripe is.
pub const URL: &str = "https://api.stripe.com";
/// How often payments are compared with what the provider has, unless a setting says otherwise.
pub const RECONCILE: Duration = Duration::from_secs(3600);
/// Answers of the provider are waited for this long.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Bounds of a setting.
const RECONCILE_BOUNDS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(24 * 3600)];
/// Secrets with which events may be signed at once: the one in use, and those of before.
const SIGNING_MAX: usize = 4;

/// What is wrong with a setting: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum CardsError {
    /// A value that cannot be.
    #[error("cards.{setting}: {why}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A file that cannot be used.
    #[error("cannot use {}: {why}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

fn wrong(setting: &'static str, why: impl Into<String>) -> CardsError {
    CardsError::Setting {
        setting,
        why: why.into(),
    }
}

/// Settings as they are written down; secrets are not among them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CardsSettings {
    /// Address of the provider's API.
    pub url: String,
    /// File of the secret key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<PathBuf>,
    /// File of the secrets that events are signed with, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret_file: Option<PathBuf>,
    /// What clients of the provider name its account with; it is no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishable_key: Option<String>,
    /// How often payments are compared with what the provider has.
    #[serde(serialize_with = "as_text")]
    pub reconcile: Duration,
}

fn as_text<S: serde::Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{}s", duration.as_secs()))
}

/// Secrets that the environment has, in the place of files.
#[derive(Default)]
pub struct CardsSecrets {
    /// The secret key.
    key: Option<Zeroizing<String>>,
    /// Those that events are signed with, with white space between.
    signing: Option<Zeroizing<String>>,
}

impl CardsSecrets {
    /// Those that are there.
    #[must_use]
    pub fn new(key: Option<String>, signing: Option<String>) -> Self {
        Self {
            key: key.map(Zeroizing::new),
            signing: signing.map(Zeroizing::new),
        }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key.is_none() && self.signing.is_none()
    }
}

impl fmt::Debug for CardsSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CardsSecrets").finish_non_exhaustive()
    }
}

/// Whether money moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It does not.
    Test,
    /// It does.
    Live,
}

impl Mode {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    fn of(key: &str, prefixes: &[&str]) -> Option<Self> {
        let rest = prefixes
            .iter()
            .find_map(|prefix| key.strip_prefix(prefix))?;
        let graphic = rest.bytes().all(|b| b.is_ascii_graphic());
        match rest {
            _ if !graphic => None,
            test if test.starts_with("test_") && test.len() > 5 => Some(Self::Test),
            live if live.starts_with("live_") && live.len() > 5 => Some(Self::Live),
            _ => None,
        }
    }
}

/// A card provider, and what this server is to it.
#[derive(Clone)]
pub struct CardsConfig {
    pub(super) url: Url,
    pub(super) key: Zeroizing<String>,
    pub(super) signing: Vec<Zeroizing<String>>,
    pub(super) publishable_key: Option<String>,
    pub(super) mode: Mode,
    /// How often payments are compared with what the provider has.
    pub reconcile: Duration,
    /// Answers of the provider are waited for this long.
    pub timeout: Duration,
}

impl fmt::Debug for CardsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CardsConfig")
            .field(&self.url.as_str())
            .finish()
    }
}

impl CardsConfig {
    /// Checks settings, and reads the files that they name.
    ///
    /// # Errors
    /// Which setting is wrong, why, and what to do.
    pub fn new(settings: &CardsSettings, secrets: CardsSecrets) -> Result<Self, CardsError> {
        let url = address(&settings.url).map_err(|why| wrong("url", why))?;
        if url.query().is_some() || url.path() != "/" {
            let why = format!("{url} has a path: the API's own begin with /v1, leave it out");
            return Err(wrong("url", why));
        }
        let key = secret(
            ("secret_key_file", "SEALCAST_CARDS_SECRET_KEY"),
            settings.secret_key_file.as_deref(),
            secrets.key,
        )?;
        if key.starts_with("pk_") {
            let why = "it holds a publishable key (pk_...): the secret one begins with sk_ or rk_";
            return Err(wrong("secret_key_file", why));
        }
        let Some(mode) = Mode::of(&key, &["sk_", "rk_"]) else {
            let why = "it holds no secret key: one begins with sk_test_, sk_live_, rk_test_ or rk_live_, and is one word";
            return Err(wrong("secret_key_file", why));
        };
        let signing = secret(
            ("signing_secret_file", "SEALCAST_CARDS_SIGNING_SECRETS"),
            settings.signing_secret_file.as_deref(),
            secrets.signing,
        )?;
        let signing: Vec<_> = signing
            .split_whitespace()
            .map(|one| Zeroizing::new(one.to_owned()))
            .collect();
        if signing.len() > SIGNING_MAX || signing.iter().any(|one| !one.starts_with("whsec_")) {
            let why = format!(
                "it holds 1 to {SIGNING_MAX} signing secrets of the endpoint, a line each; each begins with whsec_"
            );
            return Err(wrong("signing_secret_file", why));
        }
        if let Some(publishable) = &settings.publishable_key {
            match Mode::of(publishable, &["pk_"]) {
                Some(of) if of == mode => {}
                Some(of) => {
                    let why = format!(
                        "it is of {} mode, and the secret key of {} mode: take both of one",
                        of.name(),
                        mode.name()
                    );
                    return Err(wrong("publishable_key", why));
                }
                None => {
                    let why = "a publishable key begins with pk_test_ or pk_live_";
                    return Err(wrong("publishable_key", why));
                }
            }
        }
        let [shortest, longest] = RECONCILE_BOUNDS;
        if !(shortest..=longest).contains(&settings.reconcile) {
            let why = format!("{:?}: from {shortest:?} to {longest:?}", settings.reconcile);
            return Err(wrong("reconcile", why));
        }
        Ok(Self {
            url,
            key,
            signing,
            publishable_key: settings.publishable_key.clone(),
            mode,
            reconcile: settings.reconcile,
            timeout: TIMEOUT,
        })
    }

    /// Whether money moves.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

fn secret(
    (setting, variable): (&'static str, &str),
    file: Option<&Path>,
    said: Option<Zeroizing<String>>,
) -> Result<Zeroizing<String>, CardsError> {
    let text = match (file, said) {
        (Some(_), Some(_)) => {
            let why = format!("the environment has {variable}, too: take one of both");
            return Err(wrong(setting, why));
        }
        (None, Some(said)) => said,
        (Some(file), None) => {
            let text = fs::read_to_string(file).map_err(|error| CardsError::File {
                file: file.to_path_buf(),
                why: error.to_string(),
            })?;
            Zeroizing::new(text)
        }
        (None, None) => {
            let why = format!("it is not given: name a file, or set {variable}");
            return Err(wrong(setting, why));
        }
    };
    match text.trim() {
        "" => Err(wrong(setting, "there is no secret in it")),
        secret => Ok(Zeroizing::new(secret.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CardsSettings {
        CardsSettings {
            url: URL.to_owned(),
            secret_key_file: None,
            signing_secret_file: None,
            publishable_key: None,
            reconcile: RECONCILE,
        }
    }

    fn secrets(key: &str, signing: &str) -> CardsSecrets {
        CardsSecrets::new(Some(key.to_owned()), Some(signing.to_owned()))
    }

    const GOOD: [&str; 2] = ["sk_test_abc", "whsec_abc"];

    fn refused(change: impl FnOnce(&mut CardsSettings), [key, signing]: [&str; 2]) -> String {
        let mut settings = settings();
        change(&mut settings);
        let error = CardsConfig::new(&settings, secrets(key, signing)).unwrap_err();
        let error = error.to_string();
        assert!(!error.contains("abc"), "a secret is told: {error}");
        error
    }

    #[test]
    fn sec_27_a_provider_is_known_by_keys_that_are_told_to_nobody() {
        let config = CardsConfig::new(&settings(), secrets("sk_live_abc\n", "whsec_abc\nwhsec_d"));
        let config = config.unwrap();
        assert_eq!((config.mode(), config.signing.len()), (Mode::Live, 2));
        let told = format!("{config:?} {:?}", secrets("sk_live_abc", "whsec_abc"));
        assert!(!told.contains("abc"), "{told}");
        let local = CardsSettings {
            url: "http://127.0.0.1:8420".to_owned(),
            publishable_key: Some("pk_test_1".to_owned()),
            ..settings()
        };
        let config = CardsConfig::new(&local, secrets("rk_test_abc", "whsec_abc")).unwrap();
        assert_eq!(config.mode(), Mode::Test);
    }

    #[test]
    fn settings_of_cards_that_cannot_be_are_named() {
        let url = |url: &str| {
            let url = url.to_owned();
            refused(|settings| settings.url = url, GOOD)
        };
        assert!(url("http://api.example").contains("cards.url"));
        assert!(url("https://api.example/v1").contains("has a path"));
        let keys = |key, signing| refused(|_| (), [key, signing]);
        assert!(keys("pk_test_abc", GOOD[1]).contains("publishable"));
        for bad in ["abc", "sk_abc", "sk_test_", "sk_test_a abc"] {
            assert!(
                keys(bad, GOOD[1]).contains("cards.secret_key_file"),
                "{bad}"
            );
        }
        assert!(keys("", GOOD[1]).contains("no secret"));
        for bad in [
            "abc",
            "whsec_1 abc",
            "whsec_1 whsec_2 whsec_3 whsec_4 whsec_5",
        ] {
            assert!(keys(GOOD[0], bad).contains("signing_secret_file"), "{bad}");
        }
        let publishable = |key: &str| {
            let key = Some(key.to_owned());
            refused(|settings| settings.publishable_key = key, GOOD)
        };
        assert!(publishable("pk_live_1").contains("live mode"));
        assert!(publishable("sk_test_1").contains("pk_test_"));
        let file = |settings: &mut CardsSettings| {
            settings.secret_key_file = Some("/nowhere/at/all".into());
        };
        assert!(refused(file, GOOD).contains("SEALCAST_CARDS_SECRET_KEY"));
        let mut named = settings();
        file(&mut named);
        let error = CardsConfig::new(&named, CardsSecrets::default()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
        let error = CardsConfig::new(&settings(), CardsSecrets::default()).unwrap_err();
        assert!(error.to_string().contains("is not given"), "{error}");
        let often = |settings: &mut CardsSettings| settings.reconcile = Duration::from_secs(1);
        assert!(refused(often, GOOD).contains("cards.reconcile"));
    }
}
