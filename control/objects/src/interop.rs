//! What packagers of other software ask for, and how they are let in. A *packager* is whoever takes keys of Common Encryption
//! (ISO/IEC 23001-7): Shaka Packager, an encoder, another DRM's key server.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use rand_core::CryptoRng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::code::sha256;
use crate::problem::{Kind, Problem};
use crate::time::Timestamp;

/// Crypto periods of one request, at most.
pub const PERIODS_MAX: u32 = 100;
/// Length of a crypto period, at most: a week, seconds.
pub const PERIOD_SECONDS_MAX: u32 = 7 * 24 * 3600;
/// Bytes of a content id, at most.
pub const CONTENT_ID_MAX: usize = 64;

/// What a piece of content is called by those who package it: 1 to 64 bytes of their choice, in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ContentId(Vec<u8>);

/// It is no content id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a content id has 1 to {CONTENT_ID_MAX} bytes (as text: two hexadecimal digits each)")]
pub struct NoContentId;

impl ContentId {
    /// Takes its bytes.
    ///
    /// # Errors
    /// [`NoContentId`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, NoContentId> {
        if (1..=CONTENT_ID_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(NoContentId)
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl FromStr for ContentId {
    type Err = NoContentId;

    fn from_str(text: &str) -> Result<Self, NoContentId> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        Self::new(bytes.map_err(|_| NoContentId)?)
    }
}

impl TryFrom<String> for ContentId {
    type Error = NoContentId;

    fn try_from(text: String) -> Result<Self, NoContentId> {
        text.parse()
    }
}

impl From<ContentId> for String {
    fn from(id: ContentId) -> Self {
        id.to_string()
    }
}

/// What a key is for, as Widevine's common encryption API and CPIX name it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Track {
    /// Video up to standard definition.
    Sd,
    /// High definition.
    Hd,
    /// Ultra-high definition, 4K.
    Uhd1,
    /// Ultra-high definition, 8K.
    Uhd2,
    /// Sound.
    Audio,
}

impl Track {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Sd, Self::Hd, Self::Uhd1, Self::Uhd2, Self::Audio];

    /// As in requests, answers and the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd => "SD",
            Self::Hd => "HD",
            Self::Uhd1 => "UHD1",
            Self::Uhd2 => "UHD2",
            Self::Audio => "AUDIO",
        }
    }

    /// The track of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|track| track.name() == name)
    }
}

/// For which part of a piece of content keys are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Periods {
    /// One key per track for all of it.
    Whole,
    /// One key per track and crypto period.
    Rotating {
        /// The first crypto period.
        first: u32,
        /// How many: 1 to [`PERIODS_MAX`].
        count: u32,
        /// How long each is, seconds: 1 to [`PERIOD_SECONDS_MAX`].
        seconds: u32,
    },
}

impl Periods {
    /// The numbers of the crypto periods; `None` stands for the whole.
    pub fn numbers(self) -> impl Iterator<Item = Option<u32>> {
        let (whole, first, count) = match self {
            Self::Whole => (Some(None), 0, 0),
            Self::Rotating { first, count, .. } => (None, first, count),
        };
        whole
            .into_iter()
            .chain((first..).take(count as usize).map(Some))
    }
}

/// A packager's question: which keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// The channel, from whose roots they are derived.
    pub channel: u16,
    /// The packager's name of the content.
    pub content: ContentId,
    /// Which part of it.
    pub periods: Periods,
    /// Which tracks; not empty.
    pub tracks: BTreeSet<Track>,
}

impl Question {
    /// Checks the numbers.
    ///
    /// # Errors
    /// Which is out of range, and the range.
    pub fn checked(self) -> Result<Self, Problem> {
        let invalid = |detail: String| Err(Problem::new(Kind::Invalid, detail));
        if self.tracks.is_empty() {
            return invalid(
                "no track is named: name at least one of SD, HD, UHD1, UHD2, AUDIO".to_owned(),
            );
        }
        if let Periods::Rotating {
            first,
            count,
            seconds,
        } = self.periods
        {
            if !(1..=PERIODS_MAX).contains(&count) {
                return invalid(format!(
                    "{count} crypto periods in one request: from 1 to {PERIODS_MAX}; ask for the rest in another"
                ));
            }
            if first.checked_add(count).is_none() {
                return invalid(format!(
                    "crypto periods from {first} on, {count} of them: numbers have 32 bits"
                ));
            }
            if !(1..=PERIOD_SECONDS_MAX).contains(&seconds) {
                return invalid(format!(
                    "a crypto period of {seconds} s: from 1 s to {PERIOD_SECONDS_MAX} s (a week)"
                ));
            }
        }
        Ok(self)
    }
}

const TOKEN_PREFIX: &str = "sct_";
const TOKEN_BYTES: usize = 32;

/// A new bearer token as its text, and what the store keeps of it.
#[must_use]
pub fn new_token(rng: &mut dyn CryptoRng) -> (String, [u8; 32]) {
    let mut secret = zeroize::Zeroizing::new([0; TOKEN_BYTES]);
    rng.fill_bytes(secret.as_mut());
    let digits = data_encoding::HEXLOWER.encode(secret.as_ref());
    let token = format!("{TOKEN_PREFIX}{digits}");
    let hash = token_hash(&token);
    (token, hash)
}

