//! Every limit of the protocol in one place, with the relations between them checked when the crate is compiled.

use std::time::Duration;

use sealcast_crypto::TAG_LEN;

/// Length of a packet's header: config byte, 6 bytes of key id, 5 bytes of CTR (RFC 9605 4.3).
pub const HEADER_LEN: usize = 12;
/// What sealing adds to a payload.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// IPv4 and UDP headers plus [`OVERHEAD`]: a payload above MTU minus this is refused.
pub const MTU_COST_V4: usize = 20 + 8 + OVERHEAD;
/// The same over IPv6.
pub const MTU_COST_V6: usize = 40 + 8 + OVERHEAD;
/// The largest datagram that any path can carry (65,535 minus IPv4 and UDP headers).
pub const DATAGRAM_MAX: usize = 65_507;

/// First packet number of a stripe group: always 5 bytes on the wire.
pub const CTR_FIRST: u64 = 1 << 32;
/// End of a stripe group's packet numbers: the run takes new lanes before it.
pub const CTR_END: u64 = 1 << 40;
/// A run asks for a new stripe group when its numbers reach this (75 %).
pub const CTR_SOFT: u64 = CTR_FIRST + (CTR_END - CTR_FIRST) / 4 * 3;
/// Bits of the epoch in a key id.
pub const EPOCH_BITS: u32 = 24;
/// Lanes of one epoch.
pub const LANES_MAX: usize = 255;

/// Packets that one lane may seal in one epoch (SEC-13).
pub const LANE_PACKETS_HARD: u64 = 1 << 32;
/// Packets after which a lane asks for an early epoch (75 %).
pub const LANE_PACKETS_SOFT: u64 = LANE_PACKETS_HARD / 4 * 3;
/// Bytes that one lane may seal in one epoch: 2^38 AES blocks keep the distinguishing advantage below 2^-52 (SEC-13).
pub const LANE_BYTES_HARD: u64 = 1 << 42;
/// Bytes after which a lane asks for an early epoch (75 %).
pub const LANE_BYTES_SOFT: u64 = LANE_BYTES_HARD / 4 * 3;
/// Restarts of one delivery server inside one epoch that are given lanes of that epoch; more wait for the next one.
pub const RUNS_PER_EPOCH: usize = 16;

/// How often the authority signs a Notice anew from the announcement to the boundary.
pub const NOTICE_INTERVAL: Duration = Duration::from_millis(250);
/// A delivery server forwards no Notice that is older than this.
pub const NOTICE_AGE_MAX: Duration = Duration::from_millis(500);
/// A delivery server that last heard a change announced longer than this before the change is due holds instead: the authority
/// may have been away while devices wanted to fetch.
pub const ANNOUNCED_LATELY: Duration = Duration::from_secs(1);
/// How often a delivery server repeats its lane certificates in band.
pub const CERTIFICATE_INTERVAL: Duration = Duration::from_millis(250);
/// How often a delivery server tells the authority where it stands.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often a node pings its parent to learn the clock offset.
pub const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How often a slave asks its parent for a lease.
pub const FEED_PING: Duration = Duration::from_millis(500);
/// A lease: how long a slave may take it that it knows of every revocation.
pub const LEASE: Duration = Duration::from_secs(2);
/// A slave that is linked to a parent without a lease this long looks for another parent.
pub const PARENT_PATIENCE: Duration = Duration::from_secs(5);
/// Slaves between a slave and the master, at most; more are a circle.
pub const FEED_DEPTH_MAX: u8 = 8;
/// Changes that a parent remembers, for slaves that link up again; who is farther behind gets a snapshot.
pub const FEED_LOG: usize = 4096;
/// Changes in one part of a snapshot.
pub const FEED_PART: usize = 512;
/// A slave without contact keeps ticket keys this long at most.
pub const TICKETS_WITHOUT_CONTACT: Duration = Duration::from_secs(24 * 3600);
/// How long a starting master collects reports.
pub const START_WAIT: Duration = Duration::from_secs(2);
/// Times a key's life that a sender may go on past its end, unless the channel says otherwise.
pub const HOLD_LIFETIMES: u32 = 10;
/// The most that a channel may say.
pub const HOLD_LIFETIMES_MAX: u32 = 1000;

/// Signature checks on multicast control per channel and second.
pub const SIGNATURE_CHECKS_PER_SECOND: u32 = 20;
/// Of these, kept for source addresses that passed before.
pub const SIGNATURE_CHECKS_KEPT: u32 = 10;

