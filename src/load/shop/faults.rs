//! What happens to messages between a device and the shop: chosen by a seed, counted, and played on the real connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use sealcast_loadgen::latency::Times;
use sealcast_terminal::https::{Client, RequestError};
use sealcast_terminal::wallet::Service;
use serde_json::Value;
use tokio::task::JoinSet;

/// How long a device waits before it takes a message for lost, and how late a late one comes.
const LOST_AFTER: Duration = Duration::from_millis(50);
const LATE_AFTER: Duration = Duration::from_secs(2);

/// How often what happens: shares of 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Chances {
    /// A request, or its answer, is lost.
    pub(super) lost: f64,
    /// A request comes twice at once, as of a double click.
    pub(super) doubled: f64,
    /// A request comes late, after whoever sent it has tried again: out of order.
    pub(super) late: f64,
    /// The program is killed while it buys.
    pub(super) killed: f64,
}

impl Chances {
    /// Nothing happens.
    pub(super) const NONE: Self = Self {
        lost: 0.0,
        doubled: 0.0,
        late: 0.0,
        killed: 0.0,
    };

    /// What happens to one message.
    fn fate(&self, rng: &mut StdRng) -> Fate {
        let at: f64 = rng.random();
        let [lost, doubled] = [self.lost, self.lost + self.doubled];
        match at {
            _ if at < lost / 2.0 => Fate::AskLost,
            _ if at < lost => Fate::AnswerLost,
            _ if at < doubled => Fate::Doubled,
            _ if at < doubled + self.late => Fate::Late(LATE_AFTER.mul_f64(rng.random())),
            _ => Fate::Good,
        }
    }
}

/// What happens to a message.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    /// Nothing.
    Good,
    /// It does not arrive.
    AskLost,
    /// It arrives, and its answer does not.
    AnswerLost,
    /// It arrives twice.
    Doubled,
    /// It arrives so much later, and its answer never.
    Late(Duration),
}

/// What is asked, in the words of the report.
fn kind(method: &Method, path: &str) -> &'static str {
    let path = path.split('?').next().unwrap_or(path);
    let parts: Vec<_> = path.trim_start_matches("/v1/device/").split('/').collect();
    match (parts.as_slice(), *method == Method::PUT) {
        (["offers"], _) => "offers",
        (["keys"], _) => "device's keys",
        (["purchases", _], true) => "purchase",
        (["purchases", _, "receipt"], _) => "purchase receipt",
        (["purchases", _], false) => "purchase, again",
        (["licences", _], true) => "licence",
        (["licences", _, "receipt"], _) => "licence receipt",
        (["licences", ..], _) => "licences, again",
        (["status-list"], _) => "list of licences",
        _ => "signers",
    }
}

/// What became of the messages of one kind.
#[derive(Default)]
pub(super) struct Messages {
    /// Those that a device sent, once each.
    pub(super) sent: u64,
    pub(super) asks_lost: u64,
    pub(super) answers_lost: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
    /// From the request to its answer, of those that nothing happened to.
    pub(super) times: Times,
}

/// Messages by kind.
#[derive(Default)]
pub(super) struct Tally(pub(super) BTreeMap<&'static str, Messages>);

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        for (kind, of) in &other.0 {
            let all = self.0.entry(kind).or_default();
            all.sent += of.sent;
            all.asks_lost += of.asks_lost;
            all.answers_lost += of.answers_lost;
            all.doubled += of.doubled;
            all.late += of.late;
            all.times.add(&of.times);
        }
    }
}

struct Played {
    chances: Chances,
    rng: StdRng,
    tally: Tally,
    /// Messages that come late.
    late: JoinSet<()>,
}

struct Ends {
    client: Client,
    played: Mutex<Played>,
}

/// The line of a device to the shop.
#[derive(Clone)]
pub(super) struct Line(Arc<Ends>);

fn lost() -> RequestError {
    RequestError::Unreachable {
        server: "the shop".to_owned(),
        why: "the message was lost, as the test wanted".to_owned(),
    }
}

impl Line {
    pub(super) fn new(client: Client, chances: Chances, seed: u64) -> Self {
        let played = Played {
            chances,
            rng: StdRng::seed_from_u64(seed),
            tally: Tally::default(),
            late: JoinSet::new(),
        };
        Self(Arc::new(Ends {
            client,
            played: Mutex::new(played),
        }))
    }

