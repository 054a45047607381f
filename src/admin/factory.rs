//! Registers of devices as they left a factory.

use std::path::Path;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use reqwest::Method;
use sealcast_objects::api::FactoryDevice;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_terminal::https::RequestError;

use super::{Api, Done};

/// Devices of one request.
const AT_ONCE: usize = 250;

fn invalid(why: impl Into<String>) -> RequestError {
    RequestError::Refused(Problem::new(Kind::Invalid, why))
}

/// Lines of MAKER,SERIAL,KEYHASH.
pub(super) fn register(api: &Api, file: &Path) -> Done {
    let text = std::fs::read_to_string(file)
        .map_err(|error| invalid(format!("cannot read {}: {error}", file.display())))?;
    let lines = text.lines().enumerate();
    let made = lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            parse(line).ok_or_else(|| {
                let place = format!("{}:{}", file.display(), number + 1);
                invalid(format!("{place}: a line is MAKER,SERIAL,KEYHASH, the hash 32 bytes in base64url or hex; nothing was registered"))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut registered = 0;
    for made in made.chunks(AT_ONCE) {
        let answer: serde_json::Value =
            api.call(Method::POST, "/v1/factory-devices", Some(&made))?;
        registered += answer["registered"].as_u64().unwrap_or_default();
    }
    let answer =
        serde_json::json!({ "registered": registered, "known": made.len() as u64 - registered });
    api.show(&answer, |_| {
        format!(
            "{registered} registered, {} were known",
            made.len() as u64 - registered
        )
    });
    Ok(())
}

fn parse(line: &str) -> Option<FactoryDevice> {
    let mut parts = line.split(',').map(str::trim);
    let (maker, serial, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let key_hash = match hash.len() {
        64 => HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok()?,
        _ => BASE64URL_NOPAD.decode(hash.as_bytes()).ok()?,
    };
    let good = parts.next().is_none() && key_hash.len() == 32;
    good.then(|| FactoryDevice {
        maker: maker.to_owned(),
        serial: serial.to_owned(),
        key_hash,
    })
}
