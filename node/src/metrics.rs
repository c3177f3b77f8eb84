//! Numbers for `/metrics`, in the OpenMetrics text format.
//!
//! Every name begins with `coliving_`; libp2p's own begin with `libp2p_`. A part
//! of the node asks for its counters and gauges once, when it starts, and keeps
//! the handles: asking again makes a second series of the same name.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Metric, Registry};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// The registry of a process's metrics; a cheap clone of one registry.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a counter; its series is `coliving_<name>_total`.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// Registers a gauge; its series is `coliving_<name>`.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// Registers a histogram of seconds from 1 ms to 65 s; its series begin with
    /// `coliving_<name>`.
    #[must_use]
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        let histogram = Histogram::new(exponential_buckets(0.001, 2.0, 17));
        self.register(name, help, histogram)
    }

    /// Registers counters that differ by labels. Label values must come from a
    /// closed set, never from the network.
    #[must_use]
    pub fn counters<L>(&self, name: &str, help: &str) -> Family<L, Counter>
    where
        L: EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static,
    {
        self.register(name, help, Family::default())
    }

    /// Registers any other metric as `coliving_<name>` and hands back a handle to it.
    #[must_use]
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.lock();
        registry
            .sub_registry_with_prefix(PREFIX)
            .register(name, help, metric.clone());
        metric
    }

    /// Runs `register` with the bare registry, for libraries that register their own names.
    pub fn with_registry<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.lock())
    }

    /// The text that `/metrics` answers, in the OpenMetrics format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        match text::encode(&mut text, &self.lock()) {
            Ok(()) => text,
            Err(fmt::Error) => String::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PREFIX: &str = "coliving";

#[cfg(test)]
mod tests;
