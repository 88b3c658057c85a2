//! What a client sees when the fault is ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use scim_operator::scim::resource::{Load, Resource};
use scim_operator::scim::schema::ResourceType;
use scim_operator::server::connection::ConnectionLimits;
use scim_operator::store::audit::{self, Changes, FeedError, Pruned, Retention};
use scim_operator::store::idempotency::{Keyed, Once, Recalled, Render};
use scim_operator::store::token_use::TokenUse;
use scim_operator::store::{
    Count, LeaverFigures, Listing, Prepared, Query, Retained, Store, StoreError, TenantKey, UnitResult, Write,
};

use crate::support::{Server, config};

/// A store that fails as it is told.
#[derive(Default)]
struct Failing(AtomicU8);

const UNAVAILABLE: u8 = 0;
const INTERNAL: u8 = 1;
const PANIC: u8 = 2;

impl Failing {
    fn fail<T>(&self) -> Result<T, StoreError> {
        match self.0.load(Ordering::SeqCst) {
            UNAVAILABLE => Err(StoreError::Unavailable("disk full at /var/lib".to_owned())),
            INTERNAL => Err(StoreError::Internal("row 7 is not JSON".to_owned())),
            _ => panic!("the store lost its mind"),
        }
    }
}

#[async_trait]
impl Store for Failing {
    async fn get(
        &self,
        _: &TenantKey,
        _: &Arc<ResourceType>,
        _: &str,
        _: Load,
    ) -> Result<Option<Resource>, StoreError> {
        self.fail()
    }
    async fn list(&self, _: &TenantKey, _: &Query) -> Result<Listing, StoreError> {
        self.fail()
    }
    async fn write(&self, _: &TenantKey, _: Write) -> Result<Vec<UnitResult>, StoreError> {
        self.fail()
    }
    async fn write_once(&self, _: &TenantKey, _: Write, _: Keyed, _: Render) -> Result<Once, StoreError> {
        self.fail()
    }
    async fn recall(&self, _: &TenantKey, _: &Keyed) -> Result<Option<Recalled>, StoreError> {
        self.fail()
    }
    async fn forget_answers(&self, _: Timestamp) -> Result<u64, StoreError> {
        self.fail()
    }
    async fn changes(&self, _: &TenantKey, _: audit::From, _: usize) -> Result<Changes, FeedError> {
        Ok(self.fail()?)
    }
    async fn prune_changes(&self, _: &TenantKey, _: Retention) -> Result<Pruned, StoreError> {
        self.fail()
    }
    async fn prepare(&self, _: &TenantKey, _: &[Arc<ResourceType>]) -> Result<Prepared, StoreError> {
        Ok(Prepared::default())
    }
    async fn retire(&self, _: &TenantKey) -> Result<(), StoreError> {
        Ok(())
    }
    async fn count(&self, _: &TenantKey, _: &str) -> Result<u64, StoreError> {
        self.fail()
    }
    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        self.fail()
    }
    async fn retained(&self, _: &TenantKey, _: i64, _: usize) -> Result<Vec<Retained>, StoreError> {
        self.fail()
    }
    async fn leavers(&self) -> Result<Vec<LeaverFigures>, StoreError> {
        self.fail()
    }
    async fn tenants(&self) -> Result<Vec<TenantKey>, StoreError> {
        self.fail()
    }
    async fn set_purge_on_removal(&self, _: &TenantKey, _: bool) -> Result<(), StoreError> {
        self.fail()
    }
    async fn marked_for_purge(&self) -> Result<Vec<TenantKey>, StoreError> {
        Ok(Vec::new())
    }
    async fn purge_removed(
        &self,
        _: &[TenantKey],
        _: Option<&[TenantKey]>,
    ) -> Result<Vec<TenantKey>, StoreError> {
        self.fail()
    }
    async fn token_uses(&self) -> Result<Vec<TokenUse>, StoreError> {
        Ok(Vec::new())
    }
    async fn record_token_uses(&self, _: Vec<TokenUse>) -> Result<(), StoreError> {
        self.fail()
    }
    async fn cursor_key(&self) -> Result<[u8; 32], StoreError> {
        Ok([0; 32])
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.fail()
    }
    async fn close(&self) {}
}

#[tokio::test]
async fn store_that_fails_is_told_in_fixed_words_and_survived() {
    let store = Arc::new(Failing::default());
    let server =
        Server::on(Arc::clone(&store) as Arc<dyn Store>, None, &config(), ConnectionLimits::default()).await;
    for path in ["/Users", "/Users/1"] {
        store.0.store(UNAVAILABLE, Ordering::SeqCst);
        let reply = server.get(path).await;
        assert_eq!(reply.error(), "503: the server cannot reach its store now; try again");
        assert_eq!(reply.header("retry-after"), Some("5"));

        for fault in [INTERNAL, PANIC] {
            store.0.store(fault, Ordering::SeqCst);
            let reply = server.get(path).await;
            let id = reply.header("x-request-id").unwrap();
            assert_eq!(
                reply.error(),
                format!("500: the server failed; its log has the reason under request id {id}")
            );
        }
    }
    assert!(server.app.metrics().encode().unwrap().contains("scim_panics_total 2"));
    assert_eq!(server.log().len(), 6, "a request that panics has its line too");

    store.0.store(UNAVAILABLE, Ordering::SeqCst);
    let probe = format!("http://{}/readyz", server.admin);
    let reply = crate::support::RequestExt::reply(server.anonymous("GET", &probe)).await;
    assert_eq!(
        (reply.status, reply.text.as_str()),
        (503, "not ready: the store is unavailable: disk full at /var/lib\n")
    );
}
