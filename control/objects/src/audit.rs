//! The audit log as it is told: entries, the chain of their hashes, the signed head (design 6: audit).
//!
//! Whoever keeps a head outside of the server can tell later whether anything before it was changed or removed: each hash covers the one
//! before it.

use aws_lc_rs::digest::{Context, SHA256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::signed::Signed;
use crate::time::Timestamp;

/// The hash before the first entry.
pub const GENESIS: [u8; 32] = [0; 32];
/// Begins what is hashed: no hash of anything else is one of an entry.
const DOMAIN: &[u8] = b"sealcast audit 1";

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// From 1, without gaps.
    pub number: u64,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// Who: a role, a colon, a name; or `server`.
    pub actor: String,
    /// What was done: `device.add`.
    pub act: String,
    /// To what.
    pub subject: String,
    /// What else is worth knowing, as `name=value` words; never a secret.
    pub detail: String,
    /// Covers all this and the hash before it.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub hash: Vec<u8>,
}

impl AuditEntry {
    /// SHA-256 of the hash `before` it, and of everything in it but its own: numbers as 8 bytes (big endian), texts after their length as such
    /// a number.
    #[must_use]
    pub fn hash_after(&self, before: &[u8; 32]) -> [u8; 32] {
        let mut hash = Context::new(&SHA256);
        hash.update(DOMAIN);
        hash.update(before);
        hash.update(&self.number.to_be_bytes());
        hash.update(&self.at.0.to_be_bytes());
        for text in [&self.actor, &self.act, &self.subject, &self.detail] {
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let mut sum = [0; 32];
        sum.copy_from_slice(hash.finish().as_ref());
        sum
    }
}

/// The last entry of a log at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its number; 0 of an empty log.
    pub number: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Head {
    /// Of an empty log.
    pub const EMPTY: Self = Self {
        number: 0,
        hash: GENESIS,
    };
}

/// What is signed of a head: number, hash, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeadStatement(pub u64, pub [u8; 32], pub i64);

impl Signed for HeadStatement {
    const TYPE: &'static str = "application/vnd.sealcast.audit-head+cbor";
}

/// `GET /v1/audit/head`: to be kept where the server's owner cannot change it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignedHead {
    /// Number of the last entry; 0 of an empty log.
    pub number: u64,
    /// Its hash.
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub hash: Vec<u8>,
    /// When this was said.
    pub at: Timestamp,
    /// The key that signed it (Ed25519).
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub key: Vec<u8>,
    /// The same, signed: a COSE_Sign1 of [`HeadStatement`].
    #[schemars(with = "crate::bytes::Base64Url")]
    #[serde(with = "crate::bytes")]
    pub signed: Vec<u8>,
}

/// `GET /v1/audit`: a page of entries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditPage {
    /// In order.
    pub entries: Vec<AuditEntry>,
    /// `after` of the next page; nothing after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// What is wrong with a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuditFault {
    /// Entries are gone.
    #[error("entry {found} stands where {wanted} should: entries are gone")]
    Number {
        /// What should come.
        wanted: u64,
        /// What comes.
        found: u64,
    },
    /// An entry, or one before it, was changed.
    #[error("the hash of entry {0} does not fit: it, or the hash before it, was changed")]
    Hash(u64),
    /// The log is shorter than it once was.
    #[error("the log ends at {end}, and had {kept} entries once: the newest were removed")]
    Short {
        /// Its last entry.
        end: u64,
        /// The entry that a kept head names.
        kept: u64,
    },
    /// The log is not the one that was once signed.
    #[error("entry {0} is not the one of the kept head: the log was written anew")]
    Other(u64),
}

/// Follows a chain, entry by entry.
#[derive(Clone, Debug)]
pub struct Chain {
    head: Head,
    kept: Vec<Head>,
    faults: Vec<AuditFault>,
}

impl Chain {
    /// From the beginning; `kept` are heads that must be in it.
    #[must_use]
    pub fn new(kept: Vec<Head>) -> Self {
        Self {
            head: Head::EMPTY,
            kept,
            faults: Vec::new(),
        }
    }

