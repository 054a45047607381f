//! Packagers of other software.

use reqwest::Method;
use sealcast_objects::interop::{NewPackager, Packager, PackagerSecrets};

use super::{Api, Done};
use crate::table::table;

#[derive(Debug, clap::Subcommand)]
pub(super) enum InteropCommand {
    /// Lists the packagers that have a token
    List,
    /// Lets a packager take keys of channels, and shows its token
    ///
    /// The doors themselves are opened in the section `interop` of the key server's configuration. The token goes as `Authorization: Bearer TOKEN`, or
    /// as the password in the address: https://NAME:TOKEN@HOST:PORT/v1/interop/keys/CHANNEL
    Add {
        /// What the packager is called, in logs and here
        name: String,
        /// A channel whose keys it may take; repeatable
        #[arg(long, required = true)]
        channel: Vec<u16>,
        /// Its requests to the JSON key server are signed by this signer (Packager's --signer); a key for that is made and shown
        #[arg(long, value_name = "NAME")]
        signer: Option<String>,
    },
    /// Ends a packager's token at once
    Remove {
        /// What it is called
        name: String,
    },
    /// Prints the certificate of the key server's CA (PEM), for Packager's --ca_file
    Ca,
}

pub(super) fn run(api: &Api, command: &InteropCommand) -> Done {
    match command {
        InteropCommand::List => {
            let packagers: Vec<Packager> = api.get("/v1/packagers")?;
            api.show(&packagers, |packagers| show(packagers));
        }
        InteropCommand::Add {
            name,
            channel,
            signer,
        } => {
            let new = NewPackager {
                name: name.clone(),
                channels: channel.clone(),
                signer: signer.clone(),
            };
            let secrets: PackagerSecrets = api.call(Method::POST, "/v1/packagers", Some(&new))?;
            api.show(&secrets, |secrets| show_secrets(&api.server, &new, secrets));
        }
        InteropCommand::Remove { name } => {
            api.call::<()>(
                Method::DELETE,
                &format!("/v1/packagers/{name}"),
                None::<&()>,
            )?;
            api.show(&(), |()| {
                format!("packager {name} is removed: its token counts no more; keys that it has stay with it")
            });
        }
        InteropCommand::Ca => api.show(&api.ca, String::clone),
    }
    Ok(())
}

fn show_secrets(server: &str, new: &NewPackager, secrets: &PackagerSecrets) -> String {
    let (name, token) = (&secrets.name, &secrets.token);
    let host = server.strip_prefix("https://").unwrap_or(server);
    let channel = new.channels.first().copied().unwrap_or_default();
    let signing = secrets.signer.as_ref().map_or_else(String::new, |signer| {
        format!(
            " \\\n    --signer {} --aes_signing_key {} --aes_signing_iv {}",
            signer.name, signer.key, signer.iv
        )
    });
    format!(
        "packager {name}\nThis is shown only now:\n\n{token}\n\n  sealcast admin interop ca > ca.pem\n  packager ... \
         --enable_widevine_encryption --content_id HEX --crypto_period_duration SECONDS \\\n    --protection_systems CommonSystem \
         --ca_file ca.pem \\\n    --key_server_url https://{name}:{token}@{host}/v1/interop/keys/{channel}{signing}"
    )
}

fn show(packagers: &[Packager]) -> String {
    let row = |packager: &Packager| {
        let channels: Vec<_> = packager.channels.iter().map(u16::to_string).collect();
        [
            packager.name.clone(),
            channels.join(","),
            packager.signer.clone().unwrap_or_else(|| "-".to_owned()),
            packager.since.to_string(),
        ]
    };
    let rows: Vec<_> = packagers.iter().map(row).collect();
    table(["NAME", "CHANNELS", "SIGNER", "SINCE"], &rows)
}
