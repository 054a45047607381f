//! The operations endpoint: /metrics (Prometheus, OpenMetrics text), /livez, /readyz. The only place that knows HTTP.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::live::{Metric, Totals};
use crate::run::Board;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A running endpoint.
#[derive(Debug)]
pub struct Ops {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ops {
    /// Serves at `at` from a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start<S: Totals + Clone + Default + Send + 'static>(
        at: SocketAddr,
        board: Board<S>,
    ) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(at).with_context(|| {
            format!(
                "cannot serve metrics at {at}: is the port in use? Choose another with --metrics"
            )
        })?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        tracing::info!(at = %listener.local_addr()?, "metrics are served");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("ops".into())
            .spawn(move || {
                let served = runtime.block_on(async move {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let until = async {
                        let _ = stopped.await;
                    };
                    axum::serve(listener, router(board))
                        .with_graceful_shutdown(until)
                        .await
                });
                if let Err(error) = served {
                    tracing::error!(%error, "the operations endpoint has failed");
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ops {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn router<S: Totals + Clone + Default + Send + 'static>(board: Board<S>) -> Router {
    let ready = board.clone();
    let metrics = move || {
        let board = board.clone();
        async move {
            match encode(board) {
                Ok(text) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text)),
                Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
            }
        }
    };
    let readyz = move || async move {
        let linked = |metric: &Metric| metric.name == "linked" && metric.value == 0;
        let without = ready
            .lock()
            .values()
            .filter(|shown| shown.status.read().metrics().iter().any(linked))
            .count();
        if without == 0 {
            (StatusCode::OK, "ready\n".to_owned())
        } else {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{without} channels have no link to the authority\n"),
            )
        }
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
}

fn encode<S: Totals + Clone + Default + Send + 'static>(
    board: Board<S>,
) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("sealcast");
    registry.register_collector(Box::new(Channels(board)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// Reads every channel's totals at the moment of a scrape.
struct Channels<S>(Board<S>);

impl<S> std::fmt::Debug for Channels<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channels(..)")
    }
}

impl<S: Totals + Clone + Default + Send + 'static> Collector for Channels<S> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let channels: Vec<(String, Vec<Metric>)> = self
            .0
            .lock()
            .iter()
            .map(|(id, shown)| (id.0.to_string(), shown.status.read().metrics()))
            .collect();
        let Some((_, first)) = channels.first() else {
            return Ok(());
        };
        let mut names: Vec<&Metric> = Vec::new();
        for metric in first {
            if !names.iter().any(|known| known.name == metric.name) {
                names.push(metric);
            }
        }
        for named in names {
            let kind = if named.counter {
                ConstCounter::new(0_u64).metric_type()
            } else {
                ConstGauge::new(0_i64).metric_type()
            };
            let mut family = encoder.encode_descriptor(named.name, named.help, None, kind)?;
            for (channel, metrics) in &channels {
                for metric in metrics.iter().filter(|metric| metric.name == named.name) {
                    let mut labels = vec![("channel", channel.as_str())];
                    labels.extend(metric.label);
                    let encoder = family.encode_family(&labels)?;
                    if metric.counter {
                        ConstCounter::new(metric.value).encode(encoder)?;
                    } else {
                        ConstGauge::new(i64::try_from(metric.value).unwrap_or(i64::MAX))
                            .encode(encoder)?;
                    }
                }
            }
        }
        Ok(())
    }
}
