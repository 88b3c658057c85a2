//! `POST /Users` (RFC 7644 section 3.3).

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::scim::dialect::Tolerated;
use crate::scim::error::ScimError;
use crate::scim::schema::ResourceType;
use crate::server::context::{Context, unexpected};
use crate::server::respond::{Answer, Failure};
use crate::server::serving::Tenant;
use crate::store::{Command, Outcome};

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
    })
}

/// 201 with the resource, its URL and its version.
pub async fn answer(context: &Context<'_>, kind: &Arc<ResourceType>, body: Value) -> Result<Answer, Failure> {
    let projection = context.projection()?;
    let mut tolerated = Tolerated::default();
    let command = command(context.tenant, kind, Uuid::now_v7().to_string(), body, &mut tolerated);
    context.note(&tolerated);
    match context.write(command?).await? {
        Outcome::Created(resource) => Ok(context.show(201, &resource, &projection)),
        other => Err(unexpected(Some(&Ok(vec![other]))).into()),
    }
}
