//! Export and import: the same data in SQLite and in PostgreSQL gives the same bytes; what is stopped goes on; what is
//! damaged or does not belong is refused and changes nothing.

mod damaged;
mod stopped;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use scim_operator::scim::schema::{CustomSchemas, Registry};
use scim_operator::store::audit::Retention;
use scim_operator::store::idempotency::{Keyed, Render, SavedAnswer};
use scim_operator::store::postgres::PostgresStore;
use scim_operator::store::sqlite::{SqliteExporter, SqliteImporter, SqliteStore};
use scim_operator::store::token_use::{Fingerprint, TokenUse};
use scim_operator::store::transfer::{
    Exporter, Found, Hex, ImportError, Importer, Mark, Row, Tenant as TenantRow,
};
use scim_operator::store::{Command, Policy, Store, StoreError, TenantKey, Write};
use scim_operator::transfer::{self, ExportError, Outcome, TransferError, export, export_to_file, import};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::database::{self, Database};
use crate::fixture::{Tenant, alone, member_ids, new_id, tenant_key, write};

const HR: &str = "urn:example:scim:hr:2.0:User";

fn quiet() -> impl FnMut(transfer::Progress<'_>) + Send {
    |_| ()
}

/// A tenant's types with an extension that has an attribute which must be unique.
fn schemas() -> CustomSchemas {
    let attributes = json!([{"name": "badge", "uniqueness": "server"}, {"name": "size", "type": "decimal"}]);
    let schema = json!({"id": HR, "name": "HR", "attributes": attributes});
    let extension = json!({"schema": schema, "resourceTypes": ["User"], "required": false});
    serde_json::from_value(json!({"extensions": [extension]})).unwrap()
}

/// The tenant under its own schemas.
async fn with_schemas(acme: &Tenant) -> Tenant {
    let registry = Registry::with(&schemas(), &BTreeSet::new());
    acme.store.prepare(&acme.key, &registry.resource_types).await.unwrap();
    let mut acme = acme.clone();
    acme.user = Arc::clone(registry.by_name("User").unwrap());
    acme.group = Arc::clone(registry.by_name("Group").unwrap());
    acme
}

/// Some of everything: two tenants, one with schemas of its own.
async fn fill(store: Arc<dyn Store>) {
    let policy = Policy {
        retention: Some(Duration::from_hours(1)),
        keep_unknown_members: true,
        audit_values: true,
        ..Policy::default()
    };
    let acme = with_schemas(&Tenant::on(Arc::clone(&store), "identity/acme").with(policy)).await;
    let mut users = Vec::new();
    for number in 0..40 {
        let mut body = json!({
            "userName": format!("Ünser{number}"), "externalId": format!("X{number}"), "displayName": "U",
            "emails": [{"value": format!("u{number}@x.example"), "type": "work"}, {"value": "Shared@x.example"}],
            HR: {"badge": format!("B{number}"), "size": 0.1 + 0.2},
        });
        if number % 2 == 0 {
            body["title"] = json!("x".repeat(40 * number));
        }
        users.push(acme.user(body).await);
    }
    let inner = acme.group("Inner", &[&users[3], &users[1]]).await;
    let outer = acme.group("Outer", &[&inner, &users[2]]).await;
    acme.patch_group(&inner, json!([{"op": "add", "path": "members", "value": [{"value": outer}]}]))
        .await
        .unwrap();
    acme.patch_user(&users[0], json!([{"op": "replace", "path": "title", "value": "Ωmega"}])).await.unwrap();
    acme.patch_group(&inner, json!([{"op": "add", "path": "members", "value": [{"value": "ghost"}]}]))
        .await
        .unwrap();
    acme.run(acme.delete_command(&acme.user, &users[1])).await.unwrap();
    acme.run(acme.delete_command(&acme.group, &outer)).await.unwrap();
    // More than a row, and than a page, of members.
    let crowd: Vec<_> = (0..4500).map(|n| (new_id(), json!({"userName": format!("crowd{n}")}))).collect();
    for some in crowd.chunks(300) {
        let units = some.iter().map(|(id, body)| alone(acme.user_command(id, body.clone()))).collect();
        assert!(acme.write(units).await.iter().all(Result::is_ok));
    }
    let ids: Vec<_> = crowd.iter().map(|(id, _)| id.as_str()).collect();
    acme.group("Crowd", &ids).await;
    acme.group("Few", &ids[..3]).await;
    acme.group("Empty", &[]).await;
    let before = Timestamp::now() - SignedDuration::from_hours(1);
    store.prune_changes(&acme.key, Retention { before, max_entries: 4000 }).await.unwrap();
    for key in [7, 3] {
        let keyed = Keyed { key: [key; 32], request: [1; 32], since: Timestamp::UNIX_EPOCH };
        let body = (key == 7).then(|| b"{\"a\": \"\xc3\xa4\"}".to_vec());
        let answer = SavedAnswer { status: 201, version: None, location: Some("/Users/1".into()), body };
        let command = acme.user_command(&new_id(), json!({"userName": format!("keyed{key}")}));
        let render = Render::new(move |_| Ok(answer.clone()));
        store.write_once(&acme.key, write(vec![alone(command)]), keyed, render).await.unwrap();
    }
    let last_used = Timestamp::from_second(1_700_000_000).unwrap();
    let token = |byte| TokenUse { tenant: acme.key.clone(), token: Fingerprint([byte; 8]), last_used };
    store.record_token_uses(vec![token(9), token(2)]).await.unwrap();

    let other = Tenant::on(store, "other/tenant");
    other.named("ann").await;
}

