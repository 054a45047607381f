//! Keys of Common Encryption that packagers were given: the same question has the same answer, until its keys are deleted.
//!
//! A packager numbers its *crypto periods* by its own time, from any number on, and asks for them ahead. The first one asked for is
//! the anchor of a content: from it, when a period ends is known, hence how far ahead a question is, and how long its keys are kept.

use std::time::Duration;

use sealcast_objects::code::sha256;
use sealcast_objects::interop::{Periods, Question, Track};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, params, refuse};

/// Bytes of a key id, and of the seed of those that are made.
pub const KID_LEN: usize = 16;
/// Contents of a channel that are remembered. Of more, the one that ended first is forgotten.
pub const CONTENTS_MAX: u64 = 4096;
/// `period` of a key for the whole content.
const WHOLE: i64 = -1;

/// Settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// How long keys are kept after the end of their crypto period.
    pub retention: Duration,
    /// Crypto periods that may be asked for ahead of their time.
    pub ahead: u32,
}

/// One key's place: for what it is, and its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The crypto period; `None`: the whole content.
    pub period: Option<u32>,
    /// The track.
    pub track: Track,
    /// The key id.
    pub kid: [u8; KID_LEN],
}

/// A key that was given out.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// For what it is.
    pub place: Place,
    /// The epoch whose root it is derived from.
    pub epoch: u64,
    /// The sealed key.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("place", &self.place)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// What is known of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Keys that were given out before.
    pub keys: Vec<Key>,
    /// Keys that are still to be made.
    pub missing: Vec<Place>,
    content: Content,
    is_new: bool,
}

/// The row of a content.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Content {
    anchor: Option<Anchor>,
    dropped: Option<u32>,
    ends_at: Timestamp,
}

/// The crypto period that was asked for first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Anchor {
    period: u32,
    at: Timestamp,
    seconds: u32,
}

impl Anchor {
    /// When crypto period `number` ends, as if the first one began when it was asked for.
    fn end(self, number: u32) -> Timestamp {
        let periods = i64::from(number) + 1 - i64::from(self.period);
        let ms = periods.saturating_mul(1000 * i64::from(self.seconds));
        Timestamp(self.at.0.saturating_add(ms))
    }

    /// Which crypto periods may be asked for.
    fn window(self, now: Timestamp, ahead: u32) -> (i64, i64) {
        let gone = now.0.saturating_sub(self.at.0).max(0) / (1000 * i64::from(self.seconds));
        let (first, ahead) = (i64::from(self.period), i64::from(ahead));
        (
            first - ahead,
            first.saturating_add(gone).saturating_add(ahead),
        )
    }
}

/// What was given out for this question, and what is still to be made; its key ids are made of `seed`, which must be
/// random and new. Follow it with [`keep`].
///
/// # Errors
/// Keys are deleted already, or too far ahead; another length of period than before; the store's.
pub fn find(
    store: &mut dyn Read,
    now: Timestamp,
    bounds: Bounds,
    question: &Question,
    seed: [u8; KID_LEN],
) -> Result<Found> {
    let known = content(store, question)?;
    let is_new = known.is_none();
    let mut content = known.unwrap_or(Content {
        anchor: None,
        dropped: None,
        ends_at: now,
    });
    if content.ends_at.after(bounds.retention) <= now {
        return refuse(
            Kind::Conflict,
            format!(
                "content id {} is over: nothing of it was asked for since {}, and its keys are deleted; choose another content id",
                question.content, content.ends_at
            ),
        );
    }
    content.ends_at = content.ends_at.max(now);
    if let Periods::Rotating { first, seconds, .. } = question.periods {
        let anchor = *content.anchor.get_or_insert(Anchor {
            period: first,
            at: now,
            seconds,
        });
        if anchor.seconds != seconds {
            return refuse(
                Kind::Conflict,
                format!(
                    "content id {} has crypto periods of {} s, not {seconds} s: keep to that, or choose another content id",
                    question.content, anchor.seconds
                ),
            );
        }
    }
    let stored = keys(store, question)?;
    let mut found = Found {
        keys: Vec::new(),
        missing: Vec::new(),
        content,
        is_new,
    };
    for period in question.periods.numbers() {
        for &track in &question.tracks {
            match stored
                .iter()
                .find(|key| key.place.period == period && key.place.track == track)
            {
                Some(key) => found.keys.push(key.clone()),
                None => {
                    found.content.admit(now, bounds, question, period)?;
                    let kid = kid(question.channel, &seed, period, track);
                    found.missing.push(Place { period, track, kid });
                }
            }
        }
        let end = found
            .content
            .anchor
            .zip(period)
            .map(|(anchor, number)| anchor.end(number));
        found.content.ends_at = found.content.ends_at.max(end.unwrap_or(now));
    }
    Ok(found)
}

