//! [`Context`]: what every operation of a request has at hand, and the steps they share.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use crate::scim::dialect::{Dialect, Tolerated, Use};
use crate::scim::error::ScimError;
use crate::scim::etag::Preconditions;
use crate::scim::patch::Patch;
use crate::scim::projection::Projection;
use crate::scim::representation;
use crate::scim::resource::Resource;
use crate::store::idempotency::{Keyed, Render};
use crate::store::{Command, Origin, Outcome, Refusal, StoreError, Unit, UnitResult, Write};

use super::query::Parameters;
use super::respond::{Answer, Failure};
use super::serving::Tenant;
use super::{App, idempotency};

/// One authenticated request.
pub struct Context<'a> {
    /// What all requests share.
    pub app: &'a App,
    /// Whose request it is.
    pub tenant: &'a Tenant,
    /// The tenant's base URL for this client.
    pub base_url: String,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The query string.
    pub parameters: Parameters<'a>,
    /// For log lines.
    pub request_id: &'a str,
    /// Whose doing a write of this request is.
    pub origin: Arc<Origin>,
}

impl Context<'_> {
    /// `attributes` and `excludedAttributes` of the query string.
    pub fn projection(&self) -> Result<Projection, ScimError> {
        if self.parameters.is_empty() {
            return Ok(Projection::Default);
        }
        let names = |parameter| {
            self.parameters.values(parameter).flat_map(|list| list.split(',')).collect::<Vec<_>>()
        };
        Projection::parse(&names("attributes"), &names("excludedAttributes"))
    }

    /// `If-Match` and `If-None-Match`.
    pub fn preconditions(&self) -> Result<Preconditions, ScimError> {
        Preconditions::parse(self.header(&IF_MATCH)?.as_deref(), self.header(&IF_NONE_MATCH)?.as_deref())
    }

    /// A header's value, several lines joined as one list (RFC 9110 section 5.3).
    fn header(&self, name: &HeaderName) -> Result<Option<String>, ScimError> {
        let mut joined: Option<String> = None;
        for value in self.headers.get_all(name) {
            let text = value.to_str().map_err(|_| {
                ScimError::invalid_value(format!("header {name} has characters outside ASCII"))
            })?;
            match &mut joined {
                None => joined = Some(text.to_owned()),
                Some(list) => {
                    list.push(',');
                    list.push_str(text);
                }
            }
        }
        Ok(joined)
    }

    /// Makes a command of a request, and reports what the dialect did for it.
    pub fn command(
        &self,
        make: impl FnOnce(&mut Tolerated) -> Result<Command, ScimError>,
    ) -> Result<Command, ScimError> {
        let mut tolerated = Tolerated::default();
        let command = make(&mut tolerated);
        self.note(&tolerated);
        command
    }

    /// Applies one command, durably, and shows what it did.
    pub async fn change(
        &self,
        command: Command,
        shown: Shown,
        keyed: Option<Keyed>,
    ) -> Result<Answer, Failure> {
        let units = vec![Unit { commands: vec![command], requires: Vec::new() }];
        let render = move |base_url: &str, mut results: Vec<UnitResult>| match results.pop() {
            Some(Ok(mut outcomes)) if outcomes.len() == 1 => Ok(shown.answer(&outcomes.remove(0), base_url)),
            Some(Err(Refusal::Command(_, error))) => Err(error.located(base_url).into()),
            other => Err(unexpected(other.as_ref()).into()),
        };
        self.change_all(units, None, keyed, render).await
    }

    /// Applies units, durably, and makes an answer of what became of them and the base URL. With a key this
    /// happens once, and `render` runs in the store's transaction.
    pub async fn change_all(
        &self,
        units: Vec<Unit>,
        max_errors: Option<usize>,
        keyed: Option<Keyed>,
        render: impl Fn(&str, Vec<UnitResult>) -> Result<Answer, Failure> + Send + Sync + 'static,
    ) -> Result<Answer, Failure> {
        let (tenant, store) = (&self.tenant.key, &self.app.store);
        let policy = Arc::clone(&self.tenant.policy);
        let tolerant = tolerant_patches(&units);
        let write = Write { units, max_errors, origin: Arc::clone(&self.origin), policy };
        let answer = if let Some(keyed) = keyed {
            let base_url = self.base_url.clone();
            let render = Render::new(move |results| idempotency::to_saved(render(&base_url, results)));
            idempotency::answer(self, store.write_once(tenant, write, keyed, render).await?)
        } else {
            render(&self.base_url, store.write(tenant, write).await?)
        };
        if !tolerant.is_empty() {
            let mut tolerated = Tolerated::default();
            for patch in tolerant {
                patch.report(&mut tolerated);
            }
            self.note(&tolerated);
        }
        answer
    }

    /// Counts the dialect's rules that applied, and logs each with the names it applied to. What a
    /// rule drops is worth a line at any time. Counts those that another dialect would have applied,
    /// and says so once.
    pub fn note(&self, tolerated: &Tolerated) {
        let (tenant, request_id) = (&self.tenant.key.0, self.request_id);
        for Use { rule, count, names } in tolerated.uses() {
            let (name, attributes) = (rule.name(), shown(names));
            self.app.metrics.dialect_rule(tenant, name, *count);
            if rule.drops() {
                tracing::info!(%tenant, request_id, rule = name, attributes, "a dialect rule applied: dropped what the schema does not define");
            } else {
                tracing::debug!(%tenant, request_id, rule = name, attributes, "a dialect rule applied");
            }
        }
        for rule in tolerated.missed() {
            self.app.metrics.dialect_rule_missed(tenant, rule.name());
            if !self.tenant.advised.swap(true, Ordering::Relaxed) {
                let providers: Vec<Dialect> = Dialect::with(*rule).collect();
                tracing::warn!(%tenant, request_id, rule = rule.name(), ?providers, "a request needed a dialect rule that this tenant's identityProvider does not have; set it to one of these if that is where requests come from");
            }
        }
    }

    /// The answer that shows one resource.
    #[must_use]
    pub fn show(&self, status: u16, resource: &Resource, projection: &Projection) -> Answer {
        show(status, resource, projection, &self.base_url)
    }
}

