//! `serve --manifests`: a folder of manifests is served and followed.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::config::database::Storage;
use crate::config::follow::{Follower, follow};
use crate::config::manifests::{LoadError, Loaded, Options};
use crate::server::App;

use super::announce::Announce;

/// Serves what was loaded, says so, and follows the folder until the follower is dropped. The store that was opened for
/// `storage`, where the manifests named it, stays.
pub(super) async fn start(
    app: &Arc<App>,
    options: Options,
    mut loaded: Loaded,
    storage: Option<Storage>,
    announce: Announce,
    settle: Arc<Notify>,
) -> anyhow::Result<Follower> {
    app.apply(&loaded.config).await?;
    settle.notify_one();
    loaded.publish()?;
    announce.served(&loaded);
    announce.rotated(&loaded.rotated, true);
    let (app, runtime) = (Arc::clone(app), Handle::current());
    Ok(follow(options, &loaded, move |changed| match changed {
        Ok(Loaded { storage: Err(findings), .. }) if storage.is_some() => {
            let error = LoadError::Findings(findings);
            tracing::error!("the edit is not applied, the last good configuration serves on:\n{error}");
        }
        Ok(loaded) if storage.as_ref().is_some_and(|storage| loaded.storage.as_ref() != Ok(storage)) => {
            tracing::error!(
                "the edit is not applied, the last good configuration serves on: it changes spec.storage, or a Secret that it names, and the store of a server that runs cannot change; start serve again"
            );
        }
        Ok(mut loaded) => {
            if let Err(error) = runtime.block_on(app.apply(&loaded.config)) {
                tracing::error!(%error, "the store is not ready for the edit, the last good configuration serves on; edit again when it is");
                return;
            }
            settle.notify_one();
            if let Err(error) = loaded.publish() {
                tracing::error!(%error, "a new token is not in its place; the old one works on, and it is tried again");
                return;
            }
            announce.served(&loaded);
            announce.rotated(&loaded.rotated, false);
        }
        Err(error) => {
            tracing::error!("the edit is not applied, the last good configuration serves on:\n{error}");
        }
    }))
}
