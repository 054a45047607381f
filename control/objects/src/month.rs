//! Months of the calendar, UTC: what bills are for.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// The first and the last that can be named.
const YEARS: std::ops::RangeInclusive<u32> = 2000..=9998;

/// A month. Travels as `2026-11`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Month(u32);

/// It is no month.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no month: write 2026-11")]
pub struct NoMonth(String);

impl Month {
    /// The month of this instant; those outside of the years 2000 to 9998 count as the first of all.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let text = at.to_string();
        text.get(..7)
            .and_then(|text| text.parse().ok())
            .unwrap_or(Self(YEARS.start() * 12))
    }

    /// Months since the year 0, as they stand in rows.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The month of this number; `None` beyond the years 2000 to 9998.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        YEARS.contains(&(number / 12)).then_some(Self(number))
    }

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        let text = format!("{self}-01T00:00:00Z");
        text.parse().expect("a month of four digits is a time")
    }

    /// The first instant after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    /// Its days: 28 to 31.
    #[must_use]
    pub fn days(self) -> u64 {
        (self.end().day() - self.start().day()).unsigned_abs()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 12, self.0 % 12 + 1)
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        let no_month = || NoMonth(text.to_owned());
        let (year, month) = text.split_once('-').ok_or_else(no_month)?;
        let digits = |part: &str, count| {
            let fits = part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| part.parse::<u32>().ok()).flatten()
        };
        match (digits(year, 4), digits(month, 2)) {
            (Some(year), Some(month @ 1..=12)) if YEARS.contains(&year) => {
                Ok(Self(year * 12 + month - 1))
            }
            _ => Err(no_month()),
        }
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Month {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Month".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[2-9][0-9]{3}-(0[1-9]|1[0-2])$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_days_and_follow_each_other() {
        let month = |text: &str| text.parse::<Month>().unwrap();
        for (text, days) in [("2026-11", 30), ("2028-02", 29), ("2100-02", 28)] {
            assert_eq!(month(text).days(), days);
            assert_eq!(month(text).to_string(), text);
        }
        assert_eq!(month("2026-12").next(), month("2027-01"));
        let mut at = month("2000-01");
        for _ in 0..12 * 400 {
            assert_eq!(at.end(), at.next().start());
            assert_eq!(Month::of(at.start()), at);
            assert_eq!(Month::of(Timestamp(at.end().0 - 1)), at);
            assert_eq!(Month::from_number(at.number()), Some(at));
            at = at.next();
        }
        assert_eq!(month("9998-12").days(), 31, "the last one has an end");
        for wrong in [
            "", "2026", "2026-00", "2026-13", "26-11", "1999-12", "9999-01", "2026-1",
        ] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
    }
}
