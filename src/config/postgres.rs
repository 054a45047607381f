//! Flags and the table `[postgres]` of `sealcast serve`: a store in PostgreSQL.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use sealcast_control::store::{Location, Postgres};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use super::opt_duration;

/// Flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PostgresArgs {
    /// Keep the store in this PostgreSQL database (postgres://USER@HOST:PORT/DATABASE) and not in the data folder
    #[arg(long, env = "SEALCAST_POSTGRES", value_name = "URL")]
    postgres: Option<String>,
    /// File with the password of the database's user, where it is not in the URL
    #[arg(long, env = "SEALCAST_POSTGRES_PASSWORD_FILE", value_name = "FILE")]
    postgres_password_file: Option<PathBuf>,
    /// Certificates (PEM) that the database's TLS certificate is checked with; needed when it is on another host
    #[arg(long, env = "SEALCAST_POSTGRES_CA", value_name = "FILE")]
    postgres_ca: Option<PathBuf>,
    /// How long this server leads after it was last heard in the database; another takes over then [default: 10s]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    postgres_lease: Option<Duration>,
}

/// As in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresFile {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    password_file: Option<PathBuf>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default, deserialize_with = "opt_duration")]
    lease: Option<Duration>,
}

/// Resolved.
#[derive(Clone, Debug)]
pub struct StorePlan {
    /// Which database is the store.
    pub location: Location,
    password_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

impl StorePlan {
    /// Whether the file needs no table to say it.
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.location, Location::Folder)
    }
}

impl Serialize for StorePlan {
    /// The table that says it, without the password.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut table = to.serialize_map(None)?;
        if let Location::Postgres(at) = &self.location {
            table.serialize_entry("url", &at.place())?;
            if let Some(file) = &self.password_file {
                table.serialize_entry("password_file", file)?;
            }
            if let Some(file) = &self.ca {
                table.serialize_entry("ca", file)?;
            }
            let lease = humantime::format_duration(at.lease());
            table.serialize_entry("lease", &lease.to_string())?;
        }
        table.end()
    }
}

impl PostgresArgs {
    /// With what the file says.
    ///
    /// # Errors
    /// Which setting is wrong, why, and what to do.
    pub fn resolve(&self, file: PostgresFile) -> Result<StorePlan> {
        let password_file = self.postgres_password_file.clone().or(file.password_file);
        let ca = self.postgres_ca.clone().or(file.ca);
        let lease = self.postgres_lease.or(file.lease);
        let location = match self.postgres.clone().or(file.url) {
            Some(url) => {
                let at = Postgres::new(&url, password_file.as_deref(), ca.as_deref(), lease)?;
                Location::Postgres(at)
            }
            None if password_file.is_some() || ca.is_some() || lease.is_some() => bail!(
                "there are settings of a PostgreSQL database, and none says where it is: give --postgres URL, or url in [postgres]"
            ),
            None => Location::Folder,
        };
        Ok(StorePlan {
            location,
            password_file,
            ca,
        })
    }
}
