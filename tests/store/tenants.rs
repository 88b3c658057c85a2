//! Tenants are walls; what becomes of their data; and the store's own life.

use jiff::Timestamp;
use scim_operator::scim::resource::Load;
use scim_operator::store::token_use::{Fingerprint, TokenUse};
use scim_operator::store::{Count, StoreError, TenantKey};
use serde_json::json;

use crate::backend::Backend;
use crate::fixture::{Tenant, alone, first, new_id, tenant_key, write};

pub(crate) async fn tenants_do_not_see_each_other(backend: &Backend) {
    let (acme, zeta) = (Tenant::acme(backend), Tenant::of(backend, "identity/zeta"));
    let ann = acme.user(json!({"userName": "ann", "externalId": "7", "displayName": "Ann"})).await;
    let staff = acme.group("staff", &[&ann]).await;
    let other = zeta.named("Ann").await;
    assert!(zeta.get_user(&ann).await.is_none());
    for command in [
        zeta.put_command(&zeta.user, &ann, json!({"userName": "eve"})),
        zeta.patch_command(&zeta.user, &ann, json!([{"op": "replace", "path": "title", "value": "x"}])),
        zeta.delete_command(&zeta.user, &ann),
    ] {
        assert_eq!(zeta.run(command).await.unwrap_err().status, 404);
    }
    assert_eq!(
        zeta.run(zeta.group_command(&new_id(), "all", &[&ann, &other])).await.unwrap_err().status,
        400
    );
    for filter in ["externalId eq \"7\"", "displayName sw \"a\"", "displayName pr"] {
        assert!(zeta.find_users(filter).await.is_empty(), "{filter}");
    }
    assert!(zeta.find_users(&format!("id eq \"{ann}\"")).await.is_empty());
    assert!(zeta.find_users(&format!("groups.value eq \"{staff}\"")).await.is_empty());
    assert!(zeta.find_groups(&format!("members.value eq \"{ann}\"")).await.is_empty());
    assert_eq!(zeta.find_users("").await, [other]);
    assert_eq!(zeta.store.count(&zeta.key, "Group").await.unwrap(), 0);
    let mut counts = zeta.store.counts().await.unwrap();
    counts.sort_by_key(|count| (count.tenant.clone(), count.resource_type.clone()));
    let count = |tenant: &TenantKey, resource_type: &str| Count {
        tenant: tenant.clone(),
        resource_type: resource_type.to_owned(),
        resources: 1,
    };
    let expected = [count(&acme.key, "Group"), count(&acme.key, "User"), count(&zeta.key, "User")];
    assert_eq!(counts, expected, "those that have any");
    // The same id in two tenants is two resources.
    zeta.run(zeta.user_command(&ann, json!({"userName": "eve"}))).await.unwrap();
    zeta.run(zeta.delete_command(&zeta.user, &ann)).await.unwrap();
    assert_eq!(acme.get_user(&ann).await.unwrap().version, 1);
}

pub(crate) async fn removed_tenant_is_kept_unless_marked(backend: &Backend) {
    let (acme, zeta) = (Tenant::acme(backend), Tenant::of(backend, "identity/zeta"));
    let store = &backend.store;
    let ann = acme.named("ann").await;
    zeta.named("ann").await;
    store.set_purge_on_removal(&acme.key, true).await.unwrap();
    store.set_purge_on_removal(&acme.key, false).await.unwrap();
    store.set_purge_on_removal(&zeta.key, true).await.unwrap();
    let others = [acme.key.clone()];
    assert_eq!(store.purge_removed(&[], Some(&[])).await.unwrap(), [], "nobody is removed");
    assert_eq!(store.purge_removed(&[], Some(&others)).await.unwrap(), [], "it is not marked");
    let both = [acme.key.clone(), zeta.key.clone()];
    assert_eq!(store.purge_removed(&both, Some(&both)).await.unwrap(), [], "it is served");
    assert_eq!(store.purge_removed(&[acme.key.clone(), zeta.key.clone()], None).await.unwrap(), []);
    assert_eq!(store.tenants().await.unwrap(), [acme.key.clone(), zeta.key.clone()]);
    assert_eq!(store.marked_for_purge().await.unwrap(), vec![zeta.key.clone()]);
    assert_eq!(store.purge_removed(&[], None).await.unwrap(), vec![zeta.key.clone()]);
    assert_eq!(store.tenants().await.unwrap(), vec![acme.key.clone()]);
    assert!(acme.get_user(&ann).await.is_some());
    assert!(zeta.find_users("").await.is_empty());
    assert_eq!(store.purge_removed(&[], None).await.unwrap(), []);
    assert_eq!(store.marked_for_purge().await.unwrap(), []);
}

