//! What the tests of builders build from: YAML a user could write, through the real validate step.

use serde::Serialize;

use crate::{
    config::{
        compile::compile,
        database::storage,
        objects::SecretIndex,
        shards::encode,
        validate::{File, read},
    },
    controller::validate::{Compiled, Settings, ValidatedEndpoint, validate},
};

/// A certificate, whose key nobody has.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBfjCCASOgAwIBAgIUWkOctkXhgeE8wra3wVmg71CoPJ8wCgYIKoZIzj0EAwIw\n\
EzERMA8GA1UEAwwIZGF0YWJhc2UwIBcNMjYxMTIzMDQ1NDM5WhgPMjEyNjEwMzAw\n\
NDU0MzlaMBMxETAPBgNVBAMMCGRhdGFiYXNlMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
AQcDQgAEQGS7KGS2/CYhMispIwdtDxVvoBEumvNSliaCPjYya+PkTXWHngKvifrO\n\
VPuFlYA0kXfyAKVIn1WBqpJZgA/dQ6NTMFEwHQYDVR0OBBYEFK5lGQocJCQkljoH\n\
IWLZwc01DK8mMB8GA1UdIwQYMBaAFK5lGQocJCQkljoHIWLZwc01DK8mMA8GA1Ud\n\
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAOryKoJJ1lwldJ1VBoI2tmue\n\
0Viltt4LsfUL+wzZklqJAiEAhR9/0ozY6hmEF9Jw2Zx21OMw0p4k1fe9buEAvv6Z\n\
cnk=\n\
-----END CERTIFICATE-----\n";

/// A `ScimEndpoint` with this `spec`, and the documents after it, as the controller sees them. Names differ from each
/// other and from the product's, so that none matches by chance.
#[track_caller]
pub(super) fn validated(spec: &str, others: &str) -> ValidatedEndpoint {
    let text = format!(
        "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\n\
         metadata: {{name: door, namespace: platform, uid: 0a1b}}\nspec: {spec}\n{others}"
    );
    let (objects, findings) = read(&[File { name: "m.yaml".into(), text }]);
    assert_eq!(findings, []);
    let endpoint = &objects.endpoints[0];
    let (config, _) = compile(endpoint, &objects.tenants, &objects.secrets, &objects.namespaces)
        .unwrap_or_else(|findings| panic!("{findings:?}"));
    let settings = Settings {
        server_image: "registry.example.com/scim:1".to_owned(),
        operator_namespace: "operators".to_owned(),
    };
    let encoded = encode(&config);
    let storage = storage(endpoint, &SecretIndex::new(&objects.secrets))
        .unwrap_or_else(|findings| panic!("{findings:?}"));
    let compiled = Compiled { config: &config, encoded, storage, version: None };
    validate(&endpoint.object, compiled, &settings).unwrap_or_else(|error| panic!("{error}"))
}

/// An endpoint with `storage.postgres` and `server`, and the Secret `db` with this `url` and an `authority`.
#[track_caller]
pub(super) fn fleet(postgres: &str, server: &str, url: &str) -> ValidatedEndpoint {
    let data = serde_json::json!({"url": url, "authority": AUTHORITY});
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: platform}}\nstringData: {data}\n"
    );
    validated(&format!("{{storage: {{postgres: {postgres}}}, server: {server}}}"), &secret)
}

/// A tenant of that endpoint, with its token.
pub(super) fn tenant(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\n\
         metadata: {{name: {name}, namespace: platform}}\nspec: {{endpointRef: {{name: door}}, {spec}}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-scim-token, namespace: platform}}\n\
         stringData: {{token: a-token-of-{name}-123, client: a-secret-of-{name}-123}}\n"
    )
}

/// An object as people read it. Labels and owner are those of every object, and shown by one test.
pub(super) fn yaml(object: &impl Serialize) -> String {
    let mut value = serde_json::to_value(object).unwrap();
    let metadata = value["metadata"].as_object_mut().unwrap();
    assert_eq!(metadata.shift_remove("labels").unwrap()["scim-operator.io/endpoint"], "door");
    metadata.shift_remove("ownerReferences");
    whole(&value)
}

/// An object with everything.
pub(super) fn whole(object: &impl Serialize) -> String {
    let value = serde_json::to_value(object).unwrap();
    let options = serde_saphyr::ser_options! { indent_step: 2, prefer_block_scalars: true };
    serde_saphyr::to_string_with_options(&value, options).unwrap()
}
