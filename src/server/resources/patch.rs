//! `PATCH /Users/{id}` (RFC 7644 section 3.5.2).

use std::sync::Arc;

use serde_json::Value;

use crate::scim::dialect::Tolerated;
use crate::scim::error::ScimError;
use crate::scim::etag::Preconditions;
use crate::scim::patch::Patch;
use crate::scim::projection::Projection;
use crate::scim::resource::Load;
use crate::scim::schema::ResourceType;
use crate::server::context::{Context, Shown};
use crate::server::respond::{Answer, Failure};
use crate::server::serving::Tenant;
use crate::store::Command;
use crate::store::idempotency::Keyed;

/// The change, checked against the schema.
pub fn command(
    tenant: &Tenant,
    kind: &Arc<ResourceType>,
    id: &str,
    mut body: Value,
    preconditions: Preconditions,
    load: Load,
    tolerated: &mut Tolerated,
) -> Result<Command, ScimError> {
    tenant.dialect.rewrite_patch(kind, &mut body, tolerated);
    let patch = Patch::compile(body, kind, tenant.dialect.rules(), tolerated)?;
    Ok(Command::Patch {
        resource_type: Arc::clone(kind),
        id: id.to_owned(),
        patch: Arc::new(patch),
        preconditions,
        load,
    })
}

/// 200 with the resource as it is now; for a type with members 204, unless the client asked to see
/// attributes: a group of 100,000 is not read back to add one member.
pub async fn answer(
    context: &Context<'_>,
    kind: &Arc<ResourceType>,
    id: &str,
    body: Value,
    keyed: Option<Keyed>,
) -> Result<Answer, Failure> {
    let projection = context.projection()?;
    let silent = kind.has_members() && projection == Projection::Default;
    let load = if silent { Load::WITHOUT_MEMBERS } else { projection.load(kind) };
    let preconditions = context.preconditions()?;
    let command = context
        .command(|tolerated| command(context.tenant, kind, id, body, preconditions, load, tolerated))?;
    context.change(command, Shown { projection, silent }, keyed).await
}
