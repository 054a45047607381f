//! Flags and the table `[oidc]` of `sealcast serve`: the identity provider that persons may log in with.

use std::path::PathBuf;

use anyhow::{Result, bail};
use sealcast_control::oidc::{OidcConfig, OidcSettings, SCOPES};
use serde::{Deserialize, Serialize, Serializer};

use crate::daemon::first;

/// Flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OidcArgs {
    /// Identity provider that persons may log in with (OpenID Connect), as it names itself: https://HOST/PATH
    #[arg(long, env = "SEALCAST_OIDC_ISSUER", value_name = "URL")]
    oidc_issuer: Option<String>,
    /// What the provider calls this server
    #[arg(long, env = "SEALCAST_OIDC_CLIENT_ID", value_name = "NAME")]
    oidc_client_id: Option<String>,
    /// File with the secret that goes with it [default: none, a public client]
    #[arg(long, env = "SEALCAST_OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    oidc_client_secret_file: Option<PathBuf>,
    /// Where persons may be sent back to, letter for letter; repeatable
    #[arg(
        long = "oidc-redirect-uri",
        env = "SEALCAST_OIDC_REDIRECT_URIS",
        value_delimiter = ',',
        value_name = "URI"
    )]
    oidc_redirect_uris: Vec<String>,
    /// What the provider is asked for; repeatable [default: openid]
    #[arg(
        long = "oidc-scope",
        env = "SEALCAST_OIDC_SCOPES",
        value_delimiter = ',',
        value_name = "SCOPE"
    )]
    oidc_scopes: Vec<String>,
    /// Certificates (PEM) that the provider's TLS certificate is checked with [default: the host's authorities]
    #[arg(long, env = "SEALCAST_OIDC_CA", value_name = "FILE")]
    oidc_ca: Option<PathBuf>,
}

/// As in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcFile {
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    client_secret_file: Option<PathBuf>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    ca: Option<PathBuf>,
}

/// Resolved; nothing without a provider.
#[derive(Clone, Debug, Default)]
pub struct OidcPlan(Option<(OidcSettings, OidcConfig)>);

impl Serialize for OidcPlan {
    /// The table that says it.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let settings = self.0.as_ref().map(|(settings, _)| settings);
        settings.serialize(to)
    }
}

impl OidcPlan {
    /// Whether the file needs no table to say it.
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// For the server.
    #[must_use]
    pub fn config(&self) -> Option<OidcConfig> {
        self.0.as_ref().map(|(_, config)| config.clone())
    }
}

impl OidcArgs {
    /// With what the file says.
    ///
    /// # Errors
    /// Which setting is wrong, why, and what to do.
    pub fn resolve(&self, file: OidcFile) -> Result<OidcPlan> {
        let client_id = self.oidc_client_id.clone().or(file.client_id);
        let client_secret_file = self
            .oidc_client_secret_file
            .clone()
            .or(file.client_secret_file);
        let redirect_uris = first(&self.oidc_redirect_uris, file.redirect_uris, Vec::new);
        let scopes = first(&self.oidc_scopes, file.scopes, Vec::new);
        let ca = self.oidc_ca.clone().or(file.ca);
        let settings = match (self.oidc_issuer.clone().or(file.issuer), client_id) {
            (Some(issuer), Some(client_id)) => OidcSettings {
                issuer,
                client_id,
                client_secret_file,
                redirect_uris,
                scopes: first(&scopes, Vec::new(), || SCOPES.map(str::to_owned).into()),
                ca,
            },
            (Some(_), None) => bail!(
                "there is an identity provider, and not what it calls this server: give --oidc-client-id NAME, or client_id in [oidc]"
            ),
            (None, None)
                if client_secret_file.is_none()
                    && redirect_uris.is_empty()
                    && scopes.is_empty()
                    && ca.is_none() =>
            {
                return Ok(OidcPlan(None));
            }
            (None, _) => bail!(
                "there are settings of an identity provider, and none says which: give --oidc-issuer URL, or issuer in [oidc]"
            ),
        };
        let config = OidcConfig::new(&settings)?;
        Ok(OidcPlan(Some((settings, config))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"issuer = "https://id.example"
client_id = "sealcast"
redirect_uris = ["https://shop.example/back"]
"#;

    fn resolve(args: &OidcArgs, text: &str) -> Result<OidcPlan> {
        args.resolve(toml::from_str(text)?)
    }

    #[test]
    fn flags_go_before_the_file_and_the_default_asks_for_openid() {
        let none = resolve(&OidcArgs::default(), "").unwrap();
        assert!(none.is_none() && none.config().is_none());
        let plan = resolve(&OidcArgs::default(), FILE).unwrap();
        let printed = toml::to_string(&plan).unwrap();
        assert_eq!(printed, format!("{FILE}scopes = [\"openid\"]\n"));
        let args = OidcArgs {
            oidc_issuer: Some("https://other.example".to_owned()),
            oidc_scopes: vec!["openid".to_owned(), "profile".to_owned()],
            ..OidcArgs::default()
        };
        let printed = toml::to_string(&resolve(&args, FILE).unwrap()).unwrap();
        assert!(printed.contains("https://other.example") && printed.contains("profile"));
        assert!(printed.contains("https://shop.example/back"));
    }

    #[test]
    fn settings_that_do_not_say_enough_are_named() {
        for (text, word) in [
            ("client_id = \"x\"", "--oidc-issuer"),
            ("scopes = [\"openid\"]", "--oidc-issuer"),
            ("issuer = \"https://id.example\"", "--oidc-client-id"),
            (
                "issuer = \"https://id.example\"\nclient_id = \"x\"",
                "redirect_uris",
            ),
            (&FILE.replace("https://id", "http://id"), "oidc.issuer"),
            ("secret = \"x\"", "secret"),
        ] {
            let error = resolve(&OidcArgs::default(), text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
