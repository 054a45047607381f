//! Where files of contents are kept, by the settings.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ClientOptions, RetryConfig};
use zeroize::Zeroizing;

use super::ContentsError;

/// A request to a bucket is given up when nothing was read for so long.
const SILENCE: Duration = Duration::from_secs(30);
/// A connection to it is given up after this.
const CONNECT: Duration = Duration::from_secs(5);
/// A request that fails is tried again for so long.
const RETRY: Duration = Duration::from_secs(20);

/// Where files of contents are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ContentPlace {
    /// In the folder `contents` of the server's data.
    #[default]
    Folder,
    /// In a bucket.
    S3(S3Place),
}

/// A bucket that speaks S3. Its keys are in files, and read when a server starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Place {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: String,
    access_key_file: PathBuf,
    secret_key_file: PathBuf,
    allow_http: bool,
}

fn wrong(setting: &'static str, why: impl Into<String>) -> ContentsError {
    ContentsError::Setting {
        setting,
        why: why.into(),
    }
}

impl S3Place {
    /// A bucket: `url` is `s3://BUCKET/PREFIX`; `endpoint` is where it is, unless at AWS in `region` (`us-east-1` if nothing is said); its keys
    /// are in two files. Plain HTTP is for this host only, unless it is allowed.
    ///
    /// # Errors
    /// [`ContentsError::Setting`].
    pub fn new(
        url: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
        keys: (PathBuf, PathBuf),
        allow_http: bool,
    ) -> Result<Self, ContentsError> {
        let place = url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let named = |part: &str| {
            part.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b))
        };
        if bucket.is_empty() || !named(place) {
            return Err(wrong(
                "url",
                format!("{url:?} is no bucket: write s3://BUCKET, or s3://BUCKET/PREFIX"),
            ));
        }
        if let Some(endpoint) = endpoint {
            check_endpoint(endpoint, allow_http)?;
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: endpoint.map(str::to_owned),
            region: region.unwrap_or("us-east-1").to_owned(),
            access_key_file: keys.0,
            secret_key_file: keys.1,
            allow_http,
        })
    }

    /// As in the setting `url`.
    #[must_use]
    pub fn url(&self) -> String {
        match self.prefix.as_str() {
            "" => format!("s3://{}", self.bucket),
            prefix => format!("s3://{}/{prefix}", self.bucket),
        }
    }

    /// As in the setting `endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// As in the setting `region`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Files of the access key and of the secret key.
    #[must_use]
    pub fn key_files(&self) -> (&Path, &Path) {
        (&self.access_key_file, &self.secret_key_file)
    }

    /// Whether plain HTTP is allowed to other hosts.
    #[must_use]
    pub fn allow_http(&self) -> bool {
        self.allow_http
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn open(&self) -> Result<AmazonS3, ContentsError> {
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_read_timeout(SILENCE)
            .with_connect_timeout(CONNECT);
        let retry = RetryConfig {
            max_retries: 5,
            retry_timeout: RETRY,
            ..RetryConfig::default()
        };
        let plain = self
            .endpoint
            .as_ref()
            .is_some_and(|url| url.starts_with("http:"));
        let mut builder = AmazonS3Builder::new()
            .with_client_options(client)
            .with_retry(retry)
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(secret(&self.access_key_file)?.as_str())
            .with_secret_access_key(secret(&self.secret_key_file)?.as_str())
            .with_allow_http(plain);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder
            .build()
            .map_err(|error| wrong("url", error.to_string()))
    }
}

fn secret(file: &Path) -> Result<Zeroizing<String>, ContentsError> {
    let text = fs::read_to_string(file).map(Zeroizing::new);
    let text = text.map_err(|why| ContentsError::Io {
        what: "read",
        path: file.to_path_buf(),
        why,
    })?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// What crosses a network goes over TLS; keys of the bucket sign requests, and contents are sealed, but nobody shall see who asks for what.
fn check_endpoint(endpoint: &str, allow_http: bool) -> Result<(), ContentsError> {
    let url = endpoint.parse::<Uri>().ok();
    let url = url.as_ref();
    let (scheme, host) = (url.and_then(Uri::scheme_str), url.and_then(Uri::host));
    match (scheme, host) {
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(host)) if allow_http || is_here(host) => Ok(()),
        (Some("http"), Some(_)) => Err(wrong(
            "endpoint",
            format!(
                "{endpoint} is plain HTTP to another host: give https://, or allow_http = true"
            ),
        )),
        _ => Err(wrong(
            "endpoint",
            format!("{endpoint:?} is no address: write https://HOST:PORT"),
        )),
    }
}

fn is_here(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
