//! What the turns of all objects share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    cache::{Cache, Listener},
    cluster::Cluster,
    endpoint::Work,
    events::Events,
    key::Key,
    metrics::Metrics,
    queue::Queue,
    reports::Reporters,
    validate::Settings,
    view::View,
};

/// A burst of changes, such as `kubectl apply` of a folder, is one turn of an endpoint.
const ENDPOINT_DEBOUNCE: Duration = Duration::from_millis(30);
/// What a change of a tenant brings along, such as its Secret, comes with it.
const TENANT_DEBOUNCE: Duration = Duration::from_millis(10);

/// Who waits for a turn.
pub(crate) struct Queues {
    pub(crate) endpoints: Queue<Key>,
    pub(crate) tenants: Queue<Key>,
    /// Endpoints whose pods are to be asked.
    pub(crate) reports: Queue<Key>,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self { endpoints: Queue::new(), tenants: Queue::new(), reports: Queue::new() }
    }
}

impl Listener for Arc<Queues> {
    fn endpoint(&self, key: &Key) {
        self.endpoints.add(key.clone(), ENDPOINT_DEBOUNCE);
    }

    fn tenant(&self, key: &Key) {
        self.tenants.add(key.clone(), TENANT_DEBOUNCE);
    }

    fn pods(&self, endpoint: &Key) {
        self.reports.add(endpoint.clone(), TENANT_DEBOUNCE);
    }
}

/// What the turns of all objects share.
pub(crate) struct Context {
    pub(crate) cache: Arc<Cache>,
    pub(crate) cluster: Cluster,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) events: Events,
    pub(crate) reporters: Reporters,
    pub(crate) settings: Settings,
    endpoints: Mutex<HashMap<Key, Arc<EndpointState>>>,
}

/// What is kept of an endpoint from turn to turn, as long as this process leads.
#[derive(Default)]
pub(crate) struct EndpointState {
    /// Of its turns, one at a time.
    pub(crate) work: tokio::sync::Mutex<Work>,
    view: Mutex<View>,
}

impl EndpointState {
    /// What is known; held for a moment only.
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    pub(crate) fn new(
        cache: Arc<Cache>,
        cluster: Cluster,
        queues: Arc<Queues>,
        events: Events,
        reporters: Reporters,
        settings: Settings,
    ) -> Self {
        let metrics = Arc::clone(&cluster.metrics);
        Self { cache, cluster, metrics, queues, events, reporters, settings, endpoints: Mutex::default() }
    }

    /// The state of an endpoint, if it had a turn.
    pub(crate) fn known_endpoint(&self, key: &Key) -> Option<Arc<EndpointState>> {
        self.endpoints().get(key).cloned()
    }

    /// The state of an endpoint.
    pub(crate) fn endpoint(&self, key: &Key) -> Arc<EndpointState> {
        Arc::clone(self.endpoints().entry(key.clone()).or_default())
    }

    /// Forgets an endpoint that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.endpoints().remove(key);
    }

    /// Forgets everything: another process leads, and does as it finds right.
    pub(crate) fn forget_all(&self) {
        self.endpoints().clear();
    }

    fn endpoints(&self) -> MutexGuard<'_, HashMap<Key, Arc<EndpointState>>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
