//! Record files: fixed-layout records (rkyv) in blocks that are chained by hashes, read where they lie (INT-16, SEC-33, SEC-34).
//!
//! ```text
//! header   mark 8 | version u16 | kind u16 | header length u32 | layout hash u64 | identity length u32 | 0 u32
//!          identity (rkyv), zeros up to 16 | SHA-256 of all before
//! block    "BLCK" | number u32 | body length u32 | records u32 | first 16 bytes of SHA-256 of these 16
//!          hash of the block before (of the header for block 0) | hash of this block
//!          body (rkyv: a vector of records), zeros up to 16
//! end      a block with no records and no body
//! ```
//! All numbers are little endian. A block's hash is the SHA-256 of its first 16 bytes, the hash before, and the body with its
//! zeros. The chain shows any change but one: a file that is not closed may have lost its last blocks. A trace must be closed;
//! a usage file whose writer was killed is not, and is read as far as its blocks are whole ([`End`]).
//!
//! No IO here: [`RecordWriter`] returns bytes to append, [`RecordFile`] reads a `&[u8]` at any address. Whatever the bytes are,
//! reading ends in a [`RecordError`] or in records; lengths are checked against limits before they are believed. rkyv is named
//! only in this room.
//!
//! | file | what |
//! |---|---|
//! | `kinds.rs` | the kinds of files, their identities and records |
//! | `sessions.rs` | the kind that holds secrets: sessions for load generators |
//! | `layout.rs` | the layout hash: a record that was changed cannot be read by mistake |
//! | `format.rs` | the bytes of header and block heads |
//! | `write.rs`, `read.rs` | [`RecordWriter`], [`RecordFile`] |
//! | `log.rs` | [`UsageLog`]: usage files of one run, one after the other |

mod format;
mod kinds;
mod layout;
mod log;
mod read;
mod sessions;
mod write;

pub use format::{KindNumber, VERSION};
pub use kinds::{
    Cause, Content, KeyUsage, KeyUsageFile, Kind, Origin, PacketTrace, REQUESTS, RequestTrace,
    SourceKind, TraceIdentity, TracedPacket, TracedRequest, Usage, UsageFile, UsageIdentity,
};
pub use layout::LaidOut;
pub use log::{Append, Rotation, Source, UsageLog};
pub use read::{End, RecordError, RecordFile};
pub use sessions::{MintedSession, SESSION_FILE_CHANNELS, SessionFile, SessionsIdentity};
pub use write::RecordWriter;

/// Records of one block, at most; [`RecordWriter::block`] makes several blocks of more.
pub const BLOCK_RECORDS: usize = 1 << 14;

#[cfg(test)]
mod tests;
