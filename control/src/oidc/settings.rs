//! Settings of the identity provider, checked before anything runs.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use url::Url;
use zeroize::Zeroizing;

/// Answers of the provider are waited for this long.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Its keys are fetched anew no more often than this.
const PACE: Duration = Duration::from_secs(10);
/// What is asked for unless a setting says otherwise.
pub const SCOPES: [&str; 1] = ["openid"];

/// What is wrong with a setting: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// A value that cannot be.
    #[error("oidc.{setting}: {why}")]
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

fn wrong(setting: &'static str, why: impl Into<String>) -> OidcError {
    OidcError::Setting {
        setting,
        why: why.into(),
    }
}

/// Settings as they are written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OidcSettings {
    /// Address of the provider, letter for letter as it names itself.
    pub issuer: String,
    /// What the provider calls this server.
    pub client_id: String,
    /// File of the secret that goes with it; none: a public client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// Where persons may be sent back to.
    pub redirect_uris: Vec<String>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// File of the authorities that the provider has its certificate from (PEM); none: those that this host trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// An identity provider, and what this server is to it.
#[derive(Clone)]
pub struct OidcConfig {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) secret: Option<Zeroizing<String>>,
    pub(super) redirect_uris: Vec<String>,
    pub(super) scopes: String,
    pub(super) roots: Option<RootCertStore>,
    /// Answers of the provider are waited for this long.
    pub timeout: Duration,
    /// Its keys are fetched anew no more often than this.
    pub pace: Duration,
}

impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OidcConfig").field(&self.issuer).finish()
    }
}

impl OidcConfig {
    /// Checks settings, and reads the files that they name.
    ///
    /// # Errors
    /// Which setting is wrong, why, and what to do.
    pub fn new(settings: &OidcSettings) -> Result<Self, OidcError> {
        let OidcSettings {
            issuer, client_id, ..
        } = settings;
        let at = address(issuer).map_err(|why| wrong("issuer", why))?;
        if at.query().is_some() {
            return Err(wrong(
                "issuer",
                format!("{issuer} has a query: no issuer has one"),
            ));
        }
        if client_id.is_empty() || !client_id.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(wrong(
                "client_id",
                "what the provider calls this server, in visible ASCII",
            ));
        }
        if settings.redirect_uris.is_empty() {
            return Err(wrong(
                "redirect_uris",
                "there is none: name each address that persons may be sent back to",
            ));
        }
        for uri in &settings.redirect_uris {
            check_redirect(uri).map_err(|why| wrong("redirect_uris", why))?;
        }
        check_scopes(&settings.scopes)?;
        Ok(Self {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            secret: settings
                .client_secret_file
                .as_deref()
                .map(secret)
                .transpose()?,
            redirect_uris: settings.redirect_uris.clone(),
            scopes: settings.scopes.join(" "),
            roots: settings.ca.as_deref().map(roots).transpose()?,
            timeout: TIMEOUT,
            pace: PACE,
        })
    }
}

/// Whether nothing that is sent there leaves this host.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    ip.is_ok_and(|ip| ip.is_loopback())
}

/// An address of a provider: by TLS, or on this host.
pub(crate) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{text:?} is no address ({error}): write https://HOST/PATH"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(format!(
            "{text:?} holds a user, password or fragment: leave it out"
        ));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(format!(
            "{text} is plain HTTP: take https://; http:// is for 127.0.0.1 and [::1] only"
        )),
        _ => Err(format!("{text:?} is no address: write https://HOST/PATH")),
    }
}

/// Where a person is sent back to: a page by TLS or on the person's own host, or an app by a scheme of its own (RFC 8252 7).
fn check_redirect(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no address ({error})"))?;
    if url.fragment().is_some() {
        return Err(format!("{text} has a fragment: providers refuse that"));
    }
    let good = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url) || url.host_str() == Some("localhost"),
        scheme => scheme.contains('.'),
    };
    if good {
        return Ok(());
    }
    Err(format!(
        "{text}: https://, http:// on the person's own host (127.0.0.1, [::1], localhost), or the scheme of an app with a dot in it (com.example.app:/)"
    ))
}

