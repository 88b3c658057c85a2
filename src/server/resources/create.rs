//! `POST /Users` (RFC 7644 section 3.3).

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::scim::dialect::Tolerated;
use crate::scim::error::ScimError;
use crate::scim::schema::ResourceType;
use crate::server::context::{Context, Shown};
use crate::server::respond::{Answer, Failure};
use crate::server::serving::Tenant;
use crate::store::Command;
use crate::store::idempotency::Keyed;

/// A new resource from a body; its id is ours, whatever the body says.
pub fn command(
    tenant: &Tenant,
    kind: &Arc<ResourceType>,
    id: String,
    mut body: Value,
    tolerated: &mut Tolerated,
) -> Result<Command, ScimError> {
    tenant.dialect.rewrite_resource(kind, &mut body, tolerated);
    let normalized = kind.normalize(body, tenant.dialect.rules(), tolerated)?;
    Ok(Command::Create {
        resource_type: Arc::clone(kind),
        id,
        attributes: normalized.attributes,
        members: normalized.members.unwrap_or_default(),
        discarded: normalized.discarded,
    })
}

/// 201 with the resource, its URL and its version.
pub async fn answer(
    context: &Context<'_>,
    kind: &Arc<ResourceType>,
    body: Value,
    keyed: Option<Keyed>,
) -> Result<Answer, Failure> {
    let projection = context.projection()?;
    let id = Uuid::now_v7().to_string();
    let command = context.command(|tolerated| command(context.tenant, kind, id, body, tolerated))?;
    context.change(command, Shown { projection, silent: false }, keyed).await
}
