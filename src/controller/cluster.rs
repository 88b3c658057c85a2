//! The API server as the controller uses it: every write counted, every answer in bounded time, and one field manager.

use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::Value;

use super::{key::Key, kinds::Kind, metrics::Metrics, names::FIELD_MANAGER};

/// A request that has no answer by then failed: a connection can die without a word.
const PATIENCE: Duration = Duration::from_secs(15);

/// The API server.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) metrics: Arc<Metrics>,
}

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The API server refuses, in its words.
    #[error("the API server refuses {verb} {kind} {key}: {message}")]
    Refused { verb: &'static str, kind: &'static str, key: Key, code: u16, reason: String, message: String },
    /// There is no answer.
    #[error("{verb} {kind} {key} has no answer")]
    Unanswered {
        verb: &'static str,
        kind: &'static str,
        key: Key,
        #[source]
        source: Option<Box<kube::Error>>,
    },
}

impl ApiError {
    /// A word for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Refused { code: 404, .. } => "not_found",
            Self::Refused { code: 409, .. } => "conflict",
            Self::Refused { code: 401 | 403, .. } => "forbidden",
            Self::Refused { code: 422 | 400, .. } => "invalid",
            Self::Refused { code: 429, .. } => "throttled",
            Self::Refused { .. } => "server",
            Self::Unanswered { .. } => "unanswered",
        }
    }

    /// Whether nothing but a change by somebody helps: the same request will be refused again.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { code: 400 | 403 | 404 | 405 | 413 | 415 | 422, .. })
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }
}

impl Cluster {
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Self { client, metrics }
    }

    fn api(&self, kind: Kind, key: &Key) -> Api<DynamicObject> {
        kind.api(&self.client, Some(&key.namespace))
    }

    /// Reads an object.
    pub(crate) async fn get(&self, kind: Kind, key: &Key) -> Result<Option<DynamicObject>, ApiError> {
        let api = self.api(kind, key);
        match answer("get", kind, key, api.get_opt(&key.name)).await {
            // The kind is not there, and so no object of it.
            Err(error) if error.is_not_found() => Ok(None),
            other => other,
        }
    }

    /// Makes what we own of an object be as it is given (server-side apply); conflicts go our way.
    pub(crate) async fn apply(
        &self,
        kind: Kind,
        key: &Key,
        object: &Value,
    ) -> Result<DynamicObject, ApiError> {
        self.apply_as(FIELD_MANAGER, kind, key, object).await
    }

    /// As [`Self::apply`], of fields that another name of ours is to own.
    pub(crate) async fn apply_as(
        &self,
        manager: &str,
        kind: Kind,
        key: &Key,
        object: &Value,
    ) -> Result<DynamicObject, ApiError> {
        self.metrics.wrote(kind.as_str(), "apply");
        let api = self.api(kind, key);
        let params = PatchParams::apply(manager).force();
        answer("apply", kind, key, api.patch(&key.name, &params, &Patch::Apply(object))).await
    }

    /// As [`Self::apply`], of the status.
    pub(crate) async fn apply_status(
        &self,
        kind: Kind,
        key: &Key,
        object: &Value,
    ) -> Result<DynamicObject, ApiError> {
        self.metrics.wrote(kind.as_str(), "apply_status");
        let api = self.api(kind, key);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        answer("apply the status of", kind, key, api.patch_status(&key.name, &params, &Patch::Apply(object)))
            .await
    }

    /// Makes an object that must not be there yet.
    pub(crate) async fn create(
        &self,
        kind: Kind,
        key: &Key,
        object: Value,
    ) -> Result<DynamicObject, ApiError> {
        self.metrics.wrote(kind.as_str(), "create");
        let api = self.api(kind, key);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let object: DynamicObject = match serde_json::from_value(object) {
            Ok(object) => object,
            Err(error) => {
                let source = Some(Box::new(kube::Error::SerdeError(error)));
                return Err(ApiError::Unanswered {
                    verb: "create",
                    kind: kind.as_str(),
                    key: key.clone(),
                    source,
                });
            }
        };
        answer("create", kind, key, api.create(&params, &object)).await
    }

    /// Changes some fields of an object; `metadata.resourceVersion` in the patch says of which version.
    pub(crate) async fn merge(
        &self,
        kind: Kind,
        key: &Key,
        patch: &Value,
    ) -> Result<DynamicObject, ApiError> {
        self.metrics.wrote(kind.as_str(), "patch");
        let api = self.api(kind, key);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        answer("patch", kind, key, api.patch(&key.name, &params, &Patch::Merge(patch))).await
    }

    /// Deletes the object with this uid, and no other that has its name; one that is gone is no error.
    pub(crate) async fn delete(&self, kind: Kind, key: &Key, uid: &str) -> Result<(), ApiError> {
        self.metrics.wrote(kind.as_str(), "delete");
        let api = self.api(kind, key);
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match answer("delete", kind, key, api.delete(&key.name, &params)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn answer<T>(
    verb: &'static str,
    kind: Kind,
    key: &Key,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    let (kind, key) = (kind.as_str(), key.clone());
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(ApiError::Refused {
            verb,
            kind,
            key,
            code: status.code,
            reason: status.reason.clone(),
            message: status.message.clone(),
        }),
        Ok(Err(error)) => Err(ApiError::Unanswered { verb, kind, key, source: Some(Box::new(error)) }),
        Err(_) => Err(ApiError::Unanswered { verb, kind, key, source: None }),
    }
}
