//! Metrics of OAuth 2.0: keys fetched, tokens verified, tokens issued.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters of OAuth 2.0; clones count together.
#[derive(Debug, Clone, Default)]
pub struct OAuthMetrics {
    fetches: Family<OutcomeLabels, Counter>,
    verifications: Family<TenantLabels, Counter>,
    token_requests: Family<TenantLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    tenant: Arc<str>,
    outcome: &'static str,
}

impl OAuthMetrics {
    /// Makes the counters visible.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "scim_oauth_key_fetches",
            "Fetches of an OAuth issuer's keys: ok, or why they failed; known keys serve on for 24 hours",
            self.fetches.clone(),
        );
        registry.register(
            "scim_oauth_tokens_verified",
            "OAuth access tokens that requests presented: valid, or why they were refused",
            self.verifications.clone(),
        );
        registry.register(
            "scim_oauth_token_requests",
            "Requests to the token endpoint: issued, or the RFC 6749 error; tenant is empty when no client was authenticated",
            self.token_requests.clone(),
        );
    }

    /// Counts a fetch of keys.
    pub fn fetched(&self, outcome: &'static str) {
        self.fetches.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts the verification of a tenant's token.
    pub fn verified(&self, tenant: &Arc<str>, outcome: &'static str) {
        let labels = TenantLabels { tenant: Arc::clone(tenant), outcome };
        self.verifications.get_or_create(&labels).inc();
    }

    /// Counts a request to the token endpoint.
    pub fn token_request(&self, tenant: &Arc<str>, outcome: &'static str) {
        let labels = TenantLabels { tenant: Arc::clone(tenant), outcome };
        self.token_requests.get_or_create(&labels).inc();
    }
}
