//! The table `[interop]` of `sealcast serve`: doors for packagers of other software.

use std::time::Duration;

use anyhow::{Result, ensure};
use sealcast_control::http::InteropConfig;
use serde::{Deserialize, Serialize};

use super::{as_text, opt_duration};

/// Keys are kept at least so long, and at most.
const RETENTION: [Duration; 2] = [
    Duration::from_secs(1),
    Duration::from_secs(10 * 365 * 24 * 3600),
];
/// Crypto periods that may be asked for ahead, at most.
const AHEAD_MAX: u32 = 100_000;

/// As in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InteropFile {
    #[serde(default)]
    key_server: Option<bool>,
    #[serde(default)]
    cpix: Option<bool>,
    #[serde(default)]
    nodes: Option<bool>,
    #[serde(default, deserialize_with = "opt_duration")]
    retention: Option<Duration>,
    #[serde(default)]
    ahead: Option<u32>,
    #[serde(default)]
    requests: Option<u32>,
}

/// Resolved.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InteropPlan {
    key_server: bool,
    cpix: bool,
    nodes: bool,
    #[serde(serialize_with = "as_text")]
    retention: Duration,
    ahead: u32,
    requests: u32,
}

impl InteropFile {
    /// With defaults for what is not given.
    ///
    /// # Errors
    /// Which setting is out of range.
    pub fn resolve(&self) -> Result<InteropPlan> {
        let default = InteropConfig::default();
        let retention = self.retention.unwrap_or(default.bounds.retention);
        let [shortest, longest] = RETENTION;
        ensure!(
            (shortest..=longest).contains(&retention),
            "interop.retention = {retention:?}: from {shortest:?} to {longest:?}; keys are kept for so long after their crypto period"
        );
        let ahead = self.ahead.unwrap_or(default.bounds.ahead);
        ensure!(
            (1..=AHEAD_MAX).contains(&ahead),
            "interop.ahead = {ahead}: from 1 to {AHEAD_MAX} crypto periods; Shaka Packager asks for some 110 ahead"
        );
        let requests = self.requests.unwrap_or(default.requests);
        ensure!(
            requests > 0,
            "interop.requests = 0: at least 1 in a minute; leave key_server and cpix out to close the doors"
        );
        Ok(InteropPlan {
            key_server: self.key_server.unwrap_or(default.key_server),
            cpix: self.cpix.unwrap_or(default.cpix),
            nodes: self.nodes.unwrap_or(default.nodes),
            retention,
            ahead,
            requests,
        })
    }
}

impl From<InteropPlan> for InteropConfig {
    fn from(plan: InteropPlan) -> Self {
        let mut config = Self {
            key_server: plan.key_server,
            cpix: plan.cpix,
            nodes: plan.nodes,
            requests: plan.requests,
            ..Self::default()
        };
        config.bounds.retention = plan.retention;
        config.bounds.ahead = plan.ahead;
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<InteropPlan> {
        toml::from_str::<InteropFile>(text)?.resolve()
    }

    #[test]
    fn doors_are_closed_unless_they_are_opened() {
        let config = InteropConfig::from(resolve("").unwrap());
        assert_eq!(config, InteropConfig::default());
        assert!(!config.key_server && !config.cpix && !config.nodes);
        let config = InteropConfig::from(resolve("cpix = true\nretention = \"2h\"").unwrap());
        assert!(config.cpix && !config.key_server);
        assert_eq!(config.bounds.retention, Duration::from_secs(7200));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (text, word) in [
            ("retention = \"0s\"", "interop.retention"),
            ("retention = \"11years\"", "interop.retention"),
            ("ahead = 0", "interop.ahead"),
            ("ahead = 100001", "interop.ahead"),
            ("requests = 0", "interop.requests"),
            ("key_sever = true", "key_sever"),
        ] {
            let error = resolve(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
