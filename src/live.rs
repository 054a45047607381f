//! What people and scripts see of running channels: a live line on a terminal, JSON lines on request, nothing in a pipe.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use sealcast_dataplane::histogram::Histogram;
use sealcast_dataplane::status::{KeyStatus, ReceiveStatus, SendStatus};
use serde_json::{Value, json};

use crate::run::Board;

const JSON_INTERVAL: Duration = Duration::from_secs(1);
const LINE_INTERVAL: Duration = Duration::from_millis(500);

/// Totals that can be shown and counted.
pub trait Totals {
    /// One line for people.
    fn line(&self) -> String;
    /// All of it for scripts.
    fn json(&self) -> Value;
    /// Every number, with a label of its own if it has one.
    fn metrics(&self) -> Vec<Metric>;
}

/// One number of a channel, or a distribution.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Without prefix and `_total`.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// A label besides the channel's.
    pub label: Option<(&'static str, &'static str)>,
    /// What it comes to.
    pub value: Measured,
}

/// The value of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measured {
    /// What only grows.
    Counter(u64),
    /// What goes up and down.
    Gauge(u64),
    /// Durations by magnitude, seconds in Prometheus.
    Durations(Histogram),
}

fn metric(name: &'static str, help: &'static str, value: Measured) -> Metric {
    Metric {
        name,
        help,
        label: None,
        value,
    }
}

/// A counter.
pub fn counter(name: &'static str, help: &'static str, value: u64) -> Metric {
    metric(name, help, Measured::Counter(value))
}

/// A gauge.
pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Metric {
    metric(name, help, Measured::Gauge(value))
}

/// Durations: what a channel adds, and how even its clock is.
fn durations(latency: Histogram, pcr_jitter: Histogram) -> [Metric; 2] {
    [
        metric(
            "latency_seconds",
            "From arrival to departure, of the oldest packet of each batch",
            Measured::Durations(latency),
        ),
        metric(
            "pcr_jitter_seconds",
            "How far clock references leave from their places in time",
            Measured::Durations(pcr_jitter),
        ),
    ]
}

fn durations_json(histogram: &Histogram) -> Value {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    json!({
        "count": histogram.count(),
        "p50_us": micros(histogram.quantile(50)),
        "p99_us": micros(histogram.quantile(99)),
        "max_us": micros(histogram.max()),
    })
}

fn keys_json(keys: &KeyStatus) -> Value {
    json!({
        "epoch": keys.current.map(|(epoch, _)| epoch.0),
        "remaining_ms": keys.current.map(|(_, remaining)| remaining.0),
        "next_epoch": keys.next.map(|epoch| epoch.0),
        "linked": keys.linked,
    })
}

fn keys_line(keys: &KeyStatus) -> String {
    let current = keys.current.map_or_else(
        || "no key".to_owned(),
        |(epoch, remaining)| format!("epoch {} {:.1}s", epoch.0, f64::from(remaining.0) / 1000.0),
    );
    let next = keys
        .next
        .map_or_else(String::new, |next| format!(" next {}", next.0));
    let link = if keys.linked { "" } else { " NO LINK" };
    format!("{current}{next}{link}")
}

fn keys_metrics(keys: &KeyStatus) -> [Metric; 3] {
    let (epoch, remaining) = keys.current.map_or((0, 0), |(epoch, remaining)| {
        (epoch.0, u64::from(remaining.0))
    });
    [
        gauge("epoch", "Epoch in use, 0 if none", epoch),
        gauge(
            "epoch_remaining_ms",
            "Remaining effective time of the key in use, milliseconds",
            remaining,
        ),
        gauge(
            "linked",
            "Whether the link to the authority is up",
            u64::from(keys.linked),
        ),
    ]
}

impl Totals for SendStatus {
    fn line(&self) -> String {
        let alarm = if self.holding { " HOLDING" } else { "" };
        format!(
            "{}{alarm} | {} packets, {} switches, {} not sent, {} oversize",
            keys_line(&self.keys),
            self.stats.packets,
            self.stats.switches,
            self.stats.not_sent,
            self.oversize
        )
    }

