//! The Debian packages of those who take part: found, or installed, or named as missing.

use std::env;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::process::getuid;

use super::contender::Name;

/// How it shows that a package is there.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// A program that can be run.
    Program(&'static str),
    /// An element that GStreamer finds.
    Element(&'static str),
}

const SIGNS: [(&str, &[Sign]); 7] = [
    ("iproute2", &[Sign::Program("ip")]),
    ("srt-tools", &[Sign::Program("srt-live-transmit")]),
    (
        "rist-tools",
        &[Sign::Program("ristsender"), Sign::Program("ristreceiver")],
    ),
    (
        "gstreamer1.0-tools",
        &[
            Sign::Program("gst-launch-1.0"),
            Sign::Program("gst-inspect-1.0"),
        ],
    ),
    (
        "gstreamer1.0-plugins-good",
        &[Sign::Element("udpsrc"), Sign::Element("udpsink")],
    ),
    (
        "gstreamer1.0-plugins-bad",
        &[Sign::Element("srtpenc"), Sign::Element("srtpdec")],
    ),
    ("ffmpeg", &[Sign::Program("ffmpeg")]),
];

/// Makes one package be there; says its version.
///
/// # Errors
/// If it is missing and is not, or cannot be, installed.
pub(super) fn require(package: &'static str, install: bool) -> Result<String> {
    if !is_there(package) {
        if !install {
            bail!("{package} is missing: apt-get install {package}, or run without --no-install");
        }
        if !getuid().is_root() {
            bail!("{package} is missing: apt-get install {package}, or run as root");
        }
        apt(&["install", "-y", "-qq", "--no-install-recommends", package])?;
        if !is_there(package) {
            bail!("{package} is installed, but what it should bring is not there");
        }
    }
    Ok(format!("{package} {}", version(package)))
}

/// Makes all packages of `name` be there; says their versions.
///
/// # Errors
/// Names what is missing, and why.
pub(super) fn require_all(name: Name, install: bool) -> Result<Vec<String>> {
    let packages = name.packages().iter();
    packages.map(|package| require(package, install)).collect()
}

/// Asks for newer lists of packages, if any of these is missing and may be installed. Old lists may do, too.
pub(super) fn refresh(packages: &[&'static str], install: bool) {
    if install && getuid().is_root() && packages.iter().any(|package| !is_there(package)) {
        let _ = apt(&["update", "-qq"]);
    }
}

fn is_there(package: &str) -> bool {
    let signs = SIGNS.iter().find(|(name, _)| *name == package);
    signs.is_some_and(|(_, signs)| signs.iter().all(|sign| sign.is_there()))
}

impl Sign {
    fn is_there(self) -> bool {
        match self {
            Self::Program(name) => {
                let path = env::var_os("PATH").unwrap_or_default();
                env::split_paths(&path).any(|folder| folder.join(name).is_file())
            }
            Self::Element(name) => Command::new("gst-inspect-1.0")
                .args(["--exists", name])
                .output()
                .is_ok_and(|output| output.status.success()),
        }
    }
}

fn apt(args: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .args(["-o", "DPkg::Lock::Timeout=60"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("apt-get, which Debian has")?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("apt-get {}: {}", args.join(" "), errors.trim());
    }
    Ok(())
}

/// As dpkg knows it.
fn version(package: &str) -> String {
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${Version}", package])
        .output();
    match query {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => "of unknown version".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_package_that_somebody_needs_can_be_recognised() {
        for name in Name::value_variants() {
            for package in name.packages() {
                assert!(SIGNS.iter().any(|(known, _)| known == package), "{package}");
            }
        }
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_do() {
        assert!(!Sign::Program("no-such-program").is_there());
        assert!(!Sign::Element("no-such-element").is_there());
        assert!(Sign::Program("sh").is_there());
        let why = require("no-such-package", false).unwrap_err().to_string();
        assert!(why.contains("apt-get install no-such-package"), "{why}");
    }
}
