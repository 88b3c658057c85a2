//! Exports and imports that are stopped, by errors and by `kill -9`, and go on.

use std::fs::{self, File};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use scim_operator::store::sqlite::SqliteExporter;
use scim_operator::store::transfer::{
    Exporter, Found, Hex, ImportError, Importer, Mark, Row, Section, Tenant as TenantRow, Totals,
};
use scim_operator::store::{StoreError, TenantKey};
use scim_operator::transfer::{self, export, export_to_file, import};

use super::{Place, file, lines, quiet, tenants, text};
use crate::fixture::{Tenant, tenant_key};

/// Stops after so many chunks.
struct Stopping {
    importer: Box<dyn Importer>,
    left: usize,
    added: usize,
}

#[async_trait]
impl Importer for Stopping {
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
        if self.left == 0 {
            return Err(StoreError::Unavailable("stopped".into()).into());
        }
        (self.left, self.added) = (self.left - 1, self.added + 1);
        self.importer.add(rows, mark).await
    }
    async fn finish(&mut self, tenant: &TenantRow, digest: Hex<32>) -> Result<(), ImportError> {
        if self.left == 0 {
            return Err(StoreError::Unavailable("stopped".into()).into());
        }
        self.importer.finish(tenant, digest).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_import_goes_on_where_it_was() {
    let bytes = Place::folder().filled().await.bytes().await;
    let chunks = lines(&bytes).iter().filter(|line| line.starts_with("{\"check\"")).count();
    assert!(chunks >= 4, "{chunks}");
    for place in [Place::folder(), Place::database()] {
        let mut stops = 0;
        let mut added = 0;
        loop {
            let mut importer = Stopping { importer: place.importer().await, left: 1, added: 0 };
            let done = import(&mut importer, &file(&bytes), &[], &mut quiet()).await;
            added += importer.added;
            drop(importer);
            match done {
                Ok(_) => break,
                Err(error) => assert!(error.to_string().contains("stopped"), "{error}"),
            }
            stops += 1;
            assert!(stops < 100);
            // A server that runs in between sees nothing of it and lets it be.
            let store = place.store();
            let seen = store.tenants().await.unwrap();
            assert!(!seen.contains(&tenant_key("other/tenant")), "{seen:?}");
            assert_eq!(store.purge_removed(&[], None).await.unwrap(), []);
            store.close().await;
        }
        assert!(stops > 1);
        assert_eq!(added, chunks, "no chunk was imported twice");
        assert!(place.bytes().await == bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_import_of_another_export_is_begun_anew() {
    let here = Place::folder().filled().await;
    let old = here.bytes().await;
    let store = here.store();
    Tenant::on(Arc::clone(&store), "identity/acme").named("newer").await;
    store.close().await;
    let new = here.bytes().await;
    for place in [Place::folder(), Place::database()] {
        let mut importer = Stopping { importer: place.importer().await, left: 2, added: 0 };
        import(&mut importer, &file(&old), &[], &mut quiet()).await.unwrap_err();
        drop(importer);
        place.import(&new).await.unwrap();
        assert!(place.bytes().await == new);
        let error = place.import(&old).await.unwrap_err().to_string();
        assert!(error.contains("identity/acme has the data of another export"), "{error}");
    }
}

/// Gives up after so many pages, as an export that is killed.
struct Failing<'e> {
    exporter: &'e mut dyn Exporter,
    left: usize,
    pages: usize,
}

#[async_trait]
impl Exporter for Failing<'_> {
    async fn tenants(&mut self) -> Result<Vec<TenantKey>, StoreError> {
        self.exporter.tenants().await
    }
    async fn open(&mut self, tenant: &TenantKey) -> Result<Option<(TenantRow, Totals)>, StoreError> {
        self.exporter.open(tenant).await
    }
    async fn seek(&mut self, section: Section, after: Option<&Row>) -> Result<bool, StoreError> {
        self.exporter.seek(section, after).await
    }
    async fn next(&mut self) -> Result<Vec<Row>, StoreError> {
        if self.left == 0 {
            return Err(StoreError::Unavailable("stopped".into()));
        }
        (self.left, self.pages) = (self.left - 1, self.pages + 1);
        self.exporter.next().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_export_goes_on_and_is_the_same_as_one_that_was_not() {
    for place in [Place::folder().filled().await, Place::database().filled().await] {
        let whole = place.bytes().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.ndjson");
        let part = folder.path().join("acme.ndjson.part");
        let mut exporter = place.exporter().await;
        let all = 1 + pages(&mut *exporter).await;
        // A tenant's begin, its middle, and each page of its end and of the next tenant.
        for stop in (0..all).filter(|stop| stop % 4 == 0 || stop + 4 > all) {
            let _ = fs::remove_file(&path);
            let mut failing = Failing { exporter: &mut *exporter, left: stop, pages: 0 };
            export_to_file(&mut failing, &tenants(), &path, &mut quiet()).await.unwrap_err();
            assert!(!path.exists());
            if stop % 3 == 0 {
                // A power failure leaves half a line.
                let mut part = File::options().append(true).open(&part).unwrap();
                part.write_all(b"{\"resource\":{\"ty").unwrap();
            }
            let mut rest = Failing { exporter: &mut *exporter, left: usize::MAX, pages: 0 };
            export_to_file(&mut rest, &tenants(), &path, &mut quiet()).await.unwrap();
            assert!(stop + 3 < all || rest.pages < all, "stopped after {stop} of {all} pages and began anew");
            assert!(fs::read(&path).unwrap() == whole, "stopped after {stop} pages");
            assert!(!part.exists());
        }
    }
}

async fn pages(exporter: &mut dyn Exporter) -> usize {
    let mut counting = Failing { exporter, left: usize::MAX, pages: 0 };
    export(&mut counting, &tenants(), std::io::sink(), &mut quiet()).await.unwrap();
    counting.pages - 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_export_of_a_tenant_that_was_written_to_begins_it_anew() {
    for place in [Place::folder().filled().await, Place::database().filled().await] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.ndjson");
        let mut exporter = place.exporter().await;
        let mut failing = Failing { exporter: &mut *exporter, left: 6, pages: 0 };
        export_to_file(&mut failing, &tenants(), &path, &mut quiet()).await.unwrap_err();
        drop(exporter);
        let store = place.store();
        Tenant::on(Arc::clone(&store), "identity/acme").named("since").await;
        store.close().await;
        let mut exporter = place.exporter().await;
        export_to_file(&mut *exporter, &tenants(), &path, &mut quiet()).await.unwrap();
        assert!(fs::read(&path).unwrap() == place.bytes().await);
    }
}

/// `kill -9` at any moment, again and again: in the end all is as if nothing had happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_commands_go_on_where_they_were() {
    let here = Place::folder().filled().await;
    let whole = here.bytes().await;
    let Place::Folder(data) = &here else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.ndjson");
    let target = folder.path().join("target");
    let export = ["export", text(&file), "--data", text(data.path())];
    let import = ["import", text(&file), "--data", text(&target)];
    for arguments in [&export, &import] {
        let mut patience = Duration::from_millis(1);
        loop {
            let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_scim-operator"))
                .args(arguments)
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            tokio::time::sleep(patience).await;
            if let Some(status) = process.try_wait().unwrap() {
                assert!(status.success());
                break;
            }
            process.kill().unwrap();
            process.wait().unwrap();
            patience = patience.mul_f32(1.5);
        }
    }
    assert!(fs::read(&file).unwrap() == whole);
    let mut exporter = SqliteExporter::open(&target).unwrap();
    let mut bytes = Vec::new();
    transfer::export(&mut exporter, &tenants(), &mut bytes, &mut quiet()).await.unwrap();
    assert!(bytes == whole);
}
