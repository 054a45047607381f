//! What a wallet holds beside its keys, and what may be put into it: nothing that no trusted key has signed, and no older list. No IO.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sealcast_crypto::{VerifyingKey, WrapKeyPair};
use sealcast_objects::DeviceId;
use sealcast_objects::api::{SignerRole, Signers};
use sealcast_objects::content::ContentKey;
use sealcast_objects::id::{ContentId, LicenceId, PurchaseId, Text};
use sealcast_objects::licence::{Licence, StatusList, Subject};
use sealcast_objects::purchase::Object;
use sealcast_objects::signed::NotSigned;
use sealcast_objects::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::decision::{self, Holding, Refusal, Valid, Wanted, by_any};
use super::orders::Order;

/// Why what a server tells is not believed: what, why, what to do. The wallet stays as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Distrust {
    /// Another key than before, or none.
    #[error(
        "the key server signs licences with another key than before: it was set up anew, or it is not the same; if its operator says so, `sealcast device sync --trust-new-signer`"
    )]
    OtherSigner,
    /// It is not signed as it must be.
    #[error("what the key server sent is not to be believed: {what}: {why}")]
    NotSigned {
        /// What it was to be.
        what: &'static str,
        /// What is wrong.
        why: NotSigned,
    },
    /// It is signed, and not what was asked for.
    #[error("what the key server sent is not what was asked for: {0}")]
    NotAsked(String),
    /// The list is older than one that was seen.
    #[error(
        "the key server tells list {told} of the licences that count, and list {seen} was seen before: it was restored from a backup, or somebody sends old lists; the newer one counts on; tell the operator"
    )]
    OlderList {
        /// The number of the list that came.
        told: u64,
        /// The number of the list that is kept.
        seen: u64,
    },
    /// Its key is wrapped for other keys than this wallet's.
    #[error(
        "{0} is for another wallet of this device: use that one; if it is lost, ask whoever gave the licence for a new one"
    )]
    OtherWallet(Text<LicenceId>),
}

/// A licence that is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    /// As it was signed.
    pub(super) object: Object,
    /// Whether the server knows that it is here.
    pub(super) acknowledged: bool,
    /// How often it was played.
    pub(super) played: u32,
}

/// A sealed file that was fetched, or is on its way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Where it is, or will be.
    pub file: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether it is all there.
    pub complete: bool,
}

/// All but the keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Keys that licences and lists are believed by, the newest last.
    signers: Vec<[u8; 32]>,
    /// As it was signed.
    list: Option<Object>,
    pub(super) licences: BTreeMap<Text<LicenceId>, Kept>,
    pub(super) orders: BTreeMap<Text<PurchaseId>, Order>,
    pub(super) downloads: BTreeMap<(Text<ContentId>, u32), Download>,
}

/// A licence, and whether it may be used.
pub(super) type Judged = (Licence, Result<Valid, Refusal>);

impl State {
    pub(super) fn signers(&self) -> Vec<VerifyingKey> {
        let keys = self.signers.iter().copied();
        keys.map(VerifyingKey::from_bytes).collect()
    }

    /// Takes the keys that the server names: the first time as they are, later only the same; `anew`: whatever they are.
    pub(super) fn take_signers(&mut self, told: &Signers, anew: bool) -> Result<(), Distrust> {
        let mut signers = told.signers.iter();
        let key = signers.find(|signer| signer.role == SignerRole::Licences);
        let key = key.and_then(|signer| <[u8; 32]>::try_from(signer.key.as_slice()).ok());
        let key = key.ok_or(Distrust::OtherSigner)?;
        match self.signers.last() {
            Some(last) if *last == key => Ok(()),
            Some(_) if !anew => Err(Distrust::OtherSigner),
            _ => {
                // Those of before have signed what is kept.
                self.signers.retain(|known| *known != key);
                self.signers.push(key);
                Ok(())
            }
        }
    }

    /// The list of licences that count.
    pub(super) fn list(&self) -> Option<StatusList> {
        by_any(&self.list.as_ref()?.0, &self.signers()).ok()
    }

