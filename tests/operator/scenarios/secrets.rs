//! Secrets that tenants name: changed, broken, missing, repaired, renamed. While one cannot be used, the last good
//! configuration serves on.

use serde_json::json;

use super::{ENDPOINT, TENANT};
use crate::support::{Scene, until};
use crate::{Scenario, rows};

/// A token, and another.
const BLUE: &str = "blue-0123456789abcdef0123456789abcdef";
const GREEN: &str = "green-0123456789abcdef0123456789abcdef";

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: token-of-acme}
stringData: {token: blue-0123456789abcdef0123456789abcdef}
";

const TENANT_WITH_SECRET: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: acme}
spec:
  endpointRef: {name: main}
  authentication: {bearer: {secretName: token-of-acme}}
";

/// The migration's token is in a Secret that nobody makes but its owner.
const TENANT_WITH_MORE_TOKENS: &str = "
apiVersion: scim-operator.io/v1alpha1
kind: ScimTenant
metadata: {name: acme}
spec:
  endpointRef: {name: main}
  authentication:
    bearer:
      secretName: token-of-acme
      tokens: [{name: migration, secretKeyRef: {name: migration, key: token}}]
";

const MORE_TOKENS: &str = "
apiVersion: v1
kind: Secret
metadata: {name: migration}
stringData: {token: green-0123456789abcdef0123456789abcdef}
";

pub(super) fn all() -> Vec<Scenario> {
    rows![
        secret_changed_replaces_the_token,
        secret_broken_is_said_and_the_last_good_serves_until_it_is_repaired,
        secret_missing_is_said_and_the_last_good_serves_until_it_is_back,
        secret_missing_from_the_start_is_said_and_nothing_is_served,
        secret_renamed_counts_by_its_new_name,
        secret_that_was_made_is_made_again_when_it_is_deleted,
    ]
}

async fn secret_changed_replaces_the_token(scene: Scene) {
    scene.apply(SECRET).await;
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT_WITH_SECRET).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    scene.edit("Secret", "token-of-acme", json!({"stringData": {"token": GREEN}})).await;
    tenant.with_token(GREEN).answers(200).await;
    tenant.with_token(BLUE).answers(401).await;
    // It is the user's: nothing was added to it.
    let secret = scene.get("Secret", "token-of-acme").await;
    assert_eq!(secret["data"].as_object().map(serde_json::Map::len), Some(1), "{}", secret["data"]);
}

async fn secret_broken_is_said_and_the_last_good_serves_until_it_is_repaired(scene: Scene) {
    scene.apply(SECRET).await;
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT_WITH_SECRET).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    scene
        .edit("Secret", "token-of-acme", json!({"stringData": {"token": "wrong wörds 0123456789abcdef"}}))
        .await;
    let said = scene.refuses(("ScimTenant", "acme"), "SecretInvalid").await;
    assert!(said.contains("token-of-acme") && !said.contains("wörds"), "{said}");
    tenant.answers(200).await;
    scene.edit("Secret", "token-of-acme", json!({"stringData": {"token": GREEN}})).await;
    tenant.with_token(GREEN).answers(200).await;
    scene.ready("ScimTenant", "acme").await;
}

async fn secret_missing_is_said_and_the_last_good_serves_until_it_is_back(scene: Scene) {
    scene.apply(SECRET).await;
    scene.apply(MORE_TOKENS).await;
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT_WITH_MORE_TOKENS).await;
    let tenant = scene.tenant("acme").await;
    tenant.with_token(GREEN).answers(200).await;
    scene.delete("Secret", "migration").await;
    let said = scene.refuses(("ScimTenant", "acme"), "SecretNotFound").await;
    assert!(said.contains("migration"), "{said}");
    scene.event(("ScimTenant", "acme"), "Refused").await;
    tenant.answers(200).await;
    tenant.with_token(GREEN).answers(200).await;
    scene.apply(MORE_TOKENS).await;
    scene.ready("ScimTenant", "acme").await;
}

async fn secret_missing_from_the_start_is_said_and_nothing_is_served(scene: Scene) {
    scene.apply(SECRET).await;
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT_WITH_MORE_TOKENS).await;
    let said = scene.refuses(("ScimTenant", "acme"), "SecretNotFound").await;
    assert!(said.contains("migration"), "{said}");
    let endpoint = scene.ready("ScimEndpoint", "main").await;
    assert_eq!(
        (&endpoint["status"]["tenants"], &endpoint["status"]["refusedTenants"]),
        (&json!(0), &json!(1))
    );
    scene.apply(MORE_TOKENS).await;
    scene.tenant("acme").await.answers(200).await;
}

async fn secret_renamed_counts_by_its_new_name(scene: Scene) {
    scene.apply(SECRET).await;
    scene.apply(MORE_TOKENS).await;
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT_WITH_SECRET).await;
    let tenant = scene.tenant("acme").await;
    tenant.answers(200).await;
    let renamed = json!({"spec": {"authentication": {"bearer": {"secretName": "migration"}}}});
    scene.edit("ScimTenant", "acme", renamed).await;
    tenant.with_token(GREEN).answers(200).await;
    tenant.with_token(BLUE).answers(401).await;
    // The old one is nobody's now: it may go.
    scene.delete("Secret", "token-of-acme").await;
    scene.tenant("acme").await.answers(200).await;
}

async fn secret_that_was_made_is_made_again_when_it_is_deleted(scene: Scene) {
    scene.apply(ENDPOINT).await;
    scene.apply(TENANT).await;
    let tenant = scene.tenant("acme").await;
    let token = scene.secret("acme-scim-token", "token").await;
    scene.delete("Secret", "acme-scim-token").await;
    let other = until("there is another token", async || {
        let other = scene.secret("acme-scim-token", "token").await;
        if other == token { Err("it is the old one".to_owned()) } else { Ok(other) }
    })
    .await;
    tenant.with_token(&other).answers(200).await;
    tenant.with_token(&token).answers(401).await;
}