    fn json(&self) -> Value {
        json!({
            "keys": keys_json(&self.keys),
            "holding": self.holding,
            "packets": self.stats.packets,
            "bytes": self.stats.bytes,
            "switches": self.stats.switches,
            "holds": self.stats.holds,
            "not_sent": self.stats.not_sent,
            "oversize": self.oversize,
            "input_malformed": self.input_malformed,
            "input_drops": self.input_drops,
            "leg_errors": self.leg_errors,
            "manifests": self.manifests.manifests,
            "manifest_signatures": self.manifests.signatures,
            "manifest_bytes": self.manifests.bytes,
            "zero_copy": { "direct": self.zero_copy.direct, "copied": self.zero_copy.copied },
            "latency": durations_json(&self.latency),
            "pcr_jitter": durations_json(&self.pcr_jitter),
            "finished": self.finished,
        })
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = vec![
            counter(
                "sent_packets",
                "Packets sealed and sent",
                self.stats.packets,
            ),
            counter(
                "sent_bytes",
                "Payload bytes sealed and sent",
                self.stats.bytes,
            ),
            counter("switches", "Epoch changes", self.stats.switches),
            counter(
                "holds",
                "Times a key's end was passed without a next",
                self.stats.holds,
            ),
            gauge(
                "holding",
                "Whether the key is used past its end: an alarm",
                u64::from(self.holding),
            ),
            counter(
                "not_sent",
                "Payloads that came while nothing could be sealed",
                self.stats.not_sent,
            ),
            counter(
                "oversize",
                "Payloads longer than the path takes",
                self.oversize,
            ),
            counter(
                "input_malformed",
                "Input datagrams that are no RTP",
                self.input_malformed,
            ),
            counter(
                "input_drops",
                "Input buffers dropped by the kernel",
                self.input_drops,
            ),
        ];
        metrics.extend([
            counter(
                "manifests",
                "Manifests, each sent twice",
                self.manifests.manifests,
            ),
            counter(
                "manifest_signatures",
                "Signatures of manifests",
                self.manifests.signatures,
            ),
            counter(
                "manifest_bytes",
                "Bytes of manifests, both copies",
                self.manifests.bytes,
            ),
            counter(
                "key_block_datagrams",
                "Datagrams of key blocks sent, repeats included",
                self.stats.block_datagrams,
            ),
            counter("key_block_bytes", "Their bytes", self.stats.block_bytes),
        ]);
        let legs = [("leg", "0"), ("leg", "1")]
            .into_iter()
            .zip(self.leg_errors);
        metrics.extend(legs.map(|(label, value)| Metric {
            label: Some(label),
            ..counter("leg_errors", "Batches that a leg could not send", value)
        }));
        let zero_copy = [
            (("how", "direct"), self.zero_copy.direct),
            (("how", "copied"), self.zero_copy.copied),
        ];
        metrics.extend(zero_copy.map(|(label, value)| Metric {
            label: Some(label),
            ..counter(
                "zero_copy_sends",
                "Zero-copy sends, by whether the kernel copied all the same",
                value,
            )
        }));
        metrics.extend(durations(self.latency, self.pcr_jitter));
        metrics.extend(keys_metrics(&self.keys));
        metrics
    }
}

impl Totals for ReceiveStatus {
    fn line(&self) -> String {
        let dropped: u64 = self.discards.iter().map(|(_, count)| count).sum();
        format!(
            "{} | {} packets, {} switches, {} lost in {} gaps, {dropped} dropped",
            keys_line(&self.keys),
            self.stats.packets,
            self.stats.switches,
            self.gaps.lost,
            self.gaps.gaps
        )
    }

