//! What a key server says of itself in metrics.

use sealcast_control::cards::CardsStats;
use sealcast_control::door::DoorStats;
use sealcast_control::http::HttpStats;
use sealcast_control::server::{BlockStatus, Health, Monitor};
use sealcast_control::usage::UsageStats;
use sealcast_objects::api::{Lead, Status};
use sealcast_proto::ids::ChannelId;

use crate::live::{Metric, counter, gauge};
use crate::ops::{Report, Reporter, Sample};

impl Reporter for Monitor {
    async fn report(&self) -> Report {
        let health = self.health().await;
        Report {
            not_ready: health.not_ready().map(str::to_owned),
            samples: samples(&health),
        }
    }
}

fn samples(health: &Health) -> Vec<Sample> {
    let (leading, term) = match health.status.as_ref().map(|status| status.lead) {
        Some(Lead::Leading { term }) => (1, term),
        _ => (0, 0),
    };
    let mut samples = vec![
        plain(gauge("leading", "Whether this master leads", leading)),
        plain(gauge("term", "Number of its term", term)),
        plain(gauge(
            "store_fails",
            "Whether keys cannot be made durable: an alarm",
            health.store_fails.into(),
        )),
        plain(gauge(
            "store_old_copy",
            "Whether the store was an old copy when it was opened: an alarm",
            health.old_copy.into(),
        )),
        plain(counter("alarms", "Alarms raised", health.alarms)),
        plain(counter(
            "store_commits",
            "Transactions of the store",
            health.writes.commits,
        )),
        plain(counter(
            "store_commands",
            "Commands in them",
            health.writes.commands,
        )),
        plain(counter(
            "store_failures",
            "Transactions of which nothing was written",
            health.writes.failures,
        )),
    ];
    samples.extend(doors(&health.doors));
    samples.extend(health.status.iter().flat_map(slaves));
    samples.extend(canary(health));
    samples.extend(metering(&health.usage));
    for (outcome, count) in [
        ("delivered", health.webhooks.delivered),
        ("failed", health.webhooks.failed),
    ] {
        samples.push(Sample {
            metric: counter(
                "webhook_attempts",
                "Attempts to deliver events to webhooks",
                count,
            ),
            labels: vec![("outcome", outcome.to_owned())],
        });
    }
    samples.extend(health.cards.iter().flat_map(cards));
    samples.extend(http(&health.http));
    for channel in health.status.iter().flat_map(|status| &status.channels) {
        let id = channel.channel.to_string();
        let of = |metric| Sample {
            metric,
            labels: vec![("channel", id.clone())],
        };
        samples.extend([
            of(gauge(
                "epoch",
                "The epoch in use",
                channel.current.unwrap_or(0),
            )),
            of(gauge(
                "remaining_ms",
                "What remains of it",
                channel.remaining_ms.into(),
            )),
            of(gauge(
                "root_held",
                "Whether devices can be served",
                channel.root_held.into(),
            )),
            of(gauge(
                "announced",
                "Whether the change to the next epoch is announced",
                channel.announced.into(),
            )),
        ]);
        for server in &channel.servers {
            let of = |metric| Sample {
                metric,
                labels: vec![
                    ("channel", id.clone()),
                    ("server", server.server.to_string()),
                ],
            };
            samples.extend([
                of(gauge(
                    "server_linked",
                    "Whether a delivery server's link is up",
                    server.linked.into(),
                )),
                of(gauge(
                    "server_holds_next",
                    "Whether it has acknowledged the next key",
                    u64::from(server.next.is_some() && server.next == channel.next),
                )),
                of(gauge(
                    "server_sent_packets",
                    "Packets that its run has sealed, as it reports",
                    server.packets,
                )),
                of(gauge(
                    "server_sent_bytes",
                    "Bytes of payload that its run has sealed",
                    server.bytes,
                )),
            ]);
        }
    }
    samples.extend(health.blocks.iter().flat_map(key_block));
    samples
}