    /// The last entry so far.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The next entry. After a fault it goes on from what the entry says of itself, so that one fault is told once.
    pub fn add(&mut self, entry: &AuditEntry) {
        let wanted = self.head.number.saturating_add(1);
        let hash = entry.hash_after(&self.head.hash);
        if entry.number != wanted {
            let found = entry.number;
            self.faults.push(AuditFault::Number { wanted, found });
        } else if entry.hash != hash {
            self.faults.push(AuditFault::Hash(entry.number));
        }
        self.head = Head {
            number: entry.number,
            hash: entry.hash.as_slice().try_into().unwrap_or(hash),
        };
        let head = self.head;
        if self
            .kept
            .iter()
            .any(|kept| kept.number == head.number && *kept != head)
        {
            self.faults.push(AuditFault::Other(head.number));
        }
    }

    /// The last entry, and everything that is wrong.
    #[must_use]
    pub fn finish(mut self) -> (Head, Vec<AuditFault>) {
        let end = self.head.number;
        let gone = self.kept.iter().filter(|kept| kept.number > end);
        let gone = gone.map(|kept| AuditFault::Short {
            end,
            kept: kept.number,
        });
        self.faults.extend(gone);
        (self.head, self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(length: u64) -> Vec<AuditEntry> {
        let mut before = GENESIS;
        (1..=length)
            .map(|number| {
                let mut entry = AuditEntry {
                    number,
                    at: Timestamp(1_790_000_000_000 + number.cast_signed()),
                    actor: "admin:ada".to_owned(),
                    act: "device.add".to_owned(),
                    subject: format!("dev_{number}"),
                    detail: "name=box".to_owned(),
                    hash: Vec::new(),
                };
                before = entry.hash_after(&before);
                entry.hash = before.to_vec();
                entry
            })
            .collect()
    }

    fn faults(log: &[AuditEntry], kept: &[Head]) -> Vec<AuditFault> {
        let mut chain = Chain::new(kept.to_vec());
        log.iter().for_each(|entry| chain.add(entry));
        chain.finish().1
    }

    fn head(entry: &AuditEntry) -> Head {
        Head {
            number: entry.number,
            hash: entry.hash.as_slice().try_into().unwrap(),
        }
    }

    #[test]
    fn what_was_changed_or_removed_is_named() {
        let good = log(9);
        let kept = [head(&good[4]), head(&good[8]), Head::EMPTY];
        assert_eq!(faults(&good, &kept), []);
        // Each field of each entry.
        let changes: [fn(&mut AuditEntry); 5] = [
            |entry| entry.at.0 += 1,
            |entry| entry.actor.push('x'),
            |entry| entry.act.push('x'),
            |entry| entry.subject.push('x'),
            |entry| entry.detail.push('x'),
        ];
        for (index, change) in (0..9).flat_map(|index| changes.map(|change| (index, change))) {
            let mut bad = good.clone();
            change(&mut bad[index]);
            let number = index as u64 + 1;
            assert_eq!(faults(&bad, &kept), [AuditFault::Hash(number)]);
        }
        // A letter that moves from one field to the next is a change.
        let mut bad = good.clone();
        (bad[3].actor, bad[3].act) = ("admin:ad".to_owned(), "adevice.add".to_owned());
        assert_eq!(faults(&bad, &kept), [AuditFault::Hash(4)]);
        let mut bad = good.clone();
        bad.remove(3);
        let gap = AuditFault::Number {
            wanted: 4,
            found: 5,
        };
        assert_eq!(faults(&bad, &kept), [gap]);
        // The newest: only a kept head tells.
        assert_eq!(faults(&good[..7], &[]), []);
        let short = AuditFault::Short { end: 7, kept: 9 };
        assert_eq!(faults(&good[..7], &kept), [short]);
        // All of it, written anew with good hashes.
        let mut anew = good.clone();
        anew[1].detail.push('x');
        let mut before = good[0].hash.as_slice().try_into().unwrap();
        for entry in &mut anew[1..] {
            before = entry.hash_after(&before);
            entry.hash = before.to_vec();
        }
        assert_eq!(faults(&anew, &[]), []);
        let other = [AuditFault::Other(5), AuditFault::Other(9)];
        assert_eq!(faults(&anew, &kept), other);
    }

    /// The hash of a known entry, made with another program: it must never change.
    #[test]
    fn the_hash_is_what_the_description_says() {
        let mut bytes = b"sealcast audit 1".to_vec();
        bytes.extend([0; 32]);
        bytes.extend(1_u64.to_be_bytes());
        bytes.extend(1_790_000_000_001_i64.to_be_bytes());
        for text in ["admin:ada", "device.add", "dev_1", "name=box"] {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        assert_eq!(log(1)[0].hash, crate::code::sha256(&bytes));
    }
}
