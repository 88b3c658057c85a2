//! Before anything is written: is this a SCIM server, is the token right, and is the tenant empty or ours.

use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;

use super::population::UserRecord;
use super::profile::Job;
use super::request::{Answer, Operation, Request, Verdict};
use super::session::{Session, Shared};
use super::target::Target;
use super::transport::Transport;

/// Why a run does not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody answers.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The target.
        url: String,
        /// The last failure.
        why: String,
    },
    /// Something else answers.
    #[error(
        "{url} is not a SCIM 2.0 server: its ServiceProviderConfig {why}. A base URL looks like https://HOST/TENANT/scim/v2"
    )]
    NotScim {
        /// The target.
        url: String,
        /// What came instead.
        why: String,
    },
    /// The token is not taken.
    #[error("{url} refuses the token ({status}): {detail}")]
    Token {
        /// The target.
        url: String,
        /// 401 or 403.
        status: u16,
        /// What the server said.
        detail: String,
    },
    /// Users cannot be listed.
    #[error("{url} does not list its users ({status}): {detail}")]
    Unlistable {
        /// The target.
        url: String,
        /// The status.
        status: u16,
        /// What the server said.
        detail: String,
    },
    /// Somebody else's data is there.
    #[error(
        "{url} has data that no load run made ({resource:?} and maybe more): use a tenant of its own, or say --allow-existing to work beside it; names of this run begin with {prefix:?}"
    )]
    Foreign {
        /// The target.
        url: String,
        /// The first that was found.
        resource: String,
        /// Of our names.
        prefix: String,
    },
}

/// What a server says of itself, RFC 7643 section 5.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, clippy::struct_excessive_bools, reason = "they are the RFC's")]
pub struct ServiceProvider {
    pub url: String,
    pub patch: bool,
    pub filter: bool,
    pub bulk: bool,
    pub etag: bool,
    pub max_results: Option<u64>,
    /// Attributes that it did not give back for the first user: they are not compared.
    pub not_kept: Vec<&'static str>,
}

impl<T: Transport> Session<T> {
    /// Reads the `ServiceProviderConfig`, and looks whether the tenant is empty or ours.
    pub async fn inspect(
        &mut self,
        tenant: usize,
        target: &Target,
        allow_existing: bool,
    ) -> Result<ServiceProvider, Refusal> {
        let url = || target.url.clone();
        let request = Request::get(Operation::Discover, "/ServiceProviderConfig");
        let answer = self.ask(tenant, &request, target).await?;
        if matches!(answer.status, 401 | 403) {
            return Err(Refusal::Token { url: url(), status: answer.status, detail: answer.detail() });
        }
        if !answer.is_success() {
            return Err(Refusal::NotScim { url: url(), why: format!("answers {}", answer.status) });
        }
        let config = answer.json();
        let supported = |name: &str| {
            config.get(name).and_then(|feature| feature.get("supported")).and_then(Value::as_bool)
        };
        if supported("patch").is_none() && supported("filter").is_none() {
            return Err(Refusal::NotScim { url: url(), why: "is not one".to_owned() });
        }
        let max_results = config.pointer("/filter/maxResults").and_then(Value::as_u64).filter(|max| *max > 0);
        let page = max_results.unwrap_or(100).min(1000);
        self.shared.page[tenant].set(page);
        self.look_for_strangers(tenant, target, page, allow_existing).await?;
        Ok(ServiceProvider {
            url: url(),
            patch: supported("patch").unwrap_or_default(),
            filter: supported("filter").unwrap_or_default(),
            bulk: supported("bulk").unwrap_or_default(),
            etag: supported("etag").unwrap_or_default(),
            max_results,
            not_kept: Vec::new(),
        })
    }

    /// An answer that decides something: a success or a refusal.
    async fn ask(&mut self, tenant: usize, request: &Request, target: &Target) -> Result<Answer, Refusal> {
        match self.call(tenant, request, &[401, 403, 404]).await {
            Verdict::Accepted(answer) | Verdict::Refused { answer, .. } => Ok(answer),
            Verdict::GivenUp { .. } => {
                let recorder = self.shared.recorder.borrow();
                let why =
                    recorder.refusals.iter().filter(|((operation, _), _)| *operation == request.operation);
                let why = why.map(|((_, status), (detail, _))| match status {
                    0 => detail.clone(),
                    status => format!("it answers {status}: {detail}"),
                });
                Err(Refusal::Unreachable { url: target.url.clone(), why: why.last().unwrap_or_default() })
            }
        }
    }

    async fn look_for_strangers(
        &mut self,
        tenant: usize,
        target: &Target,
        page: u64,
        allow_existing: bool,
    ) -> Result<(), Refusal> {
        let url = || target.url.clone();
        let prefix = self.shared.population.prefix();
        for (path, name, most) in [("Users", "userName", page), ("Groups", "displayName", page)] {
            let operation = if path == "Users" { Operation::ListUsers } else { Operation::ListGroups };
            let mut start = 1;
            loop {
                let request = super::speech::Speech::Standard.list(operation, start, most);
                let answer = self.ask(tenant, &request, target).await?;
                if matches!(answer.status, 401 | 403) {
                    return Err(Refusal::Token {
                        url: url(),
                        status: answer.status,
                        detail: answer.detail(),
                    });
                }
                if !answer.is_success() {
                    let (status, detail) = (answer.status, answer.detail());
                    return Err(Refusal::Unlistable { url: url(), status, detail });
                }
                let list = answer.json();
                let resources = list.get("Resources").and_then(Value::as_array).map(Vec::as_slice);
                let resources = resources.unwrap_or_default();
                let total = list.get("totalResults").and_then(Value::as_u64).unwrap_or(0);
                let mut names =
                    resources.iter().filter_map(|resource| resource.get(name).and_then(Value::as_str));
                let stranger = names.find(|name| {
                    let beginning = name.get(..prefix.len());
                    !beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(&prefix))
                });
                if let Some(stranger) = stranger
                    && !allow_existing
                {
                    let resource = stranger.chars().filter(|c| !c.is_control()).take(100).collect();
                    return Err(Refusal::Foreign { url: url(), resource, prefix });
                }
                start += resources.len() as u64;
                if allow_existing || resources.is_empty() || start > total {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Creates the first user and reads it: attributes that do not come back are not compared later.
    pub async fn canary(&mut self, tenant: usize) {
        let shared: Rc<Shared> = Rc::clone(&self.shared);
        if shared.population.users == 0 {
            return;
        }
        self.perform(tenant, Job::ProvisionUser(0)).await;
        let id = shared.models[tenant].borrow().id_of(0).map(str::to_owned);
        let Some(id) = id else { return };
        let request = shared.speech.get().get_user(&id);
        let Verdict::Accepted(answer) = self.call(tenant, &request, &[]).await else { return };
        let resource = answer.json();
        let expected = shared.population.user(tenant, 0, UserRecord::NEW);
        let missing = expected.iter().map(|(path, _)| *path).filter(|path| {
            // Without these nothing could be found again.
            *path != "userName" && super::population::value_at(&resource, path).is_none()
        });
        let missing: Vec<&'static str> = missing.collect();
        shared.not_kept[tenant].borrow_mut().extend(missing);
    }
}
