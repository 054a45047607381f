//! The authority's keys.

use std::fmt::Write as _;

use reqwest::Method;
use sealcast_objects::api::AuthorityKey;

use super::{Api, Done};
use crate::table::table;

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeysCommand {
    /// Lists the keys
    List,
    /// Makes a successor and names it to everybody
    Prepare,
    /// Lets the successor sign; the former key retires by itself when nothing it signed is in use any more
    Promote {
        /// Even if not every device can have heard of it
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(api: &Api, command: &KeysCommand) -> Done {
    let keys: Vec<AuthorityKey> = match command {
        KeysCommand::List => api.get("/v1/authority-keys")?,
        KeysCommand::Prepare => api.call(Method::POST, "/v1/authority-keys", None::<&()>)?,
        KeysCommand::Promote { force } => {
            let path = format!("/v1/authority-keys/promote?force={force}");
            api.call(Method::POST, &path, None::<&()>)?
        }
    };
    api.show(&keys, |keys| {
        let row = |key: &AuthorityKey| {
            let hex = key.key.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            [hex, key.stage.name().to_owned(), key.since.to_string()]
        };
        let rows: Vec<_> = keys.iter().map(row).collect();
        table(["KEY", "STAGE", "SINCE"], &rows)
    });
    Ok(())
}
