//! Receiving in batches: many buffers per system call (recvmmsg), many datagrams per buffer (UDP_GRO).
#![expect(unsafe_code, reason = "recvmmsg and control messages")]

use std::fmt;
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd};

use crate::aligned::AlignedBuffer;
use crate::clock;
use crate::socket::{
    BufferGrant, GroupOptions, SocketError, base_socket, buffer, io_error, join_error,
};
use crate::sockopt::{IPV6_MULTICAST_ALL, join, length_of, set_option};
use crate::watched::Watched;

/// Bytes of one buffer: a whole GRO super-packet.
const FRAME: usize = 65_536;
/// Buffers that are asked for at the beginning, and at the least.
const ASKED_MIN: usize = 4;
/// Datagrams in one buffer from which on buffers are large: few at a time, so that they stay in the cache until they are used.
const LARGE: usize = 8;
/// The source of what comes from no address.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
/// Bytes of control messages per buffer: segment size, drop counter and time of arrival, each with its header.
const CONTROL: usize = 96;

/// A socket that receives one group or one unicast address.
#[derive(Debug)]
pub struct UdpReceiver {
    socket: Watched<UdpSocket>,
    grant: BufferGrant,
    drops: Drops,
    /// Buffers that the next call asks for.
    asked: usize,
    /// The last call got as many as it asked for.
    full: bool,
    /// Whether the kernel is asked who sent what.
    sources: bool,
}

impl UdpReceiver {
    /// Joins `options.group`, or binds to it if it is unicast (port 0 lets the kernel choose). Inside a shard only.
    ///
    /// # Errors
    /// [`SocketError`] names what was tried and what to do.
    pub fn bind(options: &GroupOptions) -> Result<Self, SocketError> {
        let addr = options.group;
        let fail = |what| io_error(what, addr);
        let multicast = addr.ip().is_multicast();
        if options
            .source
            .is_some_and(|source| source.is_ipv4() != addr.is_ipv4() || !multicast)
        {
            return Err(SocketError::BadGroup {
                group: addr,
                why: "source= needs a multicast group of the same address family",
            });
        }
        let socket = base_socket(options)?;
        let fd = socket.as_raw_fd();
        if multicast {
            // Several receivers of one group live on one host; each gets every packet.
            socket.set_reuse_address(true).map_err(fail("sharing"))?;
            // Only what this socket joined, not what others on the host joined on this port.
            let all_off = if addr.is_ipv4() {
                socket.set_multicast_all_v4(false)
            } else {
                set_option(fd, libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
            };
            all_off.map_err(fail("filtering"))?;
        }
        let grant =
            buffer(&socket, options.buffer, true).map_err(fail("setting the receive buffer of"))?;
        set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
            .map_err(fail("counting drops of"))?;
        // Costs nothing where datagrams are coalesced, and about 50 ns where not.
        set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
            .map_err(fail("timing arrivals of"))?;
        // Older kernels have no GRO for sockets: then every buffer holds one datagram.
        let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        socket
            .bind(&options.scoped().into())
            .map_err(fail("binding to"))?;
        if multicast {
            let index = options.iface.as_ref().map_or(0, |iface| iface.index);
            join(fd, addr.ip(), options.source, index).map_err(join_error(addr))?;
        }
        let socket = Watched::new(UdpSocket::from(socket)).map_err(fail("watching"))?;
        Ok(Self {
            socket,
            grant,
            drops: Drops::default(),
            asked: ASKED_MIN,
            full: false,
            sources: true,
        })
    }

    /// Does not ask who sent what, which the kernel writes for each datagram: [`Received::source`] is unspecified.
    #[must_use]
    pub fn without_sources(mut self) -> Self {
        self.sources = false;
        self
    }

    /// The local address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// What the kernel granted of the receive buffer.
    #[must_use]
    pub fn grant(&self) -> BufferGrant {
        self.grant
    }

    /// Buffers that the kernel dropped because the receive buffer was full. One may hold several datagrams (a coalesced
    /// super-packet counts once), and the kernel tells only with the next buffer that it delivers.
    #[must_use]
    pub fn drops(&self) -> u64 {
        self.drops.total()
    }

    /// Waits until something can be received. Cancel-safe.
    ///
    /// # Errors
    /// The executor's.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Receives what is there, without waiting; returns how many buffers `batch` holds now (0: nothing was there). Asks for as
    /// many as lately came, so it may have to be called again: see [`UdpReceiver::may_have_more`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        let asked = self.asked.min(batch.capacity());
        self.full = false;
        let received = batch.recv(self.socket.get_ref().as_raw_fd(), asked, self.sources)?;
        self.drops.saw(batch.overflow);
        self.full = received == asked;
        if batch.is_coalesced() {
            self.asked = ASKED_MIN;
        } else if self.full {
            self.asked = (2 * asked).min(batch.capacity());
        } else if received < asked / 4 {
            self.asked = (asked / 2).max(ASKED_MIN);
        }
        Ok(received)
    }

