//! Usage files of one run: one after the other, each a chain of blocks that is only appended to.
//!
//! No IO: [`UsageLog::next`] says what comes where in which file, and says it again until it is [`UsageLog::written`]. Whatever
//! of it reached the disk before, the same bytes at the same place count once.

use std::collections::VecDeque;
use std::time::Duration;

use super::BLOCK_RECORDS;
use super::kinds::{Kind, SourceKind, UsageIdentity};
use super::write::RecordWriter;
use crate::ids::Time;

/// Who counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// At which side.
    pub kind: SourceKind,
    /// As in [`UsageIdentity::source`].
    pub id: [u8; 16],
    /// This run: random.
    pub boot: [u8; 16],
}

impl Source {
    /// Delivery server, master (0) or slave of this number.
    #[must_use]
    pub fn numbered(kind: SourceKind, number: u32, boot: [u8; 16]) -> Self {
        let id = u128::from(number).to_be_bytes();
        Self { kind, id, boot }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        self.kind.source_name(self.id)
    }
}

/// When a file is ended and the next one begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// At this many bytes; a block more, at most.
    pub size: u64,
    /// At this age.
    pub age: Duration,
}

impl Default for Rotation {
    /// 16 MiB (some 300,000 records of channels) or an hour.
    fn default() -> Self {
        Self {
            size: 16 << 20,
            age: Duration::from_secs(3600),
        }
    }
}

/// Bytes for a file, to be made durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// The file.
    pub name: String,
    /// Where they begin; whatever stands there is from a try that failed. 0: the file is made.
    pub at: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The file ends with them.
    pub last: bool,
}

/// A file that is being written.
struct Current<K> {
    name: String,
    writer: RecordWriter<K>,
    began: Time,
    length: u64,
}

/// Makes usage files of what is added.
pub struct UsageLog<K> {
    source: Source,
    rotation: Rotation,
    sequence: u64,
    current: Option<Current<K>>,
    under_way: VecDeque<Append>,
}

impl<K> std::fmt::Debug for UsageLog<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageLog")
            .field("source", &self.source)
            .field("sequence", &self.sequence)
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

impl<K: Kind<Identity = UsageIdentity>> UsageLog<K> {
    /// No file is begun before there is something to count.
    #[must_use]
    pub fn new(source: Source, rotation: Rotation) -> Self {
        Self {
            source,
            rotation,
            sequence: 0,
            current: None,
            under_way: VecDeque::new(),
        }
    }

    /// Who counts.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Appends records, and ends files that are long or old enough. `wall_minus_boot` as in the identity, nanoseconds.
    pub fn add(&mut self, now: Time, wall_minus_boot: i64, records: &[K::Record]) {
        for block in records.chunks(BLOCK_RECORDS) {
            let current = self.current(now, wall_minus_boot);
            let bytes = current.writer.block(block);
            self.append(bytes);
            self.end_if_over(now);
        }
        self.end_if_over(now);
    }

    /// Ends the file that is being written.
    pub fn close(&mut self) {
        if let Some(current) = self.current.take() {
            self.sequence += 1;
            self.under_way.push_back(Append {
                bytes: current.writer.close(),
                name: current.name,
                at: current.length,
                last: true,
            });
        }
    }

    /// What is to be made durable next.
    #[must_use]
    pub fn next(&self) -> Option<&Append> {
        self.under_way.front()
    }

    /// It is durable.
    pub fn written(&mut self) {
        self.under_way.pop_front();
    }

    fn current(&mut self, now: Time, wall_minus_boot: i64) -> &mut Current<K> {
        let Self {
            source, sequence, ..
        } = self;
        let under_way = &mut self.under_way;
        self.current.get_or_insert_with(|| {
            let identity = UsageIdentity {
                kind: source.kind,
                source: source.id,
                boot: source.boot,
                sequence: *sequence,
                wall_minus_boot,
            };
            let name = identity.file_name();
            let (writer, header) = RecordWriter::create(&identity);
            let length = header.len() as u64;
            under_way.push_back(Append {
                name: name.clone(),
                at: 0,
                bytes: header,
                last: false,
            });
            Current {
                name,
                writer,
                began: now,
                length,
            }
        })
    }

    /// Bytes that come right after others of the same file go with them, in one write.
    fn append(&mut self, bytes: Vec<u8>) {
        let Some(current) = &mut self.current else {
            return;
        };
        let at = current.length;
        current.length += bytes.len() as u64;
        match self.under_way.back_mut() {
            Some(before) if before.at == 0 && before.name == current.name => {
                before.bytes.extend(bytes);
            }
            _ => self.under_way.push_back(Append {
                name: current.name.clone(),
                at,
                bytes,
                last: false,
            }),
        }
    }

