//! Follows a folder of manifests: an edit is loaded and handed on, once, when it changes what would be served.
//!
//! A watch says *when* to look, and never *what* changed: each look reads the whole folder, so editors that rename,
//! links that `ConfigMap` mounts swap, and a folder that goes and comes back are all the same. A slow rescan finds
//! what a watch missed.

use std::{
    path::{self, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use notify::{Event, EventKind, RecursiveMode, Watcher, event::ModifyKind};

use super::{
    ServerConfig,
    database::Storage,
    findings::Finding,
    manifests::{LoadError, Loaded, Options, load_files, read_files},
    validate::File,
};

/// An editor writes a file in several steps; this long without another one means that it is done.
const QUIET: Duration = Duration::from_millis(100);
/// With edits that never pause, look anyway: an edit takes effect within a second.
const AT_MOST: Duration = Duration::from_millis(500);
/// How often to look when no watch says so.
const RESCAN: Duration = Duration::from_secs(3);
/// When to try again to put in place what could not be.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// A folder that is followed until this is dropped.
pub struct Follower {
    signals: Sender<Signal>,
    thread: Option<JoinHandle<()>>,
}

enum Signal {
    Look,
    Stop,
}

/// Follows the folder of `options`, from which `loaded` was loaded.
///
/// `changed` is called, on a thread of the follower's own, with the new configuration or with why there is none; not
/// when an edit changes nothing, and once for an error that stays. It puts what was made in place
/// ([`Loaded::publish`]); a token that is rotated is a change that nobody edited.
///
/// # Panics
/// When the system cannot start a thread.
pub fn follow<F>(options: Options, loaded: &Loaded, mut changed: F) -> Follower
where
    F: FnMut(Result<Loaded, LoadError>) + Send + 'static,
{
    let (signals, received) = mpsc::channel();
    let mut watch = Watch {
        folder: path::absolute(&options.manifests).unwrap_or_else(|_| options.manifests.clone()),
        signals: signals.clone(),
        active: None,
        replaced: Arc::default(),
    };
    let mut state = State { options, files: None, next: loaded.next, outcome: Ok(essence(loaded)) };
    let thread = thread::Builder::new()
        .name("follow-manifests".to_owned())
        .spawn(move || {
            // Begins with a look: an edit since `loaded` was loaded is not missed.
            loop {
                watch.renew();
                if let Some(outcome) = state.look() {
                    changed(outcome);
                }
                if !wait(&received, state.pause(Timestamp::now())) {
                    return;
                }
            }
        })
        .expect("the system can start a thread");
    Follower { signals, thread: Some(thread) }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // The thread is gone already when nobody listens.
        let _ = self.signals.send(Signal::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until it is time to look; false when it is time to stop.
fn wait(received: &Receiver<Signal>, pause: Duration) -> bool {
    match received.recv_timeout(pause) {
        Err(RecvTimeoutError::Timeout) => return true,
        Ok(Signal::Look) => {}
        Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
    }
    let latest = Instant::now() + AT_MOST;
    while Instant::now() < latest {
        match received.recv_timeout(QUIET) {
            Ok(Signal::Look) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    true
}

/// What was read and what came of it, last time.
struct State {
    options: Options,
    files: Option<Vec<File>>,
    /// When there is something to do although no file was changed.
    next: Option<Timestamp>,
    outcome: Result<Essence, String>,
}

/// What makes a difference between two loads.
type Essence = (ServerConfig, Vec<Finding>, Result<Storage, Vec<Finding>>);

fn essence(loaded: &Loaded) -> Essence {
    (loaded.config.clone(), loaded.warnings.clone(), loaded.storage.clone())
}

impl State {
    /// How long to wait for an edit before the next look.
    fn pause(&self, now: Timestamp) -> Duration {
        let until = |next: Timestamp| Duration::try_from(next.duration_since(now)).unwrap_or_default();
        self.next.map_or(RESCAN, |next| until(next).min(RESCAN))
    }

    /// Reads the folder; gives what came of it when that is something new.
    fn look(&mut self) -> Option<Result<Loaded, LoadError>> {
        let now = Timestamp::now();
        let is_due = self.next.is_some_and(|next| next <= now);
        let result = match read_files(&self.options) {
            Ok(files) if self.files.as_ref() == Some(&files) && !is_due => return None,
            Ok(files) => {
                let result = load_files(&self.options, &files, now);
                self.files = Some(files);
                result
            }
            Err(error) => {
                self.files = None;
                Err(error)
            }
        };
        self.next = match &result {
            Ok(loaded) if loaded.is_unpublished() => {
                // Once it is in place the files differ from those just read, and are read again.
                let retry = now.checked_add(RETRY).ok();
                [retry, loaded.next].into_iter().flatten().min()
            }
            Ok(loaded) => loaded.next,
            Err(_) => None,
        };
        let outcome = match &result {
            Ok(loaded) => Ok(essence(loaded)),
            Err(error) => Err(error.to_string()),
        };
        if outcome == self.outcome {
            return None;
        }
        self.outcome = outcome;
        Some(result)
    }
}

/// A watch on the folder and all below it. It is renewed when another folder takes its place.
struct Watch {
    /// Absolute, so that it is the beginning of the paths in events.
    folder: PathBuf,
    signals: Sender<Signal>,
    active: Option<notify::RecommendedWatcher>,
    /// The folder itself was made, removed or renamed.
    replaced: Arc<AtomicBool>,
}

impl Watch {
    fn renew(&mut self) {
        if self.active.is_none() || self.replaced.swap(false, Ordering::SeqCst) {
            self.active = None;
            // Without a watch the rescan still finds every edit, if later.
            self.active = self.watch().ok();
        }
    }

    fn watch(&self) -> notify::Result<notify::RecommendedWatcher> {
        let (folder, signals, replaced) =
            (self.folder.clone(), self.signals.clone(), Arc::clone(&self.replaced));
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) if !concerns(&event, &folder) => {}
            event => {
                let itself = event.is_ok_and(|event| !is_write(event.kind) && event.paths.contains(&folder));
                replaced.fetch_or(itself, Ordering::SeqCst);
                // Nobody listens once the follower was dropped.
                let _ = signals.send(Signal::Look);
            }
        })?;
        // The parent tells when the folder is replaced, or a single file renamed into place.
        if let Some(parent) = self.folder.parent() {
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
        }
        if self.folder.exists() {
            watcher.watch(&self.folder, RecursiveMode::Recursive)?;
        }
        Ok(watcher)
    }
}

/// Whether an event can have to do with a manifest. A database in the same folder is written all the time.
fn concerns(event: &Event, folder: &Path) -> bool {
    let is_manifest = |path: &PathBuf| {
        path == folder
            || path.starts_with(folder)
                && (!is_write(event.kind)
                    || path.extension().is_some_and(|end| end == "yaml" || end == "yml"))
    };
    !event.kind.is_access() && (event.paths.is_empty() || event.paths.iter().any(is_manifest))
}

/// Whether content or attributes changed, but no name.
fn is_write(kind: EventKind) -> bool {
    matches!(kind, EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::config::manifests::load;

    const ENDPOINT: &str = "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\nmetadata: {name: main, namespace: identity}\nspec: {}\n";

    fn tenant(name: &str) -> String {
        format!(
            "apiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\nmetadata: {{name: {name}, namespace: identity}}\n\
             spec: {{endpointRef: {{name: main}}}}\n"
        )
    }

    struct Followed {
        root: tempfile::TempDir,
        events: Receiver<Result<Vec<String>, String>>,
        _follower: Follower,
    }

    impl Followed {
        /// Prepares a folder `manifests` and follows it.
        fn new(prepare: impl FnOnce(&Path)) -> Self {
            let root = tempfile::tempdir().unwrap();
            let manifests = root.path().join("manifests");
            fs::create_dir(&manifests).unwrap();
            prepare(&manifests);
            let options = Options { manifests, data: root.path().join("data"), endpoint: None };
            let mut loaded = load(&options).unwrap();
            loaded.publish().unwrap();
            let (send, events) = mpsc::channel();
            let follower = follow(options, &loaded, move |result| {
                let result = result.map(|mut loaded| {
                    loaded.publish().unwrap();
                    loaded.config.tenants.into_iter().map(|tenant| tenant.path.clone()).collect()
                });
                send.send(result.map_err(|error| error.to_string())).unwrap();
            });
            // The first watch is set before the first look; give it its time.
            thread::sleep(Duration::from_millis(100));
            Self { root, events, _follower: follower }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.root.path().join("manifests").join(name), text).unwrap();
        }

        #[track_caller]
        fn next(&self) -> Result<Vec<String>, String> {
            self.events.recv_timeout(Duration::from_secs(2)).expect("a change is noticed")
        }
    }

    #[test]
    fn edits_are_followed_and_those_that_change_nothing_are_not_told() {
        let followed = Followed::new(|folder| fs::write(folder.join("endpoint.yaml"), ENDPOINT).unwrap());
        followed.write("acme.yaml", &tenant("acme"));
        assert_eq!(followed.next(), Ok(vec!["acme".to_owned()]));
        followed.write("acme.yaml", &format!("# a comment\n{}", tenant("acme")));
        followed.write("notes.txt", "not a manifest");
        followed.write("globex.yaml", &tenant("globex"));
        assert_eq!(followed.next(), Ok(vec!["acme".to_owned(), "globex".to_owned()]));
    }

    #[test]
    fn broken_edit_is_told_once_with_its_place_and_its_repair_too() {
        let followed = Followed::new(|folder| fs::write(folder.join("endpoint.yaml"), ENDPOINT).unwrap());
        followed.write("acme.yaml", &tenant("acme").replace("endpointRef", "endpoint"));
        let error = followed.next().unwrap_err();
        assert!(
            error.contains("acme.yaml:4:8: error: ScimTenant identity/acme: spec.endpoint: unknown field"),
            "{error}"
        );
        followed.write("acme.yaml", &tenant("acme"));
        assert_eq!(followed.next(), Ok(vec!["acme".to_owned()]));
    }

    #[test]
    fn rename_over_a_file_is_followed() {
        let followed = Followed::new(|folder| fs::write(folder.join("endpoint.yaml"), ENDPOINT).unwrap());
        followed.write(".acme.yaml.swp", &tenant("acme"));
        let folder = followed.root.path().join("manifests");
        fs::rename(folder.join(".acme.yaml.swp"), folder.join("acme.yaml")).unwrap();
        assert_eq!(followed.next(), Ok(vec!["acme".to_owned()]));
    }

    #[test]
    fn config_map_swap_is_followed() {
        let followed = Followed::new(|folder| {
            fs::create_dir(folder.join("..1")).unwrap();
            fs::write(folder.join("..1/all.yaml"), ENDPOINT).unwrap();
            symlink("..1", folder.join("..data")).unwrap();
            symlink("..data/all.yaml", folder.join("all.yaml")).unwrap();
        });
        let folder = followed.root.path().join("manifests");
        fs::create_dir(folder.join("..2")).unwrap();
        fs::write(folder.join("..2/all.yaml"), format!("{ENDPOINT}---\n{}", tenant("acme"))).unwrap();
        symlink("..2", folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
        assert_eq!(followed.next(), Ok(vec!["acme".to_owned()]));
    }

    #[test]
    fn folder_that_goes_and_comes_back_is_followed() {
        let followed = Followed::new(|folder| fs::write(folder.join("endpoint.yaml"), ENDPOINT).unwrap());
        let folder = followed.root.path().join("manifests");
        fs::remove_dir_all(&folder).unwrap();
        assert!(followed.next().unwrap_err().starts_with("cannot read"));
        let other = followed.root.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("all.yaml"), format!("{ENDPOINT}---\n{}", tenant("acme"))).unwrap();
        fs::rename(&other, &folder).unwrap();
        assert_eq!(followed.next(), Ok(vec!["acme".to_owned()]));
        followed.write("globex.yaml", &tenant("globex"));
        assert_eq!(followed.next(), Ok(vec!["acme".to_owned(), "globex".to_owned()]));
    }
}
