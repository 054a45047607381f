//! The wallet: its file, its decisions, and purchases over a network that loses and doubles what is said.

mod buying;
mod deciding;
mod files;
mod server;

use std::path::Path;

use sealcast_objects::DeviceId;
use sealcast_objects::api::Role;
use sealcast_objects::id::Text;
use sealcast_objects::time::Timestamp;

use crate::enrol;
use crate::identity::Identity;

/// What time it is.
const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn device(number: u8) -> DeviceId {
    DeviceId([number; 16])
}

/// An identity of a device, with a key of its own.
fn identity(number: u8) -> Identity {
    Identity {
        role: Role::Device,
        subject: Text(device(number)).to_string(),
        server: "https://keys.example:8443".to_owned(),
        key: enrol::new_key().unwrap().serialize_pem(),
        certificate: String::new(),
        ca: String::new(),
        until: NOW,
        authority: Vec::new(),
        session: None,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
