//! A descriptor that tasks can wait for, whatever their shard waits in.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use glommio::GlommioError;
use glommio::io::PollableFd;

use crate::shard::epoll;

/// A non-blocking descriptor, used on one shard.
#[derive(Debug)]
pub(crate) struct Watched<T: AsFd + AsRawFd>(Kind<T>);

#[derive(Debug)]
enum Kind<T: AsFd + AsRawFd> {
    Ring(PollableFd<T>),
    Epoll(epoll::Watched<T>),
}

impl<T: AsFd + AsRawFd> Watched<T> {
    /// Inside a shard only.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(descriptor: T) -> io::Result<Self> {
        Ok(Self(match epoll::here() {
            Some(shard) => Kind::Epoll(shard.watch(descriptor)?),
            None => Kind::Ring(PollableFd::new(descriptor).map_err(in_words)?),
        }))
    }

    pub(crate) fn get_ref(&self) -> &T {
        match &self.0 {
            Kind::Ring(watched) => watched.get_ref(),
            Kind::Epoll(watched) => watched.get_ref(),
        }
    }

    /// Waits until something can be read, or about so. Cancel-safe.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Ring(watched) => watched.readable().await.map_err(in_words),
            Kind::Epoll(watched) => watched.readable().await,
        }
    }

    /// Waits until something can be written, or about so. Cancel-safe.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match &self.0 {
            Kind::Ring(watched) => watched.writable().await.map_err(in_words),
            Kind::Epoll(watched) => watched.writable().await,
        }
    }
}

fn in_words(error: GlommioError<()>) -> io::Error {
    io::Error::other(error.to_string())
}
