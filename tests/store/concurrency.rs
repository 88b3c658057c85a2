//! Many at once: nothing is made twice, nothing is lost, and a list is of one moment.

use scim_operator::store::{Outcome, Unit};
use serde_json::json;
use tokio::task::JoinSet;

use crate::backend::Backend;
use crate::fixture::{Tenant, body, first, member_ids, new_id};

pub(crate) async fn racing_creates_of_one_user_name_make_one(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let acme = acme.clone();
        let name = if number % 2 == 0 { "ann@example.com" } else { "Ann@Example.COM" };
        tasks.spawn(async move { acme.run(acme.user_command(&new_id(), json!({"userName": name}))).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| matches!(result, Ok(Outcome::Created(_)))).count(), 1);
    assert_eq!(
        results.iter().filter(|result| matches!(result, Err(error) if error.status == 409)).count(),
        63
    );
    assert_eq!(acme.find_users("").await.len(), 1);
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 1);
}

pub(crate) async fn racing_patches_of_one_user_lose_nothing(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let id = acme.named("ann").await;
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let (acme, id) = (acme.clone(), id.clone());
        tasks.spawn(async move {
            let value = json!([{"value": format!("ann{number}@example.com")}]);
            acme.patch_user(&id, json!([{"op": "add", "path": "emails", "value": value}])).await.unwrap();
        });
    }
    tasks.join_all().await;
    let user = acme.get_user(&id).await.unwrap();
    assert_eq!(user.version, 65);
    assert_eq!(body(&user)["emails"].as_array().unwrap().len(), 64);
    for number in 0..64 {
        assert_eq!(acme.find_users(&format!("emails.value eq \"ann{number}@example.com\"")).await.len(), 1);
    }
}

pub(crate) async fn racing_patches_of_one_group_lose_nothing(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let staff = acme.group("staff", &[]).await;
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let (acme, staff) = (acme.clone(), staff.clone());
        tasks.spawn(async move {
            let user = acme.named(&format!("user{number}")).await;
            let value = json!([{"value": user}]);
            acme.patch_group(&staff, json!([{"op": "add", "path": "members", "value": value}]))
                .await
                .unwrap();
        });
    }
    tasks.join_all().await;
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((member_ids(&group).len(), group.version), (64, 65));
}

pub(crate) async fn racing_refusals_undo_themselves_alone(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let staff = acme.group("staff", &[]).await;
    let mut tasks = JoinSet::new();
    for number in 0..64 {
        let (acme, staff) = (acme.clone(), staff.clone());
        tasks.spawn(async move {
            let id = new_id();
            let member = json!([{"op": "add", "path": "members", "value": [{"value": id}]}]);
            let mut commands = vec![
                acme.user_command(&id, json!({"userName": format!("user{number}"), "externalId": "7"})),
                acme.patch_command(&acme.group, &staff, member),
            ];
            if number % 2 == 1 {
                // What was done before is undone, and nothing of the others.
                commands.push(acme.delete_command(&acme.user, "none"));
            }
            let results = acme.write(vec![Unit { commands, requires: Vec::new() }]).await;
            assert_eq!(results[0].is_ok(), number % 2 == 0);
        });
    }
    tasks.join_all().await;
    let group = acme.get_group(&staff).await.unwrap();
    assert_eq!((member_ids(&group).len(), group.version), (32, 33));
    assert_eq!(acme.find_users("externalId eq \"7\"").await.len(), 32);
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 32);
    assert_eq!(acme.find_users("").await.len(), 32);
}

pub(crate) async fn lists_are_of_one_moment(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let writer = acme.clone();
    let writing = tokio::spawn(async move {
        for number in 0..200 {
            let id = writer.named(&format!("user{number}")).await;
            if number % 3 == 0 {
                writer.run(writer.delete_command(&writer.user, &id)).await.unwrap();
            }
        }
    });
    let queries = ["", "title pr or userName pr", "userName sw \"u\""]
        .map(|filter| acme.query(&acme.user, filter, first(1000)));
    while !writing.is_finished() {
        for query in &queries {
            let listing = acme.list(query).await;
            assert_eq!(listing.total, listing.resources.len() as u64);
        }
    }
    writing.await.unwrap();
}
