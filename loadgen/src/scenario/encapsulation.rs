//! What encapsulation costs: the same payloads sent and received plain, and sealed, sent, received and opened by sealcast's own
//! sender and receiver, in turns (RFC 3918, encapsulation and decapsulation throughput).

use std::net::SocketAddr;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};
use rand_core::Rng as _;
use sealcast_dataplane::batch::SealBatch;
use sealcast_net::{GroupOptions, RecvBatch, UdpReceiver, UdpSender, clock, shard};
use sealcast_proto::ids::Time;
use sealcast_proto::limits::HEADER_LEN;
use sealcast_proto::receiver::Receiver;
use sealcast_proto::sender::Sender;
use sealcast_proto::wire::control::AuthLevel;

use super::{ScenarioError, Setup, Watch};
use crate::control::OpenError;
use crate::outcome::Sample;
use crate::parties::parties;
use crate::report::{Axes, Cell, Plot, Report, Table};

/// Datagrams of one batch, as of the sender's.
const BATCH: usize = 48;
/// Batches between two changes from plain to sealed.
const SLICE: usize = 50;
/// So long at most is waited for what was sent to come.
const WAIT_MAX: u64 = 1_000_000_000;

const ABOUT: &str = "\
    Encapsulation and decapsulation throughput after RFC 3918: one core sends batches of 48 payloads to itself over loopback \
    and receives each batch before the next, in turns plain and through sealcast's sender and receiver (seal and open, \
    replay window, order) with a key drawn here. Nanoseconds of a datagram, medians over slices of 50 batches: copying in, \
    sealing and sending; receiving, opening and delivering. A core that only sends or only receives does as many per second.";

/// Nanoseconds of a datagram.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    send: f64,
    receive: f64,
}

/// Costs of one size.
#[derive(Clone, Copy, Debug)]
struct Costs {
    plain: Cost,
    sealed: Cost,
}

pub(super) fn run(setup: &Setup, watch: Watch<'_>) -> Result<Report, ScenarioError> {
    let mut all = Vec::new();
    for &size in &setup.sizes {
        if !watch(&format!("{size} bytes"), &Sample::default()) {
            return Err(ScenarioError::Stopped);
        }
        let placement = setup.plan.shards.first().copied().unwrap_or_default();
        let trial = setup.trial;
        let shard = shard::start("encapsulation", placement, move || measure(size, trial))
            .map_err(OpenError::Io)?;
        all.push((size, shard.join().map_err(OpenError::Io)??));
    }
    Ok(report(setup, &all))
}

/// The measured shard.
struct Bench {
    payloads: Vec<u8>,
    size: usize,
    out: UdpSender,
    input: UdpReceiver,
    received: RecvBatch,
    sealed: SealBatch,
    plain: Vec<u8>,
    sender: Sender,
    receiver: Receiver,
    rng: StdRng,
}

async fn measure(size: usize, trial: Duration) -> Result<Costs, OpenError> {
    let mut bench = Bench::open(size)?;
    let (mut plain, mut sealed) = (Vec::new(), Vec::new());
    // Buffers and caches first.
    bench.slice(Bench::plain).await?;
    bench.slice(Bench::sealed).await?;
    let end = clock::boottime() + u64::try_from(trial.as_nanos()).unwrap_or(u64::MAX);
    while clock::boottime() < end || plain.is_empty() {
        plain.push(bench.slice(Bench::plain).await?);
        sealed.push(bench.slice(Bench::sealed).await?);
        shard::yield_if_needed().await;
    }
    Ok(Costs {
        plain: median(plain),
        sealed: median(sealed),
    })
}

fn median(costs: Vec<Cost>) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<_> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Cost {
        send: middle(|cost| cost.send),
        receive: middle(|cost| cost.receive),
    }
}

impl Bench {
    fn open(size: usize) -> Result<Self, OpenError> {
        let failed = |why: &'static str| OpenError::Io(std::io::Error::other(why));
        let mut rng = StdRng::try_from_rng(&mut SysRng).map_err(|_| failed("no randomness"))?;
        let any = GroupOptions::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let input = UdpReceiver::bind(&any)?;
        let out = UdpSender::connect(&GroupOptions::new(input.local_addr()?))?;
        let mut payloads = vec![0; size * BATCH];
        rng.fill_bytes(&mut payloads);
        let (sender, receiver) =
            parties(size, AuthLevel::Group, Time(clock::boottime()), &mut rng).map_err(failed)?;
        Ok(Self {
            payloads,
            size,
            out,
            input,
            received: RecvBatch::new(8, HEADER_LEN),
            sealed: SealBatch::default(),
            plain: Vec::with_capacity(size * BATCH),
            sender,
            receiver,
            rng,
        })
    }

    /// The mean cost of a datagram over a slice.
    async fn slice(
        &mut self,
        batch: impl AsyncFn(&mut Self) -> Result<(u64, u64, usize), OpenError>,
    ) -> Result<Cost, OpenError> {
        let (mut send, mut receive, mut count) = (0, 0, 0);
        for _ in 0..SLICE {
            let (sent, received, datagrams) = batch(self).await?;
            send += sent;
            receive += received;
            count += datagrams;
        }
        let each = |ns: u64| ns as f64 / count as f64;
        Ok(Cost {
            send: each(send),
            receive: each(receive),
        })
    }

