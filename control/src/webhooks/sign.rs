//! Who sent a webhook, and that nobody changed it: signatures as Standard Webhooks has them (1.0), `v1` (HMAC-SHA256) and `v1a` (Ed25519).

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use rand_core::CryptoRng;
use sealcast_crypto::SigningKey;
use sealcast_domain::webhooks::{NewKeys, SealedKeys};
use sealcast_objects::WebhookId;
use sealcast_objects::id::Id as _;
use zeroize::Zeroizing;

use crate::vault::{NotOurs, Vault};

/// Bytes of an HMAC key, and of an Ed25519 seed.
const KEY_LEN: usize = 32;

/// What signs for a webhook.
pub(crate) struct Keys {
    /// The HMAC key, then the Ed25519 seed.
    bytes: Zeroizing<[u8; 2 * KEY_LEN]>,
}

/// What a webhook's secret is sealed as.
fn sealed_as(id: WebhookId) -> String {
    format!("secret of webhook {}", id.text())
}

impl Keys {
    /// New ones.
    pub(crate) fn new(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 2 * KEY_LEN]);
        rng.fill_bytes(bytes.as_mut());
        Self { bytes }
    }

    /// As the store keeps them.
    pub(crate) fn seal(&self, id: WebhookId, vault: &Vault, rng: &mut dyn CryptoRng) -> NewKeys {
        let public = self.ed25519().verifying_key();
        NewKeys {
            sealed: vault.seal(&sealed_as(id), self.bytes.as_ref(), rng),
            public_key: format!("whpk_{}", BASE64.encode(public.as_bytes())),
        }
    }

    /// All that sign for a webhook now, the one in use first.
    pub(crate) fn open(
        id: WebhookId,
        sealed: &SealedKeys,
        vault: &Vault,
    ) -> Result<Vec<Self>, NotOurs> {
        let all = [Some(&sealed.current), sealed.former.as_ref()];
        let open = |sealed: &Vec<u8>| {
            let opened = vault.open_secret(&sealed_as(id), sealed)?;
            let bytes = opened.as_slice().try_into().map_err(|_| NotOurs)?;
            Ok(Self {
                bytes: Zeroizing::new(bytes),
            })
        };
        all.into_iter().flatten().map(open).collect()
    }

    /// The HMAC key, as it is shown once.
    pub(crate) fn secret(&self) -> String {
        format!("whsec_{}", BASE64.encode(self.hmac()))
    }

    fn hmac(&self) -> &[u8] {
        &self.bytes[..KEY_LEN]
    }

    fn ed25519(&self) -> SigningKey {
        let mut seed = Zeroizing::new([0; KEY_LEN]);
        seed.copy_from_slice(&self.bytes[KEY_LEN..]);
        SigningKey::from_seed(&seed)
    }

    fn signatures(&self, signed: &[u8]) -> [String; 2] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.hmac());
        let symmetric = BASE64.encode(hmac::sign(&key, signed).as_ref());
        let asymmetric = BASE64.encode(self.ed25519().sign(signed).as_bytes());
        [format!("v1,{symmetric}"), format!("v1a,{asymmetric}")]
    }
}

/// The header `webhook-signature`: two signatures of each key. `at` is in seconds since 1970.
pub(crate) fn header(keys: &[Keys], id: &str, at: i64, body: &str) -> String {
    let signed = format!("{id}.{at}.{body}");
    let signatures: Vec<_> = keys
        .iter()
        .flat_map(|keys| keys.signatures(signed.as_bytes()))
        .collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_example_of_the_specification_has_its_signature() {
        let mut bytes = Zeroizing::new([0; 2 * KEY_LEN]);
        let key = BASE64.decode(b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        // HMAC keys are filled up with zeros.
        bytes[..key.len()].copy_from_slice(&key);
        let keys = [Keys { bytes }];
        let header = header(
            &keys,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        let first = header.split(' ').next();
        assert_eq!(
            first,
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }
}
