//! Bearer Secrets that `serve` makes for tenants that have none, kept as Secret manifests under the data folder, and
//! rotated there. What you provide in the folder of manifests is never written.
//!
//! A token is nowhere but in its file: the type that holds one has no `Debug` and no `Display`. A file is replaced in
//! two steps, so that a server accepts a new token before anybody can read it: `prepare` writes it beside the old
//! one, `Prepared::publish` moves it into place.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{
    objects::{Object, Secret},
    rotation::{State, Write},
};
use crate::crd::{
    ISSUED_AT_ANNOTATION, PREVIOUS_EXPIRES_AT_ANNOTATION, PREVIOUS_TOKEN_KEY, ScimTenant, TOKEN_KEY,
};

/// Random bytes of a token: a whole number of base64 digits, and at least 256 bits.
const TOKEN_BYTES: usize = 33;

/// The folder for made Secrets.
pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("secrets")
}

/// The file of a made Secret. A namespace has no dots, so the name is never ambiguous.
pub(super) fn file(data: &Path, namespace: &str, name: &str) -> PathBuf {
    folder(data).join(format!("{namespace}.{name}.yaml"))
}

/// Makes the bearer Secret of a tenant with a random token.
pub(super) fn make(tenant: &ScimTenant, name: String, now: Timestamp) -> io::Result<Secret> {
    let namespace = Some(tenant.namespace().to_owned());
    let metadata = ObjectMeta { name: Some(name), namespace, ..ObjectMeta::default() };
    let mut secret = Secret { metadata, data: [(TOKEN_KEY.to_owned(), random_token()?)].into() };
    set_time(&mut secret, ISSUED_AT_ANNOTATION, Some(now));
    Ok(secret)
}

/// What a made Secret says of its tokens. A previous token without an end has ended.
#[must_use]
pub fn state(secret: &Secret) -> State {
    let previous = secret.data.contains_key(PREVIOUS_TOKEN_KEY);
    let end = secret.time(PREVIOUS_EXPIRES_AT_ANNOTATION).unwrap_or(Timestamp::UNIX_EPOCH);
    State { issued_at: secret.time(ISSUED_AT_ANNOTATION), previous_expires_at: previous.then_some(end) }
}

/// The Secret after a write; all else that is in it stays.
pub fn change(secret: &Secret, write: Write) -> io::Result<Secret> {
    let Write { new_token, state: State { issued_at, previous_expires_at } } = write;
    let mut changed = secret.clone();
    if new_token && let Some(current) = changed.data.insert(TOKEN_KEY.to_owned(), random_token()?) {
        changed.data.insert(PREVIOUS_TOKEN_KEY.to_owned(), current);
    }
    if previous_expires_at.is_none() {
        changed.data.remove(PREVIOUS_TOKEN_KEY);
    }
    set_time(&mut changed, ISSUED_AT_ANNOTATION, issued_at);
    set_time(&mut changed, PREVIOUS_EXPIRES_AT_ANNOTATION, previous_expires_at);
    Ok(changed)
}

fn set_time(secret: &mut Secret, annotation: &str, time: Option<Timestamp>) {
    let annotations = secret.metadata.annotations.get_or_insert_default();
    match time {
        // Whole seconds, as what is read back.
        Some(time) => {
            let second = Timestamp::from_second(time.as_second()).unwrap_or(time);
            annotations.insert(annotation.to_owned(), second.to_string());
        }
        None => {
            annotations.remove(annotation);
        }
    }
}

/// A Secret manifest that lies ready beside the one it is to replace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    temporary: PathBuf,
    /// Where it goes.
    pub(super) file: PathBuf,
}

/// Writes a Secret manifest, readable by its owner only, next to its place.
pub(super) fn prepare(secret: &Secret, file: PathBuf) -> io::Result<Prepared> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = file.with_extension("yaml.tmp");
    // A leftover of a run that was killed; `create_new` never follows a link.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    written.write_all(manifest(secret).as_bytes())?;
    written.sync_all()?;
    Ok(Prepared { temporary, file })
}

