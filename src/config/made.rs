//! The bearer Secrets of a folder that are ours to write: those that are missing are made, and those made earlier are
//! rotated where their tenant asks for it.

use std::{collections::HashSet, path::Path};

use jiff::{SignedDuration, Timestamp};

use super::{
    findings::Finding,
    manifests::{GeneratedSecret, LoadError, RotatedToken},
    objects::{Located, Object, Objects, Secret, SecretIndex},
    rotation::{Rotation, plan},
    tokens::{self, Prepared},
    yaml::Source,
};
use crate::crd::ScimTenant;

/// After a rotation could not be written, when to try again.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// What is made on one load, ready to be put in place.
#[derive(Default)]
pub(super) struct Made {
    pub(super) prepared: Vec<Prepared>,
    pub(super) generated: Vec<GeneratedSecret>,
    pub(super) rotated: Vec<RotatedToken>,
    /// When there is something to do next.
    pub(super) next: Option<Timestamp>,
    pub(super) warnings: Vec<Finding>,
}

impl Made {
    /// Makes what `tenants` need now, and puts it among `secrets`. Two tenants may share a Secret.
    pub(super) fn make(
        data: &Path,
        now: Timestamp,
        tenants: &[&Located<ScimTenant>],
        objects: &Objects,
        secrets: &mut Vec<Located<Secret>>,
    ) -> Result<Self, LoadError> {
        let mut made = Self::default();
        let mut seen = HashSet::new();
        for tenant in tenants {
            let (namespace, Some(name)) = (tenant.object.namespace(), tenant.object.token_secret()) else {
                continue;
            };
            if !seen.insert((namespace.to_owned(), name.clone())) {
                continue;
            }
            let index = SecretIndex::new(&objects.secrets);
            match index.get(namespace, &name) {
                None => made.generate(data, now, tenant, name, secrets)?,
                Some(secret) if is_ours(data, secret, objects) => {
                    let shared = tenants.iter().filter(|other| {
                        other.object.namespace() == namespace
                            && other.object.token_secret().as_ref() == Some(&name)
                    });
                    let rotation = shared.into_iter().find_map(|other| rotation_of(&other.object));
                    made.tend(data, now, tenant, secret, rotation, secrets);
                }
                Some(_) => {}
            }
        }
        Ok(made)
    }

    /// A Secret for a tenant that has none.
    fn generate(
        &mut self,
        data: &Path,
        now: Timestamp,
        tenant: &Located<ScimTenant>,
        name: String,
        secrets: &mut Vec<Located<Secret>>,
    ) -> Result<(), LoadError> {
        let file = tokens::file(data, tenant.object.namespace(), &name);
        let unwritable = |error| LoadError::Unwritable { path: file.clone(), error };
        let secret = tokens::make(&tenant.object, name, now).map_err(unwritable)?;
        self.prepared.push(tokens::prepare(&secret, file.clone()).map_err(unwritable)?);
        self.generated.push(GeneratedSecret {
            tenant: tenant.object.key(),
            tenant_path: tenant.object.path().to_owned(),
            token_file: file,
        });
        if let Some(rotation) = rotation_of(&tenant.object) {
            self.wait_until(plan(now, tokens::state(&secret), Some(rotation)).next);
        }
        secrets.push(Located { object: secret.into(), source: Source::default() });
        Ok(())
    }

    /// A Secret made earlier. One that cannot be written stays as it is, which locks nobody out.
    fn tend(
        &mut self,
        data: &Path,
        now: Timestamp,
        tenant: &Located<ScimTenant>,
        secret: &Located<Secret>,
        rotation: Option<Rotation>,
        secrets: &mut [Located<Secret>],
    ) {
        let before = tokens::state(&secret.object);
        // Without a rotation, and with nothing left of one, a Secret of an older version is not touched.
        if rotation.is_none() && before.previous_expires_at.is_none() {
            return;
        }
        let file = tokens::file(data, secret.object.namespace(), secret.object.name());
        let plan = plan(now, before, rotation);
        let mut state = before;
        if let Some(write) = plan.write {
            let changed = tokens::change(&secret.object, write)
                .and_then(|changed| Ok((tokens::prepare(&changed, file.clone())?, changed)));
            match changed {
                Ok((prepared, changed)) => {
                    self.prepared.push(prepared);
                    for known in secrets.iter_mut().filter(|known| known.object.key() == changed.key()) {
                        known.object = changed.clone().into();
                    }
                    state = write.state;
                }
                Err(error) => {
                    let message = format!("the token is not rotated, and works on: {error}");
                    let finding = Finding::warning("rotation-failed", message)
                        .hint("make the file and its folder writable; it is tried again every minute");
                    self.warnings.push(secret.finding("metadata.name", finding));
                    self.wait_until(now.checked_add(RETRY).ok());
                    return;
                }
            }
        }
        if let Some(previous_expires_at) = state.previous_expires_at.filter(|end| *end > now) {
            self.rotated.push(RotatedToken {
                tenant: tenant.object.key(),
                tenant_path: tenant.object.path().to_owned(),
                token_file: file,
                previous_expires_at,
                just_now: plan.write.is_some_and(|write| write.new_token),
            });
        }
        self.wait_until(plan.next);
    }

    fn wait_until(&mut self, time: Option<Timestamp>) {
        self.next = [self.next, time].into_iter().flatten().min();
    }
}

/// Whether we made a Secret: it is in the file that we would write, and nothing else is there.
fn is_ours(data: &Path, secret: &Located<Secret>, objects: &Objects) -> bool {
    let file = tokens::file(data, secret.object.namespace(), secret.object.name()).display().to_string();
    let there = |place: Option<super::findings::Location>| place.is_some_and(|place| place.file == file);
    let count = objects.secrets.iter().filter(|other| there(other.place(""))).count()
        + objects.tenants.iter().filter(|other| there(other.place(""))).count()
        + objects.endpoints.iter().filter(|other| there(other.place(""))).count();
    there(secret.place("")) && count == 1
}

/// The rotation that a tenant asks for.
fn rotation_of(tenant: &ScimTenant) -> Option<Rotation> {
    let rotation = tenant.spec.authentication.bearer.as_ref()?.rotation.as_ref()?;
    Some(Rotation { interval: rotation.interval.get(), overlap: rotation.overlap.get() })
}
