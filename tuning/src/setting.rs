//! Settings of a host that can be read, changed and put back: sysctls, features of interfaces, files in /proc and /sys.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::facts::parse;
use crate::host::{Host, ProgramError};

/// Beginnings of sysctls that a change may write. A journal that names others is not followed: what a rule never changes
/// (`kernel.core_pattern`) must not be changed by who can write a file.
const SYSCTLS: [&str; 2] = ["net.", "kernel.io_uring_disabled"];
/// Where files that a change may write lie.
const WRITABLE: [&str; 4] = [
    "/proc/irq/",
    "/sys/class/net/",
    "/sys/devices/system/cpu/",
    "/sys/devices/system/clocksource/",
];

/// Something of a host that has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Setting {
    /// A sysctl; a dot within a name (of an interface) is written as a slash, as sysctl(8) does.
    Sysctl {
        /// For example `net.core.rmem_max`.
        key: String,
    },
    /// A feature of a network interface, `on` or `off`, as `ethtool -k` names it.
    Feature {
        /// The interface.
        interface: String,
        /// The feature.
        feature: String,
    },
    /// A file in /proc or /sys.
    File {
        /// Its path.
        path: String,
    },
}

/// A setting and the value it is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which.
    #[serde(flatten)]
    pub setting: Setting,
    /// The value to be.
    pub value: String,
}

/// Why a setting cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// It is not there: the interface is gone, the kernel lacks it.
    #[error("it is not there")]
    Gone,
    /// The system refuses.
    #[error("{0}")]
    Refused(#[from] io::Error),
    /// The program for it fails.
    #[error("{0}")]
    Program(#[from] ProgramError),
    /// It was written, but has another value.
    #[error("the kernel made {has:?} of it")]
    NotTaken {
        /// What it has now.
        has: String,
    },
    /// It lies outside of what the doctor may write.
    #[error("that is nothing the doctor writes to")]
    Foreign,
}

/// The sysctl's file. Dots and slashes change places.
#[must_use]
pub fn sysctl_path(key: &str) -> String {
    let swap = |sign| match sign {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = key.chars().map(swap).collect();
    format!("/proc/sys/{path}")
}

/// An interface's name within the key of a sysctl.
#[must_use]
pub fn in_key(interface: &str) -> String {
    interface.replace('.', "/")
}

/// A change of a sysctl.
pub(crate) fn sysctl(key: impl Into<String>, value: impl ToString) -> Change {
    let key = key.into();
    Change {
        setting: Setting::Sysctl { key },
        value: value.to_string(),
    }
}

/// A change of a file.
pub(crate) fn file(path: impl Into<String>, value: impl ToString) -> Change {
    let path = path.into();
    Change {
        setting: Setting::File { path },
        value: value.to_string(),
    }
}

impl Setting {
    /// The file it is, if it is one.
    fn path(&self) -> Result<Option<String>, SettingError> {
        let path = match self {
            Self::Feature { .. } => return Ok(None),
            Self::Sysctl { key } => {
                if !SYSCTLS.iter().any(|place| key.starts_with(place)) {
                    return Err(SettingError::Foreign);
                }
                sysctl_path(key)
            }
            Self::File { path } => {
                if !WRITABLE.iter().any(|place| path.starts_with(place)) {
                    return Err(SettingError::Foreign);
                }
                path.clone()
            }
        };
        if path.split('/').any(|part| part == "..") {
            return Err(SettingError::Foreign);
        }
        Ok(Some(path))
    }

    /// Its value now.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn read(&self, host: &Host) -> Result<String, SettingError> {
        match (self.path()?, self) {
            (Some(path), _) => host.try_read(&path).map_err(not_there),
            (None, Self::Feature { interface, feature }) => {
                let features = parse::features(&host.run("ethtool", &["-k", interface])?);
                let found = features.get(feature.as_str()).ok_or(SettingError::Gone)?;
                Ok(if found.on { "on" } else { "off" }.to_owned())
            }
            (None, _) => Err(SettingError::Foreign),
        }
    }

    /// Gives it a value and reads it back.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn write(&self, host: &Host, value: &str) -> Result<(), SettingError> {
        match (self.path()?, self) {
            (Some(path), _) => host.write(&path, value).map_err(not_there)?,
            (None, Self::Feature { interface, feature }) => {
                host.run("ethtool", &["-K", interface, feature, value])?;
            }
            (None, _) => return Err(SettingError::Foreign),
        }
        let has = self.read(host)?;
        if same(&has, value) {
            return Ok(());
        }
        Err(SettingError::NotTaken { has })
    }

    /// How a person would do it by hand.
    #[must_use]
    pub fn by_hand(&self, value: &str) -> String {
        match self {
            Self::Sysctl { key } => format!("sysctl -w {key}={value}"),
            Self::Feature { interface, feature } => {
                format!("ethtool -K {interface} {feature} {value}")
            }
            Self::File { path } => format!("echo {value} > {path}"),
        }
    }
}

fn not_there(error: io::Error) -> SettingError {
    match error.kind() {
        io::ErrorKind::NotFound => SettingError::Gone,
        _ => SettingError::Refused(error),
    }
}

/// Whether two values are one: the kernel writes tabs where it was given spaces.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl { key } => f.write_str(key),
            Self::Feature { interface, feature } => write!(f, "{feature} of {interface}"),
            Self::File { path } => f.write_str(path),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting.by_hand(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_an_interface_is_a_slash_in_a_key() {
        let key = format!("net.ipv4.conf.{}.rp_filter", in_key("eth0.100"));
        assert_eq!(key, "net.ipv4.conf.eth0/100.rp_filter");
        assert_eq!(
            sysctl_path(&key),
            "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"
        );
    }

    #[test]
    fn nothing_else_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path());
        for setting in [
            file("/etc/passwd", 1).setting,
            file("/sys/class/net/../../x", 1).setting,
            sysctl("net.//.//.x", 1).setting,
            sysctl("kernel.core_pattern", 1).setting,
        ] {
            assert!(matches!(
                setting.write(&host, "1"),
                Err(SettingError::Foreign)
            ));
        }
    }
}
