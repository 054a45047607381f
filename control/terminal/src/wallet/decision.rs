//! Whether a licence may be used: by its terms, the signed list of which count, and how often it was played. Pure: the clock is an argument.

use sealcast_crypto::VerifyingKey;
use sealcast_objects::DeviceId;
use sealcast_objects::id::{ContentId, LicenceId, Text};
use sealcast_objects::licence::{
    EndReason, Licence, Outside, StatusEntry, StatusList, Subject, Validity,
};
use sealcast_objects::signed::{self, NotSigned};
use sealcast_objects::time::Timestamp;

/// What is to be played or received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A channel, as it is sent.
    Channel(u16),
    /// A content, in whichever version there is a licence for.
    Content(ContentId),
}

impl Wanted {
    pub(super) fn covers(self, subject: Subject) -> bool {
        match (self, subject) {
            (Self::Channel(wanted), Subject::Channel(channel)) => wanted == channel,
            (Self::Content(wanted), Subject::Content(Text(content), _)) => wanted == content,
            _ => false,
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "channel {channel}"),
            Self::Content(content) => write!(f, "{}", Text(*content)),
        }
    }
}

/// A licence that may be used now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Valid {
    /// Until when, if it ends.
    pub until: Option<Timestamp>,
    /// How often it may be played still; nothing: as often as one likes.
    pub plays_left: Option<u32>,
}

/// Why nothing may be played or received. Each says what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is none for it.
    #[error(
        "there is no licence for {0}: buy one, or fetch what there is with `sealcast device sync`"
    )]
    NoLicence(Wanted),
    /// None of the keys that the wallet trusts has signed it.
    #[error("{licence} cannot be believed: {why}")]
    UnknownSigner {
        /// Which.
        licence: Text<LicenceId>,
        /// What is wrong.
        why: NotSigned,
    },
    /// It is another device's.
    #[error("{licence} is for {device} only")]
    OtherDevice {
        /// Which.
        licence: Text<LicenceId>,
        /// Whose it is.
        device: Text<DeviceId>,
    },
    /// It is not known which licences count.
    #[error("it is not known which licences count: `sealcast device sync` fetches the list")]
    NoList,
    /// The list is too old to go by.
    #[error(
        "the list of licences that count was good until {0}: `sealcast device sync` fetches a new one"
    )]
    ListOver(Timestamp),
    /// The list does not have it.
    #[error(
        "{0} is not on the list of licences that count: `sealcast device sync` fetches a new one"
    )]
    NotListed(Text<LicenceId>),
    /// It does not count for a while.
    #[error("{licence} is suspended since {since}: ask whoever gave it")]
    Suspended {
        /// Which.
        licence: Text<LicenceId>,
        /// Since when.
        since: Timestamp,
    },
    /// It never counts again.
    #[error("{licence} does not count since {since}{}", why(*.reason))]
    Invalid {
        /// Which.
        licence: Text<LicenceId>,
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: Option<EndReason>,
    },
    /// Its period has not begun.
    #[error("{licence} begins at {from}")]
    NotYet {
        /// Which.
        licence: Text<LicenceId>,
        /// When it begins.
        from: Timestamp,
    },
    /// Its period is over.
    #[error("{licence} ended at {at}: buy another one")]
    Ended {
        /// Which.
        licence: Text<LicenceId>,
        /// When it ended.
        at: Timestamp,
    },
    /// It was played as often as it may be.
    #[error("{licence} was played {plays} times, as often as it may be: buy another one")]
    UsedUp {
        /// Which.
        licence: Text<LicenceId>,
        /// How often.
        plays: u32,
    },
}

fn why(reason: Option<EndReason>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {}", reason.name()))
}

impl Refusal {
    /// Its word in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoLicence(_) => "no-licence",
            Self::UnknownSigner { .. } => "unknown-signer",
            Self::OtherDevice { .. } => "other-device",
            Self::NoList => "no-list",
            Self::ListOver(_) => "list-over",
            Self::NotListed(_) => "not-listed",
            Self::Suspended { .. } => "suspended",
            Self::Invalid { .. } => "invalid",
            Self::NotYet { .. } => "not-yet",
            Self::Ended { .. } => "ended",
            Self::UsedUp { .. } => "used-up",
        }
    }
}

/// What a licence is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    /// The device that wants to use it.
    pub device: DeviceId,
    /// The newest list that it has.
    pub list: Option<&'a StatusList>,
    /// How often it has played this licence.
    pub played: u32,
}

/// The licence in these bytes, if one of `signers` has signed it.
///
/// # Errors
/// [`Refusal::UnknownSigner`].
pub fn read(id: LicenceId, object: &[u8], signers: &[VerifyingKey]) -> Result<Licence, Refusal> {
    let refused = |why| Refusal::UnknownSigner {
        licence: Text(id),
        why,
    };
    by_any(object, signers).map_err(refused)
}

/// What any of these has signed.
pub(super) fn by_any<T: signed::Signed>(
    object: &[u8],
    signers: &[VerifyingKey],
) -> Result<T, NotSigned> {
    let mut why = NotSigned::Key;
    for key in signers {
        match signed::verify(object, key) {
            Ok(object) => return Ok(object),
            Err(NotSigned::Key) => {}
            Err(other) => why = other,
        }
    }
    Err(why)
}

/// Whether a licence may be used at `now`, and if not, why. A clock that is behind the list's is taken to stand at the list's: who puts it back gains
/// a week at most.
///
/// # Errors
/// [`Refusal`].
pub fn validity(licence: &Licence, by: &Holding<'_>, now: Timestamp) -> Result<Valid, Refusal> {
    let (id, plays) = (Text(licence.id), licence.terms.plays);
    if licence.device != by.device {
        return Err(Refusal::OtherDevice {
            licence: id,
            device: Text(licence.device),
        });
    }
    let now = listed(licence, by.list, now)?;
    match licence.terms.outside(now) {
        Some(Outside::Before(from)) => return Err(Refusal::NotYet { licence: id, from }),
        Some(Outside::After(at)) => return Err(Refusal::Ended { licence: id, at }),
        None => {}
    }
    match plays {
        Some(plays) if plays <= by.played => Err(Refusal::UsedUp { licence: id, plays }),
        _ => Ok(Valid {
            until: licence.terms.until,
            plays_left: plays.map(|plays| plays - by.played),
        }),
    }
}

/// Whether the list says that it counts; the time that it is by then, at least.
fn listed(
    licence: &Licence,
    list: Option<&StatusList>,
    now: Timestamp,
) -> Result<Timestamp, Refusal> {
    let id = Text(licence.id);
    let StatusList(account, _, issued, until, entries) = list.ok_or(Refusal::NoList)?;
    let now = now.max(*issued);
    let of_it = |(of, _, _): &&StatusEntry| *of == id && account.0 == licence.account;
    let entry = entries.iter().find(of_it);
    let changed = entry.and_then(|(_, _, changed)| *changed);
    let (since, reason) = changed.unwrap_or((*issued, None));
    // What never counts again needs no newer list.
    match entry.map(|(_, validity, _)| *validity) {
        Some(Validity::Invalid) => Err(Refusal::Invalid {
            licence: id,
            since,
            reason,
        }),
        _ if *until <= now => Err(Refusal::ListOver(*until)),
        None => Err(Refusal::NotListed(id)),
        Some(Validity::Suspended) => Err(Refusal::Suspended { licence: id, since }),
        Some(Validity::Valid) => Ok(now),
    }
}
