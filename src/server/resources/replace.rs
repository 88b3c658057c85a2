//! `PUT /Users/{id}` (RFC 7644 section 3.5.1).

use std::sync::Arc;

use serde_json::Value;

use crate::scim::dialect::Tolerated;
use crate::scim::error::ScimError;
use crate::scim::etag::Preconditions;
use crate::scim::resource::Load;
use crate::scim::schema::ResourceType;
use crate::server::context::{Context, Shown};
use crate::server::respond::{Answer, Failure};
use crate::server::serving::Tenant;
use crate::store::Command;

/// What the resource becomes. A group's PUT without `members` empties it.
pub fn command(
    tenant: &Tenant,
    kind: &Arc<ResourceType>,
    id: &str,
    mut body: Value,
    preconditions: Preconditions,
    load: Load,
    tolerated: &mut Tolerated,
) -> Result<Command, ScimError> {
    tenant.dialect.rewrite_resource(kind, &mut body, tolerated);
    let normalized = kind.normalize(body, tenant.dialect.rules(), tolerated)?;
    Ok(Command::Replace {
        resource_type: Arc::clone(kind),
        id: id.to_owned(),
        attributes: normalized.attributes,
        members: normalized.members.unwrap_or_default(),
        discarded: normalized.discarded,
        preconditions,
        load,
    })
}

/// 200 with the resource as it is now.
pub async fn answer(
    context: &Context<'_>,
    kind: &Arc<ResourceType>,
    id: &str,
    body: Value,
) -> Result<Answer, Failure> {
    let projection = context.projection()?;
    let (load, preconditions) = (projection.load(kind), context.preconditions()?);
    let command = context
        .command(|tolerated| command(context.tenant, kind, id, body, preconditions, load, tolerated))?;
    context.change(command, Shown { projection, silent: false }, None).await
}