    /// Whether the last call of [`UdpReceiver::recv`] may have left something.
    #[must_use]
    pub fn may_have_more(&self) -> bool {
        self.full
    }
}

impl AsFd for UdpReceiver {
    /// For socket options that are not here.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

/// The kernel's counter of dropped buffers, 32 bits that wrap, as a total.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drops {
    last: u32,
    total: u64,
}

impl Drops {
    pub(crate) fn saw(&mut self, overflow: Option<u32>) {
        if let Some(overflow) = overflow {
            self.total += u64::from(overflow.wrapping_sub(self.last));
            self.last = overflow;
        }
    }

    pub(crate) fn total(self) -> u64 {
        self.total
    }
}

/// Preallocated space for one receive call.
pub struct RecvBatch {
    frames: Vec<AlignedBuffer>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    received: Vec<Meta>,
    /// The last drop counter that came with a buffer of the last call.
    pub(crate) overflow: Option<u32>,
    /// When the first buffer of the last call arrived.
    arrival: Option<u64>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

#[derive(Clone, Copy, Debug)]
struct Meta {
    source: SocketAddr,
    len: usize,
    segment: usize,
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch")
            .field("frames", &self.frames.len())
            .field("received", &self.received.len())
            .finish_non_exhaustive()
    }
}

/// One buffer off the socket: datagrams of `segment` bytes each, the last may be shorter. An empty datagram is an empty
/// buffer.
#[derive(Debug)]
pub struct Received<'a> {
    /// Who sent them; unspecified if the kernel was not asked.
    pub source: SocketAddr,
    /// Bytes of each.
    pub segment: usize,
    /// All of them.
    pub data: &'a mut [u8],
}

impl Received<'_> {
    /// Its datagrams, one by one.
    pub fn segments(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.data.chunks_mut(self.segment)
    }
}

impl RecvBatch {
    /// Space for `frames` buffers of 64 KiB, of which byte `lead` lies on a 64-byte line.
    #[must_use]
    pub fn new(frames: usize, lead: usize) -> Self {
        Self {
            frames: (0..frames)
                .map(|_| AlignedBuffer::new(FRAME, lead))
                .collect(),
            // SAFETY: all-zero bytes are a valid sockaddr_storage (family AF_UNSPEC).
            names: vec![unsafe { zeroed() }; frames],
            controls: vec![Control([0; CONTROL]); frames],
            vectors: Vec::with_capacity(frames),
            headers: Vec::with_capacity(frames),
            received: Vec::with_capacity(frames),
            overflow: None,
            arrival: None,
        }
    }

