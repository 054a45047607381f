//! URLs that stand for many addresses and ports.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use sealcast_dataplane::endpoint::UdpOptions;

/// Every URL as the addresses and ports that it stands for.
pub(super) fn spread(
    urls: &[String],
    (groups, ports): (u32, u16),
    parse: impl Fn(&str) -> anyhow::Result<UdpOptions>,
) -> anyhow::Result<Vec<UdpOptions>> {
    let mut all = Vec::new();
    for url in urls {
        let options = parse(url)?;
        for group in 0..groups {
            for port in 0..ports {
                let addr = moved(options.addr, group, port).with_context(|| {
                    format!("{url:?}: {groups} groups and {ports} ports go past the last there is")
                })?;
                all.push(UdpOptions {
                    addr,
                    ..options.clone()
                });
            }
        }
    }
    Ok(all)
}

/// The address so many addresses and ports further on.
fn moved(mut addr: SocketAddr, groups: u32, ports: u16) -> Option<SocketAddr> {
    addr.set_port(addr.port().checked_add(ports)?);
    let ip = match addr.ip() {
        IpAddr::V4(ip) => IpAddr::V4(u32::from(ip).checked_add(groups)?.into()),
        IpAddr::V6(ip) => IpAddr::V6(u128::from(ip).checked_add(groups.into())?.into()),
    };
    (ip.is_multicast() == addr.ip().is_multicast()).then(|| addr.set_ip(ip))?;
    Some(addr)
}
