//! Changing a tenant's schemas with data in the store: what becomes unique, what goes away, what comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use scim_operator::scim::dialect::{Rules, Tolerated};
use scim_operator::scim::patch::Patch;
use scim_operator::scim::representation;
use scim_operator::scim::resource::Load;
use scim_operator::scim::schema::{CustomSchemas, Registry, ResourceType};
use scim_operator::store::Prepared;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::fixture::{BASE, Tenant, new_id};

const HR: &str = "urn:example:scim:hr:2.0:User";

/// Schemas whose HR extension has these attributes.
fn hr(attributes: &Value) -> CustomSchemas {
    let schema = json!({"id": HR, "name": "HR", "attributes": attributes});
    let extension = json!({"schema": schema, "resourceTypes": ["User"], "required": false});
    serde_json::from_value(json!({"extensions": [extension]})).unwrap()
}

fn badge(uniqueness: &str) -> CustomSchemas {
    hr(&json!([{"name": "badge", "uniqueness": uniqueness}]))
}

/// The tenant under these schemas, prepared and served, and what preparing came to.
async fn under(backend: &Backend, schemas: &CustomSchemas) -> (Tenant, Prepared) {
    let mut tenant = Tenant::acme(backend);
    let types = Registry::with(schemas, &BTreeSet::new()).resource_types;
    let prepared = tenant.store.prepare(&tenant.key, &types).await.unwrap();
    let registry = Registry::with(schemas, &prepared.hidden);
    tenant.user = Arc::clone(registry.by_name("User").unwrap());
    tenant.group = Arc::clone(registry.by_name("Group").unwrap());
    tenant.store.retire(&tenant.key).await.unwrap();
    (tenant, prepared)
}

fn person(name: &str, hr: &Value) -> Value {
    json!({"userName": name, HR: hr})
}

async fn shown(tenant: &Tenant, id: &str) -> Value {
    representation::to_value(tenant.get_user(id).await.unwrap().view(), BASE)
}

pub(crate) async fn attribute_that_becomes_unique_is_indexed_and_found(backend: &Backend) {
    let (before, _) = under(backend, &badge("none")).await;
    let mut ids = Vec::new();
    // More than one step of the build.
    for number in 0..1200 {
        let name = format!("u{number}");
        ids.push(before.user(person(&name, &json!({"badge": format!("B{number}")}))).await);
    }
    let (after, prepared) = under(backend, &badge("server")).await;
    assert_eq!((prepared.duplicates.len(), prepared.built.len()), (0, 1));
    assert_eq!(after.find_users(&format!("{HR}:badge eq \"b1199\"")).await, [ids[1199].clone()]);
    let error = after.run(after.user_command(&new_id(), person("new", &json!({"badge": "b7"})))).await;
    let error = error.unwrap_err();
    assert_eq!(error.status, 409);
    assert!(
        error.detail.starts_with(&format!("{HR}.badge: the value is taken by User {}", ids[7])),
        "{error}"
    );
    // Nothing to be built again.
    assert_eq!(under(backend, &badge("server")).await.1, Prepared::default());
}

pub(crate) async fn duplicates_stay_and_new_ones_are_refused(backend: &Backend) {
    let (before, _) = under(backend, &badge("none")).await;
    let ann = before.user(person("ann", &json!({"badge": "B1"}))).await;
    let bob = before.user(person("bob", &json!({"badge": "b1"}))).await;
    let (after, prepared) = under(backend, &badge("server")).await;
    let duplicates: Vec<_> = prepared.duplicates.iter().map(|d| (d.attribute.as_str(), d.count)).collect();
    assert_eq!(duplicates, [(format!("{HR}.badge").as_str(), 1)]);
    let filter = format!("{HR}:badge eq \"B1\"");
    assert_eq!(after.find_users(&filter).await, [ann.clone(), bob.clone()]);
    assert_eq!(
        after.find_users(&format!("userName eq \"bob\" and {filter}")).await,
        std::slice::from_ref(&bob)
    );
    let new = || after.user_command(&new_id(), person("new", &json!({"badge": "B1"})));
    assert_eq!(after.run(new()).await.unwrap_err().status, 409);
    // Whoever has the value keeps it through other changes.
    let title = json!([{"op": "replace", "path": "title", "value": "t"}]);
    for id in [&ann, &bob] {
        after.patch_user(id, title.clone()).await.unwrap();
    }
    // As long as one has it, nobody else gets it.
    let other = json!([{"op": "replace", "path": format!("{HR}:badge"), "value": "B2"}]);
    after.patch_user(&ann, other).await.unwrap();
    assert_eq!(after.run(new()).await.unwrap_err().status, 409);
    assert_eq!(under(backend, &badge("server")).await.1.duplicates, prepared.duplicates);
    after.run(after.delete_command(&after.user, &bob)).await.unwrap();
    after.run(new()).await.unwrap();
    assert_eq!(under(backend, &badge("server")).await.1.duplicates, []);
}

