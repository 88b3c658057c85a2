//! The Deployment of the pods that serve. It does not change when tenants do: pods follow their configuration.
//!
//! The pods fulfil the restricted Pod Security Standard. A container's command line is a contract with `serve`.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, Container, ContainerPort, HTTPGetAction, Lifecycle, LifecycleHandler,
            LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
            SeccompProfile, SecurityContext, SleepAction, TopologySpreadConstraint,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    database::{DATABASE_CA_KEY, DATABASE_URL_KEY},
    metadata, mounts,
};
use crate::{
    controller::{
        names::DATABASE_VERSION,
        validate::{Postgres, Storage, ValidatedEndpoint},
    },
    crd::PostgresTlsMode,
};

/// The name of the admin port.
pub(super) const ADMIN: &str = "admin";
/// The admin port of a pod: `/livez`, `/readyz`, `/metrics`, `/configuration`.
pub const ADMIN_PORT: u16 = 9090;
const HTTP_PORT: u16 = 8080;
const HTTPS_PORT: u16 = 8443;

/// The user of our image. Named here too, as images that people make of it may forget.
const USER: i64 = 65_532;

/// Seconds that a pod serves on as if nothing were, when it is to stop: proxies everywhere must have heard of it.
const LOOK_AWAY_SECONDS: i64 = 5;
/// Seconds that `serve` may take from SIGTERM to its end: requests under way may take 30, and a few for the rest.
const STOP_SECONDS: i64 = 35;

/// The name of the port on which a pod takes requests: that of the scheme.
pub(super) fn scheme(endpoint: &ValidatedEndpoint) -> &'static str {
    if endpoint.pods_serve_tls { "https" } else { "http" }
}

