//! `POST /Users/.search` and `POST /.search` (RFC 7644 section 3.4.3).

use std::sync::Arc;

use serde_json::Value;

use crate::scim::dialect::Tolerated;
use crate::scim::list::ListRequest;
use crate::scim::schema::ResourceType;
use crate::server::context::Context;
use crate::server::respond::{Answer, Failure};

use super::list;

/// The same as the list request with these parameters.
pub async fn answer(
    context: &Context<'_>,
    kind: Option<&Arc<ResourceType>>,
    mut body: Value,
) -> Result<Answer, Failure> {
    let mut tolerated = Tolerated::default();
    for (name, value) in body.as_object_mut().into_iter().flatten() {
        if let (true, Value::String(filter)) = (name.eq_ignore_ascii_case("filter"), value) {
            *filter = list::rewrite(context, kind, filter, &mut tolerated).into_owned();
        }
    }
    context.note(&tolerated);
    let request = ListRequest::from_search(&body, &list::limits(context.tenant))?;
    list::run(context, kind, &request).await
}
