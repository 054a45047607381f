//! A key server in a folder of its own, an operator, and what tests do again and again.

use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng as _;
use reqwest::Method;
use sealcast_control::offline;
use sealcast_control::server::{KeyServer, ServerConfig};
use sealcast_control::store::{Location, Postgres};
use sealcast_objects::api::{
    AuthLevel, Channel, KeyMode, Labels, NewCode, NewDevice, NewNode, NewRight, OperatorRole,
    Right, Role, SessionReply, SessionRequest, SetStanding, Standing, Times,
};
use sealcast_objects::audit::Head;
use sealcast_objects::code::Code;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::{ChannelId, DeviceId, id::Text};
use sealcast_proto::door::{Answer, Session, SessionGrant};
use sealcast_proto::ids::Time;
use sealcast_proto::wire::Wire as _;
use sealcast_proto::wire::door::{Reason, Wanted};
use sealcast_terminal::enrol;
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::identity::Identity;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UdpSocket;

use crate::postgres;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const LOCAL: &str = "127.0.0.1:0";

/// A running key server and its operator.
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) config: ServerConfig,
    pub(crate) server: Option<KeyServer>,
    pub(crate) url: String,
    /// The operator.
    pub(crate) ada: Identity,
    pub(crate) admin: Client,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// As [`Bench::start`], with other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = ServerConfig::new(folder.path().join("data"));
        if let Ok(url) = std::env::var("SEALCAST_TEST_POSTGRES") {
            let url = postgres::database(&url);
            let at = Postgres::new(&url, None, None, None).unwrap();
            config.store = Location::Postgres(at);
        }
        config.listen = vec![LOCAL.parse().unwrap()];
        config.door = vec![LOCAL.parse().unwrap()];
        config.names = vec!["127.0.0.1".to_owned()];
        config.start_wait = Duration::from_millis(200);
        change(&mut config);
        let server = KeyServer::start(config.clone()).await.unwrap();
        // Where it listens stays the same over restarts.
        config.listen = server.listen().to_vec();
        config.door = server.door().to_vec();
        let url = format!("https://{}", config.listen[0]);
        let code = server.operator_code("ada", HOUR).await.unwrap();
        let ada = enrol(&url, &code, Role::Admin).await.unwrap();
        Self {
            admin: Client::new(&ada).unwrap(),
            folder,
            config,
            server: Some(server),
            url,
            ada,
        }
    }

    pub(crate) fn server(&self) -> &KeyServer {
        self.server.as_ref().unwrap()
    }

    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.server = Some(KeyServer::start(self.config.clone()).await.unwrap());
    }

    /// What an auditor finds in the store beside the server.
    pub(crate) async fn verified(&self, kept: Vec<Head>) -> offline::Verified {
        let (data, store) = (self.config.data.clone(), self.config.store.clone());
        let verify = move || offline::verify(&data, &store, kept).unwrap();
        tokio::task::spawn_blocking(verify).await.unwrap()
    }

    pub(crate) async fn channel(&self, id: u16) {
        let made: Channel = self.admin.post("/v1/channels", &channel(id)).await.unwrap();
        assert_eq!(made, channel(id));
    }

    /// The code of a new device.
    pub(crate) async fn device_code(&self) -> NewCode {
        let new = NewDevice {
            account: None,
            name: "set-top box".to_owned(),
            labels: Labels::default(),
        };
        self.admin.post("/v1/devices", &new).await.unwrap()
    }

    /// A device that has enrolled.
    pub(crate) async fn device(&self) -> Identity {
        let code = self.device_code().await;
        enrol(&self.url, &code, Role::Device).await.unwrap()
    }

    /// A device with a right to each of `channels`.
    pub(crate) async fn entitled(&self, channels: &[u16]) -> Identity {
        let device = self.device().await;
        for channel in channels {
            self.right(&device, *channel).await;
        }
        device
    }

    pub(crate) async fn right(&self, device: &Identity, channel: u16) {
        let new = NewRight {
            device: id(device),
            channel,
            from: None,
            until: None,
        };
        let put = self.admin.call(Method::PUT, "/v1/rights", Some(&new));
        let right: Right = put.await.unwrap();
        assert_eq!(right.channel, channel);
    }

    pub(crate) async fn node_code(&self, server: u32, channels: Option<Vec<u16>>) -> NewCode {
        let new = NewNode {
            server,
            name: String::new(),
            channels,
        };
        self.admin.post("/v1/nodes", &new).await.unwrap()
    }

    pub(crate) async fn node(&self, server: u32, channels: Option<Vec<u16>>) -> Identity {
        let code = self.node_code(server, channels).await;
        enrol(&self.url, &code, Role::Node).await.unwrap()
    }

    /// An operator of this role who has enrolled; with a new key if there is one of this name.
    pub(crate) async fn operator_identity(&self, name: &str, role: OperatorRole) -> Identity {
        let put = json!({ "role": role, "anew": true });
        self.put(&format!("/v1/operators/{name}"), &put).await;
        let path = format!("/v1/operators/{name}/code");
        let code: NewCode = self.admin.post(&path, &()).await.unwrap();
        enrol(&self.url, &code, Role::Admin).await.unwrap()
    }

    /// As [`Bench::operator_identity`]; his client.
    pub(crate) async fn operator(&self, name: &str, role: OperatorRole) -> Client {
        Client::new(&self.operator_identity(name, role).await).unwrap()
    }

    /// A PUT of the owner.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Value {
        let put = self.admin.call(Method::PUT, path, Some(body));
        put.await.unwrap()
    }

    pub(crate) async fn set(&self, path: &str, standing: Standing) -> Result<Value, RequestError> {
        let body = SetStanding { standing };
        self.admin.call(Method::PATCH, path, Some(&body)).await
    }

    pub(crate) async fn list(&self, what: &str) -> Value {
        self.admin.get(&format!("/v1/{what}")).await.unwrap()
    }
}

