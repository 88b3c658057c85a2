//! The floors: the least a server must do for the same work. Each runs as a process of its own.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::routing::{get, post};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio_postgres::{Client, NoTls, Statement};

const SCIM_JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/scim+json")];

/// A floor in a process of its own.
#[derive(Debug)]
pub(crate) struct Floor {
    child: Child,
    folder: TempDir,
}

impl Floor {
    /// A bare handler that answers every GET with these bytes.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::start("bytes", |folder| std::fs::write(folder.join("bytes"), bytes).expect("writable"))
    }

    /// A bare handler that inserts the body into one SQLite table, durably, with group commit.
    pub(crate) fn insert() -> Self {
        Self::start("insert", |_| ())
    }

    /// A bare handler that answers GET /N with row N of a PostgreSQL table; every row has these bytes.
    pub(crate) fn select(url: &str, bytes: &[u8], rows: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = connect(url).await;
            client.batch_execute(TABLE).await.expect("a new table");
            let sql = "INSERT INTO resource SELECT n, $1 FROM generate_series(0, $2) n";
            let last = i64::try_from(rows).expect("few rows") - 1;
            client.execute(sql, &[&bytes, &last]).await.expect("rows");
            client.batch_execute("VACUUM ANALYZE resource").await.expect("a table");
        });
        Self::start("select", |folder| std::fs::write(folder.join("url"), url).expect("writable"))
    }

    /// A bare handler that inserts the body into one PostgreSQL table, a transaction each.
    pub(crate) fn insert_into(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { connect(url).await.batch_execute(TABLE).await.expect("a new table") });
        Self::start("insert-into", |folder| std::fs::write(folder.join("url"), url).expect("writable"))
    }

    fn start(kind: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::new().expect("the temporary folder is writable");
        prepare(folder.path());
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--floor", kind])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("this program");
        let floor = Self { child, folder };
        while !floor.folder.path().join("address").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        floor
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("address")).expect("it says where it listens")
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves a floor for ever; its address goes to a file in `folder`.
pub(crate) fn serve(kind: &str, folder: &str) -> ! {
    let folder = Path::new(folder);
    let app: Router = match kind {
        "bytes" => {
            let bytes = Bytes::from(std::fs::read(folder.join("bytes")).expect("the bytes to serve"));
            Router::new().fallback(get(async move || (SCIM_JSON, bytes)))
        }
        "insert" => Router::new().fallback(post(insert)).with_state(writer(&folder.join("floor.db"))),
        "select" | "insert-into" => Router::new(),
        other => panic!("there is no floor {other}"),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let app: Router = match kind {
            "select" => {
                let pool = Pool::to(folder, "SELECT body FROM resource WHERE id = $1").await;
                Router::new().fallback(get(select)).with_state(pool)
            }
            "insert-into" => {
                let sql = "INSERT INTO resource (body) VALUES ($1)";
                let pool = Pool::to(folder, sql).await;
                Router::new().fallback(post(insert_into)).with_state(pool)
            }
            _ => app,
        };
        let listener =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("the machine has free ports");
        let address = listener.local_addr().expect("bound").to_string();
        std::fs::write(folder.join("draft"), address).expect("writable");
        std::fs::rename(folder.join("draft"), folder.join("address")).expect("writable");
        axum::serve(listener, app).await.expect("it serves for ever");
    });
    unreachable!("a server ends when it is killed")
}

const TABLE: &str = "CREATE TABLE resource (id BIGSERIAL PRIMARY KEY, body BYTEA NOT NULL)";

/// As many as the product has.
const CONNECTIONS: usize = 16;

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// Connections, each with one statement prepared.
#[derive(Clone)]
struct Pool {
    free: Arc<Mutex<Vec<(Client, Statement)>>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    async fn to(folder: &Path, sql: &str) -> Self {
        let url = std::fs::read_to_string(folder.join("url")).expect("the database's URL");
        let mut free = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = connect(&url).await;
            let statement = client.prepare(sql).await.expect("the table is there");
            free.push((client, statement));
        }
        Self { free: Arc::new(Mutex::new(free)), permits: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// A connection while the permit lasts.
    async fn take(&self) -> (SemaphorePermit<'_>, Client, Statement) {
        let permit = self.permits.acquire().await.expect("never closed");
        let (client, statement) = self.free.lock().expect("nobody panics").pop().expect("as many as permits");
        (permit, client, statement)
    }

    fn give(&self, client: Client, statement: Statement) {
        self.free.lock().expect("nobody panics").push((client, statement));
    }
}

async fn select(State(pool): State<Pool>, uri: Uri) -> impl axum::response::IntoResponse {
    let id: i64 = uri.path()[1..].parse().expect("a number");
    let (_permit, client, statement) = pool.take().await;
    let row = client.query_one(&statement, &[&id]).await.expect("the row is there");
    pool.give(client, statement);
    (SCIM_JSON, Bytes::copy_from_slice(row.get(0)))
}

async fn insert_into(State(pool): State<Pool>, body: Bytes) -> impl axum::response::IntoResponse {
    let (_permit, client, statement) = pool.take().await;
    client.execute(&statement, &[&&body[..]]).await.expect("the disk has room");
    pool.give(client, statement);
    (StatusCode::CREATED, SCIM_JSON, body)
}

type Insert = (Bytes, oneshot::Sender<()>);

async fn insert(
    State(writer): State<mpsc::Sender<Insert>>,
    body: Bytes,
) -> impl axum::response::IntoResponse {
    let (done, committed) = oneshot::channel();
    writer.send((body.clone(), done)).expect("the writer lives as long as the process");
    committed.await.expect("the writer answers");
    (StatusCode::CREATED, SCIM_JSON, body)
}

/// One thread writes; whatever has queued up while it committed goes into the next transaction.
fn writer(file: &Path) -> mpsc::Sender<Insert> {
    let database = Connection::open(file).expect("a new database");
    database.pragma_update(None, "journal_mode", "WAL").expect("SQLite has WAL");
    database.pragma_update(None, "synchronous", "FULL").expect("SQLite syncs");
    database
        .execute_batch("CREATE TABLE resource (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        .expect("new");
    let (sender, receiver) = mpsc::channel::<Insert>();
    std::thread::spawn(move || {
        while let Ok(first) = receiver.recv() {
            let mut waiting = Vec::new();
            database.execute_batch("BEGIN").expect("only this thread writes");
            let mut statement = database
                .prepare_cached("INSERT INTO resource (body) VALUES (?1)")
                .expect("the table is there");
            for (body, done) in std::iter::once(first).chain(receiver.try_iter().take(512)) {
                statement.execute([&body[..]]).expect("the disk has room");
                waiting.push(done);
            }
            drop(statement);
            database.execute_batch("COMMIT").expect("the disk has room");
            for done in waiting {
                let _ = done.send(());
            }
        }
    });
    sender
}
