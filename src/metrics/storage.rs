//! What storage counts: every request, by what it costs.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What storage counts. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct StorageMetrics {
    operations: Family<[(&'static str, &'static str); 2], Counter>,
}

/// What a request to storage is paid as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationClass {
    /// As a write or a listing.
    A,
    /// As a read.
    B,
    /// Not at all.
    Free,
    /// As nobody says: Cloudflare's list leaves it out.
    Unpublished,
}

impl OperationClass {
    /// The name used in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::Free => "free",
            Self::Unpublished => "unpublished",
        }
    }
}

impl StorageMetrics {
    /// Counts a request that goes out, each try of it.
    pub fn count(&self, class: OperationClass, operation: &'static str) {
        self.operations.get_or_create(&[("class", class.as_str()), ("operation", operation)]).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "storage_operations",
            "Requests that were sent to storage, each try of them, by the class they are paid as",
            self.operations.clone(),
        );
    }
}
