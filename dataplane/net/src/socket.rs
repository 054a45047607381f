//! Options of UDP sockets, what both directions share of them, and errors that say what to do.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Protocol, Socket, Type};

use crate::interface::Interface;
use crate::sockopt::{get_option, set_option};

/// Default socket buffer, bytes.
const BUFFER_DEFAULT: usize = 8 << 20;

/// Where to send or what to receive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOptions {
    /// Group (or unicast address) and port.
    pub group: SocketAddr,
    /// Only packets of this source are received (SSM, RFC 4607). Receivers only.
    pub source: Option<IpAddr>,
    /// Through which interface; the routing table decides without one.
    pub iface: Option<Interface>,
    /// Hops that packets may go (default: the kernel's, 1 for multicast). Senders only.
    pub ttl: Option<u8>,
    /// Differentiated services code point, 0..=63.
    pub dscp: Option<u8>,
    /// Whether this host's receivers get what it sends.
    pub loopback: bool,
    /// Socket buffer to ask for, bytes.
    pub buffer: usize,
}

impl GroupOptions {
    /// The defaults for an address.
    #[must_use]
    pub fn new(group: SocketAddr) -> Self {
        Self {
            group,
            source: None,
            iface: None,
            ttl: None,
            dscp: None,
            loopback: true,
            buffer: BUFFER_DEFAULT,
        }
    }

    /// The address as the kernel wants it: IPv6 of link scope has the interface in it.
    pub(crate) fn scoped(&self) -> SocketAddr {
        let mut addr = self.group;
        if let (SocketAddr::V6(v6), Some(iface)) = (&mut addr, &self.iface)
            && v6.scope_id() == 0
        {
            v6.set_scope_id(iface.index);
        }
        addr
    }
}

/// What the kernel granted of a buffer that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferGrant {
    /// Bytes asked for.
    pub asked: usize,
    /// Bytes granted.
    pub granted: usize,
    /// Whether it is the receive buffer.
    pub receive: bool,
}

impl BufferGrant {
    /// Whether it is less than asked for.
    #[must_use]
    pub fn is_short(self) -> bool {
        self.granted < self.asked
    }
}

impl fmt::Display for BufferGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, granted, .. } = self;
        let (kind, sysctl) = if self.receive {
            ("receive", "net.core.rmem_max")
        } else {
            ("send", "net.core.wmem_max")
        };
        write!(f, "the kernel grants {granted} bytes of {kind} buffer")?;
        if self.is_short() {
            write!(
                f,
                " instead of {asked}: bursts may be lost; raise it with `sysctl -w {sysctl}={asked}`"
            )?;
        }
        Ok(())
    }
}

/// Why a socket cannot be made: what, why, what to do.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The interface does not exist.
    #[error(
        "no interface {asked:?}: this host has {existing}; give one of these names or addresses (iface=...)"
    )]
    NoSuchInterface {
        /// As asked for.
        asked: String,
        /// Those that exist.
        existing: String,
    },
    /// Somebody else has the port.
    #[error("{addr} is in use by another program: stop it or choose another port")]
    PortInUse {
        /// Which.
        addr: SocketAddr,
    },
    /// The kernel's bound on memberships of one socket.
    #[error(
        "joining {group}: the kernel allows this socket no more groups or sources; raise net.ipv4.igmp_max_memberships (20 \
         by default), for sources net.ipv4.igmp_max_msf or net.ipv6.mld_max_msf"
    )]
    TooManyMemberships {
        /// Which.
        group: SocketAddr,
    },
    /// A source of another address family, or a unicast address where a group is needed.
    #[error("{group}: {why}")]
    BadGroup {
        /// Which.
        group: SocketAddr,
        /// Why.
        why: &'static str,
    },
    /// Neither the options nor the routing table say through which interface.
    #[error(
        "no route to {addr}: name the interface (iface=...) or add a route (ip route add {}/32 dev ...)",
        addr.ip()
    )]
    NoRoute {
        /// Which.
        addr: SocketAddr,
    },
    /// A receiver's unicast address that this host does not have.
    #[error(
        "{addr} is no address of this host: receive on one that it has (ip address lists them), or on 0.0.0.0"
    )]
    NotOurs {
        /// Which.
        addr: SocketAddr,
    },
    /// The kernel asks for a privilege.
    #[error(
        "{what} {addr} is not permitted: choose a port from 1024 on and no broadcast address, or see to the privilege \
         (CAP_NET_BIND_SERVICE, CAP_NET_RAW)"
    )]
    NotPermitted {
        /// What was tried.
        what: &'static str,
        /// With which address.
        addr: SocketAddr,
    },
    /// Anything else.
    #[error("{what} {addr}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which address.
        addr: SocketAddr,
        /// The kernel's word.
        source: io::Error,
    },
}