    /// How many buffers one call can receive.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.frames.len()
    }

    /// Whether a buffer holds many datagrams.
    fn is_coalesced(&self) -> bool {
        self.received
            .iter()
            .any(|meta| meta.len > LARGE * meta.segment)
    }

    /// Receives what is there, without waiting, at most `most` buffers; returns how many it holds now.
    pub(crate) fn recv(&mut self, fd: RawFd, most: usize, sources: bool) -> io::Result<usize> {
        self.prepare(most, sources);
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: `prepare` made every header point to buffers, names and control space that `self` owns and that live as
        // long as it does; the kernel writes only inside the lengths given there.
        let received = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            self.received.clear();
            self.arrival = None;
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR | libc::ECONNREFUSED) => Ok(0),
                _ => Err(error),
            };
        };
        self.collect(received);
        Ok(received)
    }

    /// Points `most` headers at the buffers. Done before every call, since the kernel writes lengths into them.
    fn prepare(&mut self, most: usize, sources: bool) {
        self.vectors.clear();
        self.headers.clear();
        self.vectors
            .extend(self.frames.iter_mut().take(most).map(|frame| libc::iovec {
                iov_base: frame.as_mut_ptr().cast(),
                iov_len: FRAME,
            }));
        for ((vector, name), control) in self
            .vectors
            .iter_mut()
            .zip(&mut self.names)
            .zip(&mut self.controls)
        {
            // SAFETY: all-zero bytes are a valid mmsghdr (null pointers, zero lengths).
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            if sources {
                header.msg_hdr.msg_name = (&raw mut *name).cast();
                header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
            }
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL;
            self.headers.push(header);
        }
    }

    /// When the first buffer of the last call arrived, in nanoseconds of [`crate::clock::realtime`]; `None` if nothing came, or
    /// the socket does not time arrivals.
    #[must_use]
    pub fn arrival(&self) -> Option<u64> {
        self.arrival
    }

    /// Reads out what the kernel wrote.
    fn collect(&mut self, received: usize) {
        self.received.clear();
        (self.overflow, self.arrival) = (None, None);
        for (header, name) in self.headers.iter().zip(&self.names).take(received) {
            let len = usize::try_from(header.msg_len).expect("at most 64 KiB");
            let mut segment = len;
            // SAFETY: msg_control and msg_controllen describe this batch's control space as the kernel filled it; CMSG_*
            // stay inside it, and the data of these messages are a 4-byte integer each and a timespec.
            unsafe {
                let mut message = libc::CMSG_FIRSTHDR(&raw const header.msg_hdr);
                while !message.is_null() {
                    let data = libc::CMSG_DATA(message).cast::<i32>();
                    match ((*message).cmsg_level, (*message).cmsg_type) {
                        (libc::SOL_UDP, libc::UDP_GRO) => {
                            segment = usize::try_from(data.read_unaligned()).unwrap_or(len)
                        }
                        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                            self.overflow = Some(data.read_unaligned().cast_unsigned())
                        }
                        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if self.arrival.is_none() => {
                            let at = data.cast::<libc::timespec>().read_unaligned();
                            self.arrival = Some(clock::nanoseconds(at));
                        }
                        _ => {}
                    }
                    message = libc::CMSG_NXTHDR(&raw const header.msg_hdr, message);
                }
            }
            let known = !header.msg_hdr.msg_name.is_null();
            self.received.push(Meta {
                source: if known { source(name) } else { UNKNOWN },
                len,
                segment: segment.clamp(1, len.max(1)),
            });
        }
    }

    /// The buffers received by the last call.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = Received<'_>> {
        self.frames
            .iter_mut()
            .zip(&self.received)
            .map(|(frame, meta)| Received {
                source: meta.source,
                segment: meta.segment,
                data: &mut frame[..meta.len],
            })
    }
}

fn source(name: &libc::sockaddr_storage) -> SocketAddr {
    let name = &raw const *name;
    match i32::from(
        // SAFETY: it points to a sockaddr_storage; its family is always valid to read.
        unsafe { (*name).ss_family },
    ) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in, which is shorter than the storage.
            let v4 = unsafe { name.cast::<libc::sockaddr_in>().read() };
            SocketAddrV4::new(
                u32::from_be(v4.sin_addr.s_addr).into(),
                u16::from_be(v4.sin_port),
            )
            .into()
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in6, which is shorter than the storage.
            let v6 = unsafe { name.cast::<libc::sockaddr_in6>().read() };
            SocketAddrV6::new(
                v6.sin6_addr.s6_addr.into(),
                u16::from_be(v6.sin6_port),
                v6.sin6_flowinfo,
                v6.sin6_scope_id,
            )
            .into()
        }
        _ => UNKNOWN,
    }
}
