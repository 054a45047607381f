//! Channels that come, change and go while the authority leads, and the authority's own keys with their succession.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_core::CryptoRng;
use sealcast_crypto::{SigningKey, VerifyingKey};

use super::channel::Channel;
use super::{Authority, ChannelConfig, Ctx, Output, Phase};
use crate::door::Update;
use crate::ids::{ChannelId, Term, Time};
use crate::wire::control::{Signed, Unverified};
use crate::wire::link::{FromAuthority, Settings, Welcome};

/// What signs, and what others are told of it. They verify under either of the two that they are told, so a succession
/// goes in three steps that nobody has to take at the same time: name the successor; sign with it, still naming both;
/// name it alone once nothing in use was signed by the former key.
#[derive(Debug)]
pub struct Keys {
    /// Signs Notices and lane certificates: the private half of one of the two below.
    pub signing: Arc<SigningKey>,
    /// The authority key.
    pub authority: VerifyingKey,
    /// The key that will replace it, if one is chosen.
    pub successor: Option<VerifyingKey>,
}

impl Keys {
    /// One key without a successor.
    #[must_use]
    pub fn single(signing: SigningKey) -> Self {
        Self {
            authority: signing.verifying_key(),
            successor: None,
            signing: Arc::new(signing),
        }
    }

    pub(super) fn welcome(&self, term: Term) -> FromAuthority {
        FromAuthority::Welcome(Welcome {
            term,
            authority: self.authority,
            successor: self.successor,
        })
    }

    /// Content that one of the keys signed.
    pub(super) fn verify<T: Signed>(&self, datagram: &[u8]) -> Option<T> {
        let unverified = Unverified::<T>::parse(datagram).ok()?;
        match (unverified.verify(&self.authority), &self.successor) {
            (Ok(content), _) => Some(content),
            (Err(unverified), Some(successor)) => unverified.verify(successor).ok(),
            (Err(_), None) => None,
        }
    }
}

impl ChannelConfig {
    pub(super) fn settings(&self) -> FromAuthority {
        FromAuthority::Settings(Settings {
            channel: self.channel,
            mode: self.mode,
            timing: self.timing,
        })
    }
}

impl Authority {
    /// These are the channels from here on. What is new starts from what is stored of it; what is gone stops being served
    /// (its numbers stay stored); new key times hold from the next epoch on.
    pub fn set_channels(
        &mut self,
        now: Time,
        channels: Vec<ChannelConfig>,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) {
        self.config.channels = channels;
        let Phase::Leading(term) = self.phase else {
            return;
        };
        let wanted: BTreeMap<ChannelId, ChannelConfig> = self
            .config
            .channels
            .iter()
            .map(|config| (config.channel, config.clone()))
            .collect();
        // Whoever generates is no setting: such a channel begins anew.
        let goes = |id: &ChannelId, channel: &Channel| {
            wanted
                .get(id)
                .is_none_or(|config| config.mode != channel.config.mode)
        };
        let gone: Vec<_> = self
            .channels
            .extract_if(.., |id, channel| goes(id, channel))
            .map(|(id, _)| id)
            .collect();
        for id in gone {
            out.push(Output::Door(Update::ChannelGone(id)));
        }
        let mut ctx = Ctx {
            now,
            term,
            keys: &self.config.keys,
            slaves: &self.slaves,
            rng,
            out,
            stored: false,
        };
        for (id, config) in wanted {
            match self.channels.get_mut(&id) {
                Some(channel) => channel.reconfigure(&mut ctx, config),
                None => {
                    let stored = self.stored.channels.get(&id).cloned().unwrap_or_default();
                    let mut channel = Channel::adopt(&config, stored, &[], None, &mut ctx);
                    channel.advance(&mut ctx);
                    ctx.store();
                    self.channels.insert(id, channel);
                }
            }
        }
        self.settle(out);
    }

    /// Other keys from here on: every node and every door is told.
    pub fn set_keys(&mut self, keys: Keys, out: &mut Vec<Output>) {
        self.config.keys = keys;
        let Phase::Leading(term) = self.phase else {
            return;
        };
        for conn in self.nodes.keys() {
            out.push(Output::Send(*conn, self.config.keys.welcome(term)));
        }
        for channel in self.channels.values_mut() {
            channel.served = None;
        }
        self.settle(out);
    }
}

impl Channel {
    fn reconfigure(&mut self, ctx: &mut Ctx<'_>, config: ChannelConfig) {
        if self.config == config {
            return;
        }
        self.config = config;
        self.served = None;
        for link in self.servers.values().filter_map(|server| server.link) {
            ctx.send(link.conn, self.config.settings());
        }
        self.advance(ctx);
    }
}
