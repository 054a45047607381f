//! Options of UDP sockets: multicast by interface, source, TTL and DSCP; buffers; errors that say what to do.
#![expect(unsafe_code, reason = "socket options that no safe crate offers")]

use std::fmt;
use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, RawFd};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// Where to send or what to receive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOptions {
    /// Group (or unicast address) and port.
    pub group: SocketAddr,
    /// Only packets of this source are received (SSM).
    pub source: Option<IpAddr>,
    /// Through which interface; the routing table decides without one.
    pub iface: Option<Interface>,
    /// Hops that multicast may go (default 1, the kernel's).
    pub ttl: Option<u8>,
    /// Differentiated services code point, 0..=63.
    pub dscp: Option<u8>,
    /// Whether this host's receivers get what it sends.
    pub loopback: bool,
    /// Socket buffer to ask for, bytes.
    pub buffer: usize,
}

/// Default socket buffer.
const BUFFER_DEFAULT: usize = 8 << 20;

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
}

/// A network interface, resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// As the user wrote it.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
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
        let (kind, sysctl) = if self.receive {
            ("receive", "net.core.rmem_max")
        } else {
            ("send", "net.core.wmem_max")
        };
        write!(
            f,
            "the kernel grants {} bytes of {kind} buffer instead of {}: bursts may be lost; raise it with `sysctl -w {sysctl}={}`",
            self.granted, self.asked, self.asked
        )
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
    /// The kernel's bound on memberships.
    #[error(
        "joining {group} failed: this socket may join no more groups; raise net.ipv4.igmp_max_memberships (20 by default)"
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

pub(crate) fn io_error(what: &'static str, addr: SocketAddr) -> impl Fn(io::Error) -> SocketError {
    move |source| match source.raw_os_error() {
        Some(libc::EADDRINUSE) => SocketError::PortInUse { addr },
        Some(libc::ENOBUFS) => SocketError::TooManyMemberships { group: addr },
        _ => SocketError::Io { what, addr, source },
    }
}

/// All interfaces with their addresses.
fn interfaces() -> Vec<(String, u32, Option<IpAddr>)> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: getifaddrs writes one pointer; on success it heads a list that lives until freeifaddrs.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut at = list;
    while !at.is_null() {
        // SAFETY: `at` is a node of the list, not freed yet.
        let node = unsafe { &*at };
        // SAFETY: ifa_name is a NUL-terminated string of the list.
        let name = unsafe { std::ffi::CStr::from_ptr(node.ifa_name) };
        // SAFETY: the name is a NUL-terminated string.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        found.push((
            name.to_string_lossy().into_owned(),
            index,
            address(node.ifa_addr),
        ));
        at = node.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs and nothing refers into it any more.
    unsafe { libc::freeifaddrs(list) };
    found
}

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

impl Interface {
    /// Finds an interface by its name or by one of its addresses.
    ///
    /// # Errors
    /// [`SocketError::NoSuchInterface`] lists those that exist.
    pub fn resolve(asked: &str) -> Result<Self, SocketError> {
        let all = interfaces();
        let by_address: Option<IpAddr> = asked.parse().ok();
        let found = all.iter().find(|(name, _, address)| {
            name == asked || (address.is_some() && *address == by_address)
        });
        if let Some((_, index, _)) = found {
            return Ok(Self {
                name: asked.to_owned(),
                index: *index,
            });
        }
        // The whole of 127.0.0.0/8 is the loopback interface's.
        if by_address.is_some_and(|address| address.is_loopback())
            && let Some((_, index, _)) = all
                .iter()
                .find(|(_, _, address)| address.is_some_and(|address| address.is_loopback()))
        {
            return Ok(Self {
                name: asked.to_owned(),
                index: *index,
            });
        }
        let mut existing: Vec<_> = all
            .iter()
            .map(|(name, _, address)| {
                address.map_or_else(|| name.clone(), |address| format!("{name} ({address})"))
            })
            .collect();
        existing.dedup();
        Err(SocketError::NoSuchInterface {
            asked: asked.to_owned(),
            existing: existing.join(", "),
        })
    }
}

/// The length of an option's value, as the kernel wants it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "options are a few hundred bytes at most"
)]
pub(crate) const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Sets an integer socket option.
pub(crate) fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = length_of::<i32>();
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let failed = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an integer socket option.
pub(crate) fn get_option(fd: RawFd, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut length = length_of::<i32>();
    // SAFETY: pointer and length describe `value` and `length`, which outlive the call.
    let failed =
        unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    if failed == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends multicast through the interface with this index.
pub(crate) fn set_multicast_interface_v4(fd: RawFd, index: u32) -> io::Result<()> {
    let any = libc::in_addr { s_addr: 0 };
    let index = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let request = libc::ip_mreqn {
        imr_multiaddr: any,
        imr_address: any,
        imr_ifindex: index,
    };
    let length = length_of::<libc::ip_mreqn>();
    // SAFETY: the pointer and length describe `request`, which outlives the call.
    let failed = unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            (&raw const request).cast(),
            length,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Joins a group, or a group's one source, on an interface (by index; 0 leaves it to the routing table). Both families
/// (RFC 3678 5.1).
pub(crate) fn join(fd: RawFd, group: IpAddr, source: Option<IpAddr>, index: u32) -> io::Result<()> {
    let level = if group.is_ipv4() {
        libc::IPPROTO_IP
    } else {
        libc::IPPROTO_IPV6
    };
    let storage = |ip: IpAddr| SockAddr::from(SocketAddr::new(ip, 0)).as_storage();
    let failed = match source {
        None => {
            let request = GroupRequest {
                index,
                group: storage(group),
            };
            let length = length_of::<GroupRequest>();
            // SAFETY: the pointer and length describe `request`, laid out as struct group_req, which outlives the call.
            unsafe {
                libc::setsockopt(
                    fd,
                    level,
                    MCAST_JOIN_GROUP,
                    (&raw const request).cast(),
                    length,
                )
            }
        }
        Some(source) => {
            let request = GroupSourceRequest {
                index,
                group: storage(group),
                source: storage(source),
            };
            let length = length_of::<GroupSourceRequest>();
            // SAFETY: as above, laid out as struct group_source_req.
            unsafe {
                libc::setsockopt(
                    fd,
                    level,
                    MCAST_JOIN_SOURCE_GROUP,
                    (&raw const request).cast(),
                    length,
                )
            }
        }
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// struct group_req of linux/in.h.
#[repr(C)]
struct GroupRequest {
    index: u32,
    group: SockAddrStorage,
}

/// struct group_source_req of linux/in.h.
#[repr(C)]
struct GroupSourceRequest {
    index: u32,
    group: SockAddrStorage,
    source: SockAddrStorage,
}

/// Values of linux/in.h.
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;

/// A non-blocking UDP socket with what both directions share: DF set, DSCP.
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
    let dont_fragment = if addr.is_ipv4() {
        set_option(
            fd,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        )
    } else {
        set_option(
            fd,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        )
    };
    dont_fragment.map_err(fail("forbidding fragments to"))?;
    if let Some(dscp) = options.dscp {
        let class = i32::from(dscp) << 2;
        let set = if addr.is_ipv4() {
            set_option(fd, libc::IPPROTO_IP, libc::IP_TOS, class)
        } else {
            set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class)
        };
        set.map_err(fail("setting the DSCP of"))?;
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