pub(crate) fn channel(id: u16) -> Channel {
    Channel {
        id,
        name: format!("channel {id}"),
        mode: KeyMode::Authority,
        times: Times {
            lifetime_ms: 60_000,
            prepare_ahead_ms: 30_000,
            fetch_ahead_ms: 15_000,
            grace_ms: 2_000,
            hold_max_lifetimes: 10,
        },
        auth_level: AuthLevel::default(),
        key_block_permille: 0,
    }
}

pub(crate) fn id(device: &Identity) -> Text<DeviceId> {
    device.subject.parse().unwrap()
}

pub(crate) async fn enrol(url: &str, code: &NewCode, role: Role) -> Result<Identity, RequestError> {
    let code: Code = code.code.parse().unwrap();
    enrol::enrol(url, &code, &enrol::new_key().unwrap(), role).await
}

pub(crate) async fn session(
    device: &Identity,
    channels: &[u16],
) -> Result<SessionReply, RequestError> {
    let request = SessionRequest {
        channels: channels.to_vec(),
    };
    let client = Client::new(device).unwrap();
    client.post("/v1/session", &request).await
}

/// It was refused by the server, and how.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T, RequestError>) -> Problem {
    match result {
        Err(RequestError::Refused(problem)) => problem,
        Err(other) => unreachable!("{other}"),
        Ok(_) => unreachable!("it was not refused"),
    }
}

/// It was refused with this kind; what it says.
#[track_caller]
pub(crate) fn refused_as<T>(kind: Kind, result: Result<T, RequestError>) -> String {
    let problem = refused(result);
    assert_eq!(problem.kind, kind, "{}", problem.detail);
    assert_eq!(problem.status, kind.status());
    problem.detail
}

pub(crate) fn open(reply: &SessionReply) -> Session {
    Session::new(SessionGrant::decode_all(&reply.grant).unwrap()).unwrap()
}

fn request(session: &mut Session, channel: u16) -> Vec<u8> {
    let wanted = Wanted {
        number: 1,
        channel: ChannelId(channel),
        epoch: None,
        cookies: 0,
    };
    let mut rng = rand::rngs::StdRng::try_from_rng(&mut rand::rngs::SysRng).unwrap();
    session.request(Time(1), &wanted, &mut rng)
}

/// Asks a key door by UDP.
pub(crate) async fn ask_udp(session: &mut Session, door: SocketAddr, channel: u16) -> Answer {
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    for _ in 0..20 {
        let datagram = request(session, channel);
        socket.send_to(&datagram, door).await.unwrap();
        let mut buffer = [0; 1500];
        let answer = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut buffer));
        if let Ok(length) = answer.await {
            return session.handle(&buffer[..length.unwrap()]).unwrap();
        }
    }
    unreachable!("the key door at {door} does not answer")
}

/// Asks the key door by HTTPS.
pub(crate) async fn ask_https(session: &mut Session, device: &Identity, channel: u16) -> Answer {
    let datagram = request(session, channel);
    let reply = Client::new(device).unwrap().door(datagram).await.unwrap();
    session.handle(&reply).unwrap()
}

/// Why it was refused; nothing if it was not.
pub(crate) fn reason(answer: &Answer) -> Option<Reason> {
    match answer {
        Answer::Refused(refused) => Some(refused.reason),
        Answer::Granted { .. } => None,
        Answer::CookieUnknown => Some(Reason::CookieUnknown),
    }
}

/// Waits until `test` holds, at most ten seconds.
pub(crate) async fn until(what: &str, mut test: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if test().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("waited in vain: {what}")
}

/// A client that sends what no client of ours would; with a certificate if an identity is given.
pub(crate) fn raw(ca: &Identity, identity: Option<&Identity>) -> reqwest::Client {
    let tls = match identity {
        Some(identity) => identity.tls().unwrap(),
        None => nobody(ca),
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .unwrap()
}

/// The CA alone is trusted.
pub(crate) fn roots(ca: &Identity) -> rustls::RootCertStore {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls::pki_types::CertificateDer::from_pem_slice(ca.ca.as_bytes());
    roots.add(ca.unwrap()).unwrap();
    roots
}

/// TLS without a certificate of one's own.
pub(crate) fn nobody(ca: &Identity) -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_no_client_auth()
}

/// The problem that an answer must be, without the request's name, which is another each time.
pub(crate) async fn problem(response: reqwest::Response) -> Problem {
    let status = response.status().as_u16();
    let content = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(content, "application/problem+json");
    let mut problem: Problem = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert!(problem.request_id.take().is_some());
    assert_eq!(problem.status, status);
    assert!(!problem.detail.is_empty());
    problem
}

/// Nothing, as a body.
pub(crate) fn none() -> Value {
    json!({})
}
