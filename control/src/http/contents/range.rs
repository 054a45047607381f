//! Which part of a file is wanted: `Range`, `If-Range`, `If-None-Match` (RFC 9110 13, 14). One range; of several, the whole file is given.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What a request wants of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// All of it.
    All,
    /// These bytes: at least one, none of them behind the end.
    Part(Range<u64>),
    /// Bytes that are not there.
    Nothing,
}

/// Whether the asker has the file with this tag.
pub(super) fn known(headers: &HeaderMap, tag: &str) -> bool {
    let all = headers.get_all(header::IF_NONE_MATCH);
    let mut tags = all
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|tags| tags.split(','));
    tags.any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}

/// What is wanted of the file with this tag and length, which is not 0.
pub(super) fn wanted(headers: &HeaderMap, tag: &str, length: u64) -> Wanted {
    let one = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let Some(range) = one(header::RANGE) else {
        return Wanted::All;
    };
    // A part of another file is of no use; a date is no tag of ours.
    if one(header::IF_RANGE).is_some_and(|condition| condition.trim() != tag) {
        return Wanted::All;
    }
    part(range, length).unwrap_or(Wanted::All)
}

/// What a `Range` means; nothing if it is none that is understood, and then to be ignored.
fn part(range: &str, length: u64) -> Option<Wanted> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (from, to) = set.trim().split_once('-')?;
    let (from, to) = (from.trim(), to.trim());
    if from.is_empty() {
        // The last so many.
        let count = number(to)?;
        return Some(match count.min(length) {
            0 => Wanted::Nothing,
            count => Wanted::Part(length - count..length),
        });
    }
    let from = number(from)?;
    let last = match to {
        "" => u64::MAX,
        to => number(to)?,
    };
    if last < from {
        return None;
    }
    Some(if from < length {
        Wanted::Part(from..last.min(length - 1) + 1)
    } else {
        Wanted::Nothing
    })
}

/// Digits; a number beyond all is the greatest.
fn number(digits: &str) -> Option<u64> {
    let digits_only = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits_only.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(of: &[(HeaderName, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_range_is_what_rfc_9110_says() {
        let part = Wanted::Part;
        for (range, means) in [
            ("bytes=0-0", part(0..1)),
            ("bytes=0-", part(0..1000)),
            ("bytes=10-19", part(10..20)),
            ("bytes = 10 - 19", part(10..20)),
            ("Bytes=999-5000", part(999..1000)),
            ("bytes=5-99999999999999999999999", part(5..1000)),
            ("bytes=-1", part(999..1000)),
            ("bytes=-5000", part(0..1000)),
            ("bytes=1000-", Wanted::Nothing),
            ("bytes=1000-2000", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            // What is no range, another unit, or several of them: all of it.
            ("bytes=20-10", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes", Wanted::All),
            ("", Wanted::All),
            ("lines=1-2", Wanted::All),
        ] {
            let headers = headers(&[(header::RANGE, range)]);
            assert_eq!(wanted(&headers, "\"a\"", 1000), means, "{range}");
        }
        assert_eq!(wanted(&HeaderMap::new(), "\"a\"", 1000), Wanted::All);
    }

    #[test]
    fn a_condition_must_be_this_files_tag() {
        for (condition, same) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            ("Sun, 22 Nov 2026 20:00:00 GMT", false),
            ("", false),
        ] {
            let asked = headers(&[(header::RANGE, "bytes=1-2"), (header::IF_RANGE, condition)]);
            let means = if same {
                Wanted::Part(1..3)
            } else {
                Wanted::All
            };
            assert_eq!(wanted(&asked, "\"a\"", 10), means, "{condition}");
        }
        for (tags, is) in [
            ("\"a\"", true),
            ("\"b\", W/\"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            let asked = headers(&[(header::IF_NONE_MATCH, tags)]);
            assert_eq!(known(&asked, "\"a\""), is, "{tags}");
        }
    }
}
