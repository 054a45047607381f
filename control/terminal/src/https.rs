//! Requests to a key server. Errors say what happened, why, and what to do.

use std::error::Error as _;
use std::io::Read as _;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;
use rand::rngs::SysRng;
use rand_core::TryRng as _;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MATCH};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use sealcast_objects::api::UsageTaken;
use sealcast_objects::problem::{CASE, IDEMPOTENCY_KEY, Kind, Problem, REASON};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::identity::Identity;

/// A request that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A long answer that takes longer is given up.
const LONG: Duration = Duration::from_secs(3600);
/// A content that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// An alert is waited for this long.
const LISTEN: Duration = Duration::from_secs(1);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The server refuses.
    #[error("the key server refuses: {}", .0.detail)]
    Refused(Problem),
    /// It cannot be reached.
    #[error(
        "the key server {server} cannot be reached: {why}; does it run, and is its address right?"
    )]
    Unreachable {
        /// Its address.
        server: String,
        /// The cause.
        why: String,
    },
    /// TLS fails.
    #[error("{server} is not accepted: {why}")]
    Tls {
        /// Its address.
        server: String,
        /// The cause, and what to do.
        why: String,
    },
    /// The server's answer is none of ours.
    #[error("{server} answers what is not understood ({why}): is it a sealcast key server?")]
    Answer {
        /// Its address.
        server: String,
        /// What is wrong with it.
        why: String,
    },
    /// The identity cannot be used.
    #[error("the identity cannot be used: {0}")]
    Identity(String),
}

impl RequestError {
    /// Whether the same request may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(problem) => matches!(
                problem.kind,
                Kind::Timeout | Kind::Unavailable | Kind::Internal
            ),
            Self::Unreachable { .. } => true,
            _ => false,
        }
    }
}

/// A client of one key server.
#[derive(Clone, Debug)]
pub struct Client {
    server: String,
    client: reqwest::Client,
    tls: Arc<ClientConfig>,
    /// Why requests are made.
    why: HeaderMap,
}

/// What an answer says of its revision, for a change of just that; nothing: for a change of whatever there is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tag(Option<HeaderValue>);

/// An Idempotency-Key that nobody has used.
fn new_key() -> String {
    let mut random = [0; 16];
    SysRng
        .try_fill_bytes(&mut random)
        .expect("the operating system gives randomness");
    HEXLOWER.encode(&random)
}

impl Client {
    /// A client with this identity.
    ///
    /// # Errors
    /// [`RequestError::Identity`].
    pub fn new(identity: &Identity) -> Result<Self, RequestError> {
        let tls = identity
            .tls()
            .map_err(|error| RequestError::Identity(error.to_string()))?;
        Self::with_tls(&identity.server, tls)
    }

    /// A client of another server than the identity's, with its TLS.
    ///
    /// # Errors
    /// [`RequestError::Identity`].
    pub fn at(server: &str, tls: ClientConfig) -> Result<Self, RequestError> {
        Self::with_tls(server, tls)
    }

