//! Writes with an idempotency key: applied once, answered again, forgotten in time.

use jiff::{SignedDuration, Timestamp};
use scim_operator::scim::error::ScimError;
use scim_operator::scim::etag::Version;
use scim_operator::store::idempotency::{Keyed, Once, Recalled, Render, SavedAnswer};
use scim_operator::store::sqlite::SqliteStore;
use scim_operator::store::{Command, Outcome, Refusal, Store, StoreError, UnitResult};
use serde_json::json;

use crate::backend::{self, Backend};
use crate::fixture::{Tenant, alone, new_id, write};

fn keyed(key: u8, request: u8) -> Keyed {
    let since = Timestamp::now() - SignedDuration::from_hours(24);
    Keyed { key: [key; 32], request: [request; 32], since }
}

/// The id and version of the first resource, or the refusal's status.
fn answer(results: &[UnitResult]) -> SavedAnswer {
    match &results[0] {
        Ok(outcomes) => match &outcomes[0] {
            Outcome::Created(resource) | Outcome::Updated(resource) => SavedAnswer {
                status: 201,
                version: Some(resource.version()),
                location: Some(format!("/Users/{}", resource.id)),
                body: Some(resource.body.to_vec()),
            },
            Outcome::Deleted | Outcome::Purged { .. } => {
                SavedAnswer { status: 204, version: None, location: None, body: None }
            }
        },
        Err(Refusal::Command(_, error)) => {
            SavedAnswer { status: error.status, version: None, location: None, body: None }
        }
        Err(Refusal::Requires(_)) => panic!("nothing is required"),
    }
}

async fn once(tenant: &Tenant, keyed: Keyed, commands: Vec<Command>) -> Once {
    let units = commands.into_iter().map(alone).collect();
    let render = Render::new(|results| Ok(answer(&results)));
    tenant.store.write_once(&tenant.key, write(units), keyed, render).await.unwrap()
}

fn first(once: Once) -> SavedAnswer {
    match once {
        Once::First(answer) => answer,
        Once::Before(recalled) => panic!("{recalled:?}"),
    }
}

pub(crate) async fn write_with_a_key_is_applied_once(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let create = || vec![acme.user_command(&new_id(), json!({"userName": "ann"}))];
    assert_eq!(acme.store.recall(&acme.key, &keyed(1, 1)).await.unwrap(), None, "no tenant yet");
    let made = first(once(&acme, keyed(1, 1), create()).await);
    assert_eq!((made.status, made.version), (201, Some(Version { number: 1, related: None })));
    let again = Recalled::Answer(made);
    assert_eq!(once(&acme, keyed(1, 1), create()).await, Once::Before(again.clone()));
    assert_eq!(acme.store.recall(&acme.key, &keyed(1, 1)).await.unwrap(), Some(again));
    assert_eq!(once(&acme, keyed(1, 2), create()).await, Once::Before(Recalled::OtherRequest));
    assert_eq!(acme.store.recall(&acme.key, &keyed(1, 2)).await.unwrap(), Some(Recalled::OtherRequest));
    assert_eq!(acme.store.recall(&acme.key, &keyed(2, 1)).await.unwrap(), None);
    assert_eq!(acme.find_users("").await.len(), 1);
}

pub(crate) async fn key_belongs_to_its_tenant(backend: &Backend) {
    let (acme, globex) = (Tenant::acme(backend), Tenant::of(backend, "identity/globex"));
    for tenant in [&acme, &globex] {
        let command = tenant.user_command(&new_id(), json!({"userName": "ann"}));
        first(once(tenant, keyed(1, 1), vec![command]).await);
    }
}

pub(crate) async fn refusal_is_remembered_and_undone(backend: &Backend) {
    let acme = Tenant::acme(backend);
    acme.named("ann").await;
    let taken = acme.user_command(&new_id(), json!({"userName": "ANN"}));
    let refused = first(once(&acme, keyed(1, 1), vec![taken]).await);
    assert_eq!(refused.status, 409);
    let free = acme.user_command(&new_id(), json!({"userName": "bob"}));
    assert_eq!(once(&acme, keyed(1, 1), vec![free]).await, Once::Before(Recalled::Answer(refused)));

    // A group whose members are unknown is inserted before it is refused.
    let group = acme.group_command(&new_id(), "g", &["nobody"]);
    assert_eq!(first(once(&acme, keyed(2, 1), vec![group]).await).status, 400);
    assert_eq!(acme.store.count(&acme.key, "Group").await.unwrap(), 0);
    assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 1);
}