pub(super) fn deployment(endpoint: &ValidatedEndpoint) -> Deployment {
    let names = endpoint.names();
    let server = &endpoint.server;
    let mut labels = server.pod_labels.0.clone();
    labels.extend(names.labels());
    let mut annotations = server.pod_annotations.0.clone();
    if let Storage::Postgres(Postgres { database: _, version: Some(version) }) = &endpoint.storage {
        annotations.insert(DATABASE_VERSION.to_owned(), version.clone());
    }
    Deployment {
        metadata: metadata(endpoint, names.workload()),
        spec: Some(DeploymentSpec {
            // An autoscaler owns the number.
            replicas: endpoint.replicas(),
            revision_history_limit: Some(3),
            selector: LabelSelector { match_labels: Some(names.selector()), ..LabelSelector::default() },
            strategy: Some(strategy(endpoint)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: (!annotations.is_empty()).then_some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(endpoint)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn strategy(endpoint: &ValidatedEndpoint) -> DeploymentStrategy {
    if endpoint.holds_volume() {
        // The next pod cannot have the volume before the last has gone.
        return DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None };
    }
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            // One at a time: each has connections of its own, and the database does not have any number.
            max_surge: Some(IntOrString::Int(1)),
        }),
    }
}

fn pod(endpoint: &ValidatedEndpoint) -> PodSpec {
    let server = &endpoint.server;
    let pull_secrets = server.image_pull_secrets.iter();
    PodSpec {
        service_account_name: Some(endpoint.names().workload()),
        // The one token that is needed is mounted by name.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: some(
            pull_secrets.map(|secret| LocalObjectReference { name: secret.name.clone() }).collect(),
        ),
        containers: vec![container(endpoint)],
        volumes: Some(mounts::volumes(endpoint)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            // Changing the owner of every file takes long on a large volume.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(look_away(endpoint).unwrap_or(0) + STOP_SECONDS),
        node_selector: (!server.node_selector.is_empty()).then(|| server.node_selector.0.clone()),
        tolerations: some(server.tolerations.clone()),
        affinity: server.affinity.clone(),
        topology_spread_constraints: spread(endpoint),
        priority_class_name: server.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

fn container(endpoint: &ValidatedEndpoint) -> Container {
    let port = |name: &str, port: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let number = if endpoint.pods_serve_tls { HTTPS_PORT } else { HTTP_PORT };
    Container {
        name: "server".to_owned(),
        image: Some(endpoint.image.clone()),
        image_pull_policy: endpoint.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        args: Some(arguments(endpoint)),
        ports: Some(vec![port(scheme(endpoint), number), port(ADMIN, ADMIN_PORT)]),
        resources: Some(endpoint.server.resources.clone().unwrap_or_else(resources)),
        // Opening a large database, and building the index of a new attribute, may take minutes.
        startup_probe: Some(Probe {
            failure_threshold: Some(600),
            period_seconds: Some(1),
            ..probe("/livez")
        }),
        liveness_probe: Some(Probe {
            failure_threshold: Some(3),
            period_seconds: Some(10),
            ..probe("/livez")
        }),
        readiness_probe: Some(Probe {
            failure_threshold: Some(2),
            period_seconds: Some(2),
            ..probe("/readyz")
        }),
        lifecycle: look_away(endpoint).map(|seconds| Lifecycle {
            // The image has no shell.
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts::mounts(endpoint)),
        ..Container::default()
    }
}

/// The command line of `serve`.
fn arguments(endpoint: &ValidatedEndpoint) -> Vec<String> {
    let mut arguments = vec![
        "serve".to_owned(),
        format!("--config={}", mounts::CONFIG),
        format!("--config-secret={}/{}", endpoint.namespace, endpoint.names().config()),
        format!("--data={}", mounts::DATA),
        format!("--admin=0.0.0.0:{ADMIN_PORT}"),
    ];
    if endpoint.pods_serve_tls {
        // Nothing is in the clear outside the pod.
        arguments.push(format!("--listen=127.0.0.1:{HTTP_PORT}"));
        arguments.push(format!("--tls-listen=0.0.0.0:{HTTPS_PORT}"));
        arguments.push(format!("--tls={}", mounts::TLS));
    } else {
        arguments.push(format!("--listen=0.0.0.0:{HTTP_PORT}"));
    }
    if let Storage::Postgres(Postgres { database, version: _ }) = &endpoint.storage {
        let tls = match database.tls {
            PostgresTlsMode::VerifyFull => "verify-full",
            PostgresTlsMode::Require => "require",
            PostgresTlsMode::Disable => "disable",
        };
        arguments.push(format!("--database-url-file={}/{}", mounts::DATABASE, DATABASE_URL_KEY));
        arguments.push(format!("--database-tls={tls}"));
        if database.ca.is_some() {
            arguments.push(format!("--database-ca={}/{}", mounts::DATABASE, DATABASE_CA_KEY));
        }
        arguments.push(format!("--database-connections={}", database.connections));
    }
    arguments
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ADMIN.to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// What a pod asks for when nobody says: an autoscaler measures against it, and a quota wants it.
fn resources() -> ResourceRequirements {
    let requests = [("cpu", "100m"), ("memory", "128Mi")];
    let requests = requests.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
    ResourceRequirements { requests: Some(requests.into()), ..ResourceRequirements::default() }
}

/// None for a pod that has no other to take over: it would only be gone for longer.
fn look_away(endpoint: &ValidatedEndpoint) -> Option<i64> {
    (!endpoint.holds_volume()).then_some(LOOK_AWAY_SECONDS)
}

/// Evenly over nodes and zones unless something else is asked for; each wish counts the pods of one rollout.
fn spread(endpoint: &ValidatedEndpoint) -> Option<Vec<TopologySpreadConstraint>> {
    let selector =
        LabelSelector { match_labels: Some(endpoint.names().selector()), ..LabelSelector::default() };
    if let Some(constraints) = &endpoint.server.topology_spread_constraints {
        let constraints = constraints.iter().cloned().map(|constraint| TopologySpreadConstraint {
            label_selector: constraint.label_selector.or_else(|| Some(selector.clone())),
            ..constraint
        });
        return some(constraints.collect());
    }
    if endpoint.replicas() == Some(1) {
        return None;
    }
    let keys = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];
    let constraints = keys.map(|key| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector.clone()),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    });
    Some(constraints.into())
}

/// An empty list is an absent one.
fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{fleet, validated, yaml},
        *,
    };
    use crate::crd::Autoscaling;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a whole object")]
    fn deployment_of_the_least_endpoint_is_one_restricted_pod() {
        insta::assert_snapshot!(yaml(&deployment(&validated("{}", ""))), @r#"
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: door-scim
          namespace: platform
        spec:
          replicas: 1
          revisionHistoryLimit: 3
          selector:
            matchLabels:
              app.kubernetes.io/component: server
              scim-operator.io/endpoint: door
          strategy:
            type: Recreate
          template:
            metadata:
              labels:
                app.kubernetes.io/component: server
                app.kubernetes.io/instance: door
                app.kubernetes.io/managed-by: scim-operator
                app.kubernetes.io/name: scim-operator
                scim-operator.io/endpoint: door
            spec:
              automountServiceAccountToken: false
              containers:
              - args:
                - serve
                - --config=/etc/scim-operator/config
                - --config-secret=platform/door-scim-config
                - --data=/var/lib/scim-operator
                - --admin=0.0.0.0:9090
                - --listen=0.0.0.0:8080
                image: registry.example.com/scim:1
                livenessProbe:
                  failureThreshold: 3
                  httpGet:
                    path: /livez
                    port: admin
                  periodSeconds: 10
                  timeoutSeconds: 5
                name: server
                ports:
                - containerPort: 8080
                  name: http
                  protocol: TCP
                - containerPort: 9090
                  name: admin
                  protocol: TCP
                readinessProbe:
                  failureThreshold: 2
                  httpGet:
                    path: /readyz
                    port: admin
                  periodSeconds: 2
                  timeoutSeconds: 5
                resources:
                  requests:
                    cpu: 100m
                    memory: 128Mi
                securityContext:
                  allowPrivilegeEscalation: false
                  capabilities:
                    drop:
                    - ALL
                  readOnlyRootFilesystem: true
                startupProbe:
                  failureThreshold: 600
                  httpGet:
                    path: /livez
                    port: admin
                  periodSeconds: 1
                  timeoutSeconds: 5
                volumeMounts:
                - mountPath: /etc/scim-operator/config
                  name: config
                  readOnly: true
                - mountPath: /var/lib/scim-operator
                  name: data
                - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
                  name: token
                  readOnly: true
              enableServiceLinks: false
              securityContext:
                fsGroup: 65532
                fsGroupChangePolicy: OnRootMismatch
                runAsGroup: 65532
                runAsNonRoot: true
                runAsUser: 65532
                seccompProfile:
                  type: RuntimeDefault
              serviceAccountName: door-scim
              terminationGracePeriodSeconds: 35
              volumes:
              - name: config
                projected:
                  defaultMode: 288
                  sources:
                  - secret:
                      items:
                      - key: config.json
                        path: config.json
                      name: door-scim-config
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-00.json.gz
                      name: door-scim-config-00
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-01.json.gz
                      name: door-scim-config-01
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-02.json.gz
                      name: door-scim-config-02
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-03.json.gz
                      name: door-scim-config-03
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-04.json.gz
                      name: door-scim-config-04
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-05.json.gz
                      name: door-scim-config-05
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-06.json.gz
                      name: door-scim-config-06
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-07.json.gz
                      name: door-scim-config-07
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-08.json.gz
                      name: door-scim-config-08
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-09.json.gz
                      name: door-scim-config-09
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-10.json.gz
                      name: door-scim-config-10
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-11.json.gz
                      name: door-scim-config-11
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-12.json.gz
                      name: door-scim-config-12
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-13.json.gz
                      name: door-scim-config-13
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-14.json.gz
                      name: door-scim-config-14
                      optional: true
                  - secret:
                      items:
                      - key: tenants.json.gz
                        path: tenants-15.json.gz
                      name: door-scim-config-15
                      optional: true
              - name: data
                persistentVolumeClaim:
                  claimName: door-scim-data
              - name: token
                projected:
                  defaultMode: 288
                  sources:
                  - serviceAccountToken:
                      expirationSeconds: 3607
                      path: token
                  - configMap:
                      items:
                      - key: ca.crt
                        path: ca.crt
                      name: kube-root-ca.crt
                  - downwardAPI:
                      items:
                      - fieldRef:
                          apiVersion: v1
                          fieldPath: metadata.namespace
                        path: namespace
        "#);
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a whole object")]
    fn deployment_has_all_that_an_endpoint_asks_for() {
        let spec = "
  tls: {secretName: cert}
  server:
    image: registry.example.com/own:2
    imagePullPolicy: IfNotPresent
    imagePullSecrets: [{name: registry}]
    resources: {requests: {cpu: 1, memory: 256Mi}, limits: {memory: 1Gi}}
    podLabels: {example.com/cost-centre: '4711', app.kubernetes.io/component: mine}
    podAnnotations: {linkerd.io/inject: enabled}
    nodeSelector: {kubernetes.io/arch: arm64}
    tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: Exists}]}]}}}
    topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
    priorityClassName: high";
        let mut deployment = deployment(&validated(spec, ""));
        // The volumes are shown by the test of the least endpoint, but for the certificate's.
        let pod = deployment.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
        let volumes = pod.volumes.take().unwrap();
        assert_eq!(volumes.len(), 4);
        pod.volumes = Some(vec![volumes[3].clone()]);
        insta::assert_snapshot!(yaml(&deployment), @r#"
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: door-scim
          namespace: platform
        spec:
          replicas: 1
          revisionHistoryLimit: 3
          selector:
            matchLabels:
              app.kubernetes.io/component: server
              scim-operator.io/endpoint: door
          strategy:
            type: Recreate
          template:
            metadata:
              annotations:
                linkerd.io/inject: enabled
              labels:
                app.kubernetes.io/component: server
                app.kubernetes.io/instance: door
                app.kubernetes.io/managed-by: scim-operator
                app.kubernetes.io/name: scim-operator
                example.com/cost-centre: "4711"
                scim-operator.io/endpoint: door
            spec:
              affinity:
                nodeAffinity:
                  requiredDuringSchedulingIgnoredDuringExecution:
                    nodeSelectorTerms:
                    - matchExpressions:
                      - key: zone
                        operator: Exists
              automountServiceAccountToken: false
              containers:
              - args:
                - serve
                - --config=/etc/scim-operator/config
                - --config-secret=platform/door-scim-config
                - --data=/var/lib/scim-operator
                - --admin=0.0.0.0:9090
                - --listen=127.0.0.1:8080
                - --tls-listen=0.0.0.0:8443
                - --tls=/etc/scim-operator/tls
                image: registry.example.com/own:2
                imagePullPolicy: IfNotPresent
                livenessProbe:
                  failureThreshold: 3
                  httpGet:
                    path: /livez
                    port: admin
                  periodSeconds: 10
                  timeoutSeconds: 5
                name: server
                ports:
                - containerPort: 8443
                  name: https
                  protocol: TCP
                - containerPort: 9090
                  name: admin
                  protocol: TCP
                readinessProbe:
                  failureThreshold: 2
                  httpGet:
                    path: /readyz
                    port: admin
                  periodSeconds: 2
                  timeoutSeconds: 5
                resources:
                  limits:
                    memory: 1Gi
                  requests:
                    cpu: "1"
                    memory: 256Mi
                securityContext:
                  allowPrivilegeEscalation: false
                  capabilities:
                    drop:
                    - ALL
                  readOnlyRootFilesystem: true
                startupProbe:
                  failureThreshold: 600
                  httpGet:
                    path: /livez
                    port: admin
                  periodSeconds: 1
                  timeoutSeconds: 5
                volumeMounts:
                - mountPath: /etc/scim-operator/config
                  name: config
                  readOnly: true
                - mountPath: /var/lib/scim-operator
                  name: data
                - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
                  name: token
                  readOnly: true
                - mountPath: /etc/scim-operator/tls
                  name: tls
                  readOnly: true
              enableServiceLinks: false
              imagePullSecrets:
              - name: registry
              nodeSelector:
                kubernetes.io/arch: arm64
              priorityClassName: high
              securityContext:
                fsGroup: 65532
                fsGroupChangePolicy: OnRootMismatch
                runAsGroup: 65532
                runAsNonRoot: true
                runAsUser: 65532
                seccompProfile:
                  type: RuntimeDefault
              serviceAccountName: door-scim
              terminationGracePeriodSeconds: 35
              tolerations:
              - effect: NoSchedule
                key: dedicated
                operator: Exists
              topologySpreadConstraints:
              - labelSelector:
                  matchLabels:
                    app.kubernetes.io/component: server
                    scim-operator.io/endpoint: door
                maxSkew: 1
                topologyKey: zone
                whenUnsatisfiable: DoNotSchedule
              volumes:
              - name: tls
                secret:
                  defaultMode: 288
                  secretName: cert
        "#);
    }

    #[test]
    fn deployment_with_an_autoscaler_leaves_the_number_of_pods_to_it() {
        let mut endpoint = validated("{}", "");
        endpoint.server.autoscaling =
            Some(Autoscaling { min_replicas: 2, max_replicas: 10, target_cpu_utilization: 70 });
        let spec = deployment(&endpoint).spec.unwrap();
        assert_eq!(spec.replicas, None);
        let constraints = spec.template.spec.unwrap().topology_spread_constraints.unwrap();
        let keys: Vec<_> = constraints.iter().map(|constraint| constraint.topology_key.as_str()).collect();
        assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    }

    /// What differs from the least endpoint: how it is replaced, spread and stopped, and its database.
    #[test]
    #[expect(clippy::too_many_lines, reason = "the manifest is as long")]
    fn deployment_of_a_fleet_has_the_database_and_no_volume() {
        let storage =
            "{secretRef: {name: db}, tls: {caSecretRef: {name: db, key: authority}}, pool: {maxSize: 4}}";
        let mut endpoint = fleet(storage, "{replicas: 3}", "postgresql://scim@db/scim");
        if let Storage::Postgres(postgres) = &mut endpoint.storage {
            postgres.version = Some("1234".to_owned());
        }
        let mut deployment = deployment(&endpoint);
        // The shards of the configuration are shown by the test of the least endpoint.
        let pod = deployment.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
        let volumes = pod.volumes.as_mut().unwrap();
        volumes.retain(|volume| volume.projected.is_none());
        insta::assert_snapshot!(yaml(&deployment), @r#"
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: door-scim
          namespace: platform
        spec:
          replicas: 3
          revisionHistoryLimit: 3
          selector:
            matchLabels:
              app.kubernetes.io/component: server
              scim-operator.io/endpoint: door
          strategy:
            rollingUpdate:
              maxSurge: 1
              maxUnavailable: 0
            type: RollingUpdate
          template:
            metadata:
              annotations:
                scim-operator.io/database-version: "1234"
              labels:
                app.kubernetes.io/component: server
                app.kubernetes.io/instance: door
                app.kubernetes.io/managed-by: scim-operator
                app.kubernetes.io/name: scim-operator
                scim-operator.io/endpoint: door
            spec:
              automountServiceAccountToken: false
              containers:
              - args:
                - serve
                - --config=/etc/scim-operator/config
                - --config-secret=platform/door-scim-config
                - --data=/var/lib/scim-operator
                - --admin=0.0.0.0:9090
                - --listen=0.0.0.0:8080
                - --database-url-file=/etc/scim-operator/database/database-url
                - --database-tls=verify-full
                - --database-ca=/etc/scim-operator/database/ca.crt
                - --database-connections=4
                image: registry.example.com/scim:1
                lifecycle:
                  preStop:
                    sleep:
                      seconds: 5
                livenessProbe:
                  failureThreshold: 3
                  httpGet:
                    path: /livez
                    port: admin
                  periodSeconds: 10
                  timeoutSeconds: 5
                name: server
                ports:
                - containerPort: 8080
                  name: http
                  protocol: TCP
                - containerPort: 9090
                  name: admin
                  protocol: TCP
                readinessProbe:
                  failureThreshold: 2
                  httpGet:
                    path: /readyz
                    port: admin
                  periodSeconds: 2
                  timeoutSeconds: 5
                resources:
                  requests:
                    cpu: 100m
                    memory: 128Mi
                securityContext:
                  allowPrivilegeEscalation: false
                  capabilities:
                    drop:
                    - ALL
                  readOnlyRootFilesystem: true
                startupProbe:
                  failureThreshold: 600
                  httpGet:
                    path: /livez
                    port: admin
                  periodSeconds: 1
                  timeoutSeconds: 5
                volumeMounts:
                - mountPath: /etc/scim-operator/config
                  name: config
                  readOnly: true
                - mountPath: /var/lib/scim-operator
                  name: data
                - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
                  name: token
                  readOnly: true
                - mountPath: /etc/scim-operator/database/database-url
                  name: database
                  readOnly: true
                  subPath: database-url
                - mountPath: /etc/scim-operator/database/ca.crt
                  name: database
                  readOnly: true
                  subPath: ca.crt
              enableServiceLinks: false
              securityContext:
                fsGroup: 65532
                fsGroupChangePolicy: OnRootMismatch
                runAsGroup: 65532
                runAsNonRoot: true
                runAsUser: 65532
                seccompProfile:
                  type: RuntimeDefault
              serviceAccountName: door-scim
              terminationGracePeriodSeconds: 40
              topologySpreadConstraints:
              - labelSelector:
                  matchLabels:
                    app.kubernetes.io/component: server
                    scim-operator.io/endpoint: door
                matchLabelKeys:
                - pod-template-hash
                maxSkew: 1
                topologyKey: kubernetes.io/hostname
                whenUnsatisfiable: ScheduleAnyway
              - labelSelector:
                  matchLabels:
                    app.kubernetes.io/component: server
                    scim-operator.io/endpoint: door
                matchLabelKeys:
                - pod-template-hash
                maxSkew: 1
                topologyKey: topology.kubernetes.io/zone
                whenUnsatisfiable: ScheduleAnyway
              volumes:
              - emptyDir:
                  sizeLimit: 64Mi
                name: data
              - name: database
                secret:
                  defaultMode: 288
                  secretName: door-scim-database
        "#);
    }

    #[test]
    fn deployment_does_not_change_with_tenants() {
        let with = super::super::fixture::tenant("acme", "");
        assert_eq!(deployment(&validated("{}", &with)), deployment(&validated("{}", "")));
    }
}
