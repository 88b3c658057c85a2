//! `POST /Bulk` (RFC 7644 section 3.7).
//!
//! Each operation becomes the command that it would be alone. All of them go to the store in one
//! write, each unit all or none; only where `failOnErrors` has to stop at an operation that never gets
//! as far as the store, the write is split there.

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
use crate::store::{Command, Outcome, Refusal, Unit};

use super::{create, delete, patch, replace};

/// 200 with what became of each operation.
pub async fn answer(context: &Context<'_>, body: Value) -> Result<Answer, Failure> {
    let request = BulkRequest::parse(body, context.tenant.limits.max_bulk_operations as usize)?;
    let fail_on_errors = request.fail_on_errors;
    let units = request.plan(&mut || Uuid::now_v7().to_string());

    let mut tolerated = Tolerated::default();
    let mut run = Run::new(context, fail_on_errors);
    for unit in units {
        let prepared = prepare(context, &unit, &mut tolerated);
        run.take(unit, prepared).await?;
        if run.stopped() {
            break;
        }
    }
    run.flush().await?;
    context.note(&tolerated);

    let mut results = run.results;
    results.sort_by_key(|(index, _)| *index);
    let results: Vec<BulkResult> = results.into_iter().map(|(_, result)| result).collect();
    let mut body = Vec::with_capacity(64 + 256 * results.len());
    write_response(&mut body, &results);
    Ok(Answer { status: 200, body: Some(body), ..Answer::default() })
}

/// The commands of a unit; or which of its operations is wrong, and why.
fn prepare(
    context: &Context<'_>,
    unit: &PlannedUnit,
    tolerated: &mut Tolerated,
) -> Result<Vec<Command>, (usize, ScimError)> {
    let commands = unit.operations.iter().map(|planned| command(context, planned, tolerated)).enumerate();
    commands.map(|(index, command)| command.map_err(|error| (index, error))).collect()
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

/// A bulk request under way.
struct Run<'a> {
    context: &'a Context<'a>,
    fail_on_errors: Option<usize>,
    errors: usize,
    /// By unit: whether it failed, as far as is known.
    failed: Vec<bool>,
    /// Units that wait to be written, with their number.
    batch: Vec<(usize, PlannedUnit, Unit)>,
    /// What became of operations, by their index in the request.
    results: Vec<(usize, BulkResult)>,
}

impl<'a> Run<'a> {
    fn new(context: &'a Context<'a>, fail_on_errors: Option<usize>) -> Self {
        Self {
            context,
            fail_on_errors,
            errors: 0,
            failed: Vec::new(),
            batch: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Whether `failOnErrors` is reached.
    fn stopped(&self) -> bool {
        self.fail_on_errors.is_some_and(|limit| self.errors >= limit)
    }

    /// Takes the next unit: into the batch, or as failed.
    async fn take(
        &mut self,
        planned: PlannedUnit,
        prepared: Result<Vec<Command>, (usize, ScimError)>,
    ) -> Result<(), Failure> {
        let number = self.failed.len();
        self.failed.push(false);
        let prepared = match prepared {
            Ok(commands) if planned.requires.iter().all(|required| !self.failed[*required]) => Ok(commands),
            Ok(_) => Err((0, required_failed())),
            Err(wrong) => Err(wrong),
        };
        match prepared {
            Ok(commands) => {
                let in_batch =
                    |required: &usize| self.batch.iter().position(|(number, ..)| number == required);
                let requires = planned.requires.iter().filter_map(in_batch).collect();
                self.batch.push((number, planned, Unit { commands, requires }));
            }
            Err((index, error)) => {
                // What comes before may reach the limit of errors, and then this is not tried.
                if self.fail_on_errors.is_some() {
                    self.flush().await?;
                }
                if !self.stopped() {
                    self.fail(number, planned, index, &error);
                }
            }
        }
        Ok(())
    }

    /// Writes the batch.
    async fn flush(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (planned, units): (Vec<_>, Vec<_>) = std::mem::take(&mut self.batch)
            .into_iter()
            .map(|(number, planned, unit)| ((number, planned), unit))
            .unzip();
        let max_errors = self.fail_on_errors.map(|limit| limit.saturating_sub(self.errors));
        let results = self.context.write_units(units, max_errors).await?;
        for ((number, planned), result) in planned.into_iter().zip(results) {
            match result {
                Ok(outcomes) if outcomes.len() == planned.operations.len() => self.succeed(planned, outcomes),
                Ok(outcomes) => return Err(unexpected(Some(&Ok(outcomes))).into()),
                Err(Refusal::Command(index, error)) => self.fail(number, planned, index, &error),
                Err(Refusal::Requires(_)) => self.fail(number, planned, 0, &required_failed()),
            }
        }
        Ok(())
    }

    fn succeed(&mut self, planned: PlannedUnit, outcomes: Vec<Outcome>) {
        for (planned, outcome) in planned.operations.into_iter().zip(outcomes) {
            let (status, resource) = match outcome {
                Outcome::Created(resource) => (201, Some(resource)),
                Outcome::Updated(resource)
                    if planned.method == Some(Method::Patch) && resource.resource_type.has_members() =>
                {
                    (204, Some(resource))
                }
                Outcome::Updated(resource) => (200, Some(resource)),
                Outcome::Deleted => (204, None),
            };
            let version = resource.as_ref().map(|resource| resource.version().to_string());
            if planned.closes_circle {
                // Part of the POST before it, whose resource has this version at the end.
                for (_, result) in self.results.iter_mut().filter(|(index, _)| *index == planned.index) {
                    result.version.clone_from(&version);
                }
                continue;
            }
            let location = match &resource {
                Some(resource) => Some(representation::location(resource, &self.context.base_url)),
                None => self.requested_location(&planned),
            };
            let PlannedOperation { index, method, bulk_id, .. } = planned;
            self.results
                .push((index, BulkResult { method, bulk_id, version, location, outcome: Ok(status) }));
        }
    }

    /// Records a unit of which one operation failed and the others were undone with it.
    fn fail(&mut self, number: usize, planned: PlannedUnit, wrong: usize, error: &ScimError) {
        self.failed[number] = true;
        self.errors += 1;
        let culprit = planned.operations.get(wrong).map(|operation| operation.index);
        for operation in planned.operations.into_iter().filter(|operation| !operation.closes_circle) {
            let error = if culprit == Some(operation.index) { error.clone() } else { undone() };
            let location = self.requested_location(&operation);
            let PlannedOperation { index, method, bulk_id, .. } = operation;
            self.results
                .push((index, BulkResult { method, bulk_id, version: None, location, outcome: Err(error) }));
        }
    }

    /// The URL of a resource that an operation names; a POST names none.
    fn requested_location(&self, planned: &PlannedOperation) -> Option<String> {
        let BulkOperation { endpoint, id, .. } = planned.operation.as_ref().ok()?;
        id.as_ref().map(|id| format!("{}/{endpoint}/{id}", self.context.base_url))
    }
}

fn required_failed() -> ScimError {
    ScimError::new(409, "not tried, because an operation whose bulkId this one refers to failed")
}

fn undone() -> ScimError {
    ScimError::new(409, "undone, because an operation failed that this one refers to and that refers to it")
}
