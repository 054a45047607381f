//! The HTTP API: enrolment, sessions, the key door's fallback, administration. Certificates say who asks, the store says what
//! he may.

mod accept;
mod act;
mod admin;
mod audit;
mod authority_keys;
mod bearer;
mod billing;
mod cards;
mod catalogue;
mod codes;
mod connections;
mod contents;
mod customers;
mod device;
mod door;
mod enrol;
mod error;
mod events;
mod factory;
mod grants;
mod interop;
mod ledger;
mod licences;
mod logins;
mod me;
mod money;
mod oidc;
mod openapi;
mod operators;
mod pages;
mod permits;
mod purchases;
mod receivers;
mod recovery;
mod request_id;
mod revision;
mod sales;
mod session;
mod shares;
mod slaves;
mod staff;
mod throttle;
mod tokens;
mod usage;
mod used;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aide::axum::ApiRouter;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use rand::rngs::StdRng;
use rand_core::Rng as _;
use sealcast_domain::accounts::Floor;
use sealcast_domain::sales::Lives;
use sealcast_domain::{Error, Read, channels, devices, keys, nodes};
use sealcast_objects::DeviceId;
use sealcast_objects::api::{Device, Node};
use sealcast_objects::id::Text;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use sealcast_proto::authority::ChannelConfig;
use sealcast_proto::door::{Tickets, Update};
use sealcast_proto::ids::ChannelId;
use sealcast_proto::timing::Timing;
use tokio::sync::watch;

pub use accept::Acceptor;
pub(crate) use accept::serve;
pub(crate) use act::SERVER;
pub(crate) use authority_keys::new_authority_key;
pub use authority_keys::{KeysError, authority_keys};
pub(crate) use connections::Register;
pub use connections::{HttpStats, Limits, Rate};
pub use contents::Contents;
pub(crate) use error::{internal, problem};
pub use interop::InteropConfig;
pub use openapi::document as openapi;
pub(crate) use session::{Holder, new_session};
pub(crate) use slaves::roster;
pub use staff::Staff;

use throttle::Throttle;
use used::Used;

use crate::authority::Handle;
use crate::ca::{Ca, Peer};
use crate::cards::Cards;
use crate::door::{DoorCounters, HttpsDoor};
use crate::feed::{self, Publisher, SlaveHandle};
use crate::licences::Issuer;
use crate::node::{Service, pb};
use crate::oidc::Oidc;
use crate::passwords::Passwords;
use crate::signers::Signers;
use crate::store::Store;
use crate::usage::{Intake, Spool};
use crate::vault::Vault;
use crate::webhooks::{EventsConfig, Webhooks};

/// How long the others of an account can object to a recovery, unless a setting says otherwise.
pub const RECOVERY_DELAY: Duration = sealcast_domain::recovery::DELAY;

/// Longest body of a request.
const BODY_MAX: usize = 64 << 10;

/// What every request may need.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    vault: Arc<Vault>,
    ca: Ca,
    authority: Handle,
    publisher: Publisher,
    https_door: Arc<HttpsDoor>,
    door_counters: DoorCounters,
    door_addrs: Vec<std::net::SocketAddr>,
    signers: Arc<Signers>,
    issuer: Arc<Issuer>,
    /// As the store has them: every act asks for them.
    staff: RwLock<Staff>,
    /// The ticket keys in force, and when the current one was made.
    tickets: RwLock<(Tickets, Timestamp)>,
    ticket_period: Duration,
    /// Between the first use of a recovery's code and the second.
    recovery_delay: Duration,
    passwords: Passwords,
    throttle: Mutex<Throttle>,
    used_assertions: Mutex<Used>,
    oidc: Option<Oidc>,
    cards: Option<Arc<Cards>>,
    used_logins: Mutex<Used>,
    slaves_needed: Option<usize>,
    rng: Mutex<StdRng>,
    interop: interop::Interop,
    contents: Contents,
    webhooks: Webhooks,
    events: events::Events,
    limits: Limits,
    lives: Lives,
    intake: Intake,
    usage_archive: Option<Spool>,
    /// New enrolments of nodes reach the authority in the order of their commits.
    nodes_order: tokio::sync::Mutex<()>,
}