    fn json(&self) -> Value {
        let discards: serde_json::Map<_, _> = self
            .discards
            .iter()
            .map(|(cause, count)| (cause.name().to_owned(), count.into()))
            .collect();
        json!({
            "keys": keys_json(&self.keys),
            "datagrams": self.stats.datagrams,
            "packets": self.stats.packets,
            "bytes": self.stats.bytes,
            "switches": self.stats.switches,
            "source_switches": self.stats.source_switches,
            "unparked": self.stats.unparked,
            "requests": self.stats.requests,
            "signature_checks": self.stats.signature_checks,
            "verified": self.stats.verify.verified,
            "unverified": self.stats.verify.unverified,
            "forged": self.stats.verify.forged,
            "alarmed": self.stats.verify.alarmed,
            "key_blocks": self.stats.key_blocks,
            "gaps": self.gaps.gaps,
            "lost": self.gaps.lost,
            "discards": discards,
            "kernel_drops": self.kernel_drops,
            "continuity_errors": self.continuity_errors,
            "output_errors": self.output_errors,
            "first_packet_ns": self.first_packet_ns,
            "latency": durations_json(&self.latency),
            "pcr_jitter": durations_json(&self.pcr_jitter),
        })
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = vec![
            counter(
                "received_datagrams",
                "Datagrams of any kind",
                self.stats.datagrams,
            ),
            counter(
                "delivered_packets",
                "Payloads delivered",
                self.stats.packets,
            ),
            counter("delivered_bytes", "Bytes delivered", self.stats.bytes),
            counter("switches", "Epoch changes", self.stats.switches),
            counter(
                "source_switches",
                "Changes of the delivered stripe group",
                self.stats.source_switches,
            ),
            counter(
                "unparked",
                "Packets that waited for their key",
                self.stats.unparked,
            ),
            counter(
                "key_requests",
                "Key requests, retries included",
                self.stats.requests,
            ),
            counter(
                "signature_checks",
                "Signatures checked",
                self.stats.signature_checks,
            ),
            counter(
                "verified_packets",
                "Packets that a manifest listed",
                self.stats.verify.verified,
            ),
            counter(
                "unverified_packets",
                "Packets that no manifest listed in time, delivered or not: an alarm",
                self.stats.verify.unverified,
            ),
            counter(
                "forged_packets",
                "Packets that a member made in the delivery server's place, delivered or not: an alarm",
                self.stats.verify.forged,
            ),
            counter(
                "alarmed_packets",
                "Forged packets that had been delivered: an alarm",
                self.stats.verify.alarmed,
            ),
            counter(
                "key_block_roots",
                "Keys that came in key blocks, for which no request was needed",
                self.stats.key_blocks,
            ),
            counter("gaps", "Runs of missing packets", self.gaps.gaps),
            counter("lost_packets", "Packets missing in gaps", self.gaps.lost),
            counter(
                "kernel_drops",
                "Buffers dropped by the kernel",
                self.kernel_drops,
            ),
            counter(
                "continuity_errors",
                "Continuity errors in the delivered TS",
                self.continuity_errors,
            ),
            counter(
                "output_errors",
                "Payloads that the output did not take",
                self.output_errors,
            ),
        ];
        metrics.extend(self.discards.iter().map(|(cause, value)| Metric {
            label: Some(("cause", cause.name())),
            ..counter("discarded", "Datagrams dropped, by cause", value)
        }));
        metrics.extend(durations(self.latency, self.pcr_jitter));
        metrics.extend(keys_metrics(&self.keys));
        metrics
    }
}

/// The live view.
#[derive(Debug)]
pub struct Live {
    json: bool,
    bar: Option<ProgressBar>,
    next: Instant,
}

impl Live {
    /// JSON lines on standard output, or a live line if standard error is a terminal, or nothing.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let bar = (!json && io::stderr().is_terminal()).then(ProgressBar::new_spinner);
        Self {
            json,
            bar,
            next: Instant::now(),
        }
    }

    /// Shows the channels, if it is time to.
    pub fn show<S: Totals + Clone + Default>(&mut self, board: &Board<S>) {
        if Instant::now() < self.next {
            return;
        }
        if self.json {
            self.next = Instant::now() + JSON_INTERVAL;
            print_json(board, false);
        } else if let Some(bar) = &self.bar {
            self.next = Instant::now() + LINE_INTERVAL;
            let channels = board.lock();
            let first = channels
                .values()
                .next()
                .map(|shown| format!("{}: {}", shown.name, shown.status.read().line()));
            let more = channels.len().saturating_sub(1);
            let more = if more > 0 {
                format!(" (and {more} more channels)")
            } else {
                String::new()
            };
            bar.set_message(first.unwrap_or_default() + &more);
            bar.tick();
        }
    }

    /// The last word.
    pub fn last<S: Totals + Clone + Default>(&mut self, board: &Board<S>) {
        if self.json {
            print_json(board, true);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            for shown in board.lock().values() {
                eprintln!("{}: {}", shown.name, shown.status.read().line());
            }
        }
    }
}

fn print_json<S: Totals + Clone + Default>(board: &Board<S>, last: bool) {
    let channels: serde_json::Map<_, _> = board
        .lock()
        .iter()
        .map(|(id, shown)| (id.0.to_string(), shown.status.read().json()))
        .collect();
    // A reader that has gone away is no reason to stop the channels.
    let _ = writeln!(
        io::stdout(),
        "{}",
        json!({ "last": last, "channels": channels })
    );
}