    fn end_if_over(&mut self, now: Time) {
        let is_over = |current: &Current<K>| {
            current.length >= self.rotation.size || now.since(current.began) >= self.rotation.age
        };
        if self.current.as_ref().is_some_and(is_over) {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::records::{End, RecordFile, Usage, UsageFile};

    fn usage(packets: u64) -> Usage {
        Usage {
            channel: 1,
            lane: 1,
            epoch: 1,
            packets,
            bytes: packets * 1316,
            from: 0,
            until: 1,
        }
    }

    fn log(rotation: Rotation) -> UsageLog<UsageFile> {
        let source = Source::numbered(SourceKind::DeliveryServer, 1, [2; 16]);
        UsageLog::new(source, rotation)
    }

    /// Writes as much as there is room for; a write may fail though all of it is there.
    fn write(
        files: &mut BTreeMap<String, Vec<u8>>,
        append: &Append,
        room: usize,
        fails: bool,
    ) -> bool {
        let file = files.entry(append.name.clone()).or_default();
        file.truncate(usize::try_from(append.at).unwrap());
        assert_eq!(file.len() as u64, append.at, "nothing is left out");
        let written = append.bytes.len().min(room);
        file.extend(&append.bytes[..written]);
        written == append.bytes.len() && !fails
    }

    proptest! {
        /// MD-33, SEC-34: whatever the disk does, files that are done hold every record once; what a kill leaves is whole up to
        /// what was durable.
        #[test]
        fn md_33_sec_34_every_record_is_in_one_file_once_whatever_the_disk_does(
            steps in prop::collection::vec((1_u64..100, 0_usize..4, 0_u8..6, 0_usize..400), 1..60),
        ) {
            let mut log = log(Rotation { size: 600, age: Duration::from_secs(3600) });
            let (mut files, mut added, mut durable) = (BTreeMap::new(), 0, 0);
            for (now, (packets, records, fault, room)) in steps.into_iter().enumerate() {
                if log.next().is_none() {
                    durable = added;
                    log.add(Time(now as u64), 7, &vec![usage(packets); records]);
                    added += packets * records as u64;
                }
                let room = if fault < 2 { room } else { usize::MAX };
                while let Some(append) = log.next() {
                    if !write(&mut files, append, room, fault == 2) {
                        break;
                    }
                    log.written();
                }
                let seen: u64 = read(&files).iter().map(|(packets, _)| packets).sum();
                prop_assert!(durable <= seen && seen <= added);
            }
            log.close();
            while let Some(append) = log.next() {
                prop_assert!(write(&mut files, append, usize::MAX, false));
                log.written();
            }
            let read = read(&files);
            prop_assert!(read.iter().all(|(_, end)| *end == End::Closed));
            prop_assert_eq!(read.iter().map(|(packets, _)| packets).sum::<u64>(), added);
        }
    }

    /// Packets of each file that can be read, and how it ends.
    fn read(files: &BTreeMap<String, Vec<u8>>) -> Vec<(u64, End)> {
        // A killed writer may not even have come to the end of the header.
        let files = files
            .values()
            .filter_map(|bytes| RecordFile::<UsageFile>::read(bytes).ok());
        let packets = files.enumerate().map(|(sequence, file)| {
            assert_eq!(file.identity().sequence, sequence as u64);
            let packets = file.records().map(|usage| usage.packets).sum();
            (packets, file.end())
        });
        packets.collect()
    }

    #[test]
    fn files_end_by_size_and_by_age() {
        let age = Duration::from_secs(60);
        let mut log = log(Rotation {
            size: u64::MAX,
            age,
        });
        for second in 0..125 {
            log.add(Time(0).after(Duration::from_secs(second)), 0, &[usage(1)]);
        }
        let mut files = BTreeMap::new();
        while let Some(append) = log.next() {
            assert!(write(&mut files, append, usize::MAX, false));
            log.written();
        }
        let ends = [(61, End::Closed), (61, End::Closed), (3, End::Open)];
        assert_eq!(read(&files), ends);
        let name = format!("server-1-{}-000001.usage", "02".repeat(16));
        assert_eq!(files.keys().nth(1), Some(&name));
    }

    /// A file whose writer was killed is ended by whoever finds it.
    #[test]
    fn a_file_that_was_left_open_is_closed_where_it_is_whole() {
        let mut log = log(Rotation::default());
        log.add(Time(0), 0, &[usage(1), usage(2)]);
        log.add(Time(1), 0, &[usage(4)]);
        let mut files = BTreeMap::new();
        while let Some(append) = log.next() {
            assert!(write(&mut files, append, usize::MAX, false));
            log.written();
        }
        let mut bytes = files.into_values().next().unwrap();
        bytes.truncate(bytes.len() - 1);
        let file = RecordFile::<UsageFile>::read(&bytes).unwrap();
        assert!(matches!(file.end(), End::Torn { .. }));
        let (whole, end) = (file.whole(), RecordWriter::resume(&file).close());
        bytes.truncate(whole);
        bytes.extend(end);
        let file = RecordFile::<UsageFile>::read(&bytes).unwrap();
        assert_eq!(file.end(), End::Closed);
        assert_eq!(file.records().collect::<Vec<_>>(), [usage(1), usage(2)]);
    }
}
