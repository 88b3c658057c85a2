//! `POST /Bulk` (RFC 7644 section 3.7).
//!
//! Each operation becomes the command that it would be alone, or its refusal. All of them go to the store
//! in one write, each unit all or none; `failOnErrors` is counted there.

use serde_json::Value;
use uuid::Uuid;

use crate::scim::bulk::{
    BulkOperation, BulkRequest, BulkResult, Method, PlannedOperation, PlannedUnit, write_response,
};
use crate::scim::dialect::Tolerated;
use crate::scim::error::ScimError;
use crate::scim::etag::{EntityTags, Preconditions};
use crate::scim::representation;
use crate::scim::resource::Load;
use crate::server::context::{Context, unexpected};
use crate::server::respond::{Answer, Failure};
use crate::store::idempotency::Keyed;
use crate::store::{Command, Outcome, Refusal, Unit, UnitResult};

use super::{create, delete, patch, replace};

/// 200 with what became of each operation.
pub async fn answer(context: &Context<'_>, body: Value, keyed: Option<Keyed>) -> Result<Answer, Failure> {
    let request = BulkRequest::parse(body, context.tenant.limits.max_bulk_operations as usize)?;
    let fail_on_errors = request.fail_on_errors;
    let planned = request.plan(&mut || Uuid::now_v7().to_string());

    let mut tolerated = Tolerated::default();
    let units = planned.iter().map(|unit| prepare(context, unit, &mut tolerated)).collect();
    context.note(&tolerated);
    let render = move |base_url: &str, results| render(&planned, results, base_url);
    context.change_all(units, fail_on_errors, keyed, render).await
}

/// The commands of a unit; one that is wrong is refused in its place.
fn prepare(context: &Context<'_>, unit: &PlannedUnit, tolerated: &mut Tolerated) -> Unit {
    let commands = unit.operations.iter();
    let commands = commands
        .map(|planned| command(context, planned, tolerated).unwrap_or_else(Command::Refuse))
        .collect();
    Unit { commands, requires: unit.requires.clone() }
}

/// The command of one operation: the same as the single request's.
fn command(
    context: &Context<'_>,
    planned: &PlannedOperation,
    tolerated: &mut Tolerated,
) -> Result<Command, ScimError> {
    let operation = planned.operation.as_ref().map_err(Clone::clone)?;
    let BulkOperation { method, version, endpoint, id, data, .. } = operation;
    let tenant = context.tenant;
    let kind = tenant.registry.by_endpoint(endpoint).ok_or_else(|| {
        ScimError::new(404, format!("there is no endpoint \"/{endpoint}\" for bulk operations"))
    })?;
    let preconditions = Preconditions {
        if_match: version.as_deref().map(EntityTags::parse).transpose()?,
        if_none_match: None,
    };
    let id = id.as_deref().unwrap_or_default();
    let data = || data.clone().unwrap_or_default();
    let load = Load::WITHOUT_MEMBERS;
    match method {
        Method::Post => {
            let id = planned.new_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
            create::command(tenant, kind, id, data(), tolerated)
        }
        Method::Put => replace::command(tenant, kind, id, data(), preconditions, load, tolerated),
        Method::Patch => patch::command(tenant, kind, id, data(), preconditions, load, tolerated),
        Method::Delete => Ok(delete::command(kind, id, preconditions)),
    }
}

/// The answer. Units that `failOnErrors` left untried have no result, and no entry in it.
fn render(planned: &[PlannedUnit], units: Vec<UnitResult>, base_url: &str) -> Result<Answer, Failure> {
    let mut results = Vec::new();
    for (planned, result) in planned.iter().zip(units) {
        match result {
            Ok(outcomes) if outcomes.len() == planned.operations.len() => {
                succeed(planned, outcomes, base_url, &mut results);
            }
            Ok(outcomes) => return Err(unexpected(Some(&Ok(outcomes))).into()),
            Err(Refusal::Command(index, error)) => {
                fail(planned, index, &error.located(base_url), base_url, &mut results);
            }
            Err(Refusal::Requires(_)) => fail(planned, 0, &required_failed(), base_url, &mut results),
        }
    }
    results.sort_by_key(|(index, _)| *index);
    let results: Vec<BulkResult> = results.into_iter().map(|(_, result)| result).collect();
    let mut body = Vec::with_capacity(64 + 256 * results.len());
    write_response(&mut body, &results);
    Ok(Answer { status: 200, body: Some(body), ..Answer::default() })
}

/// What became of operations, each with its index in the request.
type Results = Vec<(usize, BulkResult)>;

fn succeed(planned: &PlannedUnit, outcomes: Vec<Outcome>, base_url: &str, results: &mut Results) {
    for (planned, outcome) in planned.operations.iter().zip(outcomes) {
        let (status, resource) = match outcome {
            Outcome::Created(resource) => (201, Some(resource)),
            Outcome::Updated(resource)
                if planned.method == Some(Method::Patch) && resource.resource_type.has_members() =>
            {
                (204, Some(resource))
            }
            Outcome::Updated(resource) => (200, Some(resource)),
            Outcome::Deleted | Outcome::Purged { .. } => (204, None),
        };
        let version = resource.as_ref().map(|resource| resource.version().to_string());
        if planned.closes_circle {
            // Part of the POST before it, whose resource has this version at the end.
            for (_, result) in results.iter_mut().filter(|(index, _)| *index == planned.index) {
                result.version.clone_from(&version);
            }
            continue;
        }
        let location = match &resource {
            Some(resource) => Some(representation::location(resource, base_url)),
            None => requested_location(planned, base_url),
        };
        let bulk_id = planned.bulk_id.clone();
        let result = BulkResult { method: planned.method, bulk_id, version, location, outcome: Ok(status) };
        results.push((planned.index, result));
    }
}

/// Records a unit of which one operation failed and the others were undone with it.
fn fail(planned: &PlannedUnit, wrong: usize, error: &ScimError, base_url: &str, results: &mut Results) {
    let culprit = planned.operations.get(wrong).map(|operation| operation.index);
    for operation in planned.operations.iter().filter(|operation| !operation.closes_circle) {
        let error = if culprit == Some(operation.index) { error.clone() } else { undone() };
        let location = requested_location(operation, base_url);
        let PlannedOperation { index, method, bulk_id, .. } = operation;
        let (method, bulk_id) = (*method, bulk_id.clone());
        results.push((*index, BulkResult { method, bulk_id, version: None, location, outcome: Err(error) }));
    }
}

/// The URL of a resource that an operation names; a POST names none.
fn requested_location(planned: &PlannedOperation, base_url: &str) -> Option<String> {
    let BulkOperation { endpoint, id, .. } = planned.operation.as_ref().ok()?;
    id.as_ref().map(|id| format!("{base_url}/{endpoint}/{id}"))
}

fn required_failed() -> ScimError {
    ScimError::new(409, "not tried, because an operation whose bulkId this one refers to failed")
}

fn undone() -> ScimError {
    ScimError::new(409, "undone, because an operation failed that this one refers to and that refers to it")
}
