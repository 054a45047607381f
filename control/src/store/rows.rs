//! What the tests of the store write and read.

use sealcast_domain::{Error, Read, Tx, keys};

use super::Store;

pub(super) fn put(store: &Store, name: &'static str, value: &'static [u8]) -> Result<(), Error> {
    store.write_blocking(move |tx| keys::put_meta(tx, name, value))
}

pub(super) fn get(store: &Store, name: &str) -> Option<Vec<u8>> {
    store
        .read_blocking(|store| keys::meta(store, name))
        .unwrap()
}

pub(super) fn number(store: &mut dyn Read, name: &str) -> Result<u64, Error> {
    let bytes = keys::meta(store, name)?;
    Ok(bytes.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap())))
}

/// Adds one: done twice it would count two.
pub(super) fn count(tx: &mut dyn Tx, name: &str) -> Result<u64, Error> {
    let next = number(tx, name)? + 1;
    keys::put_meta(tx, name, &next.to_be_bytes())?;
    Ok(next)
}
