//! The operations endpoint: /metrics (Prometheus, OpenMetrics text), /livez, /readyz.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use sealcast_dataplane::histogram::BOUNDS;
use tokio::sync::oneshot;

use crate::live::{Measured, Metric, Totals, gauge};
use crate::run::Board;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One number with its labels.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name, help, kind and value.
    pub metric: Metric,
    /// Labels besides the metric's own.
    pub labels: Vec<(&'static str, String)>,
}

/// What a program says of itself.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its numbers; those of one name stand together.
    pub samples: Vec<Sample>,
    /// Why it is not ready; `None` when it is.
    pub not_ready: Option<String>,
}

/// Where reports come from.
pub trait Reporter: Send + Sync + 'static {
    /// How it is now.
    fn report(&self) -> impl Future<Output = Report> + Send;
}

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
    pub fn start(at: SocketAddr, reporter: impl Reporter) -> anyhow::Result<Self> {
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
                    axum::serve(listener, router(Arc::new(reporter)))
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

fn router<R: Reporter>(reporter: Arc<R>) -> Router {
    let ready = Arc::clone(&reporter);
    let metrics = move || {
        let reporter = Arc::clone(&reporter);
        async move {
            match encode(reporter.report().await.samples) {
                Ok(text) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text)),
                Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
            }
        }
    };
    let readyz = move || async move {
        match ready.report().await.not_ready {
            None => (StatusCode::OK, "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
    };
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
}

fn encode(samples: Vec<Sample>) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("sealcast");
    registry.register_collector(Box::new(Samples(samples)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The samples of one scrape.
#[derive(Debug)]
struct Samples(Vec<Sample>);

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut names: Vec<&Metric> = Vec::new();
        for Sample { metric, .. } in &self.0 {
            if !names.iter().any(|known| known.name == metric.name) {
                names.push(metric);
            }
        }
        for named in names {
            let kind = named.value.metric_type();
            let mut family = encoder.encode_descriptor(named.name, named.help, None, kind)?;
            for Sample { metric, labels } in &self.0 {
                if metric.name != named.name {
                    continue;
                }
                let mut all: Vec<(&str, &str)> = labels
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                all.extend(metric.label);
                if all.is_empty() {
                    // A name without labels stands once, and has no braces.
                    metric.value.encode(family)?;
                    break;
                }
                metric.value.encode(family.encode_family(&all)?)?;
            }
        }
        Ok(())
    }
}

impl EncodeMetric for Measured {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Counter(value) => encoder.encode_counter::<NoLabelSet, _, u64>(value, None),
            Self::Gauge(value) => encoder.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX)),
            Self::Durations(histogram) => {
                let (seconds, counts) =
                    (|nanoseconds| nanoseconds as f64 / 1e9, histogram.buckets());
                let bounds = BOUNDS.into_iter().map(seconds).chain([f64::MAX]);
                let buckets: Vec<_> = bounds.zip(counts).collect();
                let sum = histogram.sum().as_secs_f64();
                encoder.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)
            }
        }
    }

    fn metric_type(&self) -> MetricType {
        match self {
            Self::Counter(_) => MetricType::Counter,
            Self::Gauge(_) => MetricType::Gauge,
            Self::Durations(_) => MetricType::Histogram,
        }
    }
}

/// Running channels report their totals.
impl<S: Totals + Clone + Default + Send + 'static> Reporter for Board<S> {
    async fn report(&self) -> Report {
        let linked =
            |metric: &Metric| metric.name == "linked" && metric.value == Measured::Gauge(0);
        let usage = self.usage_fails().map(|fails| Sample {
            metric: gauge(
                "usage_failing",
                "Whether usage cannot be written to its folder: counts are kept in memory meanwhile",
                fails.into(),
            ),
            labels: Vec::new(),
        });
        let channels = self.lock();
        let mut samples = Vec::from_iter(usage);
        let mut without = 0;
        for (id, shown) in channels.iter() {
            let metrics = shown.status.read().metrics();
            without += usize::from(metrics.iter().any(linked));
            samples.extend(metrics.into_iter().map(|metric| Sample {
                metric,
                labels: vec![("channel", id.0.to_string())],
            }));
        }
        Report {
            samples,
            not_ready: (without > 0)
                .then(|| format!("{without} channels have no link to the key server")),
        }
    }
}
