//! A tenant's credentials: the Secret with its URL and token, made where there is none. A token that is there is never
//! written again, except by a rotation of one that we made; the URL is kept true.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    build::{self, NewCredentials},
    cache::SecretEntry,
    context::Context,
    events::Happening,
    failure::Failure,
    key::Key,
    kinds::Kind,
};
use crate::{
    config::{
        objects::Secret,
        rotation::{Rotation, plan},
        tokens,
    },
    crd::{ISSUED_AT_ANNOTATION, PREVIOUS_EXPIRES_AT_ANNOTATION, PREVIOUS_TOKEN_KEY, ScimTenant, TOKEN_KEY},
};

/// The key with the tenant's base URL.
const URL_KEY: &str = "url";

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tended {
    /// They were made just now: the endpoint's turn has yet to take them in.
    Made,
    /// They are as they should be, until this much later.
    Kept(Option<Duration>),
}

/// Makes or tends a tenant's credentials.
pub(crate) async fn tend(
    context: &Context,
    key: &Key,
    tenant: &ScimTenant,
    url: Option<&str>,
) -> Result<Tended, Failure> {
    let Some(name) = tenant.token_secret() else { return Ok(Tended::Kept(None)) };
    let place = Key::new(&key.namespace, &name);
    let now = Timestamp::now();
    match context.cache.secret(&place) {
        None => {
            make(context, &place, tenant, url, now).await?;
            Ok(Tended::Made)
        }
        // Made for this tenant, by us.
        Some(entry) if entry.owner.as_deref() == tenant.metadata.uid.as_deref() && !entry.deleting => {
            match entry.secret(&place) {
                Some(secret) => {
                    keep(context, &place, tenant, (&entry, &secret), url, now).await.map(Tended::Kept)
                }
                None => Ok(Tended::Kept(None)),
            }
        }
        Some(_) => Ok(Tended::Kept(None)),
    }
}

async fn make(
    context: &Context,
    place: &Key,
    tenant: &ScimTenant,
    url: Option<&str>,
    now: Timestamp,
) -> Result<(), Failure> {
    let token = tokens::random_token().map_err(Failure::Random)?;
    let token = String::from_utf8_lossy(&token);
    let issued_at = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let new = NewCredentials { url, token: &token, issued_at: Some(&issued_at) };
    let Some(secret) = build::credentials(tenant, &new) else { return Ok(()) };
    let body = serde_json::to_value(secret).unwrap_or_default();
    match context.cluster.create(Kind::Secret, place, body).await {
        Ok(_) => {
            tracing::info!(secret = %place, generation = tenant.metadata.generation, "made credentials");
            let note =
                format!("Secret {} has the url and the token to enter in the identity provider", place.name);
            context.events.tell(Kind::Tenant, &tenant.metadata, Happening::CredentialsMade, &note);
            Ok(())
        }
        // Somebody was faster, and a watch brings it in a moment.
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Rotates the token when it is time, and keeps the URL true.
async fn keep(
    context: &Context,
    place: &Key,
    tenant: &ScimTenant,
    (entry, secret): (&SecretEntry, &Secret),
    url: Option<&str>,
    now: Timestamp,
) -> Result<Option<Duration>, Failure> {
    let bearer = tenant.spec.authentication.bearer.as_ref();
    let rotation = bearer.and_then(|bearer| bearer.rotation.as_ref());
    let rotation = rotation
        .map(|rotation| Rotation { interval: rotation.interval.get(), overlap: rotation.overlap.get() });
    let state = tokens::state(secret);
    // Without a rotation, and with nothing left of one, the token is not looked at.
    let (write, next) = if rotation.is_some() || state.previous_expires_at.is_some() {
        let plan = plan(now, state, rotation);
        (plan.write, plan.next)
    } else {
        (None, None)
    };
    let mut changed = match write {
        Some(write) => tokens::change(secret, write).map_err(Failure::Random)?,
        None => secret.clone(),
    };
    if let Some(url) = url {
        changed.data.insert(URL_KEY.to_owned(), url.as_bytes().to_vec());
    }
    if let Some(patch) = patch(entry, secret, &changed) {
        context.cluster.merge(Kind::Secret, place, &patch).await?;
        if write.is_some_and(|write| write.new_token) {
            tracing::info!(secret = %place, "rotated the token");
            let end = write.and_then(|write| write.state.previous_expires_at);
            let end = end.map(|end| format!("; the old one works until {end}")).unwrap_or_default();
            let note =
                format!("Secret {} has a new token: enter it in the identity provider{end}", place.name);
            context.events.tell(Kind::Tenant, &tenant.metadata, Happening::TokenRotated, &note);
        }
    }
    let wait = next.map(|next| next.duration_since(now));
    Ok(wait.map(|wait| Duration::try_from(wait).unwrap_or_default().max(Duration::from_secs(1))))
}

/// What to change of this version of the Secret; none when nothing is.
fn patch(entry: &SecretEntry, before: &Secret, after: &Secret) -> Option<Value> {
    let mut data = Map::new();
    for name in [URL_KEY, TOKEN_KEY, PREVIOUS_TOKEN_KEY] {
        let value = after.data.get(name);
        if before.data.get(name) != value {
            data.insert(name.to_owned(), value.map(|bytes| BASE64_STANDARD.encode(bytes)).into());
        }
    }
    let annotation = |secret: &Secret, name: &str| {
        secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name)).cloned()
    };
    let mut annotations = Map::new();
    for name in [ISSUED_AT_ANNOTATION, PREVIOUS_EXPIRES_AT_ANNOTATION] {
        let value = annotation(after, name);
        if annotation(before, name) != value {
            annotations.insert(name.to_owned(), value.into());
        }
    }
    if data.is_empty() && annotations.is_empty() {
        return None;
    }
    Some(json!({
        "metadata": { "resourceVersion": &*entry.resource_version, "annotations": annotations },
        "data": data,
    }))
}
