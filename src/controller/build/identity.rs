//! The identity of the pods, and what it may do: read the Secrets of their own configuration. A pod faces the internet,
//! so whoever takes one over has nothing else.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::metadata;
use crate::{config::shards::SHARDS, controller::validate::ValidatedEndpoint};

pub(super) fn service_account(endpoint: &ValidatedEndpoint) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(endpoint, endpoint.names().workload()),
        // The Deployment mounts the one token that is needed.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// `watch` is for the head; a shard is read when the head says that it changed. There is no `list`: it would show the
/// names of other Secrets.
pub(super) fn role(endpoint: &ValidatedEndpoint) -> Role {
    let names = endpoint.names();
    let shards = (0..SHARDS).map(|shard| names.config_shard(shard));
    Role {
        metadata: metadata(endpoint, names.workload()),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["secrets".to_owned()]),
            resource_names: Some(std::iter::once(names.config()).chain(shards).collect()),
            verbs: vec!["get".to_owned(), "watch".to_owned()],
            ..PolicyRule::default()
        }]),
    }
}

pub(super) fn role_binding(endpoint: &ValidatedEndpoint) -> RoleBinding {
    let name = endpoint.names().workload();
    RoleBinding {
        metadata: metadata(endpoint, name.clone()),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: Some(endpoint.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{validated, whole, yaml},
        *,
    };

    #[test]
    fn service_account_has_no_token_and_the_labels_and_owner_of_every_object() {
        insta::assert_snapshot!(whole(&service_account(&validated("{}", ""))), @r#"
        apiVersion: v1
        kind: ServiceAccount
        automountServiceAccountToken: false
        metadata:
          labels:
            app.kubernetes.io/component: server
            app.kubernetes.io/instance: door
            app.kubernetes.io/managed-by: scim-operator
            app.kubernetes.io/name: scim-operator
            scim-operator.io/endpoint: door
          name: door-scim
          namespace: platform
          ownerReferences:
          - apiVersion: scim-operator.io/v1alpha1
            blockOwnerDeletion: true
            controller: true
            kind: ScimEndpoint
            name: door
            uid: 0a1b
        "#);
    }

    #[test]
    fn role_may_read_the_configuration_of_its_endpoint_and_nothing_else() {
        insta::assert_snapshot!(yaml(&role(&validated("{}", ""))), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata:
          name: door-scim
          namespace: platform
        rules:
        - apiGroups:
          - ""
          resourceNames:
          - door-scim-config
          - door-scim-config-00
          - door-scim-config-01
          - door-scim-config-02
          - door-scim-config-03
          - door-scim-config-04
          - door-scim-config-05
          - door-scim-config-06
          - door-scim-config-07
          - door-scim-config-08
          - door-scim-config-09
          - door-scim-config-10
          - door-scim-config-11
          - door-scim-config-12
          - door-scim-config-13
          - door-scim-config-14
          - door-scim-config-15
          resources:
          - secrets
          verbs:
          - get
          - watch
        "#);
    }

    #[test]
    fn role_is_bound_to_the_service_account() {
        insta::assert_snapshot!(yaml(&role_binding(&validated("{}", ""))), @r#"
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata:
          name: door-scim
          namespace: platform
        roleRef:
          apiGroup: rbac.authorization.k8s.io
          kind: Role
          name: door-scim
        subjects:
        - kind: ServiceAccount
          name: door-scim
          namespace: platform
        "#);
    }
}