pub(crate) async fn purged_tenant_can_come_back_empty(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let store = &backend.store;
    store.set_purge_on_removal(&acme.key, true).await.unwrap();
    assert_eq!(store.tenants().await.unwrap(), []);
    let users: Vec<_> = (0..2500).map(|_| new_id()).collect();
    let units =
        users.iter().map(|id| alone(acme.user_command(id, json!({"userName": id, "externalId": "7"}))));
    acme.write(units.collect()).await;
    let members: Vec<_> = users.iter().map(String::as_str).collect();
    acme.group("all", &members).await;
    assert_eq!(store.purge_removed(&[], None).await.unwrap(), vec![acme.key.clone()]);
    assert_eq!(acme.list(&acme.query(&acme.user, "", first(10))).await.total, 0);
    assert!(acme.get_user(&users[0]).await.is_none());
    assert_eq!(store.count(&acme.key, "User").await.unwrap(), 0);
    let again = acme.named(&users[0]).await;
    assert_eq!(acme.find_users("").await, [again]);
    // The new tenant of that name was not marked.
    assert_eq!(store.purge_removed(&[], None).await.unwrap(), []);
}

pub(crate) async fn cursor_key_stays(backend: &Backend) {
    let key = backend.store.cursor_key().await.unwrap();
    assert_ne!(key, [0; 32]);
    assert_eq!(backend.store.cursor_key().await.unwrap(), key);
}

pub(crate) async fn closed_store_says_so(backend: &Backend) {
    let acme = Tenant::acme(backend);
    acme.named("ann").await;
    let store = &backend.store;
    store.ping().await.unwrap();
    store.close().await;
    store.close().await;
    let closing = |error: StoreError| assert!(matches!(error, StoreError::Closing), "{error}");
    closing(store.ping().await.unwrap_err());
    closing(store.get(&acme.key, &acme.user, "x", Load::ALL).await.unwrap_err());
    closing(store.get(&tenant_key("identity/none"), &acme.user, "x", Load::ALL).await.unwrap_err());
    closing(store.list(&acme.key, &acme.query(&acme.user, "", first(1))).await.unwrap_err());
    closing(store.write(&acme.key, write(Vec::new())).await.unwrap_err());
    closing(store.tenants().await.unwrap_err());
    closing(store.set_purge_on_removal(&acme.key, true).await.unwrap_err());
}

pub(crate) async fn last_uses_of_tokens_only_move_forward(backend: &Backend) {
    let (acme, zeta) = (tenant_key("identity/acme"), tenant_key("identity/zeta"));
    let used = |tenant: &TenantKey, token: u8, second| TokenUse {
        tenant: tenant.clone(),
        token: Fingerprint([token; 8]),
        last_used: Timestamp::from_second(second).unwrap(),
    };
    let store = &backend.store;
    assert_eq!(store.token_uses().await.unwrap(), []);
    let year = 365 * 86_400;
    store.record_token_uses(vec![used(&acme, 1, year), used(&zeta, 1, year)]).await.unwrap();
    store.record_token_uses(vec![used(&acme, 1, year - 5), used(&acme, 2, year + 5)]).await.unwrap();
    let known = [used(&acme, 1, year), used(&acme, 2, year + 5), used(&zeta, 1, year)];
    assert_eq!(store.token_uses().await.unwrap(), known);

    store.set_purge_on_removal(&zeta, true).await.unwrap();
    store.purge_removed(std::slice::from_ref(&acme), None).await.unwrap();
    assert_eq!(store.token_uses().await.unwrap(), known[..2]);
    store.record_token_uses(vec![used(&acme, 3, 3 * year)]).await.unwrap();
    assert_eq!(
        store.token_uses().await.unwrap(),
        [used(&acme, 3, 3 * year)],
        "what is very old is forgotten"
    );
}