/// Longest wait of a packet for its key.
pub const PARK_TIME: Duration = Duration::from_millis(500);
/// Parked bytes per channel.
pub const PARK_CHANNEL_BYTES: usize = 4 << 20;
/// Parked bytes per process.
pub const PARK_PROCESS_BYTES: usize = 256 << 20;
/// Packets that the replay window of a stripe group remembers.
pub const REPLAY_WINDOW: u64 = 1 << 16;
/// Default wait for a missing packet, and default skew between two legs.
pub const SKEW_DEFAULT: Duration = Duration::from_millis(50);
/// The largest skew that may be configured.
pub const SKEW_MAX: Duration = Duration::from_millis(500);
/// Silence of the chosen stripe group after which another takes over.
pub const SOURCE_TIMEOUT: Duration = Duration::from_millis(500);
/// Lane certificates that a receiver keeps per channel.
pub const CERTIFICATES_MAX: usize = 1024;

/// How long a packet waits for its manifest, unless the receiver says otherwise.
pub const MANIFEST_WAIT: Duration = Duration::from_millis(100);
/// Packets of one lane that wait for their manifests: so many in places by their number, and as many whose place was taken.
pub const UNVERIFIED_MAX: usize = 4096;
/// Manifests that are remembered of one lane, for packets that come after them.
pub const MANIFESTS_KEPT: usize = 512;
/// Signature checks on manifests of one lane: as many per second whatever comes, and that many at once.
pub const MANIFEST_CHECKS_PER_SECOND: u64 = 200;
/// And one more for every so many packets that a member sealed.
pub const PACKETS_PER_CHECK: u64 = 32;

/// A KeyRequest that got no answer is sent again after this, then twice that, and so on.
pub const REQUEST_TIMEOUT: Duration = Duration::from_millis(250);
/// Longest pause between two tries.
pub const REQUEST_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Random delay before a request on demand.
pub const DEMAND_JITTER: Duration = Duration::from_millis(5);

/// Longest control datagram.
pub const CONTROL_MAX: usize = 1200;
/// Longest frame on a link.
pub const FRAME_MAX: usize = 64 << 10;
/// Longest cookie in a KeyRequest.
pub const COOKIE_MAX: usize = 512;
/// Cookies in one KeyReply, and in stock at a device.
pub const COOKIES_MAX: usize = 8;
/// Channels that one session is entitled to.
pub const SESSION_CHANNELS_MAX: usize = 32;
/// A ticket key seals cookies this long, and opens them for as long again.
pub const TICKET_PERIOD: Duration = Duration::from_secs(3600);
/// Requests that a session may send at once, after a pause.
pub const SESSION_BURST: u32 = 128;
/// Requests per second that a session may go on sending.
pub const SESSION_RATE: u32 = 64;
/// Plain refusals per second to one source network, and to all together.
pub const HINTS_PER_SOURCE: u32 = 4;
/// See [`HINTS_PER_SOURCE`].
pub const HINTS_PER_SECOND: u32 = 2000;

const _: () = {
    assert!(HEADER_LEN == 1 + 6 + 5 && OVERHEAD == 28);
    assert!(
        CTR_FIRST < CTR_SOFT && CTR_SOFT < CTR_END && CTR_END <= 1 << 40,
        "a CTR takes exactly 5 bytes"
    );
    assert!(LANE_PACKETS_SOFT < LANE_PACKETS_HARD && LANE_PACKETS_HARD <= 1 << 32);
    assert!(LANE_BYTES_SOFT < LANE_BYTES_HARD);
    assert!(SIGNATURE_CHECKS_KEPT < SIGNATURE_CHECKS_PER_SECOND);
    assert!(NOTICE_INTERVAL.as_millis() < NOTICE_AGE_MAX.as_millis());
    assert!(
        NOTICE_INTERVAL.as_millis() + NOTICE_AGE_MAX.as_millis() < ANNOUNCED_LATELY.as_millis()
    );
    assert!(PARK_CHANNEL_BYTES <= PARK_PROCESS_BYTES && PARK_CHANNEL_BYTES >= DATAGRAM_MAX);
    assert!(SKEW_DEFAULT.as_millis() <= SKEW_MAX.as_millis());
    assert!(REPLAY_WINDOW.is_power_of_two());
    assert!(COOKIE_MAX < CONTROL_MAX);
    assert!(
        3 * FEED_PING.as_millis() < LEASE.as_millis()
            && LEASE.as_millis() < PARENT_PATIENCE.as_millis()
    );
};
