//! What the tests of builders build from: YAML a user could write, through the real validate step.

use serde::Serialize;

use crate::{
    config::{
        compile::compile,
        shards::encode,
        validate::{File, read},
    },
    controller::validate::{Settings, ValidatedEndpoint, validate},
};

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
    validate(&endpoint.object, &config, encoded, &settings).unwrap_or_else(|error| panic!("{error}"))
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