/// What an [`App`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The store.
    pub store: Arc<Store>,
    /// What opens its secrets.
    pub vault: Arc<Vault>,
    /// The CA.
    pub ca: Ca,
    /// The authority.
    pub authority: Handle,
    /// The way to key doors and slaves.
    pub publisher: Publisher,
    /// The door behind HTTPS.
    pub https_door: Arc<HttpsDoor>,
    /// Their totals.
    pub door_counters: DoorCounters,
    /// Where devices find them.
    pub door_addrs: Vec<std::net::SocketAddr>,
    /// Keys that the server signs with.
    pub(crate) signers: Signers,
    /// The operators, and what needs a second one.
    pub staff: Staff,
    /// The ticket keys in force, and when the current one was made.
    pub tickets: (Tickets, Timestamp),
    /// How long a ticket key seals.
    pub ticket_period: Duration,
    /// How long a lost device's others can object before another one takes its place.
    pub recovery_delay: Duration,
    /// How many slaves must hold a key before it is announced; `None`: more than half.
    pub slaves_needed: Option<usize>,
    /// The identity provider of persons.
    pub oidc: Option<Oidc>,
    /// Who takes payments by card.
    pub cards: Option<Arc<Cards>>,
    /// The doors for packagers of other software.
    pub interop: InteropConfig,
    /// Files of contents.
    pub contents: Contents,
    /// Sends events.
    pub webhooks: Webhooks,
    /// Who may read them.
    pub events: EventsConfig,
    /// The number of the last entry of the audit log, as it grows.
    pub heads: watch::Receiver<u64>,
    /// Whether the server stops.
    pub stopped: watch::Receiver<bool>,
    /// Bounds on connections and requests.
    pub limits: Limits,
    /// How long the steps of a sale may take.
    pub lives: Lives,
    /// Where usage files are kept that were counted, if they are.
    pub usage_archive: Option<Spool>,
    /// Randomness.
    pub rng: StdRng,
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

impl App {
    /// Puts it together.
    #[must_use]
    pub fn new(mut parts: Parts) -> Self {
        let mut key = [0; 32];
        parts.rng.fill_bytes(&mut key);
        let signers = Arc::new(parts.signers);
        let issuer = Issuer::new(Arc::clone(&signers), Arc::clone(&parts.vault));
        Self(Arc::new(Inner {
            store: parts.store,
            vault: parts.vault,
            ca: parts.ca,
            authority: parts.authority,
            publisher: parts.publisher,
            https_door: parts.https_door,
            door_counters: parts.door_counters,
            door_addrs: parts.door_addrs,
            signers,
            issuer: Arc::new(issuer),
            staff: RwLock::new(parts.staff),
            tickets: RwLock::new(parts.tickets),
            ticket_period: parts.ticket_period,
            recovery_delay: parts.recovery_delay,
            passwords: Passwords::new(&mut parts.rng),
            throttle: Mutex::new(Throttle::new(key)),
            used_assertions: Mutex::default(),
            oidc: parts.oidc,
            cards: parts.cards,
            used_logins: Mutex::default(),
            slaves_needed: parts.slaves_needed,
            interop: interop::Interop::new(parts.interop),
            contents: parts.contents,
            webhooks: parts.webhooks,
            events: events::Events::new(&parts.events, parts.heads, parts.stopped),
            limits: parts.limits,
            lives: parts.lives,
            intake: Intake::default(),
            usage_archive: parts.usage_archive,
            rng: Mutex::new(parts.rng),
            nodes_order: tokio::sync::Mutex::default(),
        }))
    }

