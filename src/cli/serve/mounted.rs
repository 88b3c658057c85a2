//! The mounted configuration: the files that a kubelet keeps, and when they change.
//!
//! A kubelet replaces all of them in one step, by a link to another folder. A read that meets that step finds shards
//! which are not those of the head, and is made again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::shards::{HEAD_KEY, shard_file};

/// How often to look when no watch says so.
const RESCAN: Duration = Duration::from_secs(5);

/// A folder that is watched until this is dropped.
pub(super) struct Mounted {
    folder: PathBuf,
    changes: mpsc::Receiver<()>,
    /// None when the system has no watch to give: the rescan finds every change, if later.
    _watcher: Option<RecommendedWatcher>,
}

impl Mounted {
    pub(super) fn watch(folder: &Path) -> Self {
        let (signal, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            // Full: a look is on its way.
            let _ = signal.try_send(());
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        Self { folder: folder.to_owned(), changes, _watcher: watcher.ok() }
    }

    /// Ready when there may be something new.
    pub(super) async fn changed(&mut self) {
        if let Ok(None) = tokio::time::timeout(RESCAN, self.changes.recv()).await {
            tokio::time::sleep(RESCAN).await;
        }
    }

    /// The head; none when there is none yet.
    pub(super) fn head(&self) -> io::Result<Option<Vec<u8>>> {
        present(std::fs::read(self.folder.join(HEAD_KEY)))
    }

    /// These shards, as far as they are there.
    pub(super) fn shards(&self, shards: &[u8]) -> io::Result<BTreeMap<u8, Vec<u8>>> {
        let read = |shard: &u8| {
            let bytes = present(std::fs::read(self.folder.join(shard_file(*shard))));
            bytes.map(|bytes| bytes.map(|bytes| (*shard, bytes))).transpose()
        };
        shards.iter().filter_map(read).collect()
    }
}

fn present(read: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