/// Where tenants are.
enum Place {
    Folder(TempDir),
    Database(Database),
}

impl Place {
    fn folder() -> Self {
        Self::Folder(tempfile::tempdir().unwrap())
    }

    fn database() -> Self {
        Self::Database(database::database())
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Folder(folder) => Arc::new(SqliteStore::open(folder.path()).unwrap()),
            Self::Database(database) => Arc::new(database.store()),
        }
    }

    async fn exporter(&self) -> Box<dyn Exporter> {
        match self {
            Self::Folder(folder) => Box::new(SqliteExporter::open(folder.path()).unwrap()),
            Self::Database(database) => Box::new(database.store().exporter().await.unwrap()),
        }
    }

    async fn importer(&self) -> Box<dyn Importer> {
        match self {
            Self::Folder(folder) => Box::new(SqliteImporter::open(folder.path()).unwrap()),
            Self::Database(database) => Box::new(database.store().importer().await.unwrap()),
        }
    }

    async fn filled(self) -> Self {
        let store = self.store();
        fill(Arc::clone(&store)).await;
        store.close().await;
        self
    }

    /// An export of all there is.
    async fn bytes(&self) -> Vec<u8> {
        let mut exporter = self.exporter().await;
        let tenants = exporter.tenants().await.unwrap();
        let mut bytes = Vec::new();
        export(&mut *exporter, &tenants, &mut bytes, &mut quiet()).await.unwrap();
        bytes
    }

    async fn import(&self, bytes: &[u8]) -> Result<Vec<(TenantKey, Outcome)>, TransferError> {
        import(&mut *self.importer().await, &file(bytes), &[], &mut quiet()).await
    }

    async fn holds_nothing(&self) {
        let store = self.store();
        assert_eq!(store.tenants().await.unwrap(), []);
        store.close().await;
    }
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

fn lines(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).unwrap().lines().collect()
}

