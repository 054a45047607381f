//! What is measured: each implementation under one key.

use std::fmt;
use std::path::Path;

use sealcast_crypto::Span;

use super::foreign::{IpsecMb, OpenSsl};
use super::{Arena, Key, KeyBits, Op, Vectors, less_safe, ours, rust_crypto};

/// AES-GCM under one key, in place.
pub trait Aead {
    /// Seals the packets.
    fn seal(&mut self, buf: &mut [u8], spans: &[Span]);

    /// Opens the packets; how many of them were genuine.
    fn open(&mut self, buf: &mut [u8], spans: &[Span]) -> usize;
}

/// How packets are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// All packets of a batch with one call.
    Batch,
    /// A call for each packet: all that other libraries offer.
    Single,
}

/// An implementation under one key.
pub struct Contender {
    /// Its name in reports.
    pub name: String,
    /// Whether it is sealcast's.
    pub ours: bool,
    /// How packets are handed to it.
    pub calls: Calls,
    /// Vectors whose ceiling it is held against.
    pub vectors: Option<Vectors>,
    /// The implementation.
    pub aead: Box<dyn Aead>,
}

impl Contender {
    pub(crate) fn library(name: &str, aead: impl Aead + 'static) -> Self {
        Self {
            name: name.to_owned(),
            ours: false,
            calls: Calls::Single,
            vectors: Vectors::widest(),
            aead: Box::new(aead),
        }
    }

    /// Works through all packets of `arena`; how many were sealed, or genuine.
    pub fn pass(&mut self, arena: &mut Arena, op: Op) -> usize {
        let mut packets = 0;
        match op {
            Op::Seal => arena.each(|buf, spans| {
                self.aead.seal(buf, spans);
                packets += spans.len();
            }),
            Op::Open => arena.each(|buf, spans| packets += self.aead.open(buf, spans)),
        }
        packets
    }
}

impl fmt::Debug for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender")
            .field("name", &self.name)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

/// All that this host can run, and the libraries that are looked for when the benches run.
#[derive(Debug)]
pub struct Field {
    openssl: Result<OpenSsl, String>,
    ipsec_mb: Result<IpsecMb, String>,
}

impl Field {
    /// Looks for the libraries; OpenSSL in the file `libcrypto`, if one is named.
    #[must_use]
    pub fn find(libcrypto: Option<&Path>) -> Self {
        Self {
            openssl: OpenSsl::find(libcrypto),
            ipsec_mb: IpsecMb::find(),
        }
    }

    /// Looks for nothing: only what is built in.
    #[must_use]
    pub fn none() -> Self {
        Self {
            openssl: Err("not looked for".to_owned()),
            ipsec_mb: Err("not looked for".to_owned()),
        }
    }

    /// Version of each library, or why it is missing.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        let found = |name: &str, version: Result<String, &String>| match version {
            Ok(version) => format!("{name}: {version}"),
            Err(missing) => format!("{name}: MISSING, {missing}"),
        };
        let mut versions: Vec<_> = ["aws-lc-rs", "ring", "aes-gcm", "aes", "ghash"]
            .map(|name| format!("{name}: {}", locked_version(name)))
            .into();
        versions.push(found(
            "OpenSSL",
            self.openssl.as_ref().map(OpenSsl::version),
        ));
        versions.push(found(
            "ipsec-mb",
            self.ipsec_mb.as_ref().map(IpsecMb::version),
        ));
        versions
    }
}

/// Everything that can seal under `key`. The first is the one that others are compared with.
#[must_use]
pub fn contenders(key: &Key, field: &Field) -> Vec<Contender> {
    let mut all = vec![
        Contender::library("aws-lc-rs", less_safe::AwsLc::new(key)),
        Contender::library("ring", less_safe::Ring::new(key)),
        match key.bits {
            KeyBits::Aes128 => {
                Contender::library("aes-gcm", rust_crypto::Gcm::<aes_gcm::Aes128Gcm>::new(key))
            }
            KeyBits::Aes256 => {
                Contender::library("aes-gcm", rust_crypto::Gcm::<aes_gcm::Aes256Gcm>::new(key))
            }
        },
    ];
    if let Ok(openssl) = &field.openssl {
        all.push(Contender::library("OpenSSL", openssl.key(key)));
    }
    if let Ok(ipsec_mb) = &field.ipsec_mb {
        all.push(Contender::library("ipsec-mb", ipsec_mb.key(key)));
    }
    all.extend(ours::contenders(key));
    all
}

/// The version of a library that was built in, by the lock file.
fn locked_version(name: &str) -> String {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let Ok(lock) = toml::from_str::<toml::Table>(LOCK) else {
        return "unknown".to_owned();
    };
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let versions: Vec<_> = packages
        .into_iter()
        .flatten()
        .filter(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))
        .filter_map(|package| package.get("version")?.as_str())
        .collect();
    versions.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_and_missing_libraries_are_told() {
        let field = Field::find(Some(Path::new("/nowhere/libcrypto.so")));
        let versions = field.versions();
        assert_eq!(versions.len(), 7);
        assert!(versions[0].starts_with("aws-lc-rs: 1."), "{versions:?}");
        assert!(
            versions
                .iter()
                .any(|line| line.starts_with("OpenSSL: MISSING, "))
        );
        let key = Key::new(KeyBits::Aes256);
        assert!(
            contenders(&key, &field)
                .iter()
                .all(|one| one.name != "OpenSSL")
        );
    }

    #[test]
    fn every_implementation_of_ours_is_there_in_both_shapes() {
        let all = contenders(&Key::new(KeyBits::Aes256), &Field::find(None));
        assert_eq!(all[0].name, "aws-lc-rs");
        let ours = all.iter().filter(|one| one.ours).count();
        assert_eq!(ours, 2 * sealcast_crypto::Backend::available().len());
    }
}