/// The patches of which only their application shows what the dialect did for them; mostly none.
fn tolerant_patches(units: &[Unit]) -> Vec<Arc<Patch>> {
    let commands = units.iter().flat_map(|unit| &unit.commands);
    let patches = commands.filter_map(|command| match command {
        Command::Patch { patch, .. } if patch.may_tolerate() => Some(Arc::clone(patch)),
        _ => None,
    });
    patches.collect()
}

/// How a change is shown to the client who asked for it.
pub struct Shown {
    /// Which attributes.
    pub projection: Projection,
    /// 204 instead of the resource.
    pub silent: bool,
}

impl Shown {
    fn answer(&self, outcome: &Outcome, base_url: &str) -> Answer {
        match outcome {
            Outcome::Created(resource) => show(201, resource, &self.projection, base_url),
            Outcome::Updated(resource) if self.silent => {
                Answer { status: 204, version: Some(resource.version()), ..Answer::default() }
            }
            Outcome::Updated(resource) => show(200, resource, &self.projection, base_url),
            Outcome::Deleted | Outcome::Purged { .. } => Answer { status: 204, ..Answer::default() },
        }
    }
}

fn show(status: u16, resource: &Resource, projection: &Projection, base_url: &str) -> Answer {
    let mut body = Vec::with_capacity(resource.body.len() + 512);
    representation::write(resource, base_url, projection, &mut body);
    Answer {
        status,
        body: Some(body),
        location: Some(representation::location(resource, base_url)),
        version: Some(resource.version()),
        replayed: false,
    }
}

/// Names for a log line: a client made them, so there is a limit to how many and how long.
fn shown(names: &[String]) -> String {
    const NAMES: usize = 20;
    const LENGTH: usize = 100;
    let mut text: Vec<String> =
        names.iter().take(NAMES).map(|name| name.chars().take(LENGTH).collect()).collect();
    if names.len() > NAMES {
        text.push(format!("and {} more", names.len() - NAMES));
    }
    text.join(", ")
}

/// The store broke its contract.
#[must_use]
pub fn unexpected(result: Option<&UnitResult>) -> StoreError {
    StoreError::Internal(format!("a write was answered with {result:?}"))
}
