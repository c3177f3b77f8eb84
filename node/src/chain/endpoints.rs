//! Every RPC endpoint's state for clients and for Prometheus.

use client::api::{EndpointHealth, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use protocol::chain::endpoints::EndpointState;
use rpc::{Client, EndpointStatus};

use super::ChainHandle;

/// Reads the client when metrics are asked for.
#[derive(Debug)]
pub(super) struct EndpointCollector {
    client: Client,
}

impl ChainHandle {
    /// Every endpoint's state, the preferred one's first.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointHealth> {
        self.client().endpoints().iter().map(health_of).collect()
    }
}

fn health_of(endpoint: &EndpointStatus) -> EndpointHealth {
    let health = &endpoint.health;
    let lag_blocks = match health.state {
        EndpointState::Lagging { blocks } => Some(blocks),
        _ => None,
    };
    let chain_id = match health.state {
        EndpointState::OtherChain { found } => Some(found),
        _ => None,
    };
    let latency = health.latency.map(|latency| latency.as_millis());
    EndpointHealth {
        endpoint: endpoint.name.clone(),
        state: health.state.name().to_owned(),
        head: health.head,
        latency_ms: latency.and_then(|millis| u64::try_from(millis).ok()),
        answered: health.answered_at.map(|at| Timestamp(at.unix())),
        answers: health.answers,
        failures: health.failures,
        error: health.error.clone(),
        lag_blocks,
        chain_id,
    }
}

impl EndpointCollector {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Collector for EndpointCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let endpoints = self.client.endpoints();
        let mut gauge = |name, help, read: fn(&EndpointStatus) -> Option<f64>| {
            let name = format!("coliving_chain_endpoint_{name}");
            let kind = prometheus_client::metrics::MetricType::Gauge;
            let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
            for (idx, endpoint) in endpoints.iter().enumerate() {
                if let Some(value) = read(endpoint) {
                    let labels = labels(idx, endpoint);
                    let series = family.encode_family(&labels)?;
                    ConstGauge::new(value).encode(series)?;
                }
            }
            Ok::<(), std::fmt::Error>(())
        };
        gauge("up", "1 when the endpoint answers and keeps up", |one| {
            Some(f64::from(u8::from(
                one.health.state == EndpointState::Healthy,
            )))
        })?;
        gauge("head", "Newest block that the endpoint has shown", |one| {
            #[allow(clippy::cast_precision_loss, reason = "block numbers are below 2^53")]
            one.health.head.map(|head| head as f64)
        })?;
        gauge(
            "latency_seconds",
            "Usual time to the endpoint's answer",
            |one| one.health.latency.map(|latency| latency.as_secs_f64()),
        )?;
        let kind = prometheus_client::metrics::MetricType::Counter;
        for (name, help, read) in COUNTERS {
            let name = format!("coliving_chain_endpoint_{name}");
            let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
            for (idx, endpoint) in endpoints.iter().enumerate() {
                let labels = labels(idx, endpoint);
                let series = family.encode_family(&labels)?;
                ConstCounter::new(read(endpoint)).encode(series)?;
            }
        }
        Ok(())
    }
}

/// Two endpoints may differ in what their names leave out.
fn labels(idx: usize, endpoint: &EndpointStatus) -> [(&'static str, String); 2] {
    [
        ("idx", idx.to_string()),
        ("endpoint", endpoint.name.clone()),
    ]
}

type Count = fn(&EndpointStatus) -> u64;

const COUNTERS: [(&str, &str, Count); 2] = [
    ("answers", "Requests that the endpoint answered", |one| {
        one.health.answers
    }),
    ("failures", "Requests that failed at the endpoint", |one| {
        one.health.failures
    }),
];