    /// All routes, the node link's among them.
    pub fn router(&self) -> Router {
        let link = pb::node_link_server::NodeLinkServer::new(Service(self.clone()))
            .max_decoding_message_size(BODY_MAX);
        let door: Router<_> = door::routes().into();
        let contents: Router<_> = contents::routes().into();
        Router::from(api())
            .with_state(self.clone())
            .merge(door.with_state(Arc::clone(&self.0.https_door)))
            .layer(connections::paced(self.limits()))
            .merge(contents.with_state(self.clone()))
            .route("/openapi.json", get(openapi::served))
            .fallback(error::not_found)
            .method_not_allowed_fallback(error::method_not_allowed)
            .route_service("/sealcast.node.v1.NodeLink/{method}", link)
            .route_service(
                "/sealcast.feed.v1.Feed/{method}",
                feed::service(self.clone()),
            )
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn ca(&self) -> &Ca {
        &self.0.ca
    }

    /// The authority.
    #[must_use]
    pub fn authority(&self) -> &Handle {
        &self.0.authority
    }

    pub(crate) fn signers(&self) -> &Signers {
        &self.0.signers
    }

    /// What makes licences.
    pub(crate) fn issuer(&self) -> Arc<Issuer> {
        Arc::clone(&self.0.issuer)
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.0.publisher
    }

    pub(crate) fn slaves_needed(&self) -> Option<usize> {
        self.0.slaves_needed
    }

    /// What the authority hears of the store's rows reaches it in the order of their commits.
    async fn in_order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.nodes_order.lock().await
    }

    pub(crate) fn door_counters(&self) -> &DoorCounters {
        &self.0.door_counters
    }

    pub(crate) fn door_addrs(&self) -> &[std::net::SocketAddr] {
        &self.0.door_addrs
    }

    pub(crate) fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.0.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A generator of its own, for commands that run elsewhere.
    pub(crate) fn fork_rng(&self) -> StdRng {
        rand::SeedableRng::from_rng(&mut *self.rng())
    }

    pub(crate) fn tickets(&self) -> (Tickets, Timestamp, Duration) {
        let kept = self.0.tickets.read();
        let (tickets, made) = kept.unwrap_or_else(PoisonError::into_inner).clone();
        (tickets, made, self.0.ticket_period)
    }

    pub(crate) fn set_tickets(&self, tickets: &Tickets, made: Timestamp) {
        let kept = self.0.tickets.write();
        *kept.unwrap_or_else(PoisonError::into_inner) = (tickets.clone(), made);
        self.0.publisher.tell(Update::Tickets(tickets.clone()));
    }

    pub(crate) fn recovery_delay(&self) -> Duration {
        self.0.recovery_delay
    }

    fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        let throttle = self.0.throttle.lock();
        throttle.unwrap_or_else(PoisonError::into_inner)
    }

    fn used_assertions(&self) -> MutexGuard<'_, Used> {
        let used = self.0.used_assertions.lock();
        used.unwrap_or_else(PoisonError::into_inner)
    }

    fn used_logins(&self) -> MutexGuard<'_, Used> {
        let used = self.0.used_logins.lock();
        used.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.0.vault
    }

    /// Files of contents.
    pub(crate) fn contents(&self) -> &Contents {
        &self.0.contents
    }

    /// What sends events.
    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.0.webhooks
    }

    /// Who reads events.
    fn events(&self) -> &events::Events {
        &self.0.events
    }

    /// Bounds on connections and requests.
    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// How long the steps of a sale may take.
    fn lives(&self) -> &Lives {
        &self.0.lives
    }

    /// Usage files that wait until they are counted.
    fn intake(&self) -> &Intake {
        &self.0.intake
    }

    /// Where usage files are kept that were counted, if they are.
    pub(crate) fn usage_archive(&self) -> Option<&Spool> {
        self.0.usage_archive.as_ref()
    }

    /// What is given to packagers, and for how long it is kept.
    pub(crate) fn interop_bounds(&self) -> sealcast_domain::cenc::Bounds {
        self.0.interop.bounds()
    }

    /// Sessions from before `floor` count no more.
    pub(crate) fn tell_floor(&self, floor: Floor) {
        self.0.publisher.tell(Update::RightsFloor {
            account: floor.account,
            version: floor.version,
        });
    }

    /// The authority hears of all nodes as they are.
    pub(crate) async fn nodes_changed(&self) -> Result<(), Problem> {
        let _in_order = self.in_order().await;
        let nodes = self.store().read(|store| nodes::list(store)).await;
        let nodes = nodes.map_err(problem)?;
        self.authority().set_nodes(nodes).await.map_err(internal)
    }

    /// The authority hears of all channels as they are.
    pub(crate) async fn channels_changed(&self) -> Result<(), Problem> {
        let _in_order = self.in_order().await;
        let channels = self.store().read(|store| channels::list(store)).await;
        let channels = configs(&channels.map_err(problem)?);
        self.authority()
            .set_channels(channels)
            .await
            .map_err(internal)
    }

    /// The authority hears of its keys as they are.
    pub(crate) async fn keys_changed(&self) -> Result<(), Problem> {
        let _in_order = self.in_order().await;
        let rows = self.store().read(|store| keys::authority_keys(store)).await;
        let keys = authority_keys(&rows.map_err(problem)?, self.vault()).map_err(internal)?;
        self.authority().set_keys(keys).await.map_err(internal)
    }

    pub(crate) async fn authenticate_node(&self, peer: &Peer) -> Result<Node, Problem> {
        let (subject, key) = (peer.subject.clone(), peer.public_key.clone());
        let Ok(server) = subject.parse() else {
            return Err(Problem::new(
                Kind::Unauthenticated,
                "the certificate names no delivery server",
            ));
        };
        self.store()
            .read(move |store| nodes::authenticate(store, server, &key))
            .await
            .map_err(problem)
    }

    pub(crate) async fn authenticate_device(&self, peer: &Peer) -> Result<Device, Problem> {
        let (subject, key) = (peer.subject.clone(), peer.public_key.clone());
        let Ok(Text(device)) = subject.parse::<Text<DeviceId>>() else {
            return Err(Problem::new(
                Kind::Unauthenticated,
                "the certificate names no device",
            ));
        };
        self.store()
            .read(move |store| devices::authenticate(store, device, &key))
            .await
            .map_err(problem)
    }
}

