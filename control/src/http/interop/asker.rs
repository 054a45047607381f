//! Who asks at a door, and for which channels he may.

use axum::http::{HeaderMap, header};
use data_encoding::BASE64;
use sealcast_domain::packagers::{self, Signer};
use sealcast_objects::api::Role;
use sealcast_objects::interop::token_hash;
use sealcast_objects::problem::{Kind, Problem};

use super::App;
use crate::ca::Peer;

/// A packager that has proved itself.
#[derive(Debug)]
pub(super) struct Asker {
    /// For the log and the limiter.
    pub(super) name: String,
    /// `None`: all.
    channels: Option<Vec<u16>>,
    /// Its requests to the JSON key server are signed.
    pub(super) signer: Option<Signer>,
}

impl Asker {
    /// The packager of this token or certificate; the token comes first.
    pub(super) async fn of(
        app: &App,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Self, Problem> {
        if let Some(authorization) = headers.get(header::AUTHORIZATION) {
            let token = authorization.to_str().ok().and_then(token_of);
            return Self::of_token(app, token.as_deref()).await;
        }
        match peer {
            Some(peer) if app.0.interop.config.nodes && peer.role == Role::Node => {
                let node = app.authenticate_node(peer).await?;
                Ok(Self {
                    name: format!("delivery server {}", node.server),
                    channels: node.channels,
                    signer: None,
                })
            }
            Some(peer) if peer.role == Role::Node => Err(Problem::new(
                Kind::Forbidden,
                "delivery servers may not take keys for packagers: `nodes = true` in [interop] of the key server's settings lets them",
            )),
            _ => Err(Problem::new(
                Kind::Unauthenticated,
                "who asks? Give the token that `sealcast admin interop add` showed: as `Authorization: Bearer TOKEN`, or in the address, \
                 https://NAME:TOKEN@HOST",
            )),
        }
    }

    async fn of_token(app: &App, token: Option<&str>) -> Result<Self, Problem> {
        let Some(token) = token else {
            return Err(Problem::new(
                Kind::Unauthenticated,
                "the header Authorization holds no token: it is `Bearer TOKEN`, or `Basic` with the token as the password",
            ));
        };
        let hash = token_hash(token);
        let (packager, signer) = app
            .read(move |store| packagers::authenticate(store, hash))
            .await?;
        Ok(Self {
            name: packager.name,
            channels: Some(packager.channels),
            signer,
        })
    }

    /// Whether it may take keys of this channel.
    pub(super) fn may(&self, channel: u16) -> Result<(), Problem> {
        let may = |channels: &Vec<u16>| channels.contains(&channel);
        if self.channels.as_ref().is_none_or(may) {
            return Ok(());
        }
        let detail = format!(
            "{} may take no keys of channel {channel}: it was let in for others",
            self.name
        );
        Err(Problem::new(Kind::Forbidden, detail))
    }

    /// A line in the log. What came too often is left out: it would fill it.
    pub(super) fn log_refusal(&self, door: &str, channel: u16, why: &str) {
        tracing::warn!(
            by = self.name,
            door,
            channel,
            why,
            "keys refused to a packager"
        );
    }
}

/// `Bearer TOKEN`, or `Basic` with the token as the password (RFC 7617): that is what an address with a password comes to.
fn token_of(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(rest.as_bytes()).ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_as_bearer_or_as_password() {
        let basic = format!("bAsic {}", BASE64.encode(b"shaka:sct_1:2"));
        assert_eq!(token_of(&basic).unwrap(), "sct_1:2");
        assert_eq!(token_of("Bearer  sct_12").unwrap(), "sct_12");
        let no_colon = format!("Basic {}", BASE64.encode(b"sct_12"));
        let no_text = format!("Basic {}", BASE64.encode(&[0xff, b':']));
        for wrong in [
            "",
            "Bearer",
            "Digest sct_12",
            "Basic ???",
            &no_colon,
            &no_text,
        ] {
            assert_eq!(token_of(wrong), None, "{wrong}");
        }
    }
}
