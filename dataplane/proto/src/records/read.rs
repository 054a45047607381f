//! Reading: everything is checked once, then records are read where they lie.

use std::fmt;

use rkyv::rancor::Failure;
use rkyv::vec::ArchivedVec;
use rkyv::{Archive, Archived};
use sealcast_crypto::{DIGEST_LEN, sha256};

use super::BLOCK_RECORDS;
use super::format::{
    self, BLOCK_HEAD, BlockHead, FIXED, Hash, HeaderNumbers, KindNumber, MARK, NUMBERS, VERSION,
    padded,
};
use super::kinds::{Kind, Stored};

/// Why a file is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It is something else.
    #[error(
        "this is no record file of sealcast (it does not begin with their mark): is it the right file?"
    )]
    Foreign,
    /// A later version wrote it.
    #[error(
        "the file has format version {0}, this program reads up to {VERSION}: read it with the version that wrote it"
    )]
    Future(u16),
    /// It is of another kind.
    #[error("this is {found}, wanted is {wanted}")]
    OtherKind {
        /// What it is.
        found: KindNumber,
        /// What was asked for.
        wanted: KindNumber,
    },
    /// Its records have other fields than this version's.
    #[error(
        "the records of this file are laid out otherwise (layout {found:016x}, here {wanted:016x}): another version of sealcast \
         wrote it; read it with that one"
    )]
    OtherLayout {
        /// The file's.
        found: u64,
        /// This version's.
        wanted: u64,
    },
    /// It ends before its end.
    #[error("the file is cut off at byte {at}: its end is missing; copy or make it again")]
    Truncated {
        /// Where the whole blocks end.
        at: usize,
    },
    /// The header is not what was written.
    #[error("the file's header is damaged: copy or make it again")]
    CorruptHeader,
    /// A block is not what was written.
    #[error("the file is damaged: block {block} at byte {at} is not what was written")]
    Corrupt {
        /// Its number, from 0.
        block: u32,
        /// Where it begins.
        at: usize,
    },
    /// Every block is whole, but this one does not follow the one before it.
    #[error(
        "the chain is broken: block {block} at byte {at} does not follow what stands before it; blocks were taken out, put in or \
         moved"
    )]
    ChainBroken {
        /// The number that it should have, from 0.
        block: u32,
        /// Where it begins.
        at: usize,
    },
}

/// How a file ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// As its writer ended it.
    Closed,
    /// After a whole block: it is being written, or its writer was killed.
    Open,
    /// Inside a block, whose records are not read: its writer, or the host, was stopped while writing.
    Torn {
        /// Where the block begins.
        at: usize,
        /// How many bytes are there of it.
        bytes: usize,
    },
}

/// A file that has been checked.
pub struct RecordFile<'a, K: Kind> {
    identity: K::Identity,
    blocks: Vec<&'a [Archived<K::Record>]>,
    /// Records up to the end of each block.
    ends: Vec<usize>,
    end: End,
    head: Hash,
    whole: usize,
}

impl<K: Kind> fmt::Debug for RecordFile<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordFile")
            .field("records", &self.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl<'a, K: Kind> RecordFile<'a, K> {
    /// Checks all of a file: lengths, layout, every record, the chain.
    ///
    /// # Errors
    /// [`RecordError`]. A file that was not closed is refused if it is a trace, and read as far as it is whole if it counts usage.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (identity, start) = read_header::<K>(bytes)?;
        let mut walk = Walk {
            bytes,
            at: start,
            number: 0,
            chain: [0; DIGEST_LEN],
        };
        walk.chain
            .copy_from_slice(&bytes[start - DIGEST_LEN..start]);
        let (mut blocks, mut ends, mut count) = (Vec::new(), Vec::new(), 0);
        let end = loop {
            match walk.step::<K>()? {
                Step::Block(records) => {
                    count += records.len();
                    ends.push(count);
                    blocks.push(records);
                }
                Step::End(end) => break end,
            }
        };
        if !K::OPEN_ENDED && end != End::Closed {
            return Err(RecordError::Truncated { at: walk.at });
        }
        Ok(Self {
            identity,
            blocks,
            ends,
            end,
            head: walk.chain,
            whole: walk.at,
        })
    }

    /// Whose file it is.
    #[must_use]
    pub fn identity(&self) -> &K::Identity {
        &self.identity
    }

    /// How it ends.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }

    /// Where its last whole block with records ends, bytes from the start.
    #[must_use]
    pub fn whole(&self) -> usize {
        self.whole
    }

    /// The last hash of the chain: two readers that see the same one have read the same records.
    #[must_use]
    pub fn chain_hash(&self) -> &[u8; DIGEST_LEN] {
        &self.head
    }

    /// The records of each block, where they lie in the file.
    pub fn blocks(&self) -> impl Iterator<Item = &'a [Archived<K::Record>]> {
        self.blocks.iter().copied()
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// One record, counted from 0, taken out of the file: for readers that keep their place themselves.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<K::Record> {
        // Where all blocks are full, as in traces, there is nothing to search.
        let mut block = index / BLOCK_RECORDS;
        if !(self.start_of(block)..*self.ends.get(block)?).contains(&index) {
            block = self.ends.partition_point(|&end| end <= index);
        }
        let record = self.blocks.get(block)?.get(index - self.start_of(block))?;
        Some(take::<K::Record>(record))
    }

    /// Records before this block.
    fn start_of(&self, block: usize) -> usize {
        let before = block
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        before.copied().unwrap_or(0)
    }

    /// The records, each taken out of the file when its turn comes.
    pub fn records(&self) -> impl Iterator<Item = K::Record> {
        self.blocks().flatten().map(take::<K::Record>)
    }
}

