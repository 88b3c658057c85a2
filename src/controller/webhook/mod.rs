//! The validating webhook: what a status would refuse is refused by `kubectl apply` already.
//!
//! It is an option, and nothing relies on it: while it is away, or was never there, the same findings are conditions.
//! Every replica answers, from what it has read of the cluster; a decision may miss what was written a moment ago.

mod certificate;
mod review;
mod serve;

use std::sync::Arc;

use kube::Client;
use tokio::net::TcpListener;

use self::certificate::Keeper;
pub(super) use self::certificate::Served;
use super::{cache::Cache, key::Key};

/// Where the webhook is.
#[derive(Debug)]
pub struct Webhook {
    /// Where it listens, with TLS.
    pub listener: TcpListener,
    /// The name of its Service, of the Secret with its certificate and of the `ValidatingWebhookConfiguration`.
    pub name: String,
    /// The namespace of the Service and of the Secret.
    pub namespace: String,
}

/// Answers reviews, and keeps its certificate fresh, until it is dropped. `ready` is set once it answers.
pub(super) async fn run(webhook: Webhook, client: Client, cache: Arc<Cache>, ready: Arc<Served>) {
    let Webhook { listener, name, namespace } = webhook;
    let keeper = Keeper::new(client, Key::new(&namespace, &name), Arc::clone(&ready));
    tokio::join!(keeper.keep(), serve::serve(listener, ready, cache));
}
