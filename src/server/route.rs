//! Method and path to [`Operation`] (RFC 7644 section 3.2).

use std::sync::Arc;

use hyper::Method;
use percent_encoding::percent_decode_str;

use crate::config::Scope;
use crate::scim::error::ScimError;
use crate::scim::schema::{Registry, ResourceType};

use super::respond::Failure;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// `POST /Users`
    Create(Arc<ResourceType>),
    /// `GET /Users/{id}`
    Get(Arc<ResourceType>, String),
    /// `PUT /Users/{id}`
    Replace(Arc<ResourceType>, String),
    /// `PATCH /Users/{id}`
    Patch(Arc<ResourceType>, String),
    /// `DELETE /Users/{id}`
    Delete(Arc<ResourceType>, String),
    /// `GET /Users`, or `GET /` across types.
    List(Option<Arc<ResourceType>>),
    /// `POST /Users/.search`, or `POST /.search` across types.
    Search(Option<Arc<ResourceType>>),
    /// `POST /Bulk`
    Bulk,
    /// `GET /ServiceProviderConfig`, `/Schemas`, `/ResourceTypes`
    Discover(Document),
    /// `/Me`
    Me,
}

/// A discovery document (RFC 7644 section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as in the RFC")]
pub enum Document {
    ServiceProviderConfig,
    Schemas,
    Schema(String),
    ResourceTypes,
    ResourceType(String),
}

impl Operation {
    /// The name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Get(..) => "get",
            Self::Replace(..) => "replace",
            Self::Patch(..) => "patch",
            Self::Delete(..) => "delete",
            Self::List(_) => "list",
            Self::Search(_) => "search",
            Self::Bulk => "bulk",
            Self::Discover(_) => "discover",
            Self::Me => "me",
        }
    }

    /// What a credential must allow. A refusal needs nothing, so `/Me` is among the reads.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Get(..) | Self::List(_) | Self::Search(_) | Self::Discover(_) | Self::Me => Scope::Read,
            Self::Create(_) | Self::Replace(..) | Self::Patch(..) | Self::Delete(..) | Self::Bulk => {
                Scope::Write
            }
        }
    }

    /// The type and id it names.
    #[must_use]
    pub fn subject(&self) -> (Option<&Arc<ResourceType>>, Option<&str>) {
        match self {
            Self::Create(kind) => (Some(kind), None),
            Self::Get(kind, id)
            | Self::Replace(kind, id)
            | Self::Patch(kind, id)
            | Self::Delete(kind, id) => (Some(kind), Some(id)),
            Self::List(kind) | Self::Search(kind) => (kind.as_ref(), None),
            Self::Bulk | Self::Discover(_) | Self::Me => (None, None),
        }
    }
}

/// Splits `/TENANT/scim/v2/REST` into tenant and rest.
#[must_use]
pub fn split_tenant(path: &str) -> Option<(&str, &str)> {
    let (tenant, rest) = path.strip_prefix('/')?.split_once('/')?;
    let rest = rest.strip_prefix("scim/v2")?;
    (!tenant.is_empty() && (rest.is_empty() || rest.starts_with('/'))).then_some((tenant, rest))
}

/// The operation of a method and the path below the base URL: 404 where nothing is, 405 with what is
/// allowed where something is. One slash at the end makes no difference.
pub fn route(registry: &Registry, method: &Method, rest: &str) -> Result<Operation, Failure> {
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let rest = &*percent_decode_str(rest)
        .decode_utf8()
        .map_err(|_| ScimError::new(404, "the path is not percent-encoded UTF-8"))?;
    let mut segments = rest.split('/');
    let first = segments.next().unwrap_or_default();
    let (second, third) = (segments.next(), segments.next());
    let reads = |operation: Operation| match *method {
        Method::GET | Method::HEAD => Ok(operation),
        _ => Err(Failure::MethodNotAllowed("GET, HEAD")),
    };
    let posts = |operation: Operation| match *method {
        Method::POST => Ok(operation),
        _ => Err(Failure::MethodNotAllowed("POST")),
    };
    match (first, second, third) {
        ("", None, None) => reads(Operation::List(None)),
        (".search", None, None) => posts(Operation::Search(None)),
        ("Bulk", None, None) => posts(Operation::Bulk),
        ("Me", None, None) => Ok(Operation::Me),
        ("ServiceProviderConfig", None, None) => reads(Operation::Discover(Document::ServiceProviderConfig)),
        ("Schemas", None, None) => reads(Operation::Discover(Document::Schemas)),
        ("Schemas", Some(id), None) => reads(Operation::Discover(Document::Schema(id.to_owned()))),
        ("ResourceTypes", None, None) => reads(Operation::Discover(Document::ResourceTypes)),
        ("ResourceTypes", Some(name), None) => {
            reads(Operation::Discover(Document::ResourceType(name.to_owned())))
        }
        (endpoint, below, None) => {
            let kind = Arc::clone(registry.by_endpoint(endpoint).ok_or_else(|| nothing_at(registry, rest))?);
            match below {
                None => match *method {
                    Method::GET | Method::HEAD => Ok(Operation::List(Some(kind))),
                    Method::POST => Ok(Operation::Create(kind)),
                    _ => Err(Failure::MethodNotAllowed("GET, HEAD, POST")),
                },
                Some(".search") => posts(Operation::Search(Some(kind))),
                Some("") => Err(nothing_at(registry, rest)),
                Some(again) if registry.by_endpoint(again).is_some() => Err(ScimError::new(
                    404,
                    format!(
                        "the URL names two endpoints; the base URL ends in /scim/v2, without /{endpoint}"
                    ),
                )
                .into()),
                Some(id) => match *method {
                    Method::GET | Method::HEAD => Ok(Operation::Get(kind, id.to_owned())),
                    Method::PUT => Ok(Operation::Replace(kind, id.to_owned())),
                    Method::PATCH => Ok(Operation::Patch(kind, id.to_owned())),
                    Method::DELETE => Ok(Operation::Delete(kind, id.to_owned())),
                    _ => Err(Failure::MethodNotAllowed("GET, HEAD, PUT, PATCH, DELETE")),
                },
            }
        }
        _ => Err(nothing_at(registry, rest)),
    }
}

fn nothing_at(registry: &Registry, rest: &str) -> Failure {
    let mut endpoints: Vec<&str> =
        registry.resource_types.iter().map(|kind| kind.endpoint.as_str()).collect();
    endpoints.extend(["/Bulk", "/.search", "/ServiceProviderConfig", "/Schemas", "/ResourceTypes"]);
    ScimError::new(
        404,
        format!("there is no endpoint {:?}; there are {}", format!("/{rest}"), endpoints.join(", ")),
    )
    .into()
}
