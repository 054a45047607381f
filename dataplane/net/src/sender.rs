//! Sending in batches: one buffer of equal datagrams, one system call (UDP_SEGMENT).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;

use socket2::Socket;

use crate::socket::{BufferGrant, GroupOptions, SocketError, base_socket, buffer, io_error};
use crate::sockopt::{get_option, set_multicast_interface_v4, set_option};
use crate::watched::Watched;
use crate::zero_copy::{ClosedBuffer, ZeroCopy, ZeroCopyCounts, ZeroCopySocket};

/// Segments the kernel takes in one call (UDP_MAX_SEGMENTS of older kernels).
const SEGMENTS_MAX: usize = 64;
/// Bytes it takes in one call.
const BYTES_MAX: usize = 65_507;

/// A socket connected to one group or address.
#[derive(Debug)]
pub struct UdpSender {
    socket: Watched<UdpSocket>,
    peer: SocketAddr,
    /// The segment size that is set; 0 is none.
    segment: usize,
    gso: bool,
    grant: BufferGrant,
    zero_copy: Option<ZeroCopySocket>,
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
        set_hops(&socket, options).map_err(fail("setting the TTL of"))?;
        if peer.ip().is_multicast() {
            set_multicast(&socket, options).map_err(fail("setting multicast options for"))?;
        }
        let iface = options.iface.as_ref();
        if let Some(address) = iface.and_then(|iface| iface.address_like(peer.ip())) {
            let source = SocketAddr::new(address, 0);
            socket
                .bind(&source.into())
                .map_err(io_error("sending from", source))?;
        }
        let grant =
            buffer(&socket, options.buffer, false).map_err(fail("setting the send buffer for"))?;
        socket
            .connect(&options.scoped().into())
            .map_err(fail("connecting to"))?;
        let socket = Watched::new(UdpSocket::from(socket)).map_err(fail("watching"))?;
        Ok(Self {
            socket,
            peer,
            segment: 0,
            gso: true,
            grant,
            zero_copy: None,
        })
    }

    /// Sends buffers of this ring without a copy from now on, as long as the kernel does not copy all the same.
    pub fn use_zero_copy(&mut self, ring: &Rc<ZeroCopy>) {
        self.zero_copy = Some(ring.attach());
    }

    /// Whether buffers of a ring are worth being used.
    #[must_use]
    pub fn is_zero_copy(&self) -> bool {
        let socket = self.zero_copy.as_ref();
        socket.is_some_and(|socket| !socket.is_useless())
    }

    /// What became of zero-copy sends; `None` if none were asked for.
    #[must_use]
    pub fn zero_copy_counts(&self) -> Option<ZeroCopyCounts> {
        self.zero_copy.as_ref().map(ZeroCopySocket::counts)
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

    /// Sends `batch`: datagrams of `segment` bytes each, the last may be shorter. Waits while the socket is full; while it is
    /// not, it does not yield, so a loop around it has to.
    ///
    /// # Errors
    /// The kernel's; [`is_oversize`] tells when a datagram is longer than the path takes. What was sent before stays sent.
    pub async fn send_batch(&mut self, batch: &[u8], segment: usize) -> io::Result<()> {
        self.send_calls(batch, segment, None).await
    }

    /// Sends part of a buffer as [`UdpSender::send_batch`] does, without a copy if it is one of the ring that this socket uses, and
    /// the part is long enough for that to be faster.
    ///
    /// # Errors
    /// As [`UdpSender::send_batch`].
    pub async fn send_closed(
        &mut self,
        buffer: &ClosedBuffer,
        part: Range<usize>,
        segment: usize,
    ) -> io::Result<()> {
        self.send_calls(&buffer[part], segment, Some(buffer)).await
    }

    /// `buffer` is what `batch` lies in, if it may be sent without a copy.
    async fn send_calls(
        &mut self,
        batch: &[u8],
        segment: usize,
        buffer: Option<&ClosedBuffer>,
    ) -> io::Result<()> {
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
                self.send_call(call, buffer).await?;
                continue;
            }
            let sent = match self.set_segment(segment) {
                Ok(()) => self.send_call(call, buffer).await,
                refused => refused,
            };
            match sent {
                Err(error) if refuses_batches(&error) => self.one_by_one(call, segment).await?,
                sent => sent?,
            }
        }
        Ok(())
    }

    /// Sends one datagram; nothing if it is empty.
    ///
    /// # Errors
    /// As [`UdpSender::send_batch`].
    pub async fn send_one(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.send_batch(datagram, datagram.len().max(1)).await
    }

    /// Sends a batch that was refused as single datagrams. If those go, it was the batch, and none is tried again; if not, it
    /// was what is in it (older kernels refuse too long segments with the same error).
    async fn one_by_one(&mut self, call: &[u8], segment: usize) -> io::Result<()> {
        self.set_segment(0)?;
        for datagram in call.chunks(segment) {
            self.send_call(datagram, None).await?;
            self.gso = false;
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

    async fn send_call(&self, bytes: &[u8], buffer: Option<&ClosedBuffer>) -> io::Result<()> {
        let socket = self.socket.get_ref();
        let copying = || socket.send(bytes).map(|sent| sent == bytes.len());
        let zero_copy = self.zero_copy.as_ref().zip(buffer);
        let held = zero_copy.and_then(|(zero_copy, buffer)| zero_copy.hold(buffer, bytes.len()));
        if let (Some((zero_copy, _)), Some(hold)) = (zero_copy, held) {
            let direct = || zero_copy.send(socket.as_raw_fd(), hold, bytes);
            if self.until_sent(direct).await.is_ok() {
                return Ok(());
            }
            // Was it this way of sending, or would any fail?
            self.until_sent(copying).await?;
            zero_copy.went_otherwise();
            return Ok(());
        }
        self.until_sent(copying).await
    }

    /// Tries until the kernel has taken it or refuses it. `send` returns whether all bytes went.
    async fn until_sent(&self, send: impl Fn() -> io::Result<bool>) -> io::Result<()> {
        loop {
            match send() {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(io::Error::other("the kernel took only part of a batch")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                // Nobody listens at a unicast address yet (ICMP for an earlier datagram): not ours to mind.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether an error of a sender says that a datagram is longer than the path takes ([`UdpSender::path_mtu`]).
#[must_use]
pub fn is_oversize(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// The kernel, or the device, knows no UDP_SEGMENT, or not for this socket.
fn refuses_batches(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::EOPNOTSUPP | libc::ENOPROTOOPT)
    )
}

fn set_hops(socket: &Socket, options: &GroupOptions) -> io::Result<()> {
    let Some(ttl) = options.ttl.map(u32::from) else {
        return Ok(());
    };
    let group = options.group;
    match (group.is_ipv4(), group.ip().is_multicast()) {
        (true, true) => socket.set_multicast_ttl_v4(ttl),
        (true, false) => socket.set_ttl_v4(ttl),
        (false, true) => socket.set_multicast_hops_v6(ttl),
        (false, false) => socket.set_unicast_hops_v6(ttl),
    }
}

fn set_multicast(socket: &Socket, options: &GroupOptions) -> io::Result<()> {
    let index = options.iface.as_ref().map(|iface| iface.index);
    if options.group.is_ipv4() {
        socket.set_multicast_loop_v4(options.loopback)?;
        index.map_or(Ok(()), |index| {
            set_multicast_interface_v4(socket.as_raw_fd(), index)
        })
    } else {
        socket.set_multicast_loop_v6(options.loopback)?;
        index.map_or(Ok(()), |index| socket.set_multicast_if_v6(index))
    }
}

const _: () = assert!(
    SEGMENTS_MAX * 1344 > BYTES_MAX,
    "full packets are bounded by bytes"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{self, Placement};

    /// Sends one batch of 100 times 500 bytes and returns what arrives.
    fn batch_from(prepare: impl FnOnce(&mut UdpSender) + Send + 'static) -> (bool, Vec<usize>) {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let options = GroupOptions::new(receiver.local_addr().unwrap());
        let gso = shard::start("test", Placement::default(), move || async move {
            let mut sender = UdpSender::connect(&options).unwrap();
            prepare(&mut sender);
            sender.send_batch(&[7; 50_000], 500).await.unwrap();
            sender.gso()
        });
        let gso = gso.unwrap().join().unwrap();
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2000];
        let lengths = std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).collect();
        (gso, lengths)
    }

    #[test]
    fn batches_are_the_rule() {
        assert_eq!(batch_from(|_| ()), (true, vec![500; 100]));
    }

    #[test]
    fn a_kernel_that_refuses_batches_gets_single_datagrams() {
        // Without a checksum the kernel refuses UDP_SEGMENT.
        let refused = batch_from(|sender| {
            let fd = sender.socket.get_ref().as_raw_fd();
            set_option(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        });
        assert_eq!(refused, (false, vec![500; 100]));
    }

    #[test]
    fn hops_and_class_are_set() {
        let mut options = GroupOptions::new("239.255.78.99:5000".parse().unwrap());
        options.iface = Some(crate::Interface::resolve("lo").unwrap());
        (options.ttl, options.dscp) = (Some(9), Some(46));
        let shard = shard::start("test", Placement::default(), move || async move {
            let sender = UdpSender::connect(&options).unwrap();
            let fd = sender.socket.get_ref().as_raw_fd();
            [libc::IP_MULTICAST_TTL, libc::IP_TOS, libc::IP_MTU_DISCOVER]
                .map(|option| get_option(fd, libc::IPPROTO_IP, option).unwrap())
        });
        assert_eq!(
            shard.unwrap().join().unwrap(),
            [9, 46 << 2, libc::IP_PMTUDISC_DO]
        );
    }
}
