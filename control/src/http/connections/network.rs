//! Where somebody comes from, as far as it can be told apart.

use std::net::IpAddr;

/// A network: an IPv4 address, or what one subscriber has of IPv6 (/64).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Network(u64, bool);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_bits().into(), false),
            IpAddr::V6(address) => {
                let bits = (address.to_bits() >> 64) & u128::from(u64::MAX);
                Self(u64::try_from(bits).unwrap_or_default(), true)
            }
        }
    }
}