fn check_scopes(scopes: &[String]) -> Result<(), OidcError> {
    // RFC 6749 3.3.
    let fits = |scope: &String| {
        !scope.is_empty()
            && scope
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    };
    if let Some(bad) = scopes.iter().find(|scope| !fits(scope)) {
        return Err(wrong(
            "scopes",
            format!("{bad:?} is no scope: one word each"),
        ));
    }
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err(wrong(
            "scopes",
            "without openid providers do not say who it is: add it",
        ));
    }
    Ok(())
}

fn secret(file: &Path) -> Result<Zeroizing<String>, OidcError> {
    let bad = |why: String| OidcError::File {
        file: file.to_path_buf(),
        why,
    };
    let text = fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
    let text = Zeroizing::new(text);
    match text.trim() {
        "" => Err(bad("there is no secret in it".to_owned())),
        secret => Ok(Zeroizing::new(secret.to_owned())),
    }
}

fn roots(file: &Path) -> Result<RootCertStore, OidcError> {
    let bad = |why: String| OidcError::File {
        file: file.to_path_buf(),
        why,
    };
    let pem = fs::read(file).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(issuer: &str) -> OidcSettings {
        OidcSettings {
            issuer: issuer.to_owned(),
            client_id: "sealcast".to_owned(),
            client_secret_file: None,
            redirect_uris: vec!["https://shop.example/back".to_owned()],
            scopes: SCOPES.map(str::to_owned).into(),
            ca: None,
        }
    }

    fn refused(change: impl FnOnce(&mut OidcSettings)) -> String {
        let mut settings = settings("https://id.example");
        change(&mut settings);
        OidcConfig::new(&settings).unwrap_err().to_string()
    }

    #[test]
    fn what_is_secret_crosses_no_network_in_clear() {
        for good in [
            "https://id.example",
            "https://id.example:8443/realms/tv/",
            "http://127.0.0.1:9000",
            "http://[::1]:9000",
        ] {
            OidcConfig::new(&settings(good)).unwrap();
        }
        for bad in [
            "http://id.example",
            "http://localhost:9000",
            "http://10.0.0.1",
            "https://eve@id.example",
            "https://id.example/?x=1",
            "https://id.example/#x",
            "ftp://id.example",
            "id.example",
            "",
        ] {
            let error = OidcConfig::new(&settings(bad)).unwrap_err();
            assert!(
                error.to_string().starts_with("oidc.issuer: "),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn persons_are_sent_back_to_pages_and_apps_and_to_nothing_else() {
        for good in [
            "https://shop.example/back?from=oidc",
            "http://localhost:8080/back",
            "http://127.0.0.1/back",
            "com.example.app:/back",
        ] {
            check_redirect(good).unwrap();
        }
        for bad in [
            "http://shop.example/back",
            "https://shop.example/#back",
            "javascript:alert(1)",
            "data:text/html,x",
            "/back",
        ] {
            let error = refused(|settings| settings.redirect_uris = vec![bad.to_owned()]);
            assert!(error.contains("redirect_uris"), "{bad}: {error}");
        }
        assert!(refused(|settings| settings.redirect_uris.clear()).contains("redirect_uris"));
    }

    #[test]
    fn other_settings_that_cannot_be_are_named() {
        assert!(refused(|settings| settings.client_id.clear()).contains("client_id"));
        let scopes = |scopes: &[&str]| {
            let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
            refused(|settings| settings.scopes = scopes)
        };
        assert!(scopes(&["email"]).contains("openid"));
        assert!(scopes(&["openid", "a b"]).contains("a b"));
        let missing = PathBuf::from("/nowhere/at/all");
        let file = Some(missing.clone());
        assert!(refused(|settings| settings.ca = file).contains("/nowhere/at/all"));
        let file = Some(missing);
        let error = refused(|settings| settings.client_secret_file = file);
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