    pub(crate) fn with_tls(server: &str, tls: ClientConfig) -> Result<Self, RequestError> {
        let kept = Arc::new(tls.clone());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT / 2)
            .https_only(true)
            .no_proxy()
            .build();
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            client: client.map_err(|error| RequestError::Identity(causes(&error)))?,
            tls: kept,
            why: HeaderMap::new(),
        })
    }

    /// Says with each request why it is made, and to which case it belongs; either may be empty.
    ///
    /// # Errors
    /// [`RequestError::Identity`] where a header cannot say it.
    pub fn because(mut self, reason: &str, case: &str) -> Result<Self, RequestError> {
        for (name, said) in [(REASON, reason), (CASE, case)] {
            if !said.is_empty() {
                let value = HeaderValue::from_bytes(said.as_bytes())
                    .map_err(|_| RequestError::Identity(format!("{said:?} cannot be sent")))?;
                self.why.insert(name, value);
            }
        }
        Ok(self)
    }

    /// Sends a request with a JSON body, if any, and takes a JSON answer. A POST gets a new Idempotency-Key.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, RequestError> {
        let key = (method == Method::POST).then(new_key);
        self.call_as(method, path, body, key.as_deref()).await
    }

    /// As [`Client::call`], with this Idempotency-Key, if any: a retry of the same request has the same.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn call_as<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        key: Option<&str>,
    ) -> Result<T, RequestError> {
        let mut headers = self.why.clone();
        if let Some(key) = key {
            let unsendable = |_| RequestError::Identity(format!("{key:?} is no Idempotency-Key"));
            let key = HeaderValue::from_str(key).map_err(unsendable)?;
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        let response = self.send(method, path, body, headers).await?;
        self.read(response).await
    }

    /// What an answer holds.
    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, RequestError> {
        let bytes = response
            .bytes()
            .await
            .map_err(|error| self.answer(&causes(&error)))?;
        // An answer without content is `null` to whoever expects nothing.
        let bytes = if bytes.is_empty() {
            b"null".as_slice()
        } else {
            &bytes
        };
        serde_json::from_slice(bytes).map_err(|error| self.answer(&error.to_string()))
    }

    /// As [`Client::call`], without a body.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// As [`Client::get`], with what [`Client::change`] needs so that nobody else's change in between is lost.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn get_tagged<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<(T, Tag), RequestError> {
        let nothing = None::<&()>;
        let response = self
            .send(Method::GET, path, nothing, self.why.clone())
            .await?;
        let tag = Tag(response.headers().get(ETAG).cloned());
        Ok((self.read(response).await?, tag))
    }

    /// As [`Client::call`], if it still is what came with the tag.
    ///
    /// # Errors
    /// [`RequestError`]; refused with status 412 where it is not.
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        Tag(tag): Tag,
    ) -> Result<T, RequestError> {
        let mut headers = self.why.clone();
        headers.extend(tag.map(|tag| (IF_MATCH, tag)));
        let response = self.send(method, path, body, headers).await?;
        self.read(response).await
    }

    /// As [`Client::call`], POST with a body.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, RequestError> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        headers: HeaderMap,
    ) -> Result<Response, RequestError> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.server))
            .headers(headers);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.checked(request.send().await).await
    }

    /// Takes a long answer, piece by piece; says when one could not be kept.
    ///
    /// # Errors
    /// [`RequestError`]; also when the answer ends before its end.
    pub async fn download(
        &self,
        path: &str,
        mut keep: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<std::io::Result<()>, RequestError> {
        let request = self.client.get(format!("{}{path}", self.server));
        let sent = request.timeout(LONG).send().await;
        let mut response = self.checked(sent).await?;
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => match keep(&piece) {
                    Ok(()) => {}
                    Err(error) => return Ok(Err(error)),
                },
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Err(self.answer(&causes(&error))),
            }
        }
    }

    /// Sends a key request by HTTPS and takes the door's answer; empty when it gives none.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn door(&self, datagram: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        self.post_bytes("/v1/door", datagram).await
    }

    /// Brings a usage file; it counts once, however often it is brought.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn usage(&self, file: Vec<u8>) -> Result<UsageTaken, RequestError> {
        let answer = self.post_bytes("/v1/usage", file).await?;
        serde_json::from_slice(&answer).map_err(|error| self.answer(&error.to_string()))
    }

    async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let request = self
            .client
            .post(format!("{}{path}", self.server))
            .header(reqwest::header::CONTENT_TYPE, "application/octet-stream")
            .body(body);
        let response = self.checked(request.send().await).await?;
        let bytes = response.bytes().await;
        bytes
            .map(Into::into)
            .map_err(|error| self.answer(&causes(&error)))
    }

    /// A request of another kind, which takes as long as it takes.
    pub(crate) fn long(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("{}{path}", self.server));
        request.timeout(LONGEST)
    }

    /// An answer broke off.
    pub(crate) fn broken(&self, error: &reqwest::Error) -> RequestError {
        self.answer(&causes(error))
    }

    fn answer(&self, why: &str) -> RequestError {
        RequestError::Answer {
            server: self.server.clone(),
            why: why.to_owned(),
        }
    }

    pub(crate) async fn checked(
        &self,
        sent: reqwest::Result<Response>,
    ) -> Result<Response, RequestError> {
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Err(self.failed(&error).await),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(RequestError::Refused(problem)),
            Err(_) if status == StatusCode::SERVICE_UNAVAILABLE => Err(RequestError::Refused(
                Problem::new(Kind::Unavailable, "it is busy; try again"),
            )),
            Err(_) => Err(self.answer(&format!("status {status}"))),
        }
    }

    /// A server that refuses our certificate says so after our half of the handshake, when a request may have failed already
    /// for a reason that tells nothing: listens to what it says.
    async fn alert(&self) -> Option<String> {
        let url = reqwest::Url::parse(&self.server).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default()?;
        let tls = Arc::clone(&self.tls);
        let listen = move || {
            let addr = (host.as_str(), port).to_socket_addrs().ok()?.next()?;
            let mut tcp = TcpStream::connect_timeout(&addr, LISTEN).ok()?;
            tcp.set_read_timeout(Some(LISTEN)).ok()?;
            let name = ServerName::try_from(host).ok()?;
            let mut connection = ClientConnection::new(tls, name).ok()?;
            // The handshake, and what comes right after it: an alert, or nothing worth a word.
            for _ in 0..4 {
                match connection.complete_io(&mut tcp) {
                    Ok(_) if !connection.is_handshaking() => {
                        let mut stream = rustls::Stream::new(&mut connection, &mut tcp);
                        let heard = stream.read(&mut [0; 64]);
                        return heard.err().map(|error| error.to_string());
                    }
                    Ok(_) => {}
                    Err(error) => return Some(error.to_string()),
                }
            }
            None
        };
        let heard = tokio::task::spawn_blocking(listen).await.ok()??;
        explain(&heard).map(|_| heard)
    }

    async fn failed(&self, error: &reqwest::Error) -> RequestError {
        let (server, mut text) = (self.server.clone(), causes(error));
        if explain(&text).is_none()
            && !error.is_timeout()
            && let Some(alert) = self.alert().await
        {
            text = alert;
        }
        if explain(&text).is_none() {
            return RequestError::Unreachable { server, why: text };
        }
        let why = diagnose(&server, &text).await;
        RequestError::Tls { server, why }
    }
}

