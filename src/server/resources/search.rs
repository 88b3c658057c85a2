//! `POST /Users/.search` and `POST /.search` (RFC 7644 section 3.4.3).

use std::sync::Arc;

use serde_json::Value;

use crate::scim::list::ListRequest;
use crate::scim::schema::ResourceType;
use crate::server::context::Context;
use crate::server::respond::{Answer, Failure};

use super::list;

/// The same as the list request with these parameters.
pub async fn answer(
    context: &Context<'_>,
    kind: Option<&Arc<ResourceType>>,
    body: Value,
) -> Result<Answer, Failure> {
    let request = ListRequest::from_search(&body, &list::limits(context.tenant))?;
    list::run(context, kind, &request).await
}
