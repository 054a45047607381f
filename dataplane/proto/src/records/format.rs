//! The bytes of headers and of the heads of blocks.

use sealcast_crypto::{DIGEST_LEN, sha256};

use super::BLOCK_RECORDS;

/// The format that is written; older ones are read if there are any.
pub const VERSION: u16 = 1;

/// What a record file begins with. Not text, and told apart from a copy that had its line ends changed.
pub(super) const MARK: [u8; 8] = *b"\x89SCREC\r\n";
/// Length of what stands before the identity.
pub(super) const FIXED: usize = 32;
/// A header that claims more is not believed.
pub(super) const HEADER_MAX: usize = 4096;

/// What a block begins with.
pub(super) const BLOCK_MARK: [u8; 4] = *b"BLCK";
/// The numbers of a block's head, which its check covers.
pub(super) const NUMBERS: usize = 16;
const CHECK: usize = 16;
/// Length of a block's head.
pub(super) const BLOCK_HEAD: usize = NUMBERS + CHECK + 2 * DIGEST_LEN;
/// A body that claims more is not believed.
pub(super) const BODY_MAX: usize = BLOCK_RECORDS * 256;

/// A SHA-256.
pub(super) type Hash = [u8; DIGEST_LEN];

/// What a file holds, as its header says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KindNumber {
    /// [`super::PacketTrace`].
    PacketTrace,
    /// [`super::RequestTrace`].
    RequestTrace,
    /// [`super::UsageFile`].
    Usage,
    /// [`super::KeyUsageFile`].
    KeyUsage,
    /// [`super::SessionFile`].
    Sessions,
    /// One that this version does not know.
    Unknown(u16),
}

impl KindNumber {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::PacketTrace => 1,
            Self::RequestTrace => 2,
            Self::Usage => 3,
            Self::KeyUsage => 4,
            Self::Sessions => 5,
            Self::Unknown(number) => number,
        }
    }

    pub(super) fn from_number(number: u16) -> Self {
        let known = [
            Self::PacketTrace,
            Self::RequestTrace,
            Self::Usage,
            Self::KeyUsage,
            Self::Sessions,
        ];
        let mut known = known.into_iter();
        let found = known.find(|kind| kind.number() == number);
        found.unwrap_or(Self::Unknown(number))
    }
}

impl std::fmt::Display for KindNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PacketTrace => f.write_str("a packet trace"),
            Self::RequestTrace => f.write_str("a trace of key requests"),
            Self::Usage => f.write_str("a usage file"),
            Self::KeyUsage => f.write_str("a usage file of a key server"),
            Self::Sessions => f.write_str("a file of sessions"),
            Self::Unknown(number) => write!(f, "a file of unknown kind {number}"),
        }
    }
}

/// `length` and the zeros after it.
pub(super) const fn padded(length: usize) -> usize {
    length.next_multiple_of(16)
}

/// The whole header.
pub(super) fn header(kind: KindNumber, layout: u64, identity: &[u8]) -> Vec<u8> {
    let length = FIXED + padded(identity.len()) + DIGEST_LEN;
    let small = |length: usize| u32::try_from(length).expect("a header is short");
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(MARK);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(kind.number().to_le_bytes());
    bytes.extend(small(length).to_le_bytes());
    bytes.extend(layout.to_le_bytes());
    bytes.extend(small(identity.len()).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(identity);
    bytes.resize(length - DIGEST_LEN, 0);
    let hash = sha256(&[&bytes]);
    bytes.extend(hash);
    bytes
}

/// The numbers of a header, not yet believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderNumbers {
    pub(super) version: u16,
    pub(super) kind: KindNumber,
    pub(super) length: usize,
    pub(super) layout: u64,
    pub(super) identity: usize,
    pub(super) reserved: u32,
}

impl HeaderNumbers {
    /// What stands after the mark.
    pub(super) fn read(bytes: &[u8; FIXED]) -> Self {
        let at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let wide = |at: usize| u32_at(bytes, at);
        Self {
            version: at(8),
            kind: KindNumber::from_number(at(10)),
            length: wide(12) as usize,
            layout: u64::from(wide(16)) | u64::from(wide(20)) << 32,
            identity: wide(24) as usize,
            reserved: wide(28),
        }
    }

    /// Whether the lengths agree with each other and with the limits.
    pub(super) fn fits(&self) -> bool {
        self.length <= HEADER_MAX
            && self.identity <= HEADER_MAX
            && self.length == FIXED + padded(self.identity) + DIGEST_LEN
            && self.reserved == 0
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

/// The head of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    pub(super) number: u32,
    pub(super) body: usize,
    pub(super) records: usize,
    pub(super) previous: Hash,
    pub(super) hash: Hash,
}

impl BlockHead {
    /// A head, if its numbers are what was written and within the limits.
    pub(super) fn read(bytes: &[u8; BLOCK_HEAD]) -> Option<Self> {
        let (numbers, rest) = bytes.split_at(NUMBERS);
        let (check, hashes) = rest.split_at(CHECK);
        if numbers[..4] != BLOCK_MARK || sha256(&[numbers])[..CHECK] != *check {
            return None;
        }
        let (mut previous, mut hash) = ([0; DIGEST_LEN], [0; DIGEST_LEN]);
        previous.copy_from_slice(&hashes[..DIGEST_LEN]);
        hash.copy_from_slice(&hashes[DIGEST_LEN..]);
        let head = Self {
            number: u32_at(numbers, 4),
            body: u32_at(numbers, 8) as usize,
            records: u32_at(numbers, 12) as usize,
            previous,
            hash,
        };
        (head.body <= BODY_MAX && head.records <= BLOCK_RECORDS).then_some(head)
    }
}

/// Hash of a block: of its numbers, the hash before, and its body with zeros.
pub(super) fn chain(numbers: &[u8], previous: &Hash, body: &[u8]) -> Hash {
    sha256(&[numbers, previous, body])
}

/// A whole block, and its hash.
pub(super) fn block(number: u32, records: usize, previous: &Hash, body: &[u8]) -> (Vec<u8>, Hash) {
    let small = |length: usize| u32::try_from(length).expect("blocks are bounded");
    let mut bytes = Vec::with_capacity(BLOCK_HEAD + padded(body.len()));
    bytes.extend(BLOCK_MARK);
    bytes.extend(number.to_le_bytes());
    bytes.extend(small(body.len()).to_le_bytes());
    bytes.extend(small(records).to_le_bytes());
    let mut filled = body.to_vec();
    filled.resize(padded(body.len()), 0);
    let hash = chain(&bytes, previous, &filled);
    let check = sha256(&[&bytes]);
    bytes.extend(&check[..CHECK]);
    bytes.extend(previous);
    bytes.extend(hash);
    bytes.extend(filled);
    (bytes, hash)
}