/// The numbers of a header, if it has the mark.
fn mark(bytes: &[u8]) -> Result<HeaderNumbers, RecordError> {
    if !bytes.starts_with(&MARK[..MARK.len().min(bytes.len())]) || bytes.is_empty() {
        return Err(RecordError::Foreign);
    }
    let fixed = bytes
        .first_chunk::<FIXED>()
        .ok_or(RecordError::Truncated { at: 0 })?;
    Ok(HeaderNumbers::read(fixed))
}

/// The identity, and where the blocks begin.
fn read_header<K: Kind>(bytes: &[u8]) -> Result<(K::Identity, usize), RecordError> {
    let numbers = mark(bytes)?;
    if numbers.version > VERSION {
        return Err(RecordError::Future(numbers.version));
    }
    if numbers.version == 0 || !numbers.fits() {
        return Err(RecordError::CorruptHeader);
    }
    let Some(header) = bytes.get(..numbers.length) else {
        return Err(RecordError::Truncated { at: 0 });
    };
    let (said, hash) = header.split_at(numbers.length - DIGEST_LEN);
    if sha256(&[said]) != hash {
        return Err(RecordError::CorruptHeader);
    }
    if numbers.kind != K::NUMBER {
        return Err(RecordError::OtherKind {
            found: numbers.kind,
            wanted: K::NUMBER,
        });
    }
    if numbers.layout != K::LAYOUT {
        return Err(RecordError::OtherLayout {
            found: numbers.layout,
            wanted: K::LAYOUT,
        });
    }
    let identity = &said[FIXED..FIXED + numbers.identity];
    let archived = rkyv::access::<Archived<K::Identity>, Failure>(identity)
        .map_err(|_| RecordError::CorruptHeader)?;
    Ok((take::<K::Identity>(archived), numbers.length))
}

fn take<T: Stored>(archived: &Archived<T>) -> T {
    rkyv::deserialize::<T, Failure>(archived).expect("plain values can always be taken out")
}

/// On the way through the blocks.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    number: u32,
    chain: Hash,
}

enum Step<'a, T: Archive> {
    Block(&'a [Archived<T>]),
    End(End),
}

impl<'a> Walk<'a> {
    fn step<K: Kind>(&mut self) -> Result<Step<'a, K::Record>, RecordError> {
        let (at, block) = (self.at, self.number);
        let rest = &self.bytes[at..];
        let torn = Step::End(End::Torn {
            at,
            bytes: rest.len(),
        });
        if rest.is_empty() {
            return Ok(Step::End(End::Open));
        }
        let corrupt = RecordError::Corrupt { block, at };
        // A file system may have made room for a block that it then did not write.
        if rest.iter().all(|&byte| byte == 0) {
            return Ok(torn);
        }
        let Some(head) = rest.first_chunk::<BLOCK_HEAD>() else {
            return Ok(torn);
        };
        let numbers = &head[..NUMBERS];
        let head = BlockHead::read(head).ok_or(corrupt)?;
        if head.number != block || head.previous != self.chain {
            return Err(RecordError::ChainBroken { block, at });
        }
        let end = BLOCK_HEAD + padded(head.body);
        let Some(body) = rest.get(BLOCK_HEAD..end) else {
            return Ok(torn);
        };
        if format::chain(numbers, &self.chain, body) != head.hash {
            let is_last = rest.len() == end && K::OPEN_ENDED && head.records > 0;
            return if is_last { Ok(torn) } else { Err(corrupt) };
        }
        if head.records == 0 {
            let alone = head.body == 0 && rest.len() == end;
            self.chain = head.hash;
            return alone.then_some(Step::End(End::Closed)).ok_or(corrupt);
        }
        let records = rkyv::access::<ArchivedVec<Archived<K::Record>>, Failure>(&body[..head.body])
            .map_err(|_| corrupt)?;
        if records.len() != head.records {
            return Err(corrupt);
        }
        (self.at, self.number, self.chain) = (at + end, block + 1, head.hash);
        Ok(Step::Block(records.as_slice()))
    }
}
