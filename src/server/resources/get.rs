//! `GET /Users/{id}` (RFC 7644 section 3.4.1).

use std::sync::Arc;

use crate::scim::error::ScimError;
use crate::scim::schema::ResourceType;
use crate::server::context::Context;
use crate::server::respond::{Answer, Failure};

/// 200 with the resource, or 304 when the client has this version.
pub async fn answer(context: &Context<'_>, kind: &Arc<ResourceType>, id: &str) -> Result<Answer, Failure> {
    let projection = context.projection()?;
    let load = projection.load(kind);
    let resource = context
        .app
        .store
        .get(&context.tenant.key, kind, id, load)
        .await?
        .ok_or_else(|| ScimError::not_found(&kind.name, id))?;
    let preconditions = context.preconditions()?;
    let version = resource.version();
    preconditions.check_read(&version)?;
    if preconditions.not_modified(&version) {
        return Ok(Answer { status: 304, version: Some(version), ..Answer::default() });
    }
    Ok(context.show(200, &resource, &projection))
}
