//! The kinds of record files: who they are from (identity), and what they hold (records). A field that is added, moved or
//! renamed here changes the layout hash, and files of before are refused.
#![expect(
    missing_debug_implementations,
    reason = "rkyv makes types for archiving that nobody names"
)]

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Portable, Serialize};

use super::format::KindNumber;
use super::layout::{self, LaidOut, choice, record};

/// What a kind of files holds.
pub trait Kind {
    /// Whose file it is: stands in the header.
    type Identity: Stored;
    /// One record.
    type Record: Stored;
    /// The number in the header.
    const NUMBER: KindNumber;
    /// Whether a file that was not closed is read as far as its blocks are whole.
    const OPEN_ENDED: bool;
    /// Layout of identity and records together.
    const LAYOUT: u64 = layout::number(
        layout::number(layout::START, <Self::Identity as LaidOut>::LAYOUT),
        <Self::Record as LaidOut>::LAYOUT,
    );
}

/// A type that can stand in a record file: archived, checked, and taken out again, without allocation.
pub trait Stored:
    LaidOut
    + Copy
    + 'static
    + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Failure>>
    + Archive<
        Archived: Portable
                      + Deserialize<Self, HighDeserializer<Failure>>
                      + for<'a> CheckBytes<HighValidator<'a, Failure>>,
    >
{
}

impl<T> Stored for T where
    T: LaidOut
        + Copy
        + 'static
        + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Failure>>
        + Archive<
            Archived: Portable
                          + Deserialize<T, HighDeserializer<Failure>>
                          + for<'a> CheckBytes<HighValidator<'a, Failure>>,
        >
{
}

/// Sizes and times of payloads, to be replayed with made-up content.
#[derive(Clone, Copy, Debug)]
pub enum PacketTrace {}

impl Kind for PacketTrace {
    type Identity = TraceIdentity;
    type Record = TracedPacket;
    const NUMBER: KindNumber = KindNumber::PacketTrace;
    const OPEN_ENDED: bool = false;
}

/// When devices ask key servers for what, for load generators.
#[derive(Clone, Copy, Debug)]
pub enum RequestTrace {}

impl Kind for RequestTrace {
    type Identity = TraceIdentity;
    type Record = TracedRequest;
    const NUMBER: KindNumber = KindNumber::RequestTrace;
    const OPEN_ENDED: bool = false;
}

/// What was sent or opened, by channel, epoch and lane (MD-33).
#[derive(Clone, Copy, Debug)]
pub enum UsageFile {}

/// What key servers gave to whom, by session and channel (MD-33, MD-34).
#[derive(Clone, Copy, Debug)]
pub enum KeyUsageFile {}

impl Kind for KeyUsageFile {
    type Identity = UsageIdentity;
    type Record = KeyUsage;
    const NUMBER: KindNumber = KindNumber::KeyUsage;
    const OPEN_ENDED: bool = true;
}

impl Kind for UsageFile {
    type Identity = UsageIdentity;
    type Record = Usage;
    const NUMBER: KindNumber = KindNumber::Usage;
    const OPEN_ENDED: bool = true;
}

choice! {
    /// Where a trace comes from.
    Origin {
        /// Recorded from a live feed or a capture.
        Captured = 1,
        /// Made up from a seed.
        Synthetic = 2,
    }
}

record! {
    /// Whose trace it is.
    TraceIdentity {
        /// Recorded or made up.
        origin: Origin,
        /// The seed it was made from; 0 when recorded.
        seed: u64,
    }
}

choice! {
    /// What a payload is made of.
    Content {
        /// Any bytes.
        Opaque = 0,
        /// Whole TS packets (188 bytes each).
        Ts = 1,
        /// RTP with whole TS packets inside.
        RtpTs = 2,
    }
}

record! {
    /// One payload of a feed.
    TracedPacket {
        /// Nanoseconds since the start of the trace; never less than the record's before.
        at: u64,
        /// The channel, counting from 1 in the order of appearance.
        channel: u16,
        /// Bytes of the payload.
        length: u16,
        /// What it is made of.
        content: Content,
    }
}

