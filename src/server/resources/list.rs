//! `GET /Users` and `GET /` (RFC 7644 section 3.4.2, RFC 9865).

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use crate::scim::cursor::{self, Cursor};
use crate::scim::dialect::Tolerated;
use crate::scim::error::ScimError;
use crate::scim::filter::FilterLimits;
use crate::scim::list::{ListLimits, ListRequest, PageRequest, Paging, write_response};
use crate::scim::schema::ResourceType;
use crate::server::context::Context;
use crate::server::respond::{Answer, Failure};
use crate::server::serving::Tenant;
use crate::store::{Page, Query, Sort};

/// How long a cursor stays good, as `ServiceProviderConfig` says.
pub const CURSOR_LIFETIME_SECONDS: u64 = 600;

/// 200 with a page; all types when `kind` is `None`.
pub async fn answer(context: &Context<'_>, kind: Option<&Arc<ResourceType>>) -> Result<Answer, Failure> {
    let mut tolerated = Tolerated::default();
    let parameters: Vec<(&str, Cow<'_, str>)> = context
        .parameters
        .all()
        .iter()
        .map(|(name, value)| {
            let is_filter = name.eq_ignore_ascii_case("filter");
            let value =
                if is_filter { rewrite(context, kind, value, &mut tolerated) } else { value.as_ref().into() };
            (name.as_ref(), value)
        })
        .collect();
    context.note(&tolerated);
    let request = ListRequest::from_query(&parameters, &limits(context.tenant))?;
    run(context, kind, &request).await
}

/// A filter, made standard by the tenant's dialect.
pub fn rewrite<'t>(
    context: &Context<'_>,
    kind: Option<&Arc<ResourceType>>,
    filter: &'t str,
    tolerated: &mut Tolerated,
) -> Cow<'t, str> {
    context.tenant.dialect.rewrite_filter(kind.map(AsRef::as_ref), filter, tolerated)
}

/// What a tenant allows a list request.
#[must_use]
pub fn limits(tenant: &Tenant) -> ListLimits {
    ListLimits { max_page_size: tenant.limits.max_page_size as usize, filter: FilterLimits::default() }
}

/// Runs a list request, however it came.
pub async fn run(
    context: &Context<'_>,
    kind: Option<&Arc<ResourceType>>,
    request: &ListRequest,
) -> Result<Answer, Failure> {
    let tenant = &context.tenant.key;
    let endpoint = kind.map_or("/", |kind| kind.endpoint.as_str());
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
    let key = &context.app.cursor_key;

    let digest = request.digest(&tenant.0, endpoint);
    let page = match &request.page {
        PageRequest::Index { start_index, count } => Page::Index { start_index: *start_index, count: *count },
        PageRequest::Cursor { token, count } => {
            let token = token.as_deref();
            let cursor = token.map(|token| cursor::decode(key, token, digest, now, CURSOR_LIFETIME_SECONDS));
            Page::After { position: cursor.transpose()?.map(|cursor| cursor.position), count: *count }
        }
    };
    let query = query(context, kind, request, page)?;
    let listing = context.app.store.list(tenant, &query).await?;

    let paging = match &request.page {
        PageRequest::Index { start_index, .. } => Paging::Index { start_index: *start_index },
        PageRequest::Cursor { .. } => Paging::Cursor {
            next: listing.next.map(|position| {
                cursor::encode(key, &Cursor { position, query_digest: digest, issued_at: now })
            }),
        },
    };
    let body = write_response(listing.total, &paging, &listing.resources);
    Ok(Answer { status: 200, body: Some(body), ..Answer::default() })
}

/// The store's query. In a query across types an attribute that one type does not have matches
/// nothing there; for one type it is an error.
fn query(
    context: &Context<'_>,
    kind: Option<&Arc<ResourceType>>,
    request: &ListRequest,
    page: Page,
) -> Result<Query, ScimError> {
    let types: Vec<_> = match kind {
        Some(kind) => {
            let filter = request.filter.as_ref().map(|filter| filter.resolve(kind)).transpose()?;
            vec![(Arc::clone(kind), filter.map(Arc::new))]
        }
        None => context
            .tenant
            .registry
            .resource_types
            .iter()
            .map(|kind| {
                let filter = request.filter.as_ref().map(|filter| Arc::new(filter.resolve_lenient(kind)));
                (Arc::clone(kind), filter)
            })
            .collect(),
    };
    if let Some(sort) = &request.sort
        && types.iter().all(|(kind, _)| kind.resolve(&sort.by).is_none())
    {
        return Err(ScimError::invalid_value(format!(
            "sortBy names {}, which no schema here defines",
            sort.by
        )));
    }
    Ok(Query {
        types,
        sort: request.sort.as_ref().map(|sort| Sort { by: sort.by.clone(), descending: sort.descending }),
        page,
        projection: request.projection.clone(),
        base_url: context.base_url.as_str().into(),
    })
}
