//! Signed objects: COSE_Sign1 (RFC 9052 4.2) with Ed25519 (RFC 9053 2.2), each of one type that its signature covers, so that none can
//! stand for another. The payload is deterministic CBOR (RFC 8949 4.2): fixed fields as one array.

use ciborium::{de, ser};
use coset::iana::Algorithm;
use coset::{CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder};
use coset::{ContentType, Header, RegisteredLabelWithPrivate};
use sealcast_crypto::{Signature, SigningKey, VerifyingKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::code::sha256;

/// Bytes of a key's name: the beginning of its SHA-256.
const KEY_NAME: usize = 8;

/// A type of signed object. It serializes as a tuple.
pub trait Signed: Serialize + DeserializeOwned {
    /// What it is, as a media type.
    const TYPE: &'static str;
}

/// Why bytes are no signed object of this type and key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSigned {
    /// No COSE_Sign1, or no payload of this type.
    #[error("this is no signed object")]
    Shape,
    /// Another type, algorithm, or header that must be understood.
    #[error("this is a signed object of another type")]
    Type,
    /// Another key.
    #[error("this is signed with another key")]
    Key,
    /// It was changed, or never signed.
    #[error("the signature does not hold")]
    Signature,
}

fn key_name(key: &VerifyingKey) -> Vec<u8> {
    sha256(key.as_bytes())[..KEY_NAME].to_vec()
}

fn header<T: Signed>(key: &VerifyingKey) -> Header {
    HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .content_type(T::TYPE.to_owned())
        .key_id(key_name(key))
        .build()
}

/// `object`, signed with `key`, as bytes. The same object and key give the same bytes.
#[must_use]
pub fn sign<T: Signed>(object: &T, key: &SigningKey) -> Vec<u8> {
    let mut payload = Vec::new();
    ser::into_writer(object, &mut payload).expect("writing to memory");
    CoseSign1Builder::new()
        .protected(header::<T>(&key.verifying_key()))
        .payload(payload)
        .create_signature(b"", |bytes| key.sign(bytes).as_bytes().to_vec())
        .build()
        .to_vec()
        .expect("it was built here")
}

/// The object in `bytes`, if `key` has signed it.
///
/// # Errors
/// [`NotSigned`].
pub fn verify<T: Signed>(bytes: &[u8], key: &VerifyingKey) -> Result<T, NotSigned> {
    let object = CoseSign1::from_slice(bytes).map_err(|_| NotSigned::Shape)?;
    let header = &object.protected.header;
    let content = ContentType::Text(T::TYPE.to_owned());
    if header.alg != Some(RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA))
        || header.content_type != Some(content)
        || !header.crit.is_empty()
        || !object.unprotected.is_empty()
    {
        return Err(NotSigned::Type);
    }
    if header.key_id != key_name(key) {
        return Err(NotSigned::Key);
    }
    object.verify_signature(b"", |signature, signed| {
        let signature = signature.try_into().map_err(|_| NotSigned::Signature)?;
        key.verify(signed, &Signature::from_bytes(signature))
            .map_err(|_| NotSigned::Signature)
    })?;
    let payload = object.payload.as_deref().ok_or(NotSigned::Shape)?;
    de::from_reader(payload).map_err(|_| NotSigned::Shape)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
    struct Thing(u64, String);
    impl Signed for Thing {
        const TYPE: &'static str = "application/vnd.sealcast.thing+cbor";
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other(u64, String);
    impl Signed for Other {
        const TYPE: &'static str = "application/vnd.sealcast.other+cbor";
    }

    #[test]
    fn sec_25_a_signed_object_is_of_one_type_and_key_and_cannot_be_changed() {
        let key = SigningKey::from_seed(&[7; 32]);
        let thing = Thing(5, "five".to_owned());
        let bytes = sign(&thing, &key);
        assert_eq!(sign(&thing, &key), bytes, "deterministic");
        let public = key.verifying_key();
        assert_eq!(verify::<Thing>(&bytes, &public), Ok(thing));
        assert_eq!(
            verify::<Other>(&bytes, &public).unwrap_err(),
            NotSigned::Type
        );
        let other = SigningKey::from_seed(&[8; 32]).verifying_key();
        assert_eq!(verify::<Thing>(&bytes, &other).unwrap_err(), NotSigned::Key);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(verify::<Thing>(&changed, &public).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(verify::<Thing>(&bytes[..end], &public).is_err());
        }
    }

    /// RFC 9052 4.4: what is signed is ["Signature1", protected header, external data, payload], here without the library.
    #[test]
    fn the_signature_covers_the_structure_of_the_rfc() {
        let key = SigningKey::from_seed(&[7; 32]);
        let bytes = sign(&Thing(5, "five".to_owned()), &key);
        let object = CoseSign1::from_slice(&bytes).unwrap();
        let protected = object.protected.original_data.clone().unwrap();
        let payload = b"\x82\x05\x64five";
        assert_eq!(object.payload.as_deref(), Some(payload.as_slice()));
        let mut signed = b"\x84\x6aSignature1\x58".to_vec();
        signed.push(u8::try_from(protected.len()).unwrap());
        signed.extend_from_slice(&protected);
        signed.push(0x40);
        signed.push(0x40 + u8::try_from(payload.len()).unwrap());
        signed.extend_from_slice(payload);
        assert_eq!(object.signature, key.sign(&signed).as_bytes());
    }
}
