//! Licences and purchase certificates are made: signed, and the key of a content wrapped for the one device that may use it.

use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_domain::catalogue::files;
use sealcast_domain::licences::{self, NewLicence};
use sealcast_domain::sales::purchases::Draft;
use sealcast_domain::{Error, Read, Tx, device_keys};
use sealcast_objects::api::{LicenceRecord, SignedStatusList};
use sealcast_objects::content::ContentKey;
use sealcast_objects::id::Text;
use sealcast_objects::licence::{DeviceKey, Licence, StatusList, Subject};
use sealcast_objects::purchase::{Container, Object};
use sealcast_objects::signed;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, ContentId};

use crate::content::key_name;
use crate::http::internal;
use crate::signers::Signers;
use crate::vault::Vault;

/// How long a device may go by a status list before it needs another one (SEC-21).
const LIST_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What makes licences.
#[derive(Debug)]
pub(crate) struct Issuer {
    signers: Arc<Signers>,
    vault: Arc<Vault>,
}

impl Issuer {
    /// Signs with the key for licences; `vault` opens the keys of contents.
    pub(crate) fn new(signers: Arc<Signers>, vault: Arc<Vault>) -> Self {
        Self { signers, vault }
    }

    /// Issues a licence.
    ///
    /// # Errors
    /// As [`licences::issue`]. Conflict: the device has told no keys that the content's could be wrapped for.
    pub(crate) fn issue(
        &self,
        tx: &mut dyn Tx,
        now: Timestamp,
        new: &NewLicence,
        rng: &mut dyn CryptoRng,
    ) -> Result<LicenceRecord, Error> {
        let account = licences::check(tx, new)?;
        let key = match new.subject {
            Subject::Channel(_) => None,
            Subject::Content(Text(content), version) => {
                let to = device_keys::get(tx, new.device)?;
                let which = (content, version);
                let key = self.content_key(tx, which)?;
                let licence = (new.id, new.device);
                Some(DeviceKey::wrap(&to.wrap, licence, which, &key, rng))
            }
        };
        let licence = Licence {
            id: new.id,
            account,
            device: new.device,
            subject: new.subject,
            terms: new.terms,
            origin: new.origin.clone(),
            supersedes: new.supersedes,
            key,
            issued_at: now,
        };
        licences::issue(
            tx,
            now,
            new,
            &signed::sign(&licence, &self.signers.licences),
        )?;
        licences::get(tx, new.id)
    }

    /// The container of the certificates that a purchase is of, each signed by itself.
    pub(crate) fn container(&self, draft: &Draft) -> Vec<u8> {
        let key = &self.signers.licences;
        let sign = |certificate| Object(signed::sign(certificate, key));
        let certificates = draft.certificates.iter().map(sign).collect();
        let container = Container(Text(draft.new.id), draft.receive_by, certificates);
        signed::sign(&container, key)
    }

    fn content_key(
        &self,
        store: &mut dyn Read,
        (content, version): (ContentId, u32),
    ) -> Result<ContentKey, Error> {
        let (file, sealed) = files::sealed_key(store, content, version)?;
        let name = key_name(content, version, file);
        let key = self.vault.open_key(&name, &sealed).map_err(internal)?;
        Ok(ContentKey::from_bytes(key))
    }

    /// Which licences of an account count, signed.
    ///
    /// # Errors
    /// Not found; the store's.
    pub(crate) fn status_list(
        &self,
        store: &mut dyn Read,
        now: Timestamp,
        account: AccountId,
    ) -> Result<SignedStatusList, Error> {
        let (number, entries) = licences::status(store, account)?;
        let until = now.after(LIST_LIFE);
        let list = StatusList(Text(account), number, now, until, entries);
        Ok(SignedStatusList {
            number,
            until,
            object: signed::sign(&list, &self.signers.licences),
        })
    }
}
