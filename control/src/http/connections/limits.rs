//! The numbers.

use std::time::Duration;

use super::rates::Rate;

/// File descriptors for everything that is no connection of the API: the store, files of contents, key doors, logs.
const OTHERS: u64 = 512;
/// Connections at once, of all kinds, however many file descriptors there are: each may hold some 50 KB.
const CONNECTIONS: u64 = 32_768;
/// Where the system allows nearly nothing.
const LEAST: u64 = 64;

/// Bounds on connections and requests of the HTTP API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections whose TLS handshake is under way.
    pub handshaking: usize,
    /// Connections of peers that showed no certificate.
    pub anonymous: usize,
    /// Connections of peers that showed one.
    pub authenticated: usize,
    /// Requests without a certificate that are worked on at once.
    pub anonymous_requests: usize,
    /// Requests with a certificate that are worked on at once.
    pub authenticated_requests: usize,
    /// The TLS handshake, and then the first request, must be there within this.
    pub handshake: Duration,
    /// How long a connection without a certificate may idle.
    pub idle_anonymous: Duration,
    /// How long one with a certificate may.
    pub idle_authenticated: Duration,
    /// A body begins to come within this, and then comes at 4 KiB/s at least.
    pub body: Duration,
    /// Of an upload something comes within this, again and again.
    pub silence: Duration,
    /// Of an answer a kilobyte is taken within this, again and again.
    pub stalled: Duration,
    /// How often a device may ask.
    pub device_rate: Rate,
    /// How often one may with the token of a person.
    pub person_rate: Rate,
    /// How often one network may (an IPv4 address, an IPv6 /64), where nobody says who he is.
    pub network_rate: Rate,
    /// What is under way when the server stops gets this long.
    pub drain: Duration,
}

impl Limits {
    /// For a process that may open so many files. Most of the places are for peers with a certificate; requests are bounded by the
    /// memory that their bodies take, and by what the store's writer lets wait.
    #[must_use]
    pub fn for_files(open_files: u64) -> Self {
        let all = open_files.saturating_sub(OTHERS).clamp(LEAST, CONNECTIONS);
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        let eighth = all / 8;
        Self {
            handshaking: eighth,
            anonymous: eighth,
            authenticated: all - 2 * eighth,
            anonymous_requests: 1024,
            authenticated_requests: 4096,
            handshake: Duration::from_secs(10),
            idle_anonymous: Duration::from_secs(10),
            // Longer than clients keep connections that they do not use: they close first, and no request meets a closed one.
            idle_authenticated: Duration::from_secs(120),
            body: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            stalled: Duration::from_secs(30),
            // A player asks some times in an hour.
            device_rate: Rate {
                per_second: 20,
                burst: 200,
            },
            person_rate: Rate {
                per_second: 20,
                burst: 200,
            },
            // A network may be a whole provider's behind one address.
            network_rate: Rate {
                per_second: 200,
                burst: 2000,
            },
            drain: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// A handshake that takes longer than this may have to make room.
    pub(super) fn late(&self) -> Duration {
        self.handshake / 4
    }

    /// Who has idled for less than this makes no room, unless its network has many places.
    pub(super) fn moment(&self) -> Duration {
        self.handshake / 16
    }
}

impl Default for Limits {
    /// For a process that may open 16,384 files.
    fn default() -> Self {
        Self::for_files(1 << 14)
    }
}
