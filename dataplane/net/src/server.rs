//! A socket that answers: requests in batches (recvmmsg), replies in batches (sendmmsg), each to whoever asked.
#![expect(unsafe_code, reason = "sendmmsg")]

use std::fmt;
use std::io;
use std::mem::zeroed;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::receiver::{Drops, RecvBatch};
use crate::socket::{BufferGrant, SocketError, buffer, io_error};
use crate::sockopt::set_option;
use crate::watched::Watched;

/// A bound socket. Several may be bound to one address: the kernel shares the requests out by source.
#[derive(Debug)]
pub struct UdpServer {
    socket: Watched<UdpSocket>,
    grant: BufferGrant,
    drops: Drops,
}

impl UdpServer {
    /// Binds to `addr` (port 0 lets the kernel choose), asking for a receive buffer of `size` bytes. Inside a shard only.
    ///
    /// # Errors
    /// [`SocketError`] names what was tried and what to do.
    pub fn bind(addr: SocketAddr, size: usize) -> Result<Self, SocketError> {
        let fail = |what| io_error(what, addr);
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))
            .map_err(fail("making a socket for"))?;
        socket
            .set_nonblocking(true)
            .map_err(fail("making non-blocking the socket for"))?;
        // Of sockets that share, the kernel may give two the same port by itself: one that it chooses is shared afterwards.
        let share = || socket.set_reuse_port(true).map_err(fail("sharing"));
        let is_chosen = addr.port() == 0;
        if !is_chosen {
            share()?;
        }
        if addr.is_ipv6() {
            socket.set_only_v6(true).map_err(fail("keeping to IPv6"))?;
        }
        let grant = buffer(&socket, size, true).map_err(fail("setting the receive buffer of"))?;
        set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
            .map_err(fail("counting drops of"))?;
        socket.bind(&addr.into()).map_err(fail("binding to"))?;
        if is_chosen {
            share()?;
        }
        let socket = Watched::new(UdpSocket::from(socket)).map_err(fail("watching"))?;
        Ok(Self {
            socket,
            grant,
            drops: Drops::default(),
        })
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

    /// Requests that the kernel dropped because the receive buffer was full.
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

    /// Receives what is there, without waiting; returns how many buffers `batch` holds now (0: nothing was there).
    ///
    /// # Errors
    /// The kernel's.
    pub fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        let received = batch.recv(self.socket.get_ref().as_raw_fd(), batch.capacity(), true)?;
        self.drops.saw(batch.overflow);
        Ok(received)
    }

    /// Sends all replies without waiting and empties the batch. Returns how many were not sent, because the send buffer is
    /// full or their address cannot be reached: whoever asked asks again.
    pub fn send(&self, replies: &mut ReplyBatch) -> usize {
        let total = replies.spans.len();
        let sent = replies.send(self.socket.get_ref().as_raw_fd());
        replies.clear();
        total - sent
    }
}

/// Replies that wait for one system call.
#[derive(Default)]
pub struct ReplyBatch {
    bytes: Vec<u8>,
    spans: Vec<(usize, SockAddr)>,
}

impl fmt::Debug for ReplyBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBatch")
            .field("replies", &self.spans.len())
            .finish_non_exhaustive()
    }
}

impl ReplyBatch {
    /// Adds a reply to `to`.
    pub fn push(&mut self, to: SocketAddr, reply: &[u8]) {
        self.bytes.extend_from_slice(reply);
        self.spans.push((self.bytes.len(), to.into()));
    }

    /// How many replies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    fn send(&mut self, fd: i32) -> usize {
        let mut start = 0;
        let mut vectors: Vec<libc::iovec> = Vec::with_capacity(self.spans.len());
        for (end, _) in &self.spans {
            let reply = &mut self.bytes[start..*end];
            vectors.push(libc::iovec {
                iov_base: reply.as_mut_ptr().cast(),
                iov_len: reply.len(),
            });
            start = *end;
        }
        let header = |((_, name), vector): (&(usize, SockAddr), &mut libc::iovec)| {
            // SAFETY: all-zero bytes are a valid mmsghdr (null pointers, zero lengths).
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = name.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let mut headers: Vec<_> = self.spans.iter().zip(&mut vectors).map(header).collect();
        let (mut sent, mut at) = (0, 0);
        while at < headers.len() {
            let rest = &mut headers[at..];
            let count = libc::c_uint::try_from(rest.len()).unwrap_or(libc::c_uint::MAX);
            // SAFETY: every header points to bytes of `self.bytes`, to one of `vectors` and to an address of `self.spans`,
            // which all outlive the call and are not moved during it; the kernel only reads them.
            let done = unsafe { libc::sendmmsg(fd, rest.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
            match usize::try_from(done) {
                Ok(done @ 1..) => {
                    sent += done;
                    at += done;
                }
                _ => match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => break,
                    // This one cannot be sent (no route, no neighbour, not permitted): the others can.
                    _ => at += 1,
                },
            }
        }
        sent
    }
}
