//! The `HTTPRoute` objects of `spec.exposure.gateway`, with the few fields of the Gateway API's type that we write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::{
    metadata,
    routes::{self, Path},
    service,
};
use crate::{
    controller::validate::ValidatedEndpoint,
    crd::{GatewayExposure, ParentRef},
};

/// Matches of one rule at most.
const MAX_MATCHES: usize = 64;

/// `gateway.networking.k8s.io/v1` `HTTPRoute`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpRoute {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    spec: HttpRouteSpec,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpRouteSpec {
    parent_refs: Vec<RouteParent>,
    hostnames: Vec<String>,
    rules: Vec<Rule>,
}

/// A Gateway. The kind and group are what an API server fills in, so that it finds nothing to add.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct RouteParent {
    group: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    parent: ParentRef,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    matches: Vec<Match>,
    backend_refs: Vec<BackendRef>,
}

#[derive(Debug, Clone, Serialize)]
struct Match {
    path: PathMatch,
}

#[derive(Debug, Clone, Serialize)]
struct PathMatch {
    #[serde(rename = "type")]
    kind: &'static str,
    value: String,
}

#[derive(Debug, Clone, Serialize)]
struct BackendRef {
    group: &'static str,
    kind: &'static str,
    name: String,
    port: i32,
    weight: i32,
}

pub(super) fn http_routes(
    endpoint: &ValidatedEndpoint,
    host: &str,
    exposure: &GatewayExposure,
) -> Vec<HttpRoute> {
    let routes = routes::routes(endpoint).into_iter();
    routes.map(|(bits, paths)| http_route(endpoint, host, exposure, &bits, &paths)).collect()
}

fn http_route(
    endpoint: &ValidatedEndpoint,
    host: &str,
    exposure: &GatewayExposure,
    bits: &str,
    paths: &[Path],
) -> HttpRoute {
    let names = endpoint.names();
    let backend = BackendRef {
        group: "",
        kind: "Service",
        name: names.workload(),
        port: service::port(endpoint),
        weight: 1,
    };
    let rules = paths.chunks(MAX_MATCHES).map(|paths| Rule {
        matches: paths.iter().map(path_match).collect(),
        backend_refs: vec![backend.clone()],
    });
    let parents = exposure.parent_refs.iter().map(|parent| RouteParent {
        group: "gateway.networking.k8s.io",
        kind: "Gateway",
        parent: parent.clone(),
    });
    let mut metadata = metadata(endpoint, names.route(bits));
    let labels = metadata.labels.get_or_insert_default();
    for (label, value) in &exposure.labels.0 {
        labels.entry(label.clone()).or_insert_with(|| value.clone());
    }
    let annotations = &exposure.annotations;
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.0.clone());
    HttpRoute {
        api_version: "gateway.networking.k8s.io/v1",
        kind: "HTTPRoute",
        metadata,
        spec: HttpRouteSpec {
            parent_refs: parents.collect(),
            hostnames: vec![host.to_owned()],
            rules: rules.collect(),
        },
    }
}

fn path_match(Path { path, exact }: &Path) -> Match {
    let kind = if *exact { "Exact" } else { "PathPrefix" };
    Match { path: PathMatch { kind, value: path.clone() } }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{tenant, validated, yaml},
        *,
    };
    use crate::controller::validate::{Exposure, TenantRoute};

    fn built(endpoint: &ValidatedEndpoint) -> Vec<HttpRoute> {
        match &endpoint.exposure {
            Exposure::Gateway { host, gateway } => http_routes(endpoint, host, gateway),
            _ => Vec::new(),
        }
    }

    const SPEC: &str = "{host: scim.example.com, exposure: {gateway: {parentRefs: [{name: public, namespace: infra, sectionName: https}], labels: {team: id}}}}";

    #[test]
    fn http_route_attaches_to_the_gateway() {
        insta::assert_snapshot!(yaml(&built(&validated(SPEC, &tenant("acme", "")))[0]), @r#"
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata:
          name: door-scim
          namespace: platform
        spec:
          parentRefs:
          - group: gateway.networking.k8s.io
            kind: Gateway
            name: public
            namespace: infra
            sectionName: https
          hostnames:
          - scim.example.com
          rules:
          - matches:
            - path:
                type: PathPrefix
                value: /acme/scim/v2
            backendRefs:
            - group: ""
              kind: Service
              name: door-scim
              port: 80
              weight: 1
        "#);
    }

    #[test]
    fn http_routes_of_many_tenants_stay_within_what_one_may_hold() {
        let mut endpoint = validated(SPEC, "");
        endpoint.tenants =
            (0..1000).map(|n| TenantRoute { path: format!("t{n}"), issues_tokens: n % 3 == 0 }).collect();
        for route in built(&endpoint) {
            assert!(route.spec.rules.len() <= 16);
            let matches: Vec<usize> = route.spec.rules.iter().map(|rule| rule.matches.len()).collect();
            assert!(matches.iter().all(|matches| *matches <= 64));
            assert!(matches.iter().sum::<usize>() <= 128);
        }
    }
}
