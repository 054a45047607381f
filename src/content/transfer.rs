//! Files on their way, with a bar on a terminal.

use std::io::IsTerminal as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use sealcast_objects::ContentId;
use sealcast_objects::api::{Content, ContentVersion};
use sealcast_objects::id::Text;
use sealcast_terminal::content::{self, TransferError};

use super::show::versions;
use crate::Failure;
use crate::admin::{Api, failure};

/// A bar of so many bytes; none in a pipe.
pub(crate) fn bar(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style =
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

pub(crate) fn failed(error: TransferError) -> Failure {
    match error {
        TransferError::Request(error) => failure(error),
        TransferError::File { .. } => Failure::CannotOpen(error.into()),
        TransferError::Damaged { .. } | TransferError::NotReady(_) => {
            Failure::NotAsItMustBe(error.into())
        }
    }
}

/// Whether there is such a file: nothing is made for one that there is not.
pub(super) fn check(file: &Path) -> Result<u64, Failure> {
    let found = std::fs::metadata(file).and_then(|found| {
        let _ = std::fs::File::open(file)?;
        Ok(found)
    });
    let found = found.with_context(|| format!("cannot read {}", file.display()));
    let found = found.map_err(Failure::CannotOpen)?;
    if found.is_file() {
        return Ok(found.len());
    }
    let error = anyhow!("{} is no file", file.display());
    Err(Failure::CannotOpen(error))
}

fn find(api: &Api, content: Text<ContentId>, version: u32) -> Result<ContentVersion, Failure> {
    let path = format!("/v1/contents/{content}/versions");
    let all: Vec<ContentVersion> = api.get(&path).map_err(failure)?;
    let found = all.into_iter().find(|one| one.version == version);
    found.ok_or_else(|| {
        Failure::NotAsItMustBe(anyhow!(
            "there is no version {version} of content {content}"
        ))
    })
}

/// Sends the file of a version that waits for it.
pub(super) fn upload(
    api: &Api,
    content: Text<ContentId>,
    version: u32,
    file: &Path,
) -> Result<(), Failure> {
    let bar = bar(check(file)?);
    let of = find(api, content, version)?;
    let shown = bar.clone();
    let sent = content::upload(&api.client, &of, file, move |done| shown.set_position(done));
    let ready = api.runtime.block_on(sent);
    bar.finish_and_clear();
    let ready = ready.map_err(|error| again(error, &of, file))?;
    api.show(&ready, |ready| {
        let table = versions(std::slice::from_ref(ready));
        format!("content {content}\n{table}")
    });
    Ok(())
}

/// What to do when an upload came to nothing: the content is there, and waits.
fn again(error: TransferError, of: &ContentVersion, file: &Path) -> Failure {
    let advice = format!(
        "version {} of {} waits for its file; send it again with `sealcast content version upload {} {} {}`",
        of.version,
        of.content,
        of.content,
        of.version,
        file.display()
    );
    match failed(error) {
        Failure::NotAsItMustBe(error) => Failure::NotAsItMustBe(error.context(advice)),
        Failure::CannotOpen(error) => Failure::CannotOpen(error.context(advice)),
        other => other,
    }
}

/// Fetches the sealed file of a version, or of the newest.
pub(super) fn download(
    api: &Api,
    content: Text<ContentId>,
    version: Option<u32>,
    out: &Path,
) -> Result<(), Failure> {
    let version = match version {
        Some(version) => version,
        None => {
            let path = format!("/v1/contents/{content}");
            let found: Content = api.get(&path).map_err(failure)?;
            found.version.ok_or_else(|| {
                let error = anyhow!("no version of content {content} is ready yet");
                Failure::NotAsItMustBe(error)
            })?
        }
    };
    let of = find(api, content, version)?;
    let bar = bar(of.sealed_length.unwrap_or(0));
    let fetching = content::download(&api.client, &of, out, |done| bar.set_position(done));
    let fetched = api.runtime.block_on(fetching);
    bar.finish_and_clear();
    let fetched = fetched.map_err(failed)?;
    let shown = serde_json::json!({
        "content": content, "version": version, "file": out, "bytes": fetched.length, "before": fetched.before
    });
    api.show(&shown, |_| {
        format!(
            "version {version} of {content} is in {}, sealed: {} bytes, {} of them from before",
            out.display(),
            fetched.length,
            fetched.before
        )
    });
    Ok(())
}