/// INT-05: how the key blocks of a channel stand.
fn key_block((channel, status): (&ChannelId, &BlockStatus)) -> [Sample; 4] {
    let labels = vec![("channel", channel.0.to_string())];
    [
        gauge(
            "key_block_nodes",
            "Nodes that the last key block covers",
            status.nodes as u64,
        ),
        gauge("key_block_bytes", "Bytes of its datagrams", status.size),
        gauge(
            "key_block_permille",
            "Thousandths of the channel's bytes that it takes",
            status.permille,
        ),
        gauge(
            "key_block_off",
            "Whether it would take more than its share and is not sent: an alarm",
            status.off.into(),
        ),
    ]
    .map(|metric| Sample {
        metric,
        labels: labels.clone(),
    })
}

/// Payments by card.
fn cards(stats: &CardsStats) -> Vec<Sample> {
    let counted = |name, help, all: &[(&'static str, u64)], label| {
        let of = |(value, count): &(&'static str, u64)| Sample {
            metric: counter(name, help, *count),
            labels: vec![(label, (*value).to_owned())],
        };
        all.iter().map(of).collect::<Vec<_>>()
    };
    let counts = &stats.counts;
    let standing = [
        ("open", counts.open),
        ("returning", counts.returning),
        ("troubled", counts.troubled),
        ("disputed", counts.disputed),
    ];
    let mut samples: Vec<_> = standing
        .into_iter()
        .map(|(state, count)| Sample {
            metric: gauge(
                "card_payments",
                "Payments by card that stand so; troubled and disputed ones are an alarm",
                count,
            ),
            labels: vec![("state", state.to_owned())],
        })
        .collect();
    samples.extend(counted(
        "card_calls",
        "Calls of the card provider",
        &stats.calls,
        "outcome",
    ));
    samples.extend(counted(
        "card_events",
        "Events of the card provider",
        &stats.events,
        "outcome",
    ));
    samples.extend([
        plain(gauge(
            "card_provider_away",
            "Whether the card provider does not answer, and is left alone for a while",
            stats.away.into(),
        )),
        plain(gauge(
            "card_differences",
            "What differed when payments were compared with the card provider's last: an alarm",
            stats.differences,
        )),
    ]);
    samples
}

pub(crate) fn plain(metric: Metric) -> Sample {
    Sample {
        metric,
        labels: Vec::new(),
    }
}

/// Totals of the meter of a key server.
pub(crate) fn metering(usage: &UsageStats) -> Vec<Sample> {
    let (meter, courier) = (&usage.meter, &usage.courier);
    let metrics = [
        gauge(
            "usage_failing",
            "Whether usage cannot be written to its folder: counts are kept in memory meanwhile",
            meter.failing.into(),
        ),
        counter(
            "usage_uncounted",
            "Answers of key doors that are in no usage file, because writing could not keep up",
            meter.uncounted,
        ),
        gauge(
            "usage_waiting_files",
            "Usage files that wait until the next one up has them",
            courier.waiting,
        ),
        counter(
            "usage_carried_files",
            "Usage files that the next one up has taken",
            courier.carried,
        ),
        counter(
            "usage_refused_files",
            "Usage files that nobody takes, put aside: an alarm",
            courier.refused,
        ),
    ];
    metrics.into_iter().map(plain).collect()
}

/// Connections of the HTTP API, and what was refused.
pub(crate) fn http(stats: &HttpStats) -> Vec<Sample> {
    let of = |metric, label, value: String| Sample {
        metric,
        labels: vec![(label, value)],
    };
    let open = stats.open.iter().map(|(class, count)| {
        let metric = gauge("http_connections", "Connections of the HTTP API", *count);
        of(metric, "class", (*class).to_owned())
    });
    let ended = stats.ended.iter().map(|(why, count)| {
        let metric = counter(
            "http_connections_ended",
            "Connections that the server ended or did not take",
            *count,
        );
        of(metric, "why", (*why).to_owned())
    });
    let refused = stats.refused.iter().map(|(status, count)| {
        let metric = counter(
            "http_requests_refused",
            "Requests beyond a bound, by status",
            *count,
        );
        of(metric, "status", status.to_string())
    });
    open.chain(ended).chain(refused).collect()
}

/// Totals of key doors.
pub(crate) fn doors(stats: &DoorStats) -> Vec<Sample> {
    let mut samples = vec![
        plain(counter(
            "door_bytes_in",
            "Bytes of key requests",
            stats.bytes_in,
        )),
        plain(counter(
            "door_bytes_out",
            "Bytes of answers to them",
            stats.bytes_out,
        )),
        plain(counter(
            "door_unsent",
            "Answers that could not be sent",
            stats.unsent,
        )),
        plain(counter(
            "door_kernel_drops",
            "Key requests dropped by the kernel",
            stats.kernel_drops,
        )),
    ];
    samples.extend(stats.outcomes.iter().map(|(outcome, count)| Sample {
        metric: counter("door_requests", "Key requests by outcome", *count),
        labels: vec![("outcome", outcome.name().to_owned())],
    }));
    samples
}

/// How soon slaves knew of a revocation.
fn canary(health: &Health) -> Vec<Sample> {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut samples = Vec::new();
    for (slave, measured) in &health.canary {
        let of = |metric| Sample {
            metric,
            labels: vec![("slave", slave.0.to_string())],
        };
        samples.extend([
            of(gauge(
                "canary_ms",
                "How soon a slave knew of the canary's last revocation",
                ms(measured.last),
            )),
            of(gauge(
                "canary_worst_ms",
                "The longest that it took so far",
                ms(measured.worst),
            )),
            of(counter(
                "canary_revocations",
                "Revocations of the canary that were measured",
                measured.count,
            )),
            of(counter(
                "canary_late",
                "Those that took longer than a second: alarms",
                measured.late,
            )),
            of(counter(
                "canary_unanswered",
                "Those of which the slave's door gave no answer",
                measured.unanswered,
            )),
        ]);
    }
    samples
}

/// The slaves as the master sees them, and how ready each is for the next epoch.
fn slaves(status: &Status) -> Vec<Sample> {
    let mut samples = Vec::new();
    for slave in &status.slaves {
        let of = |metric| Sample {
            metric,
            labels: vec![("slave", slave.slave.to_string())],
        };
        samples.extend([
            of(gauge(
                "slave_linked",
                "Whether a slave is linked, to the master or over others",
                slave.linked.into(),
            )),
            of(gauge(
                "slave_leased",
                "Whether it holds a lease",
                slave.leased.into(),
            )),
        ]);
    }
    for channel in &status.channels {
        let of = |metric, who: Vec<(&'static str, String)>| {
            let mut labels = vec![("channel", channel.channel.to_string())];
            labels.extend(who);
            Sample { metric, labels }
        };
        let ready = |epoch: Option<u64>| u64::from(channel.next.is_some() && epoch >= channel.next);
        for slave in &channel.slaves {
            samples.push(of(
                gauge(
                    "slave_holds_next",
                    "Whether it holds the next key",
                    ready(slave.epoch),
                ),
                vec![("slave", slave.slave.to_string())],
            ));
        }
        let servers = channel.servers.iter().map(|server| ready(server.next));
        let slaves = channel.slaves.iter().map(|slave| ready(slave.epoch));
        let all = channel.servers.len() + channel.slaves.len();
        samples.extend([
            of(
                gauge(
                    "ready_for_next",
                    "Delivery servers and slaves that hold the next key",
                    servers.chain(slaves).sum(),
                ),
                Vec::new(),
            ),
            of(
                gauge(
                    "ready_of",
                    "Delivery servers and slaves that there are",
                    all as u64,
                ),
                Vec::new(),
            ),
        ]);
    }
    samples
}