    /// A batch of payloads as they are: nanoseconds of sending, of receiving, datagrams.
    async fn plain(&mut self) -> Result<(u64, u64, usize), OpenError> {
        let start = clock::boottime();
        self.plain.clear();
        self.plain.extend_from_slice(&self.payloads);
        self.out.send_batch(&self.plain, self.size).await?;
        let sent = clock::boottime();
        let mut right = 0;
        while right < BATCH {
            self.input.recv(&mut self.received)?;
            for mut received in self.received.iter_mut() {
                for datagram in received.segments() {
                    let expected = self.payloads.chunks(self.size).nth(right);
                    right += usize::from(expected == Some(&*datagram));
                }
            }
            in_time(sent)?;
        }
        Ok((sent - start, clock::boottime() - sent, BATCH))
    }

    /// A batch of payloads sealed and opened.
    async fn sealed(&mut self) -> Result<(u64, u64, usize), OpenError> {
        let start = clock::boottime();
        self.sealed.clear();
        let count = self
            .payloads
            .chunks(self.size)
            .take_while(|payload| self.sealed.push(payload))
            .count();
        let (buffer, spans) = self.sealed.parts();
        self.sender
            .seal(Time(start), 0, buffer, spans)
            .map_err(|_| std::io::Error::other("the sender has no key"))?;
        for (bytes, segment) in self.sealed.runs() {
            self.out.send_batch(bytes, segment).await?;
        }
        let sent = clock::boottime();
        let (mut right, size, payloads) = (0, self.size, &self.payloads);
        while right < count {
            self.input.recv(&mut self.received)?;
            for received in self.received.iter_mut() {
                let deliver = &mut |payload: &[u8]| {
                    right += usize::from(payloads.chunks(size).nth(right) == Some(payload));
                };
                let (source, segment) = (received.source.ip(), received.segment);
                self.receiver.handle_batch(
                    Time(sent),
                    source,
                    0,
                    received.data,
                    segment,
                    &mut self.rng,
                    deliver,
                );
            }
            in_time(sent)?;
        }
        Ok((sent - start, clock::boottime() - sent, count))
    }
}

/// What was sent over loopback comes at once or never.
fn in_time(sent: u64) -> Result<(), OpenError> {
    if clock::boottime() - sent < WAIT_MAX {
        return Ok(());
    }
    Err(OpenError::Io(std::io::Error::other(
        "a batch sent over loopback did not come back whole: is lo up, is it filtered?",
    )))
}

fn report(setup: &Setup, all: &[(usize, Costs)]) -> Report {
    let ns = |ns: f64| Cell::number(ns, 1);
    let row = |(size, costs): &(usize, Costs)| {
        let Costs { plain, sealed } = costs;
        vec![
            Cell::count(*size as u64),
            ns(plain.send),
            ns(sealed.send),
            Cell::number(plain.send / sealed.send, 2),
            Cell::rate(*size as f64 * 8e9 / sealed.send),
            ns(plain.receive),
            ns(sealed.receive),
            Cell::number(plain.receive / sealed.receive, 2),
            Cell::rate(*size as f64 * 8e9 / sealed.receive),
        ]
    };
    let curve = |name: &str, of: fn(&Costs) -> f64| {
        let points = all
            .iter()
            .map(|(size, costs)| (*size as f64, *size as f64 * 8.0 / of(costs)));
        (name.to_owned(), points.collect())
    };
    Report {
        title: "encapsulation".to_owned(),
        about: ABOUT.to_owned(),
        parameters: setup.facts(),
        result: all.last().map_or_else(String::new, |(size, costs)| {
            format!(
                "{size} bytes: sealing and sending {:.0} ns ({:.0} plain), receiving and opening {:.0} ns ({:.0} plain) a datagram",
                costs.sealed.send, costs.plain.send, costs.sealed.receive, costs.plain.receive
            )
        }),
        good: !all.is_empty(),
        tables: vec![Table {
            key: "encapsulation",
            title: "Nanoseconds of a datagram, one core".to_owned(),
            columns: [
                ("size", "bytes"),
                ("send_plain_ns", "send plain"),
                ("send_sealed_ns", "sealed"),
                ("send_share", "share"),
                ("send_bits_per_second", "rate"),
                ("receive_plain_ns", "receive plain"),
                ("receive_sealed_ns", "opened"),
                ("receive_share", "share"),
                ("receive_bits_per_second", "rate"),
            ]
            .map(|(key, name)| (key, name.to_owned()))
            .to_vec(),
            rows: all.iter().map(row).collect(),
        }],
        plots: vec![Plot {
            key: "encapsulation",
            title: "Throughput of one core".to_owned(),
            axes: Axes::Steps("bytes of payload"),
            y: "Gbit/s".to_owned(),
            lines: vec![
                curve("send plain", |costs| costs.plain.send),
                curve("seal and send", |costs| costs.sealed.send),
                curve("receive plain", |costs| costs.plain.receive),
                curve("receive and open", |costs| costs.sealed.receive),
            ],
        }],
        notes: Vec::new(),
    }
}
