//! Events: entries of the audit log as webhooks and readers of `/v1/events` get them.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::AuditEntry;
use crate::time::Timestamp;

/// Type of the event that tries a webhook.
pub const TEST: &str = "webhook.test";
/// Stands before the digits of an event's id.
const PREFIX: &str = "evt_";
/// Bytes of an event's id.
const ID_LEN: usize = 16;
/// Names and prefixes of one filter, at most.
const FILTER_MAX: usize = 50;
/// Letters of each, at most.
const NAME_MAX: usize = 60;

/// One event: the body of a webhook, the data of a server-sent event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The act: `right.give`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was done, by the server's clock.
    pub timestamp: Timestamp,
    /// What was done.
    pub data: EventData,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventData {
    /// Of the entry in the audit log: from 1, without gaps; 0 of a trial.
    pub number: u64,
    /// Who: a role, a colon, a name; or `server`.
    pub actor: String,
    /// To what: an id, mostly.
    pub subject: String,
    /// What else is worth knowing.
    pub detail: Detail,
}

/// The detail of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Detail {
    /// By name; values are text always.
    Words(BTreeMap<String, String>),
    /// As it stands, where it is not made of `name=value` words.
    Text(String),
}

impl From<&AuditEntry> for Event {
    fn from(entry: &AuditEntry) -> Self {
        Self {
            kind: entry.act.clone(),
            timestamp: entry.at,
            data: EventData {
                number: entry.number,
                actor: entry.actor.clone(),
                subject: entry.subject.clone(),
                detail: Detail::of(&entry.detail),
            },
        }
    }
}

/// The id of the event that is this entry: the same however often it is sent and to whom. It comes of the entry's hash, so that one that was
/// written again under the same number, after a restore, has another.
#[must_use]
pub fn id(entry: &AuditEntry) -> String {
    id_of(entry.hash.get(..ID_LEN).unwrap_or(&entry.hash))
}

/// An id of these bytes.
#[must_use]
pub fn id_of(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", HEXLOWER.encode(bytes))
}

impl Detail {
    /// Of the text of an entry.
    #[must_use]
    pub fn of(text: &str) -> Self {
        words(text).map_or_else(|| Self::Text(text.to_owned()), Self::Words)
    }
}

/// `name=value` words; a value with spaces stands in quotes, escaped as Rust does.
fn words(text: &str) -> Option<BTreeMap<String, String>> {
    let (mut words, mut rest) = (BTreeMap::new(), text);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        // A name that comes twice is none of ours.
        if words.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = match after {
            "" => "",
            after => after.strip_prefix(' ')?,
        };
    }
    Some(words)
}

/// What stands before the closing quote, and what comes after it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.chars());
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                'u' => {
                    let (digits, after) = chars.as_str().strip_prefix('{')?.split_once('}')?;
                    chars = after.chars();
                    char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
                }
                plain @ ('"' | '\\' | '\'') => plain,
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
}

/// It is no filter.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadFilter {
    /// Too long.
    #[error("a filter has at most {FILTER_MAX} names: leave it empty for all events")]
    TooMany,
    /// No name.
    #[error(
        "{0:?} is no event: write an act as the audit log has it, such as right.give, or the beginning of some, such as right.*"
    )]
    NoEvent(String),
}

/// Whether these are names of acts, or beginnings of names that end in `.*`.
///
/// # Errors
/// [`BadFilter`].
pub fn check_filter(filter: &[String]) -> Result<(), BadFilter> {
    if filter.len() > FILTER_MAX {
        return Err(BadFilter::TooMany);
    }
    let good = |name: &&String| {
        let stem = name.strip_suffix(".*").unwrap_or(name);
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        name.len() <= NAME_MAX
            && stem
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(letter))
    };
    match filter.iter().find(|name| !good(name)) {
        Some(bad) => Err(BadFilter::NoEvent(bad.clone())),
        None => Ok(()),
    }
}

/// Whether a filter lets this act through; an empty one lets all.
#[must_use]
pub fn matches(filter: &[String], act: &str) -> bool {
    let lets = |name: &String| match name.strip_suffix('*') {
        Some(beginning) => act.starts_with(beginning),
        None => act == name,
    };
    filter.is_empty() || filter.iter().any(lets)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_detail_is_its_words_or_stays_text() {
        let words = |pairs: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Detail::Words(pairs.iter().map(pair).collect())
        };
        for (text, detail) in [
            ("", words(&[])),
            (
                "version=3 bytes=12",
                words(&[("version", "3"), ("bytes", "12")]),
            ),
            (
                "title=\"A \\\"film\\\"\" genre=\"\" kind=video",
                words(&[("title", "A \"film\""), ("genre", ""), ("kind", "video")]),
            ),
            (
                "reason=\"two\\nlines \\u{1f}\"",
                words(&[("reason", "two\nlines \u{1f}")]),
            ),
            ("hosts=a,b=c", words(&[("hosts", "a,b=c")])),
        ] {
            assert_eq!(Detail::of(text), detail, "{text}");
        }
        for text in [
            "nothing of the kind",
            "a=1 a=2",
            "a=\"open",
            "a=\"x\"y",
            "=1",
            "a=1  b=2",
        ] {
            assert_eq!(Detail::of(text), Detail::Text(text.to_owned()));
        }
    }

    proptest! {
        /// Whatever is written down as `Act::with(name, format_args!("{value:?}"))` does is read again.
        #[test]
        fn quoted_values_come_back(first: String, second: String) {
            let text = format!("first={first:?} second={second:?}");
            let wanted = [("first", first), ("second", second)];
            let wanted = wanted.map(|(name, value)| (name.to_owned(), value));
            prop_assert_eq!(Detail::of(&text), Detail::Words(BTreeMap::from(wanted)));
        }

        #[test]
        fn no_text_ends_it(text: String) {
            let _ = Detail::of(&text);
        }
    }

    #[test]
    fn filters_name_acts_or_their_beginnings() {
        assert!(matches(&[], "right.give"));
        let some = filter(&["right.*", "device.add"]);
        assert_eq!(check_filter(&some), Ok(()));
        for (act, lets) in [
            ("right.give", true),
            ("rights.end", false),
            ("device.add", true),
            ("device.addition", false),
            ("device.set", false),
        ] {
            assert_eq!(matches(&some, act), lets, "{act}");
        }
        for bad in ["", "*", ".*", "right*", "Right.give", "right..give", "a b"] {
            let error = check_filter(&filter(&[bad])).unwrap_err();
            assert_eq!(error, BadFilter::NoEvent(bad.to_owned()));
        }
        let many = vec!["right.*".to_owned(); FILTER_MAX + 1];
        assert_eq!(check_filter(&many), Err(BadFilter::TooMany));
    }

    #[test]
    fn an_event_says_what_the_entry_says() {
        let entry = AuditEntry {
            number: 7,
            at: Timestamp(1_790_000_000_123),
            actor: "admin:ada".to_owned(),
            act: "right.give".to_owned(),
            subject: "dev_1".to_owned(),
            detail: "channel=1 reason=\"a gift\"".to_owned(),
            hash: (0..32).collect(),
        };
        let json = serde_json::to_value(Event::from(&entry)).unwrap();
        let wanted = serde_json::json!({
            "type": "right.give",
            "timestamp": "2026-09-21T14:13:20.123Z",
            "data": {
                "number": 7,
                "actor": "admin:ada",
                "subject": "dev_1",
                "detail": {"channel": "1", "reason": "a gift"}
            }
        });
        assert_eq!(json, wanted);
        assert_eq!(id(&entry), "evt_000102030405060708090a0b0c0d0e0f");
    }
}