/// What all paths under `/v1` have in common with each other, but files and the door.
fn api() -> ApiRouter<App> {
    ApiRouter::new()
        .merge(enrol::routes())
        .merge(session::routes())
        .merge(admin::routes())
        .merge(operators::routes())
        .merge(grants::routes())
        .merge(audit::routes())
        .merge(receivers::routes())
        .merge(customers::routes())
        .merge(factory::routes())
        .merge(recovery::routes())
        .merge(logins::routes())
        .merge(oidc::routes())
        .merge(tokens::routes())
        .merge(me::routes())
        .merge(slaves::routes())
        .merge(ledger::routes())
        .merge(money::routes())
        .merge(billing::routes())
        .merge(shares::routes())
        .merge(licences::routes())
        .merge(device::routes())
        .merge(sales::routes())
        .merge(cards::routes())
        .merge(purchases::routes())
        .merge(catalogue::routes())
        .merge(webhooks::routes())
        .merge(events::routes())
        .merge(interop::routes())
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .merge(usage::routes())
}

/// What a slave serves: the key door behind HTTPS, the clock, and the feed.
pub(crate) fn slave_router(
    https_door: Arc<HttpsDoor>,
    slave: SlaveHandle,
    spool: Spool,
    limits: &Limits,
) -> Router {
    let door: Router<_> = door::routes().into();
    Router::new()
        .merge(door.with_state(https_door))
        .merge(usage::relay(slave.clone(), spool))
        .layer(connections::paced(limits))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .route_service("/sealcast.feed.v1.Feed/{method}", feed::service(slave))
}

/// Channels as the authority knows them.
#[must_use]
pub fn configs(channels: &[sealcast_objects::api::Channel]) -> Vec<ChannelConfig> {
    let config = |channel: &sealcast_objects::api::Channel| {
        let timing = Timing::try_from(channel.times)
            .inspect_err(|error| {
                tracing::error!(channel = channel.id, %error, "this channel is not served; `sealcast admin channel set` mends it");
            })
            .ok()?;
        Some(ChannelConfig {
            channel: ChannelId(channel.id),
            mode: channel.mode.into(),
            timing,
            auth: channel.auth_level.into(),
        })
    };
    channels.iter().filter_map(config).collect()
}

/// The answer to a request.
pub(crate) type Answer<T> = Result<T, Problem>;

impl App {
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        command: impl FnOnce(&mut dyn sealcast_domain::Tx) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        self.store().write(command).await.map_err(problem)
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error> + Send + 'static,
    ) -> Answer<T> {
        self.store().read(query).await.map_err(problem)
    }
}
