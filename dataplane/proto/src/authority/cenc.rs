//! Keys for packagers of Common Encryption, derived from the root in use. The root itself stays here.

use sealcast_crypto::{CENC_KEY_LEN, CencKey};

use super::{Authority, Phase};
use crate::ids::{ChannelId, Epoch};

/// Why there are no keys to derive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoCencKeys {
    /// It does not lead.
    #[error(
        "this key server does not lead (yet): it hands out no keys; try again when it does, or ask the master that leads"
    )]
    NotLeading,
    /// No such channel, nothing in use on it, or a root that is not held here.
    #[error(
        "channel {0} has no key in use here, and keys are derived from that: let a delivery server send it, then ask again"
    )]
    NothingInUse(u16),
}

impl Authority {
    /// A key for each of `kids`, from the root in use on `channel`, and the epoch of that root (SEC-14). For no ids it says whether it
    /// may hand out keys at all.
    ///
    /// # Errors
    /// [`NoCencKeys`].
    pub fn cenc_keys(
        &self,
        channel: ChannelId,
        kids: &[[u8; CENC_KEY_LEN]],
    ) -> Result<(Epoch, Vec<CencKey>), NoCencKeys> {
        let Phase::Leading(_) = self.phase else {
            return Err(NoCencKeys::NotLeading);
        };
        if kids.is_empty() {
            return Ok((Epoch(0), Vec::new()));
        }
        let current = self.channels.get(&channel);
        let current = current.and_then(|channel| channel.current.as_ref());
        let in_use = current.and_then(|key| Some((key.epoch, key.root.as_ref()?)));
        let (epoch, root) = in_use.ok_or(NoCencKeys::NothingInUse(channel.0))?;
        let prk = root.prk();
        Ok((epoch, kids.iter().map(|kid| prk.cenc_key(kid)).collect()))
    }
}
