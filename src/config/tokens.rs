//! Bearer Secrets that `serve` makes for tenants that have none, kept as Secret manifests under the data folder.
//!
//! A token is nowhere but in its file: the type that holds one has no `Debug` and no `Display`.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::objects::{Object, Secret};
use crate::crd::{ScimTenant, TOKEN_KEY};

/// Random bytes of a token: a whole number of base64 digits, and at least 256 bits.
const TOKEN_BYTES: usize = 33;

/// A new bearer Secret, not yet written.
pub(super) struct NewSecret {
    pub(super) secret: Secret,
    token: String,
    /// `NAMESPACE/NAME` of the tenant.
    pub(super) tenant: String,
    pub(super) tenant_path: String,
    pub(super) file: PathBuf,
}

/// The folder for made Secrets.
pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("secrets")
}

/// Makes the bearer Secret of a tenant with a random token.
pub(super) fn make(tenant: &ScimTenant, data: &Path) -> io::Result<NewSecret> {
    let name = tenant.token_secret().unwrap_or_default();
    let token = random_token()?;
    let namespace = Some(tenant.namespace().to_owned());
    let metadata = ObjectMeta { name: Some(name.clone()), namespace, ..ObjectMeta::default() };
    let value = token.clone().into_bytes();
    Ok(NewSecret {
        secret: Secret { metadata, data: [(TOKEN_KEY.to_owned(), value)].into() },
        token,
        tenant: tenant.key(),
        tenant_path: tenant.path().to_owned(),
        // A namespace has no dots, so the name is never ambiguous.
        file: folder(data).join(format!("{}.{name}.yaml", tenant.namespace())),
    })
}

impl NewSecret {
    /// Writes the manifest, readable by its owner only; it is there whole or not at all.
    pub(super) fn write(&self) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let temporary = self.file.with_extension("yaml.tmp");
        // A leftover of a run that was killed; `create_new` never follows a link.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(self.manifest().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.file)?;
        fs::File::open(folder)?.sync_all()
    }

    /// The token stands alone after `token: `, so that `sed -n 's/^  token: //p' FILE` prints it.
    fn manifest(&self) -> String {
        let Self { secret, token, tenant, .. } = self;
        let (namespace, name) = (secret.namespace(), secret.name());
        format!(
            "# Made by scim-operator for ScimTenant {tenant}, which had no bearer Secret. Keep it secret.\n\
             apiVersion: v1\n\
             kind: Secret\n\
             metadata:\n\
             \x20 name: {name}\n\
             \x20 namespace: {namespace}\n\
             type: Opaque\n\
             stringData:\n\
             \x20 {TOKEN_KEY}: {token}\n"
        )
    }
}

/// A token that begins with a letter: it is text in YAML without quotes, and no option on a command line.
fn random_token() -> io::Result<String> {
    loop {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        if token.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(token);
        }
    }
}