/// What the store keeps of a token: SHA-256. It has 256 random bits, so nobody guesses it from this.
#[must_use]
pub fn token_hash(token: &str) -> [u8; 32] {
    sha256(token.as_bytes())
}

/// `POST /v1/packagers`: lets a packager in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPackager {
    /// What it is called.
    pub name: String,
    /// Channels whose keys it may take; not empty.
    pub channels: Vec<u16>,
    /// Its requests to the JSON key server are signed by this signer.
    #[serde(default)]
    pub signer: Option<String>,
}

/// What a packager is given, shown once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct PackagerSecrets {
    /// What it is called.
    pub name: String,
    /// The bearer token.
    pub token: String,
    /// What signs its requests, if they are signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerSecrets>,
}

/// What signs requests to the JSON key server.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct SignerSecrets {
    /// The signer's name.
    pub name: String,
    /// The AES key, hexadecimal.
    pub key: String,
    /// The initialisation vector, hexadecimal.
    pub iv: String,
}

impl fmt::Debug for PackagerSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackagerSecrets({}, ..)", self.name)
    }
}

impl fmt::Debug for SignerSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignerSecrets({}, ..)", self.name)
    }
}

/// A packager that is let in by token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Packager {
    /// What it is called.
    pub name: String,
    /// Channels whose keys it may take.
    pub channels: Vec<u16>,
    /// Who signs its requests to the JSON key server.
    pub signer: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// `POST /v1/interop/cpix/{channel}`: which keys a CPIX document is to hold.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpixRequest {
    /// The packager's name of the content, hexadecimal.
    pub content_id: ContentId,
    /// Tracks.
    pub tracks: BTreeSet<Track>,
    /// Crypto periods; left out: one key per track for the whole.
    #[serde(default)]
    pub periods: Option<CpixPeriods>,
}

/// Crypto periods of a [`CpixRequest`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CpixPeriods {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// How long each is, seconds.
    pub seconds: u32,
}

impl From<Option<CpixPeriods>> for Periods {
    fn from(periods: Option<CpixPeriods>) -> Self {
        match periods {
            None => Self::Whole,
            Some(CpixPeriods {
                first,
                count,
                seconds,
            }) => Self::Rotating {
                first,
                count,
                seconds,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    #[test]
    fn content_ids_come_back_and_wrong_ones_are_refused() {
        let id: ContentId = "0aFF".parse().unwrap();
        assert_eq!(
            (id.as_bytes(), id.to_string().as_str()),
            (&[10, 255][..], "0aff")
        );
        for wrong in ["", "0", "0g", &"00".repeat(65)] {
            assert_eq!(wrong.parse::<ContentId>(), Err(NoContentId), "{wrong}");
        }
        assert!("00".repeat(64).parse::<ContentId>().is_ok());
    }

    #[test]
    fn questions_out_of_range_are_refused() {
        let question = |periods, tracks: &[Track]| {
            let content = ContentId::new(vec![1]).unwrap();
            let tracks = tracks.iter().copied().collect();
            Question {
                channel: 1,
                content,
                periods,
                tracks,
            }
            .checked()
        };
        let rotating = |first, count, seconds| Periods::Rotating {
            first,
            count,
            seconds,
        };
        for good in [
            Periods::Whole,
            rotating(0, 1, 1),
            rotating(u32::MAX - 100, 100, 9),
        ] {
            assert!(question(good, &[Track::Sd]).is_ok(), "{good:?}");
            assert!(question(good, &[]).is_err(), "{good:?}");
        }
        for wrong in [
            rotating(0, 0, 1),
            rotating(0, 101, 1),
            rotating(u32::MAX, 1, 1),
            rotating(0, 1, 0),
            rotating(0, 1, 604_801),
        ] {
            assert!(question(wrong, &[Track::Sd]).is_err(), "{wrong:?}");
        }
        let numbers = |periods: Periods| periods.numbers().collect::<Vec<_>>();
        assert_eq!(numbers(Periods::Whole), [None]);
        assert_eq!(numbers(rotating(7, 2, 1)), [Some(7), Some(8)]);
    }

    #[test]
    fn tokens_differ_and_are_not_shown() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let ((token, hash), (other, _)) = (new_token(rng), new_token(rng));
        assert_ne!(token, other);
        assert_eq!(token_hash(&token), hash);
        let signer = SignerSecrets {
            name: "me".to_owned(),
            key: "c0ffee".to_owned(),
            iv: "beef".to_owned(),
        };
        let secrets = PackagerSecrets {
            name: "p".to_owned(),
            token: token.clone(),
            signer: Some(signer),
        };
        let shown = format!("{secrets:?} {:?}", secrets.signer);
        assert!(
            !shown.contains(&token) && !shown.contains("c0ffee") && !shown.contains("beef"),
            "{shown}"
        );
    }
}