pub(crate) async fn attribute_no_longer_unique_may_repeat_and_become_so_again(backend: &Backend) {
    let (unique, _) = under(backend, &badge("server")).await;
    let ann = unique.user(person("ann", &json!({"badge": "B1"}))).await;
    let (shared, _) = under(backend, &badge("none")).await;
    let bob = shared.user(person("bob", &json!({"badge": "B1"}))).await;
    shared.run(shared.delete_command(&shared.user, &ann)).await.unwrap();
    let (unique, prepared) = under(backend, &badge("server")).await;
    assert_eq!(prepared.duplicates, []);
    assert_eq!(unique.find_users(&format!("{HR}:badge eq \"B1\"")).await, [bob]);
}

pub(crate) async fn writes_under_the_schema_of_before_keep_the_new_index(backend: &Backend) {
    let (before, _) = under(backend, &badge("none")).await;
    let ann = before.user(person("ann", &json!({"badge": "B1"}))).await;
    let (after, _) = under(backend, &badge("server")).await;
    // Requests that began before the change.
    let bob = before.user(person("bob", &json!({"badge": "B2"}))).await;
    assert_eq!(after.find_users(&format!("{HR}:badge eq \"B2\"")).await, std::slice::from_ref(&bob));
    before.run(before.delete_command(&before.user, &ann)).await.unwrap();
    let cara = after.user(person("cara", &json!({"badge": "B1"}))).await;
    let taken = json!([{"op": "replace", "path": format!("{HR}:badge"), "value": "B1"}]);
    assert_eq!(before.patch_user(&bob, taken).await.unwrap_err().status, 409);
    assert_eq!(after.find_users(&format!("{HR}:badge eq \"B1\"")).await, [cara]);
}

pub(crate) async fn racing_creates_of_one_extension_value_make_one(backend: &Backend) {
    let schemas = hr(&json!([
        {"name": "badge", "uniqueness": "server"},
        {"name": "cards", "multiValued": true, "uniqueness": "server", "caseExact": true},
        {"name": "number", "type": "integer", "uniqueness": "server"},
    ]));
    let (tenant, _) = under(backend, &schemas).await;
    for hr in [json!({"badge": "x"}), json!({"cards": ["one", "two"]}), json!({"number": 7})] {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..16 {
            let mut hr = hr.clone();
            if number % 2 == 1 && hr["badge"].is_string() {
                hr["badge"] = "X".into();
            }
            let (tenant, name) = (tenant.clone(), new_id());
            tasks.spawn(async move { tenant.run(tenant.user_command(&new_id(), person(&name, &hr))).await });
        }
        let results = tasks.join_all().await;
        let refused = results.iter().filter_map(|result| result.as_ref().err());
        assert_eq!(refused.clone().count(), 15, "{hr}");
        for error in refused {
            assert_eq!(error.scim_type, Some(scim_operator::scim::error::ScimType::Uniqueness), "{error}");
        }
    }
    // Case matters where the schema says so, and one shared value is enough to be refused.
    tenant.user(person("case", &json!({"cards": ["ONE"]}))).await;
    let shared = tenant.user_command(&new_id(), person("shared", &json!({"cards": ["three", "two"]})));
    assert_eq!(tenant.run(shared).await.unwrap_err().status, 409);
    for (filter, found) in [("number eq 7", 1), ("number eq 7.0", 1), ("number gt 6", 1), ("number eq 8", 0)]
    {
        assert_eq!(tenant.find_users(&format!("{HR}:{filter}")).await.len(), found, "{filter}");
    }
}

pub(crate) async fn removed_attribute_is_hidden_kept_and_comes_back(backend: &Backend) {
    let full = hr(&json!([
        {"name": "badge"},
        {"name": "desk", "type": "complex", "subAttributes": [{"name": "floor"}, {"name": "seat"}]},
    ]));
    let (before, _) = under(backend, &full).await;
    let extension = json!({"badge": "B1", "desk": {"floor": "3", "seat": "12"}});
    let id = before.user(person("ann", &extension)).await;

    let part = hr(&json!([{"name": "desk", "type": "complex", "subAttributes": [{"name": "floor"}]}]));
    let (narrowed, prepared) = under(backend, &part).await;
    assert_eq!(prepared.hidden, BTreeSet::from(["User".to_owned()]));
    assert_eq!(shown(&narrowed, &id).await[HR], json!({"desk": {"floor": "3"}}));
    assert_eq!(narrowed.find_users(&format!("{HR}:desk pr")).await.len(), 1);

    let (gone, _) = under(backend, &CustomSchemas::default()).await;
    let user = shown(&gone, &id).await;
    assert_eq!((&user[HR], user["schemas"].as_array().unwrap().len()), (&Value::Null, 1));
    assert_eq!(gone.find_users(&format!("schemas eq \"{HR}\"")).await.len(), 0);
    // A change of something else, and a PUT by a client that never saw the values.
    gone.patch_user(&id, json!([{"op": "add", "path": "title", "value": "t"}])).await.unwrap();
    let put = gone.put_command(&gone.user, &id, json!({"userName": "ann"}));
    let user = representation::to_value(Tenant::resource(gone.run(put).await).view(), BASE);
    assert_eq!((&user[HR], &user["title"]), (&Value::Null, &Value::Null));

    let (back, prepared) = under(backend, &full).await;
    assert_eq!(prepared.hidden, BTreeSet::new());
    let user = shown(&back, &id).await;
    assert_eq!(user[HR], extension);
    assert_eq!(user["schemas"], json!([back.user.schema.id, HR]));
}