    fn played(&self) -> MutexGuard<'_, Played> {
        let played = self.0.played.lock();
        played.unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on nothing happens to messages; waits for the late ones.
    pub(super) async fn calm(&self) {
        let late = {
            let mut played = self.played();
            played.chances = Chances::NONE;
            std::mem::take(&mut played.late)
        };
        late.join_all().await;
    }

    /// What there was so far.
    pub(super) fn tally(&self) -> Tally {
        std::mem::take(&mut self.played().tally)
    }

    fn fate(&self, kind: &'static str) -> Fate {
        let played = &mut *self.played();
        let fate = played.chances.fate(&mut played.rng);
        let messages = played.tally.0.entry(kind).or_default();
        messages.sent += 1;
        match fate {
            Fate::Good => {}
            Fate::AskLost => messages.asks_lost += 1,
            Fate::AnswerLost => messages.answers_lost += 1,
            Fate::Doubled => messages.doubled += 1,
            Fate::Late(_) => messages.late += 1,
        }
        fate
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, RequestError> {
        self.0.client.call(method, path, body).await
    }

    /// Sends it later; nobody hears the answer.
    fn send_later(&self, after: Duration, method: Method, path: &str, body: Option<Value>) {
        let (line, path) = (self.0.client.clone(), path.to_owned());
        self.played().late.spawn(async move {
            tokio::time::sleep(after).await;
            let _: Result<Value, _> = line.call(method, &path, body.as_ref()).await;
        });
    }
}

impl Service for Line {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, RequestError> {
        let kind = kind(&method, path);
        match self.fate(kind) {
            Fate::Good => {
                let begun = Instant::now();
                let answer = self.send(method, path, body.as_ref()).await;
                let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let played = &mut *self.played();
                played.tally.0.entry(kind).or_default().times.record(took);
                answer
            }
            Fate::AskLost => {
                tokio::time::sleep(LOST_AFTER).await;
                Err(lost())
            }
            Fate::AnswerLost => {
                let _ = self.send(method, path, body.as_ref()).await;
                Err(lost())
            }
            Fate::Doubled => {
                let twice = [(); 2].map(|()| self.send(method.clone(), path, body.as_ref()));
                let [first, second] = twice;
                let (first, _) = tokio::join!(first, second);
                first
            }
            Fate::Late(after) => {
                self.send_later(after, method, path, body);
                tokio::time::sleep(LOST_AFTER).await;
                Err(lost())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_fates_that_were_asked_for() {
        let chances = Chances {
            lost: 0.2,
            doubled: 0.1,
            late: 0.1,
            killed: 0.0,
        };
        let (mut rng, mut counts) = (StdRng::seed_from_u64(1), [0_u32; 5]);
        for _ in 0..10_000 {
            let place = match chances.fate(&mut rng) {
                Fate::Good => 0,
                Fate::AskLost => 1,
                Fate::AnswerLost => 2,
                Fate::Doubled => 3,
                Fate::Late(after) => {
                    assert!(after < LATE_AFTER);
                    4
                }
            };
            counts[place] += 1;
        }
        for (count, wanted) in counts.into_iter().zip([6000, 1000, 1000, 1000, 1000_u32]) {
            assert!(count.abs_diff(wanted) < 150, "{counts:?}");
        }
        let calm = |_| Chances::NONE.fate(&mut rng) == Fate::Good;
        assert!((0..1000).all(calm));
    }

    #[test]
    fn every_step_of_a_purchase_has_its_name() {
        for (method, path, name) in [
            (Method::GET, "/v1/device/offers?after=off_1", "offers"),
            (Method::PUT, "/v1/device/keys", "device's keys"),
            (Method::GET, "/v1/signers", "signers"),
            (Method::PUT, "/v1/device/purchases/pur_1", "purchase"),
            (
                Method::PUT,
                "/v1/device/purchases/pur_1/receipt",
                "purchase receipt",
            ),
            (Method::GET, "/v1/device/purchases/pur_1", "purchase, again"),
            (Method::PUT, "/v1/device/licences/lic_1", "licence"),
            (
                Method::PUT,
                "/v1/device/licences/lic_1/receipt",
                "licence receipt",
            ),
            (
                Method::GET,
                "/v1/device/licences?after=lic_1",
                "licences, again",
            ),
            (Method::GET, "/v1/device/status-list", "list of licences"),
        ] {
            assert_eq!(kind(&method, path), name, "{method} {path}");
        }
    }
}
