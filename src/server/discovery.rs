//! `/ServiceProviderConfig`, `/Schemas` and `/ResourceTypes` (RFC 7644 section 4).

use serde_json::Value;

use crate::scim::discovery::{Capabilities, Scheme, resource_type, schema, service_provider_config};
use crate::scim::error::ScimError;
use crate::scim::list::{Paging, Resources, write_response};

use super::context::Context;
use super::oauth::metadata::urls;
use super::resources::list::CURSOR_LIFETIME_SECONDS;
use super::respond::{Answer, Failure};
use super::route::Document;

/// Answers a discovery request. Pages and sorting are ignored; a filter is forbidden, because nothing
/// would come of it.
pub fn answer(context: &Context<'_>, document: &Document) -> Result<Answer, Failure> {
    if context.parameters.values("filter").next().is_some() {
        return Err(ScimError::new(403, "discovery endpoints cannot be filtered; ask without filter").into());
    }
    let registry = &context.tenant.registry;
    let base_url = &context.base_url;
    match document {
        Document::ServiceProviderConfig => {
            let limits = &context.tenant.limits;
            let capabilities = Capabilities {
                max_bulk_operations: limits.max_bulk_operations,
                max_bulk_payload_bytes: limits.max_bulk_payload_bytes,
                max_page_size: limits.max_page_size,
                cursor_timeout_seconds: CURSOR_LIFETIME_SECONDS,
            };
            Ok(one(&service_provider_config(&capabilities, &schemes(context), base_url)))
        }
        Document::Schemas => Ok(all(registry.schemas().into_iter().map(|known| schema(known, base_url)))),
        Document::Schema(id) => registry
            .schemas()
            .into_iter()
            .find(|known| known.id.eq_ignore_ascii_case(id))
            .map(|known| one(&schema(known, base_url)))
            .ok_or_else(|| ScimError::not_found("Schema", id).into()),
        Document::ResourceTypes => {
            Ok(all(registry.resource_types.iter().map(|known| resource_type(known, base_url))))
        }
        Document::ResourceType(name) => registry
            .by_name(name)
            .map(|known| one(&resource_type(known, base_url)))
            .ok_or_else(|| ScimError::not_found("ResourceType", name).into()),
    }
}

/// How clients of the tenant can authenticate: bearer tokens first.
fn schemes(context: &Context<'_>) -> Vec<Scheme> {
    let mut schemes = Vec::new();
    if !context.tenant.tokens.is_empty() {
        schemes.push(Scheme::BearerToken);
    }
    if let Some(oauth) = &context.tenant.oauth {
        schemes.extend(oauth.issuers().map(|issuer| Scheme::Issuer(issuer.to_owned())));
        if oauth.has_clients() {
            schemes.push(Scheme::TokenEndpoint(urls(&context.base_url).1));
        }
    }
    schemes
}

fn one(document: &Value) -> Answer {
    let location = document["meta"]["location"].as_str().map(str::to_owned);
    Answer { status: 200, body: Some(document.to_string().into_bytes()), location, ..Answer::default() }
}

/// A `ListResponse` of all documents.
fn all(documents: impl Iterator<Item = Value>) -> Answer {
    let mut resources = Resources::default();
    for document in documents {
        resources.push(|out| out.extend_from_slice(document.to_string().as_bytes()));
    }
    let body = write_response(resources.len() as u64, &Paging::Index { start_index: 1 }, &resources);
    Answer { status: 200, body: Some(body), ..Answer::default() }
}
