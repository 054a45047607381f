//! Contents as tables for people.

use data_encoding::HEXLOWER;
use sealcast_objects::api::{Content, ContentVersion, Download, Price};

use crate::table::{or_dash, table};

fn price(price: &Price) -> String {
    format!("{} {}", price.amount, price.currency)
}

pub(super) fn contents(contents: &[Content]) -> String {
    let row = |content: &Content| {
        [
            content.id.to_string(),
            content.provider.to_string(),
            content.kind.name().to_owned(),
            content.availability.name().to_owned(),
            or_dash(content.version),
            or_dash(content.price.as_ref().map(price)),
            content.genre.clone(),
            content.title.clone(),
        ]
    };
    let rows: Vec<_> = contents.iter().map(row).collect();
    let heads = [
        "CONTENT",
        "PROVIDER",
        "KIND",
        "AVAILABILITY",
        "VERSION",
        "PRICE (MINOR UNITS)",
        "GENRE",
        "TITLE",
    ];
    table(heads, &rows)
}

pub(super) fn versions(versions: &[ContentVersion]) -> String {
    let row = |version: &ContentVersion| {
        [
            version.version.to_string(),
            or_dash(version.previous_version),
            version.state.name().to_owned(),
            version.format.clone(),
            or_dash(version.length),
            or_dash(version.sealed_length),
            version.added.to_string(),
            or_dash(version.sha256.as_deref().map(|sha| HEXLOWER.encode(sha))),
        ]
    };
    let rows: Vec<_> = versions.iter().map(row).collect();
    let heads = [
        "VERSION",
        "PREVIOUS",
        "STATE",
        "FORMAT",
        "BYTES",
        "SEALED",
        "ADDED",
        "SHA-256 (SEALED)",
    ];
    table(heads, &rows)
}

pub(super) fn downloads(downloads: &[Download]) -> String {
    let row = |download: &Download| {
        [
            download.number.to_string(),
            download.at.to_string(),
            download.account.to_string(),
            download.device.to_string(),
            download.content.to_string(),
            download.version.to_string(),
        ]
    };
    let rows: Vec<_> = downloads.iter().map(row).collect();
    let heads = ["NUMBER", "AT", "ACCOUNT", "DEVICE", "CONTENT", "VERSION"];
    table(heads, &rows)
}
