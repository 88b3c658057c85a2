//! What the store measures of itself, for `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Timings of the store's writer. Cloning shares the figures.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Requests that one commit made durable.
    pub batch_size: Histogram,
    /// Seconds a commit took: the flush to disk.
    pub commit_seconds: Histogram,
    /// Seconds a write waited before the writer took it up.
    pub queue_seconds: Histogram,
    /// Reads that were too long to run beside requests and went to the pool of readers.
    pub long_reads: Counter,
    /// Reads that were answered with what was read before, unchanged.
    pub cache_hits: Counter,
    /// Reads that were not.
    pub cache_misses: Counter,
    /// Bytes of resources that reads remember.
    pub cache_bytes: Gauge,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        // 50 µs (a fast disk) to 1.6 s (a disk in trouble).
        let seconds = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        Self {
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            commit_seconds: seconds(),
            queue_seconds: seconds(),
            long_reads: Counter::default(),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            cache_bytes: Gauge::default(),
        }
    }
}

impl StoreMetrics {
    /// Adds the figures to a registry under `store_`.
    pub fn register(&self, registry: &mut Registry) {
        let Self { batch_size, commit_seconds, queue_seconds, long_reads, .. } = self;
        let Self { cache_hits, cache_misses, cache_bytes, .. } = self;
        let store = registry.sub_registry_with_prefix("store");
        store.register("commit_batch_size", "Write requests made durable by one commit", batch_size.clone());
        store.register_with_unit("commit", "Time a commit took", Unit::Seconds, commit_seconds.clone());
        store.register_with_unit(
            "write_queue",
            "Time a write waited for the writer",
            Unit::Seconds,
            queue_seconds.clone(),
        );
        store.register(
            "long_reads",
            "Reads that went to the pool of readers because they touch many rows",
            long_reads.clone(),
        );
        store.register(
            "cache_hits",
            "Reads answered with what was read before, unchanged",
            cache_hits.clone(),
        );
        store.register("cache_misses", "Reads that fetched the resource", cache_misses.clone());
        let help = "Resources that reads remember";
        store.register_with_unit("cache", help, Unit::Bytes, cache_bytes.clone());
    }
}
