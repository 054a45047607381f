//! Sessions as a key server gives them, and their requests.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_crypto::{EpochRoot, SigningKey};
use sealcast_net::clock;
use sealcast_proto::door::{
    Served, ServedKey, Session, SessionGrant, SessionKey, Ticket, TicketKey, Tickets, Update,
};
use sealcast_proto::ids::{AccountId, ChannelId, DeviceId, Epoch, SessionId, Time};
use sealcast_proto::limits::COOKIES_MAX;
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::door::{KeyRequestView, NONCE_LEN, Wanted};

const CHANNEL: ChannelId = ChannelId(1);
const PERIOD: u32 = 1;
/// Of so many sessions one is kept, to open its answer.
pub(super) const KEPT: usize = 64;

/// What a key server and its doors share.
pub(super) struct Mint {
    tickets: Tickets,
    rng: StdRng,
}

/// Requests of one session each.
pub(super) struct Requests {
    bytes: Vec<u8>,
    len: usize,
    sessions: Vec<Session>,
}

impl Mint {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            tickets: Tickets::new(TicketKey::new(PERIOD, [7; 32]), None),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// What makes a door answer: a channel in operation, its next key announced.
    pub(super) fn updates(&self) -> [Update; 3] {
        let now = Time(clock::boottime());
        let key = |epoch: u8, seconds| ServedKey {
            epoch: Epoch(epoch.into()),
            root: EpochRoot::from_bytes([epoch; 32]),
            end: now.after(Duration::from_secs(seconds)),
        };
        let served = Served {
            channel: CHANNEL,
            timing: Timing::default(),
            authority: SigningKey::from_seed(&[1; 32]).verifying_key(),
            successor: None,
            in_use: Some(key(4, 3600)),
            next: Some(key(5, 7200)),
            prepared: None,
            others: Vec::new(),
            expected: Vec::new(),
        };
        [
            Update::Leads(true),
            Update::Tickets(self.tickets.clone()),
            Update::Channel(Box::new(served)),
        ]
    }

    /// `count` new sessions, each with a full stock of cookies, ask for the current key.
    pub(super) fn requests(&mut self, count: usize) -> Result<Requests> {
        let (mut bytes, mut sessions, mut len) = (Vec::new(), Vec::new(), 0);
        for index in 0..count {
            let mut session = self.session()?;
            let now = Time(clock::boottime());
            let wanted = Wanted {
                number: 1,
                channel: CHANNEL,
                epoch: None,
                cookies: 0,
            };
            let request = session.request(now, &wanted, &mut self.rng);
            if index == 0 {
                len = request.len();
                bytes.reserve_exact(len * count);
            }
            ensure!(request.len() == len, "all requests are equally long");
            bytes.extend_from_slice(&request);
            if index % KEPT == 0 {
                sessions.push(session);
            }
        }
        Ok(Requests {
            bytes,
            len,
            sessions,
        })
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }

    fn session(&mut self) -> Result<Session> {
        let ticket = Ticket {
            session: SessionId(self.random()),
            account: AccountId(self.random()),
            device: DeviceId(self.random()),
            request_key: SessionKey::from_bytes(self.random()),
            reply_key: SessionKey::from_bytes(self.random()),
            rights_version: 1,
            period: PERIOD,
            channels: vec![CHANNEL],
        };
        let cookies = (0..COOKIES_MAX).filter_map(|_| self.tickets.seal(&ticket, &mut self.rng));
        Session::new(SessionGrant {
            session: ticket.session,
            request_key: ticket.request_key.clone(),
            reply_key: ticket.reply_key.clone(),
            cookies: cookies.collect(),
        })
        .context("a session has cookies")
    }
}

impl Requests {
    pub(super) fn count(&self) -> usize {
        self.bytes.len() / self.len
    }

    /// Length of each, bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.len..][..self.len]
    }

    /// What its answer will echo.
    pub(super) fn nonce(&self, index: usize) -> Option<[u8; NONCE_LEN]> {
        let request = KeyRequestView::parse(self.get(index)).ok()?;
        Some(request.nonce)
    }

    /// The session that asked, if it was kept.
    pub(super) fn session(&mut self, index: usize) -> Option<&mut Session> {
        let kept = index.is_multiple_of(KEPT);
        kept.then(|| &mut self.sessions[index / KEPT])
    }
}