    /// Takes a list, unless it is older than the one that is kept (SEC-21).
    pub(super) fn take_list(&mut self, object: Vec<u8>) -> Result<StatusList, Distrust> {
        let newest = &self.signers()[self.signers.len().saturating_sub(1)..];
        let told = by_any::<StatusList>(&object, newest);
        let told = told.map_err(|why| Distrust::NotSigned {
            what: "the list of licences that count",
            why,
        })?;
        if let Some(seen) = self.list() {
            // Numbers rise by account; a device that goes to another one begins at that one's.
            let older = match told.0 == seen.0 {
                true => told.1 < seen.1,
                false => told.2 <= seen.2,
            };
            if older {
                return Err(Distrust::OlderList {
                    told: told.1,
                    seen: seen.1,
                });
            }
            if (told.0, told.1) == (seen.0, seen.1) && told.2 <= seen.2 {
                return Ok(seen);
            }
        }
        self.list = Some(Object(object));
        Ok(told)
    }

    /// Takes a licence of this device whose key the wallet can unwrap; `true` where it is new.
    pub(super) fn take_licence(
        &mut self,
        object: Vec<u8>,
        device: DeviceId,
        keys: &WrapKeyPair,
    ) -> Result<(Licence, bool), Distrust> {
        let licence = by_any::<Licence>(&object, &self.signers());
        let licence = licence.map_err(|why| Distrust::NotSigned {
            what: "a licence",
            why,
        })?;
        if licence.device != device {
            let what = format!("{} is another device's", Text(licence.id));
            return Err(Distrust::NotAsked(what));
        }
        if let Subject::Content(..) = licence.subject {
            content_key(&licence, keys)?;
        }
        let new = !self.licences.contains_key(&Text(licence.id));
        if new {
            let kept = Kept {
                object: Object(object),
                acknowledged: false,
                played: 0,
            };
            self.licences.insert(Text(licence.id), kept);
        }
        Ok((licence, new))
    }

    /// Every licence, in the order of their ids, and whether it may be used now.
    pub(super) fn judged(&self, device: DeviceId, now: Timestamp) -> Vec<Result<Judged, Refusal>> {
        let (list, signers) = (self.list(), self.signers());
        let judge = |(Text(id), kept): (&Text<LicenceId>, &Kept)| {
            let licence = decision::read(*id, &kept.object.0, &signers)?;
            let by = Holding {
                device,
                list: list.as_ref(),
                played: kept.played,
            };
            let valid = decision::validity(&licence, &by, now);
            Ok((licence, valid))
        };
        self.licences.iter().map(judge).collect()
    }

    /// Licences for this that may be used now, the best first: those that may be played at will, those that last longest.
    pub(super) fn usable(
        &self,
        wanted: Wanted,
        device: DeviceId,
        now: Timestamp,
    ) -> Result<Vec<(Licence, Valid)>, Refusal> {
        let (mut usable, mut refused) = (Vec::new(), Refusal::NoLicence(wanted));
        let judged = self.judged(device, now).into_iter().flatten();
        for (licence, valid) in judged.filter(|(licence, _)| wanted.covers(licence.subject)) {
            match valid {
                Ok(valid) => usable.push((licence, valid)),
                // Of several, that of the newest licence.
                Err(refusal) => refused = refusal,
            }
        }
        let most = |limit: Option<u32>| limit.unwrap_or(u32::MAX);
        let latest = |until: Option<Timestamp>| until.map_or(i64::MAX, |until| until.0);
        usable.sort_by_key(|(licence, valid)| {
            let best = (most(valid.plays_left), latest(valid.until), licence.id);
            std::cmp::Reverse(best)
        });
        match usable.is_empty() {
            true => Err(refused),
            false => Ok(usable),
        }
    }
}

/// The key of the content that a licence is for.
pub(super) fn content_key(licence: &Licence, keys: &WrapKeyPair) -> Result<ContentKey, Distrust> {
    let other = Distrust::OtherWallet(Text(licence.id));
    let (Subject::Content(Text(content), version), Some(key)) = (licence.subject, &licence.key)
    else {
        return Err(other);
    };
    let key = key.unwrap(keys, (licence.id, licence.device), (content, version));
    key.map_err(|_| other)
}
