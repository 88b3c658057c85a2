//! Limits as manifests write them: the endpoint's, with defaults, and a tenant's, which only narrow.
//!
//! The defaults are those of [`Limits`], so that each number is written once. The schema types are
//! signed because `int32` and `int64` are the integer formats an API server knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Limits;

/// What one request may cost, for every tenant of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointLimits {
    /// Bytes of a request body. A longer one is answered with 413.
    #[schemars(with = "i64", range(min = 1024, max = 67_108_864))]
    pub max_body_bytes: u64,
    /// Operations of one bulk request. More are answered with 413. Shown to clients in
    /// `/ServiceProviderConfig` as `bulk.maxOperations`.
    #[schemars(with = "i32", range(min = 1, max = 10_000))]
    pub max_bulk_operations: u32,
    /// Bytes of one bulk request. A longer one is answered with 413. Shown to clients in
    /// `/ServiceProviderConfig` as `bulk.maxPayloadSize`.
    #[schemars(with = "i64", range(min = 1024, max = 67_108_864))]
    pub max_bulk_payload_bytes: u64,
    /// Resources in one page of a list; also the page size when a client names none. Shown to clients in
    /// `/ServiceProviderConfig` as `filter.maxResults`.
    #[schemars(with = "i32", range(min = 1, max = 10_000))]
    pub max_page_size: u32,
}

/// What one request may cost for this tenant. A limit that is absent is the endpoint's; a limit above the
/// endpoint's has no effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantLimits {
    /// Bytes of a request body. A longer one is answered with 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1024, max = 67_108_864))]
    pub max_body_bytes: Option<u64>,
    /// Operations of one bulk request. More are answered with 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10_000))]
    pub max_bulk_operations: Option<u32>,
    /// Bytes of one bulk request. A longer one is answered with 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i64>", range(min = 1024, max = 67_108_864))]
    pub max_bulk_payload_bytes: Option<u64>,
    /// Resources in one page of a list; also the page size when a client names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 10_000))]
    pub max_page_size: Option<u32>,
}

impl Default for EndpointLimits {
    fn default() -> Self {
        Limits::default().into()
    }
}

impl From<Limits> for EndpointLimits {
    fn from(limits: Limits) -> Self {
        let Limits { max_body_bytes, max_bulk_operations, max_bulk_payload_bytes, max_page_size } = limits;
        Self { max_body_bytes, max_bulk_operations, max_bulk_payload_bytes, max_page_size }
    }
}

impl From<EndpointLimits> for Limits {
    fn from(limits: EndpointLimits) -> Self {
        let EndpointLimits { max_body_bytes, max_bulk_operations, max_bulk_payload_bytes, max_page_size } =
            limits;
        Self { max_body_bytes, max_bulk_operations, max_bulk_payload_bytes, max_page_size }
    }
}
