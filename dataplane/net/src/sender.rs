//! Sending in batches: one buffer of equal datagrams, one system call (UDP_SEGMENT).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use glommio::io::PollableFd;

use crate::socket::{
    BufferGrant, GroupOptions, SocketError, base_socket, buffer, get_option, io_error,
    set_multicast_interface_v4, set_option,
};

/// Segments the kernel takes in one call (UDP_MAX_SEGMENTS of older kernels).
const SEGMENTS_MAX: usize = 64;
/// Bytes it takes in one call.
const BYTES_MAX: usize = 65_507;

/// A socket connected to one group or address.
#[derive(Debug)]
pub struct UdpSender {
    socket: PollableFd<UdpSocket>,
    peer: SocketAddr,
    /// The segment size that is set; 0 is none.
    segment: usize,
    gso: bool,
    grant: BufferGrant,
}

impl UdpSender {
    /// Opens a socket that sends to `options.group`, which may also be unicast. Inside a shard only.
    ///
    /// # Errors
    /// [`SocketError`] names what was tried and what to do.
    pub fn connect(options: &GroupOptions) -> Result<Self, SocketError> {
        let peer = options.group;
        let fail = |what| io_error(what, peer);
        let socket = base_socket(options)?;
        if peer.ip().is_multicast() {
            let ttl = u32::from(options.ttl.unwrap_or(1));
            let set = match peer.ip() {
                IpAddr::V4(_) => socket
                    .set_multicast_ttl_v4(ttl)
                    .and_then(|()| socket.set_multicast_loop_v4(options.loopback))
                    .and_then(|()| match &options.iface {
                        Some(iface) => set_multicast_interface_v4(socket.as_raw_fd(), iface.index),
                        None => Ok(()),
                    }),
                IpAddr::V6(_) => socket
                    .set_multicast_hops_v6(ttl)
                    .and_then(|()| socket.set_multicast_loop_v6(options.loopback))
                    .and_then(|()| {
                        options
                            .iface
                            .as_ref()
                            .map_or(Ok(()), |iface| socket.set_multicast_if_v6(iface.index))
                    }),
            };
            set.map_err(fail("setting multicast options for"))?;
        }
        let grant =
            buffer(&socket, options.buffer, false).map_err(fail("setting the send buffer for"))?;
        socket
            .connect(&peer.into())
            .map_err(fail("connecting to"))?;
        let socket = PollableFd::new(UdpSocket::from(socket))
            .map_err(|error| fail("watching")(io::Error::other(error.to_string())))?;
        Ok(Self {
            socket,
            peer,
            segment: 0,
            gso: true,
            grant,
        })
    }

    /// The local address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    /// The group or address it sends to.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What the kernel granted of the send buffer.
    #[must_use]
    pub fn grant(&self) -> BufferGrant {
        self.grant
    }

    /// Whether the kernel takes batches (UDP_SEGMENT).
    #[must_use]
    pub fn gso(&self) -> bool {
        self.gso
    }

    /// Bytes of the largest IP packet to the peer, headers included.
    ///
    /// # Errors
    /// The kernel's.
    pub fn path_mtu(&self) -> io::Result<usize> {
        let fd = self.socket.get_ref().as_raw_fd();
        let mtu = match self.peer {
            SocketAddr::V4(_) => get_option(fd, libc::IPPROTO_IP, libc::IP_MTU),
            SocketAddr::V6(_) => get_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU),
        }?;
        Ok(usize::try_from(mtu).unwrap_or(0))
    }

    /// Sends `batch`: datagrams of `segment` bytes each, the last may be shorter. Waits while the socket is full.
    ///
    /// # Errors
    /// The kernel's; EMSGSIZE when a datagram is longer than the path takes. What was sent before stays sent.
    pub async fn send_batch(&mut self, batch: &[u8], segment: usize) -> io::Result<()> {
        assert!(segment > 0, "a datagram has bytes");
        let per_call = if self.gso {
            (BYTES_MAX / segment).clamp(1, SEGMENTS_MAX)
        } else {
            1
        };
        for call in batch.chunks(per_call * segment) {
            if call.len() <= segment {
                // A datagram longer than the segment size that is set would be cut.
                if self.segment != 0 && call.len() > self.segment {
                    self.set_segment(0)?;
                }
                self.send_call(call).await?;
            } else if self.set_segment(segment).is_ok() {
                match self.send_call(call).await {
                    Err(error)
                        if matches!(
                            error.raw_os_error(),
                            Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP)
                        ) =>
                    {
                        self.without_gso(call, segment).await?;
                    }
                    sent => sent?,
                }
            } else {
                self.without_gso(call, segment).await?;
            }
        }
        Ok(())
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// As [`UdpSender::send_batch`].
    pub async fn send_one(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.send_batch(datagram, datagram.len().max(1)).await
    }

    /// The path does not take batches: one call per datagram from here on.
    async fn without_gso(&mut self, call: &[u8], segment: usize) -> io::Result<()> {
        self.gso = false;
        let _ = self.set_segment(0);
        for datagram in call.chunks(segment) {
            self.send_call(datagram).await?;
        }
        Ok(())
    }

    fn set_segment(&mut self, segment: usize) -> io::Result<()> {
        if self.segment != segment {
            let value =
                i32::try_from(segment).map_err(|_| io::Error::from_raw_os_error(libc::EMSGSIZE))?;
            set_option(
                self.socket.get_ref().as_raw_fd(),
                libc::SOL_UDP,
                libc::UDP_SEGMENT,
                value,
            )?;
            self.segment = segment;
        }
        Ok(())
    }

    async fn send_call(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.get_ref().send(bytes) {
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(_) => return Err(io::Error::other("the kernel took only part of a batch")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket
                        .writable()
                        .await
                        .map_err(|error| io::Error::other(error.to_string()))?;
                }
                // Nobody listens at a unicast address yet (ICMP for an earlier datagram): not ours to mind.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

const _: () = assert!(
    SEGMENTS_MAX * 1344 > BYTES_MAX,
    "full packets are bounded by bytes"
);