impl Content {
    /// Whether a key of this crypto period may still, or already, be made.
    fn admit(
        &self,
        now: Timestamp,
        bounds: Bounds,
        question: &Question,
        period: Option<u32>,
    ) -> Result<()> {
        let Some((anchor, number)) = self.anchor.zip(period) else {
            return Ok(());
        };
        let content = &question.content;
        if self.dropped.is_some_and(|dropped| number <= dropped) {
            return refuse(
                Kind::Conflict,
                format!(
                    "the keys of crypto period {number} of content id {content} are deleted: they are kept for {} s after its end \
                     (retention)",
                    bounds.retention.as_secs()
                ),
            );
        }
        let (low, high) = anchor.window(now, bounds.ahead);
        if !(low..=high).contains(&i64::from(number)) {
            return refuse(
                Kind::Conflict,
                format!(
                    "crypto period {number} of content id {content} is out of reach: it began with {} at {}, so {low} to {high} may be \
                     asked for now ({} ahead); choose another content id if its time was set anew, or raise `ahead`",
                    anchor.period, anchor.at, bounds.ahead
                ),
            );
        }
        Ok(())
    }
}

/// The key id of a place. It depends on randomness, so that no other place has it, nor this one after it was forgotten (a content that was
/// over, an old copy of the store): one id, one key.
fn kid(channel: u16, seed: &[u8; KID_LEN], period: Option<u32>, track: Track) -> [u8; KID_LEN] {
    let mut bytes = b"sealcast cenc kid".to_vec();
    bytes.extend(seed);
    bytes.extend(channel.to_be_bytes());
    bytes.extend(period.map_or(WHOLE, i64::from).to_be_bytes());
    bytes.extend(track.name().as_bytes());
    let hash = sha256(&bytes);
    std::array::from_fn(|index| hash[index])
}

fn content(store: &mut dyn Read, question: &Question) -> Result<Option<Content>> {
    let row = store.first(
        "SELECT first_period, first_at, period_s, dropped, ends_at FROM cenc_content WHERE channel = $1 AND content = $2",
        params![question.channel, question.content.as_bytes()],
    )?;
    let read = |row: Row| {
        let anchor = (
            row.get::<Option<u32>>(0)?,
            row.get::<Option<i64>>(1)?,
            row.get::<Option<u32>>(2)?,
        );
        Ok::<_, StoreError>(Content {
            anchor: match anchor {
                (Some(period), Some(at), Some(seconds)) => Some(Anchor {
                    period,
                    at: Timestamp(at),
                    seconds,
                }),
                _ => None,
            },
            dropped: row.get(3)?,
            ends_at: Timestamp(row.get(4)?),
        })
    };
    Ok(row.map(read).transpose()?)
}

/// Keys of the question's content in the question's periods.
fn keys(store: &mut dyn Read, question: &Question) -> Result<Vec<Key>> {
    let (low, high) = match question.periods {
        Periods::Whole => (WHOLE, WHOLE),
        Periods::Rotating { first, count, .. } => {
            (i64::from(first), i64::from(first) + i64::from(count) - 1)
        }
    };
    let rows = store.query(
        "SELECT kid, period, track, epoch, sealed FROM cenc_key WHERE channel = $1 AND content = $2 AND period BETWEEN $3 AND $4",
        params![question.channel, question.content.as_bytes(), low, high],
    )?;
    let read = |row: &Row| {
        let track: String = row.get(2)?;
        let period: i64 = row.get(1)?;
        let place = Place {
            period: u32::try_from(period).ok(),
            track: Track::from_name(&track)
                .ok_or_else(|| StoreError::Damaged(format!("track {track:?}")))?,
            kid: row.get(0)?,
        };
        Ok(Key {
            place,
            epoch: row.get(3)?,
            sealed: row.get(4)?,
        })
    };
    Ok(rows
        .iter()
        .map(read)
        .collect::<std::result::Result<_, StoreError>>()?)
}

