//! `DELETE /Users/{id}` (RFC 7644 section 3.6).

use std::sync::Arc;

use crate::scim::etag::Preconditions;
use crate::scim::schema::ResourceType;
use crate::server::context::{Context, unexpected};
use crate::server::respond::{Answer, Failure};
use crate::store::{Command, Outcome};

/// The end of a resource.
#[must_use]
pub fn command(kind: &Arc<ResourceType>, id: &str, preconditions: Preconditions) -> Command {
    Command::Delete { resource_type: Arc::clone(kind), id: id.to_owned(), preconditions }
}

/// 204.
pub async fn answer(context: &Context<'_>, kind: &Arc<ResourceType>, id: &str) -> Result<Answer, Failure> {
    match context.write(command(kind, id, context.preconditions()?)).await? {
        Outcome::Deleted => Ok(Answer { status: 204, ..Answer::default() }),
        other => Err(unexpected(Some(&Ok(vec![other]))).into()),
    }
}
