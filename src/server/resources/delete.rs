//! `DELETE /Users/{id}` (RFC 7644 section 3.6).

use std::sync::Arc;

use crate::scim::etag::Preconditions;
use crate::scim::projection::Projection;
use crate::scim::schema::ResourceType;
use crate::server::context::{Context, Shown};
use crate::server::respond::{Answer, Failure};
use crate::store::Command;

/// The end of a resource.
#[must_use]
pub fn command(kind: &Arc<ResourceType>, id: &str, preconditions: Preconditions) -> Command {
    Command::Delete { resource_type: Arc::clone(kind), id: id.to_owned(), preconditions }
}

/// 204.
pub async fn answer(context: &Context<'_>, kind: &Arc<ResourceType>, id: &str) -> Result<Answer, Failure> {
    let shown = Shown { projection: Projection::Default, silent: true };
    context.change(command(kind, id, context.preconditions()?), shown, None).await
}