/// Makes durable what is to be answered: `made` has a key for each place that [`find`] missed. Nothing may have been kept for the
/// content in between.
///
/// # Errors
/// Too many contents of the channel; the store's.
pub fn keep(
    tx: &mut dyn Tx,
    now: Timestamp,
    bounds: Bounds,
    question: &Question,
    found: &Found,
    made: &[Key],
) -> Result<()> {
    let (channel, id) = (question.channel, question.content.as_bytes());
    let Content {
        anchor, ends_at, ..
    } = found.content;
    if found.is_new {
        make_room(tx, now, bounds, channel)?;
        tx.execute(
            "INSERT INTO cenc_content (channel, content, ends_at) VALUES ($1, $2, $3)",
            params![channel, id, ends_at.0],
        )?;
    }
    tx.execute(
        "UPDATE cenc_content SET first_period = $1, first_at = $2, period_s = $3, ends_at = $4 WHERE channel = $5 AND content = $6",
        params![
            anchor.map(|anchor| anchor.period),
            anchor.map(|anchor| anchor.at.0),
            anchor.map(|anchor| anchor.seconds),
            ends_at.0,
            channel,
            id
        ],
    )?;
    for Key {
        place,
        epoch,
        sealed,
    } in made
    {
        let end = anchor
            .zip(place.period)
            .map(|(anchor, number)| anchor.end(number));
        tx.execute(
            "INSERT INTO cenc_key (kid, channel, content, period, track, epoch, sealed, ends_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            params![
                place.kid,
                channel,
                id,
                place.period.map_or(WHOLE, i64::from),
                place.track.name(),
                *epoch,
                sealed.as_slice(),
                end.unwrap_or(now).max(now).0
            ],
        )?;
    }
    // The key of the whole lives as long as anything of the content is asked for.
    tx.execute(
        "UPDATE cenc_key SET ends_at = $1 WHERE channel = $2 AND content = $3 AND period = $4",
        params![ends_at.0, channel, id, WHOLE],
    )?;
    Ok(())
}

/// A channel at its bound forgets the content that has been over for longest.
fn make_room(tx: &mut dyn Tx, now: Timestamp, bounds: Bounds, channel: u16) -> Result<()> {
    let count = tx.first(
        "SELECT COUNT(*) FROM cenc_content WHERE channel = $1",
        params![channel],
    )?;
    let count = count.map(|row| row.get::<u64>(0)).transpose()?;
    if count.unwrap_or(0) < CONTENTS_MAX {
        return Ok(());
    }
    delete_over(tx, now, bounds.retention)?;
    let forgotten = tx.execute(
        "DELETE FROM cenc_content WHERE channel = $1 AND content = (SELECT content FROM cenc_content c WHERE c.channel = $1 AND NOT \
         EXISTS (SELECT 1 FROM cenc_key k WHERE k.channel = c.channel AND k.content = c.content) ORDER BY c.ends_at LIMIT 1)",
        params![channel],
    )?;
    if forgotten == 0 {
        return refuse(
            Kind::Conflict,
            format!(
                "channel {channel} has {CONTENTS_MAX} content ids whose keys are still kept: use one of them, or shorten the retention"
            ),
        );
    }
    Ok(())
}

/// When the crypto period of the oldest key ends, or ended.
///
/// # Errors
/// The store's.
pub fn next_end(store: &mut dyn Read) -> Result<Option<Timestamp>> {
    let row = store.first("SELECT ends_at FROM cenc_key ORDER BY ends_at LIMIT 1", &[])?;
    Ok(row.map(|row| row.get(0).map(Timestamp)).transpose()?)
}

/// Deletes keys whose time is over, and remembers up to which crypto period; returns how many.
///
/// # Errors
/// The store's.
pub fn delete_over(tx: &mut dyn Tx, now: Timestamp, retention: Duration) -> Result<u64> {
    let before = now.before(retention);
    let rows = tx.query(
        "SELECT channel, content, MAX(period) FROM cenc_key WHERE ends_at <= $1 AND period >= 0 GROUP BY channel, content",
        params![before.0],
    )?;
    for row in rows {
        let (channel, content, period): (u16, Vec<u8>, u32) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        tx.execute(
            "UPDATE cenc_content SET dropped = $1 WHERE channel = $2 AND content = $3 AND (dropped IS NULL OR dropped < $1)",
            params![period, channel, content],
        )?;
    }
    Ok(tx.execute(
        "DELETE FROM cenc_key WHERE ends_at <= $1",
        params![before.0],
    )?)
}