/// What a failed connection to `server` means: TLS errors in our words, and those that come of time with the difference of the
/// clocks.
pub async fn diagnose(server: &str, error: &str) -> String {
    let why = explain(error).unwrap_or_else(|| error.to_owned());
    let clock = match is_of_time(error) {
        true => clock::difference(server).await,
        false => None,
    };
    match clock {
        Some(clock) => format!("{why}; {clock}"),
        None => why,
    }
}

fn is_of_time(text: &str) -> bool {
    [
        "certificate expired",
        "expired:",
        "not valid yet",
        "CertificateExpired",
        "not yet valid",
    ]
    .iter()
    .any(|mark| text.contains(mark))
}

/// What a TLS error means and what to do; `None` when it is none.
#[must_use]
fn explain(text: &str) -> Option<String> {
    let has = |mark: &str| text.contains(mark);
    // Every CA of ours has the same name: one of another key server shows as a signature that does not fit.
    Some(
        if has("UnknownIssuer") || has("certificate: BadSignature") {
            "its certificate is not of the CA that this identity or code names (a key server that was set up anew, another \
         server, or somebody between): check the address, or get a new code from the operator"
            .to_owned()
        } else if has("not valid for") || has("NotValidForName") {
            format!(
                "its certificate does not hold for this name or address ({text}): add it with --name at the key server"
            )
        } else if has("received fatal alert: CertificateExpired")
            || has("received fatal alert: the peer's certificate has expired")
        {
            "it says that this identity's certificate has expired: enrol again".to_owned()
        } else if has("received fatal alert: UnknownCA")
            || has("received fatal alert: DecryptError")
        {
            "it does not know the CA of this identity (the key server was set up anew?): enrol again"
            .to_owned()
        } else if has("invalid peer certificate") || has("fatal alert") || has("TLS") {
            text.to_owned()
        } else {
            return None;
        },
    )
}

/// An error with all that lies behind it.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut at = error.source();
    while let Some(cause) = at {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        at = cause.source();
    }
    text
}