choice! {
    /// How a key request came about.
    Cause {
        /// The second preset was reached.
        Timer = 1,
        /// A Notice came.
        Notice = 2,
        /// A packet came under a key that was not held.
        UnknownKey = 3,
        /// A device joined.
        Join = 4,
    }
}

record! {
    /// One key request of a population of devices.
    TracedRequest {
        /// Nanoseconds since the start of the trace; never less than the record's before.
        at: u64,
        /// The device, counting from 0.
        device: u32,
        /// The channel.
        channel: u16,
        /// The epoch wanted, counting from 1 at the start of the trace; 0: whatever is current.
        epoch: u64,
        /// How it came about.
        cause: Cause,
    }
}

choice! {
    /// Who counted.
    SourceKind {
        /// A delivery server: what it sealed and sent.
        DeliveryServer = 1,
        /// A device: what it opened and took.
        Device = 2,
        /// A key server: which keys it gave to whom.
        KeyServer = 3,
    }
}

impl SourceKind {
    /// What a source is called, as names of files begin: `server-1`, `master`, `slave-1`, `dev_` and the device's id. `source` as
    /// in [`UsageIdentity::source`].
    #[must_use]
    pub fn source_name(self, source: [u8; 16]) -> String {
        let number = u128::from_be_bytes(source);
        match self {
            Self::DeliveryServer => format!("server-{number}"),
            Self::Device => format!("dev_{number:032x}"),
            Self::KeyServer if number == 0 => "master".to_owned(),
            Self::KeyServer => format!("slave-{number}"),
        }
    }
}

record! {
    /// Whose usage file it is. Source, boot and sequence name the file: whoever takes files in takes each once.
    UsageIdentity {
        /// Who counted.
        kind: SourceKind,
        /// The device's id; or the number of the delivery server or slave in the last four bytes (big endian), 0 for a master.
        source: [u8; 16],
        /// One run of the program that counts: random.
        boot: [u8; 16],
        /// The file's number in this run, from 0 without gaps.
        sequence: u64,
        /// Wall clock minus boot clock when the file was begun, nanoseconds: for people only.
        wall_minus_boot: i64,
    }
}

impl UsageIdentity {
    /// What the source is called.
    #[must_use]
    pub fn source_name(&self) -> String {
        self.kind.source_name(self.source)
    }

    /// What the file is called: names of a run's files are in the order in which they were written.
    #[must_use]
    pub fn file_name(&self) -> String {
        let (run, sequence) = (u128::from_be_bytes(self.boot), self.sequence);
        format!("{}-{run:032x}-{sequence:06}.usage", self.source_name())
    }
}

record! {
    /// What passed since the record before on the same channel, epoch and lane: records add up.
    Usage {
        /// The channel.
        channel: u16,
        /// The lane.
        lane: u8,
        /// The epoch.
        epoch: u64,
        /// Packets.
        packets: u64,
        /// Bytes of payload.
        bytes: u64,
        /// Counted from, nanoseconds of the host's boot clock.
        from: u64,
        /// Counted until.
        until: u64,
    }
}

record! {
    /// What one session got for one channel, up to [`REQUESTS`] requests. A request that was answered more than once stands here
    /// once, but maybe in other records, too: session and number tell.
    KeyUsage {
        /// The session.
        session: [u8; 16],
        /// Whose device.
        account: [u8; 16],
        /// The device.
        device: [u8; 16],
        /// The channel.
        channel: u16,
        /// The request number that place 0 stands for.
        number_base: u64,
        /// What places count epochs from.
        epoch_base: u64,
        /// By place: the epoch in use that was given, 1 + its distance from the base; 0: there is no such request.
        current: [u8; 16],
        /// By place: the epoch after it that was given, in the same way; 0: none.
        next: [u8; 16],
        /// Answers with keys, to requests asked again, too.
        answers: u32,
        /// The first answer, nanoseconds of the host's boot clock.
        from: u64,
        /// The last answer.
        until: u64,
    }
}

/// Places in a [`KeyUsage`].
pub const REQUESTS: usize = 16;
