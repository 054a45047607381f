//! Socket options that no safe crate offers.
#![expect(unsafe_code, reason = "setsockopt, getsockopt")]

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use socket2::{SockAddr, SockAddrStorage};

/// Values of linux/in.h and linux/in6.h.
const MCAST_JOIN_GROUP: i32 = 42;
const MCAST_JOIN_SOURCE_GROUP: i32 = 46;
pub(crate) const IPV6_MULTICAST_ALL: i32 = 29;

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

/// Sets an integer option.
pub(crate) fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set(fd, level, name, &value)
}

/// Reads an integer option.
pub(crate) fn get_option(fd: RawFd, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0_i32;
    let mut length = length_of::<i32>();
    // SAFETY: pointer and length describe `value` and `length`, which outlive the call.
    let result =
        unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    checked(result).map(|()| value)
}

/// Sends IPv4 multicast through the interface with this index.
pub(crate) fn set_multicast_interface_v4(fd: RawFd, index: u32) -> io::Result<()> {
    let any = libc::in_addr { s_addr: 0 };
    let index = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let request = libc::ip_mreqn {
        imr_multiaddr: any,
        imr_address: any,
        imr_ifindex: index,
    };
    set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
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
    let group = storage(group);
    match source.map(storage) {
        None => {
            let request = GroupRequest { index, group };
            set(fd, level, MCAST_JOIN_GROUP, &request)
        }
        Some(source) => {
            let request = GroupSourceRequest {
                index,
                group,
                source,
            };
            set(fd, level, MCAST_JOIN_SOURCE_GROUP, &request)
        }
    }
}

/// Sets an option whose value the kernel reads as the C struct `T`.
fn set<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: pointer and length describe `value`, which outlives the call; the kernel only reads it.
    checked(unsafe {
        libc::setsockopt(
            fd,
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length_of::<T>(),
        )
    })
}

fn checked(result: i32) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The length of a C struct, as the kernel wants it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "these structs are a few hundred bytes at most"
)]
pub(crate) const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}
