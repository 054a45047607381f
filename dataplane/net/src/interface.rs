//! Network interfaces of this host, found by name or by address.
#![expect(unsafe_code, reason = "getifaddrs")]

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::socket::SocketError;

/// A network interface, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// As the user wrote it.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// The address by which it was named, if it was: what is sent through it has this source.
    pub address: Option<IpAddr>,
}

impl Interface {
    /// Finds an interface by its name or by one of its addresses (any of 127.0.0.0/8 is the loopback interface).
    ///
    /// # Errors
    /// [`SocketError::NoSuchInterface`] lists those that exist.
    pub fn resolve(asked: &str) -> Result<Self, SocketError> {
        let all = entries();
        let address: Option<IpAddr> = asked.parse().ok();
        let is_it = |entry: &&Entry| match address {
            Some(address) => {
                entry.address == Some(address)
                    // The kernel lists 127.0.0.1 only, but takes the whole network as its own.
                    || (address.is_ipv4() && address.is_loopback() && entry.address == Some(Ipv4Addr::LOCALHOST.into()))
            }
            None => entry.name == asked,
        };
        match all.iter().find(is_it) {
            Some(entry) => Ok(Self {
                name: asked.to_owned(),
                index: entry.index,
                address,
            }),
            None => Err(SocketError::NoSuchInterface {
                asked: asked.to_owned(),
                existing: list(&all),
            }),
        }
    }

    /// Its address, if it was named by one of the family of `peer`.
    pub(crate) fn address_like(&self, peer: IpAddr) -> Option<IpAddr> {
        self.address
            .filter(|address| address.is_ipv4() == peer.is_ipv4())
    }
}

/// One address of an interface, or the bare interface.
struct Entry {
    name: String,
    index: u32,
    address: Option<IpAddr>,
}

/// `lo (127.0.0.1, ::1), eth0 (10.0.0.5)`.
fn list(entries: &[Entry]) -> String {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let addresses = by_name.entry(&entry.name).or_default();
        addresses.extend(entry.address.map(|address| address.to_string()));
    }
    let names: Vec<_> = by_name
        .into_iter()
        .map(|(name, addresses)| match addresses.as_slice() {
            [] => name.to_owned(),
            some => format!("{name} ({})", some.join(", ")),
        })
        .collect();
    names.join(", ")
}

/// All interfaces with their addresses; empty if the kernel does not tell.
fn entries() -> Vec<Entry> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes one pointer; on success it heads a list that lives until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = list;
    while !at.is_null() {
        // SAFETY: `at` is a node of the list, which is not freed yet.
        let node = unsafe { &*at };
        // SAFETY: ifa_name is a NUL-terminated string of the list.
        let name = unsafe { CStr::from_ptr(node.ifa_name) };
        found.push(Entry {
            name: name.to_string_lossy().into_owned(),
            // SAFETY: the name is a NUL-terminated string.
            index: unsafe { libc::if_nametoindex(name.as_ptr()) },
            address: address(node.ifa_addr),
        });
        at = node.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs and nothing refers into it any more.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// The IP address in an `ifa_addr`, if it holds one.
fn address(addr: *const libc::sockaddr) -> Option<IpAddr> {
    if addr.is_null() {
        return None;
    }
    // SAFETY: a non-null ifa_addr points to a sockaddr with a valid family.
    match i32::from(unsafe { (*addr).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in.
            let v4 = unsafe { addr.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6.
            let v6 = unsafe { addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_name_and_by_any_of_its_addresses() {
        let by_name = Interface::resolve("lo").unwrap();
        assert_eq!(by_name.address, None);
        for address in ["127.0.0.1", "127.0.0.2"] {
            let by_address = Interface::resolve(address).unwrap();
            assert_eq!(by_address.index, by_name.index, "{address}");
            assert_eq!(by_address.address, address.parse().ok());
        }
    }

    #[test]
    fn what_does_not_exist_is_answered_with_what_does() {
        for asked in ["nowhere0", "192.0.2.1"] {
            let error = Interface::resolve(asked).unwrap_err().to_string();
            assert!(
                error.contains(asked) && error.contains("lo (127.0.0.1"),
                "{error}"
            );
        }
    }
}
