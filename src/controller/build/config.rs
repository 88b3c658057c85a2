//! The Secrets with the configuration that pods run. The shards come before the head, which speaks of them.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::metadata;
use crate::{
    config::shards::{HEAD_KEY, SHARD_KEY},
    controller::validate::ValidatedEndpoint,
};

/// The Secrets of the shards that are not empty, and then that of the head.
#[must_use]
pub fn config_secrets(endpoint: &ValidatedEndpoint) -> Vec<Secret> {
    let names = endpoint.names();
    let secret = |name: String, key: &str, bytes: &[u8]| Secret {
        metadata: metadata(endpoint, name),
        data: Some(BTreeMap::from([(key.to_owned(), ByteString(bytes.to_vec()))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    let shards = endpoint.config.shards.iter();
    let mut secrets: Vec<Secret> =
        shards.map(|(shard, bytes)| secret(names.config_shard(*shard), SHARD_KEY, bytes)).collect();
    secrets.push(secret(names.config(), HEAD_KEY, &endpoint.config.head));
    secrets
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{tenant, validated},
        *,
    };
    use crate::config::shards::shard_of;

    #[test]
    fn shards_come_before_the_head_and_only_those_with_tenants() {
        let others = [tenant("acme", ""), tenant("globex", "")].concat();
        let endpoint = validated("{}", &others);
        let mut expected = ["platform/acme", "platform/globex"].map(shard_of);
        expected.sort_unstable();
        let mut expected: Vec<String> =
            expected.iter().map(|shard| format!("door-scim-config-{shard:02}")).collect();
        expected.push("door-scim-config".to_owned());
        let secrets = config_secrets(&endpoint);
        let names: Vec<_> = secrets.iter().map(|secret| secret.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, expected);
        let head = &secrets[2].data.as_ref().unwrap()["config.json"];
        assert_eq!(head.0, endpoint.config.head);
    }
}