/// Names the kernel's error for `what`, tried with `addr`.
pub(crate) fn io_error(what: &'static str, addr: SocketAddr) -> impl Fn(io::Error) -> SocketError {
    move |source| match source.raw_os_error() {
        Some(libc::EADDRINUSE) => SocketError::PortInUse { addr },
        Some(libc::ENETUNREACH) => SocketError::NoRoute { addr },
        Some(libc::EADDRNOTAVAIL) => SocketError::NotOurs { addr },
        Some(libc::EACCES | libc::EPERM) => SocketError::NotPermitted { what, addr },
        _ => SocketError::Io { what, addr, source },
    }
}

/// Names the kernel's error for joining `group`.
pub(crate) fn join_error(group: SocketAddr) -> impl Fn(io::Error) -> SocketError {
    move |source| match source.raw_os_error() {
        Some(libc::ENOBUFS) => SocketError::TooManyMemberships { group },
        // What the kernel says when no interface was named and no route leads to the group.
        Some(libc::ENODEV) => SocketError::NoRoute { addr: group },
        _ => io_error("joining", group)(source),
    }
}

/// A non-blocking UDP socket with what both directions share: DF set, DSCP, the interface of unicast.
pub(crate) fn base_socket(options: &GroupOptions) -> Result<Socket, SocketError> {
    let addr = options.group;
    let fail = |what| io_error(what, addr);
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
        .map_err(fail("making a socket for"))?;
    socket
        .set_nonblocking(true)
        .map_err(fail("making non-blocking the socket for"))?;
    let fd = socket.as_raw_fd();
    // Never fragmented: what does not fit the path is an error that we see.
    let (level, option, always) = if addr.is_ipv4() {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        )
    } else {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        )
    };
    set_option(fd, level, option, always).map_err(fail("forbidding fragments to"))?;
    if let Some(dscp) = options.dscp {
        let (level, option) = if addr.is_ipv4() {
            (libc::IPPROTO_IP, libc::IP_TOS)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
        };
        // The upper six bits of the octet (RFC 2474 3).
        set_option(fd, level, option, i32::from(dscp) << 2).map_err(fail("setting the DSCP of"))?;
    }
    if let (Some(iface), false) = (&options.iface, addr.ip().is_multicast()) {
        let index = NonZeroU32::new(iface.index);
        let bound = if addr.is_ipv4() {
            socket.bind_device_by_index_v4(index)
        } else {
            socket.bind_device_by_index_v6(index)
        };
        bound.map_err(fail("choosing the interface of"))?;
    }
    Ok(socket)
}

/// Asks for a buffer; a privileged process may go past the sysctl.
pub(crate) fn buffer(socket: &Socket, asked: usize, receive: bool) -> io::Result<BufferGrant> {
    let (forced, plain) = if receive {
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)
    } else {
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)
    };
    let fd = socket.as_raw_fd();
    let value = i32::try_from(asked).unwrap_or(i32::MAX / 2);
    set_option(fd, libc::SOL_SOCKET, forced, value)
        .or_else(|_| set_option(fd, libc::SOL_SOCKET, plain, value))?;
    // The kernel reports twice what it counts for payload.
    let granted = get_option(fd, libc::SOL_SOCKET, plain)? / 2;
    Ok(BufferGrant {
        asked,
        granted: usize::try_from(granted).unwrap_or(0),
        receive,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockopt::join;

    #[test]
    fn one_membership_too_many_is_named_with_its_sysctl() {
        let limit: u8 = std::fs::read_to_string("/proc/sys/net/ipv4/igmp_max_memberships")
            .unwrap()
            .trim()
            .parse()
            .expect("below 256 groups");
        let options = GroupOptions::new("239.255.78.0:0".parse().unwrap());
        let socket = base_socket(&options).unwrap();
        let lo = Interface::resolve("lo").unwrap().index;
        let joined = |last| {
            let group = IpAddr::from([239, 255, 78, last]);
            join(socket.as_raw_fd(), group, None, lo).map_err(join_error(SocketAddr::new(group, 0)))
        };
        (0..limit).for_each(|last| joined(last).unwrap());
        let error = joined(limit).unwrap_err();
        assert!(
            matches!(error, SocketError::TooManyMemberships { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("igmp_max_memberships"),
            "{error}"
        );
    }

    #[test]
    fn a_short_buffer_names_the_sysctl_that_helps() {
        let short = BufferGrant {
            asked: 8_388_608,
            granted: 212_992,
            receive: true,
        };
        assert!(short.is_short());
        assert!(
            short
                .to_string()
                .ends_with("`sysctl -w net.core.rmem_max=8388608`")
        );
        let socket = base_socket(&GroupOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
        let grant = buffer(&socket, 64 << 10, false).unwrap();
        assert_eq!((grant.granted, grant.is_short()), (64 << 10, false));
    }
}