impl Prepared {
    /// Puts the manifest in its place: it is there whole or not at all.
    pub(super) fn publish(&self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.file)?;
        fs::File::open(self.file.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// The token stands alone after `token: `, so that `sed -n 's/^  token: //p' FILE` prints it.
fn manifest(secret: &Secret) -> String {
    let mut text = "# Made by scim-operator for a ScimTenant that had no bearer Secret. Keep it secret.\n\
                    apiVersion: v1\nkind: Secret\nmetadata:\n"
        .to_owned();
    let ObjectMeta { name, namespace, labels, annotations, .. } = &secret.metadata;
    // Writing to a String cannot fail.
    for (field, value) in [("name", name), ("namespace", namespace)] {
        if let Some(value) = value {
            let _ = writeln!(text, "  {field}: {}", scalar(value));
        }
    }
    for (field, map) in [("labels", labels), ("annotations", annotations)] {
        if let Some(map) = map.as_ref().filter(|map| !map.is_empty()) {
            let _ = writeln!(text, "  {field}:");
            for (key, value) in map {
                let _ = writeln!(text, "    {}: {}", scalar(key), Value::from(value.as_str()));
            }
        }
    }
    text.push_str("type: Opaque\n");
    let (mut readable, mut bytes) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in &secret.data {
        match std::str::from_utf8(value) {
            Ok(value) => readable.insert(key, scalar(value)),
            Err(_) => bytes.insert(key, BASE64_STANDARD.encode(value)),
        };
    }
    for (field, map) in [("stringData", readable), ("data", bytes)] {
        if !map.is_empty() {
            let _ = writeln!(text, "{field}:");
            for (key, value) in map {
                let _ = writeln!(text, "  {}: {value}", scalar(key));
            }
        }
    }
    text
}

/// Text in YAML: as it is where nobody can take it for something else, and in quotes otherwise.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let is_word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null"
    );
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain) && !is_word {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// A token that begins with a letter: it is text in YAML without quotes, and no option on a command line.
pub fn random_token() -> io::Result<Vec<u8>> {
    loop {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        if token.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(token.into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::validate::{File, read};

    fn read_back(text: &str) -> Secret {
        let (objects, findings) = read(&[File { name: "m.yaml".to_owned(), text: text.to_owned() }]);
        assert_eq!(findings, []);
        Secret::clone(&objects.secrets[0].object)
    }

    #[test]
    fn rotation_keeps_all_else_that_a_person_put_into_the_secret() {
        let secret = read_back(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: '007', namespace: identity, labels: {team: 'yes'}, \
             annotations: {note: \"two\\nlines: \\\"#\\\"\"}}\n\
             data: {key: /+8=}\nstringData: {token: abc, reader: 'x: \"y\"', empty: '', number: '12', yes: 'no'}\n",
        );
        let state = State {
            issued_at: Some("2026-11-22T10:00:00.9Z".parse().unwrap()),
            previous_expires_at: Some("2026-11-23T10:00:00Z".parse().unwrap()),
        };
        let rotated = change(&secret, Write { new_token: true, state }).unwrap();
        let back = read_back(&manifest(&rotated));
        assert!(back.data == rotated.data && back.metadata == rotated.metadata, "{}", manifest(&rotated));
        assert_eq!(back.data["previous-token"], b"abc");
        assert_eq!(back.data["key"], [0xff, 0xef]);
        assert_eq!((back.data.len(), back.metadata.labels.as_ref().unwrap()["team"].as_str()), (7, "yes"));
        assert_eq!(super::state(&back).previous_expires_at, state.previous_expires_at);
        let line = manifest(&rotated);
        let token = line.lines().find_map(|line| line.strip_prefix("  token: ")).unwrap();
        assert_eq!((token.len(), token.as_bytes()), (44, &*back.data["token"]));

        let ended = State { previous_expires_at: None, ..super::state(&back) };
        let mut dropped = change(&back, Write { new_token: false, state: ended }).unwrap();
        assert_eq!(dropped.data.insert("token".into(), b"abc".into()), Some(back.data["token"].clone()));
        assert!(dropped.data == secret.data);
        assert_eq!(dropped.metadata.annotations.unwrap().len(), 2, "the person's and since when");
    }

    #[test]
    fn previous_token_without_an_end_has_ended() {
        let secret = read_back(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {token: abc, previous-token: old}\n",
        );
        assert_eq!(
            state(&secret),
            State { issued_at: None, previous_expires_at: Some(Timestamp::UNIX_EPOCH) }
        );
    }
}
