//! Why a datagram came to nothing: an enum that indexes a counter. Nothing on the path of hostile bytes builds a string.

/// Why a datagram was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Discard {
    /// Not a packet and not a control datagram of this protocol.
    Malformed,
    /// A packet of another channel.
    OtherChannel,
    /// Its lane is not certified for its epoch.
    Uncertified,
    /// Its key is not held (yet, or any more).
    UnknownKey,
    /// The tag does not fit: altered, forged, or another key under this number.
    BadTag,
    /// Accepted before, on the same leg.
    Replay,
    /// Accepted before from the other leg, or the other server: what a second leg is for.
    Duplicate,
    /// Older than what has been delivered.
    Late,
    /// Of a stripe group that is not the chosen one.
    SourceNotChosen,
    /// Longer than any payload this channel takes.
    Oversize,
    /// A Notice, certificate, manifest or key block whose signature does not hold.
    BadSignature,
    /// A Notice, certificate, manifest or key block beyond the bound on signature checks.
    SignatureBound,
    /// A Notice, certificate, manifest or key block that says nothing new.
    Known,
    /// A Notice, certificate or key block of an earlier term, revision or epoch.
    Stale,
    /// A valid control datagram that this side has no use for.
    Unexpected,
    /// A manifest or key block that nobody made who has the key of the lane or node.
    BadMac,
    /// A packet that a member sealed, but not the delivery server: its manifest lists another.
    Forged,
    /// A packet that no manifest listed in time, or for which there was no room until then.
    Unverified,
    /// A part of a key block that is for others.
    Elsewhere,
}

impl Discard {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 19] = [
        Self::Malformed,
        Self::OtherChannel,
        Self::Uncertified,
        Self::UnknownKey,
        Self::BadTag,
        Self::Replay,
        Self::Duplicate,
        Self::Late,
        Self::SourceNotChosen,
        Self::Oversize,
        Self::BadSignature,
        Self::SignatureBound,
        Self::Known,
        Self::Stale,
        Self::Unexpected,
        Self::BadMac,
        Self::Forged,
        Self::Unverified,
        Self::Elsewhere,
    ];

    /// The cause's name in metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::OtherChannel => "other_channel",
            Self::Uncertified => "uncertified",
            Self::UnknownKey => "unknown_key",
            Self::BadTag => "bad_tag",
            Self::Replay => "replay",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::SourceNotChosen => "source_not_chosen",
            Self::Oversize => "oversize",
            Self::BadSignature => "bad_signature",
            Self::SignatureBound => "signature_bound",
            Self::Known => "known",
            Self::Stale => "stale",
            Self::Unexpected => "unexpected",
            Self::BadMac => "bad_mac",
            Self::Forged => "forged",
            Self::Unverified => "unverified",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// One counter per cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// Counts one.
    pub fn count(&mut self, cause: Discard) {
        self.add(cause, 1);
    }

    /// Counts `n` of one cause.
    pub fn add(&mut self, cause: Discard, n: u64) {
        self.0[cause as usize] += n;
    }

    /// How many so far.
    #[must_use]
    pub fn of(&self, cause: Discard) -> u64 {
        self.0[cause as usize]
    }

    /// Every cause with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        Discard::ALL
            .into_iter()
            .map(|cause| (cause, self.of(cause)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_own_counter_and_name() {
        for (index, cause) in Discard::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
        let names: std::collections::BTreeSet<_> =
            Discard::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Discard::ALL.len());
    }
}
