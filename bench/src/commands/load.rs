//! Connections that command transfers, each the next when the last is answered.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use sealcast_objects::api::{NamedTransfer, TransferCommand, TransferList};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::time::Timestamp;
use sealcast_objects::{BookId, TransferId};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longest answer.
const ANSWER_MAX: usize = 256 << 10;
/// What the answer to a list says of each that is made.
const MADE: &[u8] = b"\"outcome\":\"made\"";
/// The longest latency that is told apart.
const LATENCY_MAX: u64 = 60_000_000_000;

/// What a turn came to.
pub(super) struct Got {
    /// Commands per second that were acknowledged.
    pub(super) rate: f64,
    /// Nanoseconds from the command to its answer.
    pub(super) latency: Histogram<u64>,
}

/// The book with this number; 0 is the one that all transfers are from.
pub(super) fn book(number: u32) -> BookId {
    BookId(u128::from(number).to_be_bytes())
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// A transfer that nobody has made, to one of `books`.
pub(super) fn draw(rng: &mut StdRng, books: u32) -> (TransferId, TransferCommand) {
    let command = TransferCommand::Move {
        debit: Text(book(0)),
        credit: Text(book(rng.random_range(1..=books))),
        amount: rng.random_range(1..1000),
        note: String::new(),
    };
    (TransferId::new(now(), rng), command)
}

/// What connections ask for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(tag = "asked", rename_all = "kebab-case")]
pub(super) enum Ask {
    /// The time: what HTTPS itself takes.
    Time,
    /// So many transfers in one request.
    Transfers { each: u16 },
    /// A transfer, over a connection of its own: the client proves anew who it is.
    Proved,
}

impl Ask {
    /// The next request: method and path, body, how the answer begins, and what stands in it how often.
    fn next(self, rng: &mut StdRng, books: u32) -> Result<Asked> {
        Ok(match self {
            Self::Time => Asked {
                what: "GET /v1/time".to_owned(),
                body: String::new(),
                status: "HTTP/1.1 200",
                commands: 0,
            },
            Self::Transfers { each: 1 } | Self::Proved => {
                let (id, command) = draw(rng, books);
                Asked {
                    what: format!("PUT /v1/transfers/{}", Text(id)),
                    body: serde_json::to_string(&command)?,
                    status: "HTTP/1.1 201",
                    commands: 0,
                }
            }
            Self::Transfers { each } => {
                let named = |(id, command)| NamedTransfer {
                    id: Text(id),
                    command,
                };
                let drawn = (0..each).map(|_| named(draw(rng, books)));
                let list = TransferList {
                    transfers: drawn.collect(),
                };
                Asked {
                    what: "PUT /v1/transfers".to_owned(),
                    body: serde_json::to_string(&list)?,
                    status: "HTTP/1.1 200",
                    commands: usize::from(each),
                }
            }
        })
    }
}

/// One request.
struct Asked {
    what: String,
    body: String,
    status: &'static str,
    /// Commands of a list, each of which the answer says to be made.
    commands: usize,
}

/// Asks over `connections` until `time` is over; transfers are to one of `books`.
pub(super) async fn ask(
    server: &str,
    mut tls: ClientConfig,
    (ask, connections): (Ask, u16),
    books: u32,
    (time, seed): (Duration, u64),
) -> Result<Got> {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls.resumption = Resumption::disabled();
    let tls = TlsConnector::from(Arc::new(tls));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(server, &tls).await?);
    }
    let start = Instant::now();
    let working: Vec<_> = open
        .into_iter()
        .zip(0_u64..)
        .map(|(connection, number)| {
            let rng = StdRng::seed_from_u64(seed << 16 | number);
            tokio::spawn(work(connection, rng, (ask, books), start + time))
        })
        .collect();
    let mut latency = Histogram::new_with_max(LATENCY_MAX, 3)?;
    for one in working {
        latency.add(one.await??)?;
    }
    let each = match ask {
        Ask::Time | Ask::Proved => 1,
        Ask::Transfers { each } => each,
    };
    let commands = latency.len() as f64 * f64::from(each);
    let rate = commands / start.elapsed().as_secs_f64();
    Ok(Got { rate, latency })
}

async fn work(
    mut connection: Connection,
    mut rng: StdRng,
    (ask, books): (Ask, u32),
    end: Instant,
) -> Result<Histogram<u64>> {
    let mut latency = Histogram::new_with_max(LATENCY_MAX, 3)?;
    let mut now = Instant::now();
    while now < end {
        if ask == Ask::Proved {
            connection.renew().await?;
        }
        connection.ask(&ask.next(&mut rng, books)?).await?;
        let answered = Instant::now();
        let took = u64::try_from((answered - now).as_nanos())?;
        latency.saturating_record(took);
        now = answered;
    }
    Ok(latency)
}

async fn connect(host: &str, tls: &TlsConnector) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(host).await?;
    tcp.set_nodelay(true)?;
    // Closed at once: thousands that wait for their end would use up the ports.
    tcp.set_zero_linger()?;
    let name = host.split(':').next().unwrap_or_default().to_owned();
    Ok(tls.connect(ServerName::try_from(name)?, tcp).await?)
}

struct Connection {
    stream: TlsStream<TcpStream>,
    host: String,
    tls: TlsConnector,
    answer: Vec<u8>,
}

impl Connection {
    async fn open(server: &str, tls: &TlsConnector) -> Result<Self> {
        let host = server.trim_start_matches("https://").to_owned();
        Ok(Self {
            stream: connect(&host, tls).await?,
            host,
            tls: tls.clone(),
            answer: vec![0; ANSWER_MAX],
        })
    }

    /// Another one in its place.
    async fn renew(&mut self) -> Result<()> {
        self.stream = connect(&self.host, &self.tls).await?;
        Ok(())
    }

    /// Asks, and waits until it is done.
    async fn ask(&mut self, asked: &Asked) -> Result<()> {
        let Asked { what, body, .. } = asked;
        let request = format!(
            "{what} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        let mut held = 0;
        loop {
            let more = self.stream.read(&mut self.answer[held..]).await?;
            ensure!(more > 0, "the server closed the connection");
            held += more;
            let answer = &self.answer[..held];
            let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&answer[..head])?;
            let length = text
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse::<usize>()
                        .ok()
                })
                .context("an answer without its length")?;
            if held < head + 4 + length {
                continue;
            }
            let made = answer.windows(MADE.len()).filter(|part| *part == MADE);
            if !text.starts_with(asked.status)
                || asked.commands > 0 && made.count() != asked.commands
            {
                bail!("not made: {}", String::from_utf8_lossy(answer));
            }
            return Ok(());
        }
    }
}
