//! Sets of processor cores as the kernel writes them: `0-3,8`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The highest core number that is believed; the kernel's own bound is 8192.
const CORE_MAX: u32 = 65_535;

/// A set of cores. Printed and parsed as the kernel does: `0-3,8`; the empty set is empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreSet(BTreeSet<u32>);

/// Text that is no list of cores.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of cores such as 0-3,8")]
pub struct NotCores(String);

impl CoreSet {
    /// Whether it has no core.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of cores.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether `core` is in it.
    #[must_use]
    pub fn contains(&self, core: u32) -> bool {
        self.0.contains(&core)
    }

    /// The cores, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// What is in this and not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// What is in both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).copied().collect())
    }
}

impl FromIterator<u32> for CoreSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cores: I) -> Self {
        Self(cores.into_iter().collect())
    }
}

impl FromStr for CoreSet {
    type Err = NotCores;

    fn from_str(text: &str) -> Result<Self, NotCores> {
        let wrong = || NotCores(text.to_owned());
        let number = |part: &str| -> Result<u32, NotCores> {
            let core = part.trim().parse().map_err(|_| wrong())?;
            if core > CORE_MAX {
                return Err(wrong());
            }
            Ok(core)
        };
        let mut cores = BTreeSet::new();
        for part in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            match part.split_once('-') {
                Some((first, last)) => cores.extend(number(first)?..=number(last)?),
                None => {
                    cores.insert(number(part)?);
                }
            }
        }
        Ok(Self(cores))
    }
}

impl fmt::Display for CoreSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = left.next() {
            let mut last = first;
            while let Some(next) = left.next_if_eq(&(last + 1)) {
                last = next;
            }
            match first == last {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

impl Serialize for CoreSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CoreSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_the_kernel_does() {
        for (text, printed) in [
            ("", ""),
            ("0", "0"),
            ("0,1,2", "0-2"),
            ("8, 0-3\n", "0-3,8"),
            ("5-4", ""),
        ] {
            let cores: CoreSet = text.parse().unwrap();
            assert_eq!(cores.to_string(), printed, "{text:?}");
        }
        for wrong in ["a", "1-", "-1", "1,,2", "0-4294967295"] {
            assert!(wrong.parse::<CoreSet>().is_err(), "{wrong}");
        }
    }
}