pub(crate) async fn newly_required_attribute_does_not_block_other_patches(backend: &Backend) {
    let (before, _) = under(backend, &badge("none")).await;
    let ann = before.named("ann").await;
    let bob = before.user(person("bob", &json!({"badge": "B1"}))).await;
    let required = hr(&json!([{"name": "badge", "required": true}, {"name": "grade"}]));
    let (after, _) = under(backend, &required).await;
    after.patch_user(&ann, json!([{"op": "add", "path": "title", "value": "t"}])).await.unwrap();
    // The extension is touched, the attribute is not.
    let grade = json!([{"op": "add", "path": format!("{HR}:grade"), "value": "g"}]);
    assert_eq!(
        after.patch_user(&ann, grade.clone()).await.unwrap_err().detail,
        format!("\"{HR}:badge\" is required")
    );
    after.patch_user(&bob, grade).await.unwrap();
    let unread = "urn:example:scim:hr:2.0:User:badge is required and cannot be removed";
    let remove = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [
        {"op": "remove", "path": format!("{HR}:badge")},
    ]});
    let refused = Patch::compile(remove, &after.user, Rules::NONE, &mut Tolerated::default());
    assert_eq!(refused.unwrap_err().detail, format!("Operations[0]: {unread}"));
}

pub(crate) async fn values_that_no_longer_fit_are_still_read(backend: &Backend) {
    let (before, _) =
        under(backend, &hr(&json!([{"name": "grade"}, {"name": "codes", "multiValued": true}]))).await;
    let id = before.user(person("ann", &json!({"grade": "intern", "codes": ["a", "b"]}))).await;
    let other = hr(&json!([{"name": "grade", "type": "integer", "uniqueness": "server"}, {"name": "codes"}]));
    let (after, _) = under(backend, &other).await;
    assert_eq!(shown(&after, &id).await[HR], json!({"grade": "intern", "codes": ["a", "b"]}));
    assert_eq!(after.find_users(&format!("{HR}:codes eq \"b\"")).await, std::slice::from_ref(&id));
    assert_eq!(after.find_users(&format!("{HR}:grade eq 1")).await.len(), 0);
    after.patch_user(&id, json!([{"op": "add", "path": "title", "value": "t"}])).await.unwrap();
    assert_eq!(shown(&after, &id).await[HR]["grade"], "intern");
    after
        .patch_user(&id, json!([{"op": "replace", "path": format!("{HR}:grade"), "value": 1}]))
        .await
        .unwrap();
    assert_eq!(after.find_users(&format!("{HR}:grade eq 1")).await, [id]);
}

pub(crate) async fn removed_resource_type_keeps_its_resources(backend: &Backend) {
    let roles: CustomSchemas = serde_json::from_value(json!({"resourceTypes": [{
        "name": "Role", "endpoint": "/Roles", "description": "",
        "schema": {"id": "urn:example:scim:2.0:Role", "name": "Role", "attributes": [
            {"name": "code", "uniqueness": "server", "required": true}
        ]},
    }]}))
    .unwrap();
    let (tenant, _) = under(backend, &roles).await;
    let role = |schemas| -> Arc<ResourceType> {
        Arc::clone(Registry::with(schemas, &BTreeSet::new()).by_name("Role").unwrap())
    };
    let role = role(&roles);
    let body = json!({"schemas": [role.schema.id], "code": "Admin"});
    let id = new_id();
    tenant.run(tenant.create_command(&id, &role, body.clone())).await.unwrap();
    under(backend, &CustomSchemas::default()).await;
    let (tenant, prepared) = under(backend, &roles).await;
    assert_eq!((prepared.hidden, prepared.built), (BTreeSet::new(), BTreeSet::new()));
    let found = tenant.store.get(&tenant.key, &role, &id, Load::ALL).await.unwrap().unwrap();
    assert_eq!(representation::to_value(found.view(), BASE)["code"], "Admin");
    let again = tenant.run(tenant.create_command(&new_id(), &role, body)).await;
    assert_eq!(again.unwrap_err().status, 409);
}
