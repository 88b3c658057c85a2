//! The `Ingress` objects of `spec.exposure.ingress`.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::{
    metadata,
    routes::{self, Path},
    service,
};
use crate::{controller::validate::ValidatedEndpoint, crd::IngressExposure};

/// How ingress-nginx is told to speak TLS to the pods; Traefik sees it by the port of the Service.
const NGINX_PROTOCOL: &str = "nginx.ingress.kubernetes.io/backend-protocol";

pub(super) fn ingresses(
    endpoint: &ValidatedEndpoint,
    host: &str,
    exposure: &IngressExposure,
) -> Vec<Ingress> {
    let routes = routes::routes(endpoint).into_iter();
    routes.map(|(bits, paths)| ingress(endpoint, host, exposure, &bits, &paths)).collect()
}

fn ingress(
    endpoint: &ValidatedEndpoint,
    host: &str,
    exposure: &IngressExposure,
    bits: &str,
    paths: &[Path],
) -> Ingress {
    let names = endpoint.names();
    let backend = IngressBackend {
        service: Some(IngressServiceBackend {
            name: names.workload(),
            port: Some(ServiceBackendPort { number: Some(service::port(endpoint)), name: None }),
        }),
        resource: None,
    };
    let paths = paths.iter().map(|Path { path, exact }| HTTPIngressPath {
        path: Some(path.clone()),
        path_type: if *exact { "Exact" } else { "Prefix" }.to_owned(),
        backend: backend.clone(),
    });
    let mut annotations = BTreeMap::new();
    if endpoint.pods_serve_tls {
        annotations.insert(NGINX_PROTOCOL.to_owned(), "HTTPS".to_owned());
    }
    annotations.extend(exposure.annotations.0.clone());
    let mut metadata = metadata(endpoint, names.route(bits));
    let labels = metadata.labels.get_or_insert_default();
    for (label, value) in &exposure.labels.0 {
        labels.entry(label.clone()).or_insert_with(|| value.clone());
    }
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: exposure.class_name.clone(),
            rules: Some(vec![IngressRule {
                host: Some(host.to_owned()),
                http: Some(HTTPIngressRuleValue { paths: paths.collect() }),
            }]),
            tls: endpoint.certificate.as_ref().map(|certificate| {
                vec![IngressTLS {
                    hosts: Some(vec![host.to_owned()]),
                    secret_name: Some(certificate.secret_name.clone()),
                }]
            }),
            default_backend: None,
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{tenant, validated, whole, yaml},
        *,
    };
    use crate::controller::validate::Exposure;

    fn built(endpoint: &ValidatedEndpoint) -> Vec<Ingress> {
        match &endpoint.exposure {
            Exposure::Ingress { host, ingress } => ingresses(endpoint, host, ingress),
            _ => Vec::new(),
        }
    }

    #[test]
    fn ingress_lets_the_paths_of_tenants_through_and_nothing_else() {
        let spec = "{host: scim.example.com, exposure: {ingress: {className: traefik, annotations: {a.example/b: c}, labels: {team: id, app.kubernetes.io/name: mine}}}, tls: {secretName: cert}}";
        let clients = "authentication: {bearer: {}, oauth2: {clients: [{name: idp, clientId: idp, secretKeyRef: {name: globex-scim-token, key: client}}]}}";
        let others = [tenant("acme", "path: acme-eu"), tenant("globex", clients)].concat();
        let [ingress] = &*built(&validated(spec, &others)) else { panic!("there is one") };
        insta::assert_snapshot!(whole(ingress), @r#"
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata:
          annotations:
            a.example/b: c
          labels:
            app.kubernetes.io/component: server
            app.kubernetes.io/instance: door
            app.kubernetes.io/managed-by: scim-operator
            app.kubernetes.io/name: scim-operator
            scim-operator.io/endpoint: door
            team: id
          name: door-scim
          namespace: platform
          ownerReferences:
          - apiVersion: scim-operator.io/v1alpha1
            blockOwnerDeletion: true
            controller: true
            kind: ScimEndpoint
            name: door
            uid: 0a1b
        spec:
          ingressClassName: traefik
          rules:
          - host: scim.example.com
            http:
              paths:
              - backend:
                  service:
                    name: door-scim
                    port:
                      number: 80
                path: /acme-eu/scim/v2
                pathType: Prefix
              - backend:
                  service:
                    name: door-scim
                    port:
                      number: 80
                path: /globex/scim/v2
                pathType: Prefix
              - backend:
                  service:
                    name: door-scim
                    port:
                      number: 80
                path: /globex/oauth2/token
                pathType: Exact
              - backend:
                  service:
                    name: door-scim
                    port:
                      number: 80
                path: /.well-known/oauth-authorization-server/globex
                pathType: Exact
          tls:
          - hosts:
            - scim.example.com
            secretName: cert
        "#);
    }

    #[test]
    fn ingress_for_the_host_says_how_to_speak_to_the_pods() {
        let spec = "{host: scim.example.com, routing: Host, exposure: {ingress: {}}, tls: {secretName: cert, endToEnd: true}}";
        insta::assert_snapshot!(yaml(&built(&validated(spec, ""))[0]), @r#"
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata:
          annotations:
            nginx.ingress.kubernetes.io/backend-protocol: HTTPS
          name: door-scim
          namespace: platform
        spec:
          rules:
          - host: scim.example.com
            http:
              paths:
              - backend:
                  service:
                    name: door-scim
                    port:
                      number: 443
                path: /
                pathType: Prefix
          tls:
          - hosts:
            - scim.example.com
            secretName: cert
        "#);
    }

    #[test]
    fn ingress_of_no_tenants_is_none() {
        assert_eq!(built(&validated("{host: scim.example.com, exposure: {ingress: {}}}", "")), []);
    }
}
