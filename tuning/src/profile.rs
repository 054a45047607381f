//! Profiles: what a host must offer for the part it plays.

use serde::{Deserialize, Serialize};

use crate::cores::CoreSet;
use crate::registry;

/// Profiles that are built in: name, text.
pub const BUILT_IN: [(&str, &str); 4] = [
    ("sender", include_str!("../profiles/sender.toml")),
    ("receiver", include_str!("../profiles/receiver.toml")),
    ("key-server", include_str!("../profiles/key-server.toml")),
    ("lab", include_str!("../profiles/lab.toml")),
];

/// How strictly the kernel may check sources of packets (`rp_filter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceCheck {
    /// Not at all (0).
    Off,
    /// Any route back to the source will do (2).
    Loose,
    /// The route back must be by the same interface (1).
    #[default]
    Strict,
}

/// What is demanded of a host. A number of 0 demands nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The built-in profile that this one changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// For whom it is.
    pub about: String,
    /// Cores that shards are pinned to.
    pub cores: CoreSet,
    /// Executors when no cores are named.
    pub executors: u64,
    /// Whether they wait in io_uring (`--executor io-uring`), or packets are sent without copies (`zero_copy`).
    pub io_uring: bool,
    /// Multicast groups that the host sends or receives.
    pub groups: u64,
    /// Longest payload, bytes.
    pub payload: u64,
    /// Whether it goes by IPv6.
    pub ipv6: bool,
    /// Least value of net.core.rmem_max, bytes.
    pub rmem_max: u64,
    /// Least value of net.core.wmem_max, bytes.
    pub wmem_max: u64,
    /// Least value of net.core.rmem_default, bytes.
    pub rmem_default: u64,
    /// Least value of net.core.wmem_default, bytes.
    pub wmem_default: u64,
    /// Least value of net.core.netdev_max_backlog, packets.
    pub netdev_max_backlog: u64,
    /// Least value of net.core.netdev_budget, packets.
    pub netdev_budget: u64,
    /// Least length of an interface's queue, packets.
    pub tx_queue_len: u64,
    /// Least soft limit of open files.
    pub open_files: u64,
    /// The strictest check of sources that still lets everything in.
    pub rp_filter: SourceCheck,
    /// The frequency governor that cores should have; empty: any.
    pub governor: String,
    /// Features of interfaces that should be on, as `ethtool -k` names them.
    pub features: Vec<String>,
    /// Rules that do not matter here.
    pub skip: Vec<String>,
}

/// A profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is no TOML, or has keys or values that are unknown.
    #[error("{0}")]
    Wrong(#[from] toml::de::Error),
    /// It wants to change a built-in one that does not exist.
    #[error("base = {0:?}: there are sender, receiver, key-server, lab")]
    NoSuchBase(String),
    /// It leaves out a rule that does not exist.
    #[error("skip: there is no rule {0:?}; there are: {1}")]
    NoSuchRule(String, String),
}

impl Profile {
    /// A built-in profile by its name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(own, _)| *own == name)?;
        Self::parse(text).ok()
    }

    /// A profile from TOML. With `base` the keys that it lacks come from the built-in profile of that name.
    ///
    /// # Errors
    /// [`ProfileError`]; unknown keys are refused.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        // Errors of the text itself name its lines, so it is read by itself first.
        let own: Self = toml::from_str(text)?;
        let profile = match &own.base {
            None => own,
            Some(base) => {
                let (_, below) = BUILT_IN
                    .iter()
                    .find(|(name, _)| name == base)
                    .ok_or_else(|| ProfileError::NoSuchBase(base.clone()))?;
                let mut all: toml::Table = toml::from_str(below)?;
                all.extend(toml::from_str::<toml::Table>(text)?);
                toml::Value::Table(all).try_into()?
            }
        };
        let rules = registry::ids();
        match profile.skip.iter().find(|id| !rules.contains(&id.as_str())) {
            Some(unknown) => Err(ProfileError::NoSuchRule(unknown.clone(), rules.join(", "))),
            None => Ok(profile),
        }
    }

    /// Executors that will run: one per core named.
    #[must_use]
    pub fn executors(&self) -> u64 {
        match self.cores.len() {
            0 => self.executors.max(1),
            cores => cores as u64,
        }
    }

    /// The longest IP packet that it sends: 12 bytes of header and 16 of tag around the payload, then UDP and IP.
    #[must_use]
    pub const fn packet(&self) -> u64 {
        let headers = if self.ipv6 { 48 } else { 28 };
        self.payload + 28 + headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_profiles_are_good_and_say_for_whom() {
        for (name, text) in BUILT_IN {
            let profile = Profile::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!profile.about.is_empty(), "{name}");
            assert_eq!(Profile::built_in(name), Some(profile));
        }
        assert_eq!(Profile::built_in("nonsense"), None);
    }

    #[test]
    fn unknown_keys_values_rules_and_bases_are_refused_by_name() {
        for (text, word) in [
            ("rmem_mx = 1", "rmem_mx"),
            ("rp_filter = \"tight\"", "tight"),
            ("cores = \"a\"", "a"),
            ("skip = [\"nonsense\"]", "nonsense"),
            ("base = \"nonsense\"", "nonsense"),
            ("groups = -1", "-1"),
            ("base = \"sender\"\ngrups = 1", "grups"),
        ] {
            let said = Profile::parse(text).unwrap_err().to_string();
            assert!(said.contains(word), "{text}: {said}");
        }
    }

    #[test]
    fn a_profile_may_change_a_built_in_one() {
        let sender = Profile::built_in("sender").unwrap();
        let own = Profile::parse("base = \"sender\"\ngroups = 300\ncores = \"2-3\"").unwrap();
        assert_eq!((own.groups, own.executors()), (300, 2));
        assert_eq!(own.rmem_max, sender.rmem_max);
        assert_eq!(own.packet(), 1372);
    }
}
