//! A trace on its way into a file: records gather to blocks.

use std::fmt;
use std::io::{self, Write};

use sealcast_proto::records::{BLOCK_RECORDS, Kind, RecordWriter};

/// A trace that is being written. Without [`TraceFile::finish`] its end is missing, and it is refused when read.
pub struct TraceFile<K: Kind, W> {
    out: W,
    writer: RecordWriter<K>,
    waiting: Vec<K::Record>,
}

impl<K: Kind, W> fmt::Debug for TraceFile<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceFile")
            .field("writer", &self.writer)
            .finish_non_exhaustive()
    }
}

impl<K: Kind, W: Write> TraceFile<K, W> {
    /// Begins a trace.
    ///
    /// # Errors
    /// As `out` says.
    pub fn create(mut out: W, identity: &K::Identity) -> io::Result<Self> {
        let (writer, header) = RecordWriter::create(identity);
        out.write_all(&header)?;
        Ok(Self {
            out,
            writer,
            waiting: Vec::with_capacity(BLOCK_RECORDS),
        })
    }

    /// Takes a record; every [`BLOCK_RECORDS`] a block is written.
    ///
    /// # Errors
    /// As `out` says.
    pub fn push(&mut self, record: K::Record) -> io::Result<()> {
        self.waiting.push(record);
        if self.waiting.len() == BLOCK_RECORDS {
            self.write_waiting()?;
        }
        Ok(())
    }

    /// Ends the trace.
    ///
    /// # Errors
    /// As `out` says.
    pub fn finish(mut self) -> io::Result<()> {
        self.write_waiting()?;
        self.out.write_all(&self.writer.close())?;
        self.out.flush()
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        self.out.write_all(&self.writer.block(&self.waiting))?;
        self.waiting.clear();
        Ok(())
    }
}
