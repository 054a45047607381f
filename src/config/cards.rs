//! Table `[cards]` of `sealcast serve`: who takes payments by card. Secrets are in files, or in the environment.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use sealcast_control::cards::{CardsConfig, CardsSecrets, CardsSettings, RECONCILE, URL};
use serde::{Deserialize, Serialize, Serializer};

use super::opt_duration;

/// As in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardsFile {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    secret_key_file: Option<PathBuf>,
    #[serde(default)]
    signing_secret_file: Option<PathBuf>,
    #[serde(default)]
    publishable_key: Option<String>,
    #[serde(default, deserialize_with = "opt_duration")]
    reconcile: Option<Duration>,
}

/// Resolved; nothing without a provider.
#[derive(Clone, Debug, Default)]
pub struct CardsPlan(Option<(CardsSettings, CardsConfig)>);

impl Serialize for CardsPlan {
    /// The table that says it.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let settings = self.0.as_ref().map(|(settings, _)| settings);
        settings.serialize(to)
    }
}

impl CardsPlan {
    /// Whether the file needs no table to say it.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// For the server.
    #[must_use]
    pub fn config(&self) -> Option<CardsConfig> {
        self.0.as_ref().map(|(_, config)| config.clone())
    }
}

/// Secrets that stand in the environment.
fn secrets() -> CardsSecrets {
    let said = |name| std::env::var(name).ok();
    CardsSecrets::new(
        said("SEALCAST_CARDS_SECRET_KEY"),
        said("SEALCAST_CARDS_SIGNING_SECRETS"),
    )
}

/// With defaults for what is not given; cards are taken where there is a table `[cards]`.
///
/// # Errors
/// Which setting is wrong, why, and what to do.
pub fn resolve(file: Option<CardsFile>) -> Result<CardsPlan> {
    resolve_with(file, secrets())
}

fn resolve_with(file: Option<CardsFile>, secrets: CardsSecrets) -> Result<CardsPlan> {
    let Some(file) = file else {
        ensure!(
            secrets.is_empty(),
            "the environment has secrets of a card provider, and the configuration file has no table [cards]: add it, or unset them"
        );
        return Ok(CardsPlan(None));
    };
    let settings = CardsSettings {
        url: file.url.unwrap_or_else(|| URL.to_owned()),
        secret_key_file: file.secret_key_file,
        signing_secret_file: file.signing_secret_file,
        publishable_key: file.publishable_key,
        reconcile: file.reconcile.unwrap_or(RECONCILE),
    };
    let config = CardsConfig::new(&settings, secrets)?;
    Ok(CardsPlan(Some((settings, config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> CardsSecrets {
        let said = |text: &str| Some(text.to_owned());
        CardsSecrets::new(said("sk_test_abc"), said("whsec_abc"))
    }

    fn plan(text: &str, secrets: CardsSecrets) -> Result<CardsPlan> {
        resolve_with(Some(toml::from_str(text)?), secrets)
    }

    #[test]
    fn cards_are_taken_where_a_table_says_so_and_no_secret_is_printed() {
        let none = resolve_with(None, CardsSecrets::default()).unwrap();
        assert!(none.is_none() && none.config().is_none());
        let printed = toml::to_string(&plan("", given()).unwrap()).unwrap();
        assert_eq!(
            printed,
            "url = \"https://api.stripe.com\"\nreconcile = \"3600s\"\n"
        );
        // What is printed is understood again.
        plan(&printed, given()).unwrap();
    }

    #[test]
    fn settings_of_cards_that_do_not_say_enough_are_named() {
        let missing = plan("", CardsSecrets::default()).unwrap_err().to_string();
        assert!(missing.contains("cards.secret_key_file"), "{missing}");
        let orphan = resolve_with(None, given()).unwrap_err().to_string();
        assert!(orphan.contains("[cards]"), "{orphan}");
        for (text, word) in [
            ("secret_key = \"sk_test_abc\"", "secret_key"),
            ("url = \"http://api.example\"", "cards.url"),
            ("reconcile = \"1s\"", "cards.reconcile"),
            ("publishable_key = \"pk_live_x\"", "cards.publishable_key"),
        ] {
            let error = plan(text, given()).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
