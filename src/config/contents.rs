//! The table `[contents]` of `sealcast serve`: where files of contents are kept.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use sealcast_control::content::{ContentPlace, ContentsConfig, MAX, S3Place};
use sealcast_objects::content::Header;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

/// As in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContentsFile {
    #[serde(default)]
    max_bytes: Option<u64>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    access_key_file: Option<PathBuf>,
    #[serde(default)]
    secret_key_file: Option<PathBuf>,
    #[serde(default)]
    allow_http: bool,
}

/// Resolved.
#[derive(Clone, Debug)]
pub struct ContentsPlan(pub ContentsConfig);

impl Serialize for ContentsPlan {
    /// The table that says it.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut table = to.serialize_map(None)?;
        table.serialize_entry("max_bytes", &self.0.max)?;
        if let ContentPlace::S3(place) = &self.0.place {
            let (access, secret) = place.key_files();
            table.serialize_entry("url", &place.url())?;
            if let Some(endpoint) = place.endpoint() {
                table.serialize_entry("endpoint", endpoint)?;
            }
            table.serialize_entry("region", place.region())?;
            table.serialize_entry("access_key_file", access)?;
            table.serialize_entry("secret_key_file", secret)?;
            table.serialize_entry("allow_http", &place.allow_http())?;
        }
        table.end()
    }
}

impl ContentsFile {
    /// With defaults for what is not given.
    ///
    /// # Errors
    /// Which setting is wrong, why, and what to do.
    pub fn resolve(self) -> Result<ContentsPlan> {
        let max = self.max_bytes.unwrap_or(MAX);
        // Numbers in TOML have a sign.
        ensure!(
            (1..=Header::LENGTH_MAX).contains(&max),
            "contents.max_bytes = {max}: from 1 to {}",
            Header::LENGTH_MAX
        );
        let of_s3 = self.endpoint.is_some()
            || self.region.is_some()
            || self.access_key_file.is_some()
            || self.secret_key_file.is_some()
            || self.allow_http;
        let place = match (self.url, self.access_key_file, self.secret_key_file) {
            (None, _, _) if of_s3 => bail!(
                "[contents] has settings of a bucket, and none says which: give url = \"s3://BUCKET/PREFIX\""
            ),
            (None, _, _) => ContentPlace::Folder,
            (Some(url), Some(access), Some(secret)) => {
                let (endpoint, region) = (self.endpoint.as_deref(), self.region.as_deref());
                let keys = (access, secret);
                ContentPlace::S3(S3Place::new(&url, endpoint, region, keys, self.allow_http)?)
            }
            (Some(_), _, _) => bail!(
                "[contents] names a bucket, and not its keys: give access_key_file and secret_key_file"
            ),
        };
        Ok(ContentsPlan(ContentsConfig { place, max }))
    }
}
