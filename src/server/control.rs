//! The control socket: how an operator's command reaches the running server.
//!
//! The store has one writer, and it is the server. `scim-operator restore` therefore asks the server, by a Unix
//! socket in the data directory: who may read the data may use it, and nobody on the network can. A request is
//! one line of JSON; the answer is lines of JSON, the last of which is `done` or an `error`.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::App;
use super::leavers::{self, Restorable, Restored};
use super::serving::Tenant;

/// The socket's name in the data directory.
pub const SOCKET: &str = "control.sock";

/// Bytes of a request line.
const MAX_REQUEST: u64 = 64 << 10;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// Resources read at a time for a list.
const PAGE: usize = 500;

/// Bytes of a socket's path that every Unix takes.
const MAX_PATH: usize = 100;

/// What an operator asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Request {
    /// What can be restored: of one tenant, by its path or `NAMESPACE/NAME`, or of all.
    List {
        /// Whose.
        tenant: Option<String>,
    },
    /// Restore one resource.
    Restore {
        /// Its tenant.
        tenant: String,
        /// Its id.
        resource: String,
    },
}

/// A line of the answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// This can be restored.
    Restorable(Restorable),
    /// This was restored.
    Restored(Restored),
    /// The request failed, and why.
    Error(String),
    /// That is all.
    Done,
}

/// A socket that listens, removed when it is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// Who runs this server.
    owner: u32,
    inode: u64,
}

impl Control {
    /// Listens in a data directory whose lock is held; needs a tokio runtime.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let path = std::path::absolute(data.join(SOCKET))?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // What a server that was killed left behind.
            _ => {}
        }
        let (reach, directory) = reachable(data)?;
        let listener = UnixListener::bind(&reach)?;
        drop(directory);
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let metadata = fs::metadata(&path)?;
        Ok(Self { listener, path, owner: metadata.uid(), inode: metadata.ino() })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The next server on this folder may have made its own already.
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            // One that stays is removed by the next server.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A path of the socket that is short enough for one, and what must stay open meanwhile.
fn reachable(data: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data.join(SOCKET);
    if path.as_os_str().len() <= MAX_PATH {
        return Ok((path, None));
    }
    let directory = File::open(data)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
    Ok((path, Some(directory)))
}

/// Answers operators until `stop` is true.
pub async fn serve_control(app: Arc<App>, control: Control, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = control.listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let caller = stream.peer_cred().map(|credentials| credentials.uid());
        let Some(caller) = caller.ok().filter(|caller| *caller == control.owner || *caller == 0) else {
            continue;
        };
        let Ok(stream) = stream.into_std() else { continue };
        let (app, runtime) = (Arc::clone(&app), Handle::current());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = converse(&app, &stream, caller, &runtime) {
                tracing::debug!(%error, "an operator's request broke off");
            }
        });
    }
}

/// One request and its answer.
fn converse(app: &App, stream: &UnixStream, caller: u32, runtime: &Handle) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).take(MAX_REQUEST).read_line(&mut line)?;
    let mut out = io::BufWriter::new(stream);
    let mut say = |line: &Line| {
        serde_json::to_writer(&mut out, line)?;
        out.write_all(b"\n")
    };
    let last = match serde_json::from_str(&line) {
        Ok(Request::List { tenant }) => list(app, tenant.as_deref(), runtime, &mut say)?,
        Ok(Request::Restore { tenant, resource }) => {
            let actor = format!("operator (uid {caller})");
            match runtime.block_on(restore(app, &tenant, &resource, actor)) {
                Ok(restored) => {
                    say(&Line::Restored(restored))?;
                    Line::Done
                }
                Err(reason) => Line::Error(reason),
            }
        }
        Err(error) => Line::Error(format!("this server does not understand the request: {error}")),
    };
    say(&last)?;
    out.flush()
}

fn list(
    app: &App,
    wanted: Option<&str>,
    runtime: &Handle,
    say: &mut impl FnMut(&Line) -> io::Result<()>,
) -> io::Result<Line> {
    let mut tenants: Vec<Arc<Tenant>> = match wanted {
        Some(name) => match find(app, name) {
            Ok(tenant) => vec![tenant],
            Err(reason) => return Ok(Line::Error(reason)),
        },
        None => app.serving.load().tenants().cloned().collect(),
    };
    tenants.sort_by(|left, right| left.key.cmp(&right.key));
    for tenant in tenants {
        let mut after = Some(0);
        while let Some(position) = after {
            match runtime.block_on(leavers::restorable(app, &tenant, position, PAGE)) {
                Ok((page, next)) => {
                    for restorable in page {
                        say(&Line::Restorable(restorable))?;
                    }
                    after = next;
                }
                Err(error) => return Ok(Line::Error(error.to_string())),
            }
        }
    }
    Ok(Line::Done)
}

async fn restore(app: &App, tenant: &str, resource: &str, actor: String) -> Result<Restored, String> {
    let tenant = find(app, tenant)?;
    match leavers::restore(app, &tenant, resource, actor).await {
        Ok(restored) => restored.map_err(|refused| refused.detail),
        Err(error) => Err(error.to_string()),
    }
}

/// A tenant by its path, by `NAMESPACE/NAME`, or by its name when only one is called so.
fn find(app: &App, name: &str) -> Result<Arc<Tenant>, String> {
    let serving = app.serving.load();
    let found = serving.tenants().find(|tenant| &*tenant.key.0 == name || &*tenant.path == name);
    let mut namesakes =
        serving.tenants().filter(|tenant| tenant.key.0.split_once('/').is_some_and(|(_, own)| own == name));
    let found = found.or_else(|| match (namesakes.next(), namesakes.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    });
    found.cloned().ok_or_else(|| {
        let mut names: Vec<&str> = serving.tenants().map(|tenant| &*tenant.key.0).collect();
        names.sort_unstable();
        names.truncate(20);
        format!("no tenant {name:?} is served here; there are {}", names.join(", "))
    })
}

/// Asks the server of a data directory, and hears each line of the answer but the last.
pub fn ask(
    data: &Path,
    request: &Request,
    mut hear: impl FnMut(Line) -> io::Result<()>,
) -> Result<(), AskError> {
    let (path, _directory) = reachable(data).map_err(AskError::Unreachable)?;
    let mut stream = UnixStream::connect(path).map_err(AskError::Unreachable)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?).map_err(io::Error::from)? {
            Line::Done => return Ok(()),
            Line::Error(reason) => return Err(AskError::Refused(reason)),
            line => hear(line)?,
        }
    }
    Err(AskError::Broken(io::ErrorKind::UnexpectedEof.into()))
}

/// Why a request to the server of a data directory came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("{0}")]
    Unreachable(io::Error),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// The answer broke off: the request may have been done.
    #[error("the server's answer broke off: {0}")]
    Broken(#[from] io::Error),
}