pub(crate) async fn answer_that_cannot_be_made_undoes_the_write(backend: &Backend) {
    let acme = Tenant::acme(backend);
    acme.named("ann").await;
    for panics in [false, true] {
        let command = acme.user_command(&new_id(), json!({"userName": "bob"}));
        let render = Render::new(move |_| {
            assert!(!panics, "on purpose");
            Err(StoreError::Internal("on purpose".to_owned()))
        });
        let units = write(vec![alone(command)]);
        acme.store.write_once(&acme.key, units, keyed(1, 1), render).await.unwrap_err();
        assert_eq!(acme.store.count(&acme.key, "User").await.unwrap(), 1);
        assert_eq!(acme.store.recall(&acme.key, &keyed(1, 1)).await.unwrap(), None);
    }
}

pub(crate) async fn racing_twins_are_answered_alike(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let mut twins = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let acme = acme.clone();
        twins.spawn(async move {
            let command = acme.user_command(&new_id(), json!({"userName": "ann"}));
            once(&acme, keyed(1, 1), vec![command]).await
        });
    }
    let (first, again): (Vec<_>, Vec<_>) =
        twins.join_all().await.into_iter().partition(|once| matches!(once, Once::First(_)));
    let [Once::First(answer)] = &first[..] else { panic!("{} were first", first.len()) };
    let expected = Once::Before(Recalled::Answer(answer.clone()));
    assert!(again.iter().all(|once| *once == expected));
    assert_eq!(acme.find_users("").await.len(), 1);
}

pub(crate) async fn old_answers_are_forgotten(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let create = |name: &str| vec![acme.user_command(&new_id(), json!({"userName": name}))];
    first(once(&acme, keyed(1, 1), create("ann")).await);
    let later = Timestamp::now() + SignedDuration::from_secs(1);
    let forgotten = Keyed { since: later, ..keyed(1, 2) };
    assert_eq!(acme.store.recall(&acme.key, &forgotten).await.unwrap(), None);
    first(once(&acme, forgotten, create("bob")).await);
    assert_eq!(
        acme.store.recall(&acme.key, &keyed(1, 1)).await.unwrap(),
        Some(Recalled::OtherRequest),
        "the newer use of the key took the place of the older"
    );
    for n in 10..20 {
        first(once(&acme, keyed(n, 1), create(&n.to_string())).await);
    }
    let early = Timestamp::now() - SignedDuration::from_secs(3600);
    assert_eq!(acme.store.forget_answers(early).await.unwrap(), 0);
    assert_eq!(acme.store.forget_answers(later + SignedDuration::from_secs(60)).await.unwrap(), 11);
    assert_eq!(acme.store.recall(&acme.key, &keyed(10, 1)).await.unwrap(), None);
}

#[tokio::test]
async fn answers_survive_a_restart() {
    let backend = backend::sqlite();
    let acme = Tenant::acme(&backend);
    let command = acme.user_command(&new_id(), json!({"userName": "ann"}));
    let made = first(once(&acme, keyed(1, 1), vec![command]).await);
    acme.store.close().await;
    let key = acme.key.clone();
    drop(acme);
    let directory = backend.into_directory();
    let store = SqliteStore::open(directory.path()).unwrap();
    assert_eq!(store.recall(&key, &keyed(1, 1)).await.unwrap(), Some(Recalled::Answer(made)));
}

pub(crate) async fn refused_command_is_refused_before_anything_is_done(backend: &Backend) {
    let acme = Tenant::acme(backend);
    let error = ScimError::invalid_value("userName: wrong");
    let mut unit = alone(acme.user_command(&new_id(), json!({"userName": "ann"})));
    unit.commands.push(Command::Refuse(error.clone()));
    let results = acme.write(vec![unit]).await;
    assert_eq!(results[0].as_ref().unwrap_err(), &Refusal::Command(1, error));
    assert!(acme.find_users("").await.is_empty());
}
