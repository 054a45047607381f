//! Writing: bytes to append.

use std::fmt;
use std::marker::PhantomData;

use rkyv::rancor::Failure;
use sealcast_crypto::DIGEST_LEN;

use super::BLOCK_RECORDS;
use super::format::{self, Hash};
use super::kinds::{Kind, Stored};
use super::read::RecordFile;

/// Writes one file: [`RecordWriter::create`], [`RecordWriter::block`] as often as wanted, [`RecordWriter::close`].
pub struct RecordWriter<K> {
    chain: Hash,
    number: u32,
    kind: PhantomData<K>,
}

impl<K> fmt::Debug for RecordWriter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter")
            .field("blocks", &self.number)
            .finish_non_exhaustive()
    }
}

impl<K: Kind> RecordWriter<K> {
    /// Begins a file: what it begins with.
    #[must_use]
    pub fn create(identity: &K::Identity) -> (Self, Vec<u8>) {
        let header = format::header(K::NUMBER, K::LAYOUT, &archive(identity));
        let mut chain = [0; DIGEST_LEN];
        chain.copy_from_slice(&header[header.len() - DIGEST_LEN..]);
        let writer = Self {
            chain,
            number: 0,
            kind: PhantomData,
        };
        (writer, header)
    }

    /// Goes on after the whole blocks of a file that was not closed; its end must be cut off at [`RecordFile::whole`].
    #[must_use]
    pub fn resume(file: &RecordFile<'_, K>) -> Self {
        Self {
            chain: *file.chain_hash(),
            number: u32::try_from(file.blocks().count()).expect("blocks are numbered in 32 bits"),
            kind: PhantomData,
        }
    }

    /// The next block with these records; several if they are more than [`BLOCK_RECORDS`], nothing if there are none.
    pub fn block(&mut self, records: &[K::Record]) -> Vec<u8> {
        let blocks = records.chunks(BLOCK_RECORDS).map(|records| {
            let body = rkyv::to_bytes::<Failure>(&records.to_vec())
                .expect("plain records of a bounded block can always be archived");
            self.append(records.len(), &body)
        });
        blocks.flatten().collect()
    }

    /// Ends the file: nothing may follow.
    #[must_use]
    pub fn close(mut self) -> Vec<u8> {
        self.append(0, &[])
    }

    fn append(&mut self, records: usize, body: &[u8]) -> Vec<u8> {
        let (bytes, hash) = format::block(self.number, records, &self.chain, body);
        self.chain = hash;
        self.number += 1;
        bytes
    }
}

fn archive<T: Stored>(value: &T) -> Vec<u8> {
    rkyv::to_bytes::<Failure>(value)
        .expect("a plain struct can always be archived")
        .into_vec()
}