fn tenants() -> Vec<TenantKey> {
    vec![tenant_key("identity/acme"), tenant_key("other/tenant")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_go_to_postgres_and_back_are_the_same_bytes() {
    let (here, there, back) = (Place::folder().filled().await, Place::database(), Place::folder());
    let first = here.bytes().await;
    let imported = there.import(&first).await.unwrap();
    assert_eq!(imported.len(), 2);
    let second = there.bytes().await;
    assert!(first == second, "SQLite and PostgreSQL differ");
    back.import(&second).await.unwrap();
    assert!(back.bytes().await == second, "PostgreSQL and SQLite differ");
    same_tables(&here, &back);
    for place in [&there, &back] {
        serves_on(place).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_go_from_postgres_to_postgres_are_the_same_bytes() {
    let (here, there) = (Place::database().filled().await, Place::database());
    let first = here.bytes().await;
    there.import(&first).await.unwrap();
    assert!(there.bytes().await == first);
    serves_on(&there).await;
}

/// What is not in an export because it follows from the rest.
fn same_tables(one: &Place, other: &Place) {
    let (Place::Folder(one), Place::Folder(other)) = (one, other) else { panic!("these are no folders") };
    let rows = |folder: &TempDir, sql: &str| {
        let connection = rusqlite::Connection::open(folder.path().join("scim.db")).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            (0..columns)
                .map(|column| row.get::<_, rusqlite::types::Value>(column))
                .collect::<Result<Vec<_>, _>>()
        });
        rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    };
    for sql in [
        "SELECT t.name, l.attribute, l.value, l.slot = 0, r.id FROM lookup l JOIN resource r ON r.key = l.resource
         JOIN tenant t ON t.key = l.tenant ORDER BY 1, 2, 3, 5",
        "SELECT t.name, c.type, c.n FROM counter c JOIN tenant t ON t.key = c.tenant WHERE c.n > 0 ORDER BY 1, 2",
        "SELECT n.attribute, n.value, x.id FROM retained_name n JOIN retained x ON x.key = n.retained ORDER BY 1, 2, 3",
        "SELECT name, pruned FROM tenant WHERE name IS NOT NULL ORDER BY 1",
        "SELECT type, shape FROM shape ORDER BY 1",
        "SELECT type, id, display FROM resource ORDER BY key",
    ] {
        let (one, other) = (rows(one, sql), rows(other, sql));
        assert!(!one.is_empty(), "{sql}");
        assert_eq!(one, other, "{sql}");
    }
}

/// A store that was imported into is like any other.
async fn serves_on(place: &Place) {
    let store = place.store();
    let policy = Policy { retention: Some(Duration::from_hours(1)), ..Policy::default() };
    let acme = with_schemas(&Tenant::on(Arc::clone(&store), "identity/acme").with(policy)).await;
    let found = acme.find_users("userName eq \"ÜNSER7\"").await;
    assert_eq!(found.len(), 1);
    assert_eq!(acme.find_users("emails.value eq \"u7@X.example\"").await, found);
    assert_eq!(acme.find_users(&format!("{HR}:badge eq \"b7\"")).await, found);
    let taken = acme.run(acme.user_command(&new_id(), json!({"userName": "new", HR: {"badge": "b7"}}))).await;
    assert_eq!(taken.unwrap_err().status, 409);
    // 40 + 4500 + 2 with keys, less the one that is retained.
    assert_eq!(store.count(&acme.key, "User").await.unwrap(), 4541);
    let figures = store.leavers().await.unwrap();
    assert_eq!((figures[0].retained, figures[0].pending), (2, 1), "{figures:?}");
    let crowd = acme.find_groups("displayName eq \"Crowd\"").await;
    assert_eq!(member_ids(&acme.get_group(&crowd[0]).await.unwrap()).len(), 4500);
    let head = store.changes(&acme.key, scim_operator::store::audit::From::Oldest, 1).await.unwrap().head;
    let mut retained = store.retained(&acme.key, 0, 10).await.unwrap();
    let user = retained.remove(0);
    let restore = Command::Restore { resource_type: Arc::clone(&acme.user), id: user.id.clone() };
    Tenant::resource(acme.run(restore).await);
    let inner = acme.find_groups("displayName eq \"Inner\"").await;
    assert!(member_ids(&acme.get_group(&inner[0]).await.unwrap()).contains(&user.id));
    acme.named("after").await;
    let after = store.changes(&acme.key, scim_operator::store::audit::From::After(head), 10).await.unwrap();
    assert_eq!(after.changes[0].sequence, head + 1);
    assert_eq!(store.token_uses().await.unwrap().len(), 2);
    let keyed = Keyed { key: [7; 32], request: [1; 32], since: Timestamp::UNIX_EPOCH };
    assert!(store.recall(&acme.key, &keyed).await.unwrap().is_some());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_run_twice_does_nothing_the_second_time() {
    let bytes = Place::folder().filled().await.bytes().await;
    for place in [Place::folder(), Place::database()] {
        place.import(&bytes).await.unwrap();
        // Also when it has been written to since.
        let store = place.store();
        Tenant::on(Arc::clone(&store), "identity/acme").named("since").await;
        store.close().await;
        let before = place.bytes().await;
        let again = place.import(&bytes).await.unwrap();
        assert!(again.iter().all(|(_, outcome)| *outcome == Outcome::ThereBefore), "{again:?}");
        assert!(place.bytes().await == before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_into_a_tenant_with_other_data_is_refused_and_changes_nothing() {
    let bytes = Place::folder().filled().await.bytes().await;
    for place in [Place::folder(), Place::database()] {
        let store = place.store();
        Tenant::on(Arc::clone(&store), "other/tenant").named("bob").await;
        store.close().await;
        let before = place.bytes().await;
        let error = place.import(&bytes).await.unwrap_err().to_string();
        insta::allow_duplicates! {
            insta::assert_snapshot!(error, @"only into tenants without data: other/tenant has User: 1; nothing was imported");
        }
        assert!(place.bytes().await == before, "the other tenant was imported");
        // The tenant that is free can be.
        let only = [tenant_key("identity/acme")];
        let done = import(&mut *place.importer().await, &file(&bytes), &only, &mut quiet()).await.unwrap();
        assert_eq!(done.len(), 1);
        let unknown =
            import(&mut *place.importer().await, &file(&bytes), &[tenant_key("a/b")], &mut quiet()).await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(unknown.unwrap_err(), @r#"
            there is no tenant "a/b" in it; it has:
              identity/acme
              other/tenant
            "#);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenant_that_is_written_to_during_its_import_is_left_as_it_is() {
    let bytes = Place::folder().filled().await.bytes().await;
    let place = Place::database();
    let server = Tenant::on(place.store(), "other/tenant");
    let mut importer = Meddling { importer: place.importer().await, before_finish: Some(server.clone()) };
    let error = import(&mut importer, &file(&bytes), std::slice::from_ref(&server.key), &mut quiet())
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("somebody has written to other/tenant during the import"),
        "{error}"
    );
    assert_eq!(server.find_users("userName eq \"meddler\"").await.len(), 1);
    assert_eq!(server.store.count(&server.key, "User").await.unwrap(), 1);
}

/// A server that knows an empty tenant goes on with the imported one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_beside_an_import_sees_the_tenant_when_it_is_whole() {
    let bytes = Place::folder().filled().await.bytes().await;
    let place = Place::database();
    let server = Tenant::on(place.store(), "identity/acme");
    server.store.set_purge_on_removal(&server.key, true).await.unwrap();
    let mut importer = Meddling { importer: place.importer().await, before_finish: None };
    let mut watch = |_: transfer::Progress<'_>| ();
    let file = file(&bytes);
    let importing = import(&mut importer, &file, &[], &mut watch);
    let reading = async {
        loop {
            let count = server.store.count(&server.key, "User").await.unwrap();
            assert!(count == 0 || count == 4541, "{count} of a tenant were seen");
            if count > 0 {
                return;
            }
            // What is under way is nobody's to purge.
            assert_eq!(server.store.purge_removed(&tenants(), None).await.unwrap(), []);
        }
    };
    let (done, ()) = tokio::join!(importing, reading);
    done.unwrap();
    server.named("after").await;
    assert_eq!(server.find_users("userName eq \"after\"").await.len(), 1);
}

struct Meddling {
    importer: Box<dyn Importer>,
    before_finish: Option<Tenant>,
}

#[async_trait]
impl Importer for Meddling {
    async fn look(&mut self, tenant: &TenantKey) -> Result<Found, ImportError> {
        self.importer.look(tenant).await
    }
    async fn begin(&mut self, tenant: &TenantRow) -> Result<(), ImportError> {
        self.importer.begin(tenant).await
    }
    async fn go_on(&mut self, tenant: &TenantRow) -> Result<(), ImportError> {
        self.importer.go_on(tenant).await
    }
    async fn add(&mut self, rows: Vec<(u64, Row)>, mark: Mark) -> Result<(), ImportError> {
        tokio::task::yield_now().await;
        self.importer.add(rows, mark).await
    }
    async fn finish(&mut self, tenant: &TenantRow, digest: Hex<32>) -> Result<(), ImportError> {
        if let Some(meddler) = &self.before_finish {
            meddler.named("meddler").await;
        }
        self.importer.finish(tenant, digest).await
    }
}

/// Every unit adds a user and makes it a member, so that there are always as many of the one as of the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn export_beside_a_server_is_of_one_moment() {
    for place in [Place::folder(), Place::database()] {
        let acme = Tenant::on(place.store(), "identity/acme");
        let group = acme.group("All", &[]).await;
        let mut writers = JoinSet::new();
        let (stop, stopped) = tokio::sync::watch::channel(false);
        for writer in 0..3 {
            let (acme, group, stopped) = (acme.clone(), group.clone(), stopped.clone());
            writers.spawn(async move {
                for number in 0.. {
                    if *stopped.borrow() {
                        return;
                    }
                    let id = new_id();
                    let create = acme.user_command(&id, json!({"userName": format!("u{writer}-{number}")}));
                    let add = json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
                    let mut unit = alone(create);
                    unit.commands.push(acme.patch_command(&acme.group, &group, add));
                    let write = Write { policy: Arc::clone(&acme.policy), ..write(vec![unit]) };
                    assert!(acme.store.write(&acme.key, write).await.unwrap()[0].is_ok());
                }
            });
        }
        let mut last = 0;
        for _ in 0..8 {
            while acme.store.count(&acme.key, "User").await.unwrap() <= last {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let bytes = place.bytes().await;
            let rows: Vec<Value> =
                lines(&bytes).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            let end = rows.iter().find_map(|row| row.get("end")).unwrap();
            let users = end["resources"].as_u64().unwrap() - 1;
            assert!(users > 0);
            assert_eq!(end["memberships"], users);
            assert_eq!(end["changes"], 2 * users + 1);
            last = users;
        }
        stop.send(true).unwrap();
        writers.join_all().await;
        acme.store.close().await;
    }
}

#[tokio::test]
async fn export_that_cannot_be_written_says_what_to_do() {
    let place = Place::folder().filled().await;
    let mut exporter = place.exporter().await;
    let path = Path::new("/nowhere/to/be/found.ndjson");
    let error = export_to_file(&mut *exporter, &tenants(), path, &mut quiet()).await.unwrap_err();
    insta::assert_snapshot!(error, @"cannot write /nowhere/to/be/found.ndjson.part: No such file or directory (os error 2); what is there is kept: run the same command again to go on");
    // A disk without room: every write to this device fails so.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = export(&mut *exporter, &tenants(), full, &mut quiet()).await.unwrap_err();
    assert!(matches!(error, ExportError::Output(_)), "{error}");
    insta::assert_snapshot!(error, @"cannot write the export: No space left on device (os error 28)");
}

#[tokio::test]
async fn two_exports_do_not_write_one_file() {
    let place = Place::folder().filled().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let other =
        File::options().write(true).create(true).truncate(false).open(folder.path().join("x.part")).unwrap();
    other.lock().unwrap();
    let mut exporter = place.exporter().await;
    let error = export_to_file(&mut *exporter, &tenants(), &path, &mut quiet()).await.unwrap_err();
    assert!(error.to_string().starts_with("another export writes "), "{error}");
}

/// Runs the binary.
async fn command(arguments: &[&str]) -> (i32, String) {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = move || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_scim-operator"));
        command.args(arguments).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // How far it is, when the machine is slow.
    let lines = said.lines().filter(|line| !line.ends_with(" %"));
    (output.status.code().unwrap(), lines.collect::<Vec<_>>().join("\n"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_move_tenants_and_say_what_they_did() {
    let here = Place::folder().filled().await;
    let Place::Folder(data) = &here else { return };
    let database = database::database();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(path("url"), database.url()).unwrap();
    let (file, url, again) = (path("all.ndjson"), path("url"), path("again.ndjson"));
    let to = ["--database-url-file", text(&url), "--database-tls", "disable"];

    let (status, said) = command(&["export", text(&file), "--data", text(data.path())]).await;
    insta::assert_snapshot!(said, @r"
    exported identity/acme: 4545 resources, 4504 memberships, 4002 changes in the audit log, 2 retained, 5 awaited memberships
    exported other/tenant: 1 resources, 0 memberships, 1 changes in the audit log
    ");
    assert_eq!(status, 0);
    let (status, said) = command(&[&["import", text(&file)], &to[..]].concat()).await;
    insta::assert_snapshot!(said, @r"
    imported identity/acme: 4545 resources, 4504 memberships, 4002 changes in the audit log, 2 retained, 5 awaited memberships
    imported other/tenant: 1 resources, 0 memberships, 1 changes in the audit log
    ");
    assert_eq!(status, 0);
    let (status, said) = command(&[&["import", text(&file)], &to[..]].concat()).await;
    insta::assert_snapshot!(said, @r"
    identity/acme was imported from this export before, and is left as it is
    other/tenant was imported from this export before, and is left as it is
    ");
    assert_eq!(status, 0);
    let (status, _) = command(&[&["export", text(&again)], &to[..]].concat()).await;
    assert_eq!(status, 0);
    assert!(fs::read(&file).unwrap() == fs::read(&again).unwrap());

    let (status, said) = command(&["export", "-", "--data", text(data.path()), "--tenant", "x/y"]).await;
    insta::assert_snapshot!(said, @r#"
    error: there is no tenant "x/y" in this database; it has:
      identity/acme
      other/tenant
    "#);
    assert_eq!(status, 2);
    let (status, said) = command(&["import", "/dev/null"]).await;
    insta::assert_snapshot!(said, @"error: /dev/null is no file; an import reads it twice, so a pipe will not do");
    assert_eq!(status, 2);
    fs::write(&again, "hello\n").unwrap();
    let (status, said) = command(&[&["import", text(&again)], &to[..]].concat()).await;
    let said = said.replace(text(&again), "FILE");
    insta::assert_snapshot!(said, @"error: cannot import FILE: it is no export of scim-operator: line 1 does not say so");
    assert_eq!(status, 1);
    let serving = SqliteStore::open(data.path()).unwrap();
    let (status, said) = command(&["import", text(&file), "--data", text(data.path())]).await;
    assert!(said.contains("is in use by another process"), "{said}");
    assert_eq!(status, 2);
    let (status, _) = command(&["export", text(&again), "--data", text(data.path())]).await;
    assert_eq!(status, 0, "an export goes beside a server");
    serving.close().await;
}

/// A store is not moved under a program that does not know the schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn importer_and_exporter_wait_for_no_database() {
    let store =
        PostgresStore::new(database::settings("postgresql://postgres@127.0.0.1:1/none".into())).unwrap();
    assert!(matches!(store.exporter().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.importer().await, Err(StoreError::Unavailable(_))));
}
