//! Which paths are let through, and how they are spread over objects of bounded size.
//!
//! A path belongs to the object whose bits the digest of its tenant's path begins with. As long as all fit into one
//! object there is one; an object that would be too large is two, by the next bit, and so on. So a tenant that comes or
//! goes rewrites one object, whatever the number of tenants, and the same tenants always make the same objects.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::{
    controller::validate::{TenantRoute, ValidatedEndpoint},
    crd::Routing,
};

/// Paths of one object at most: that many matches a whole `HTTPRoute` may have.
const MAX_PATHS: usize = 128;

/// A path that is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// The path.
    pub(super) path: String,
    /// It alone, and not what is below it too.
    pub(super) exact: bool,
}

/// The paths of each object, by the bits in its name.
pub(super) fn routes(endpoint: &ValidatedEndpoint) -> BTreeMap<String, Vec<Path>> {
    match endpoint.routing {
        Routing::Host => BTreeMap::from([(String::new(), vec![Path { path: "/".to_owned(), exact: false }])]),
        Routing::Tenant => {
            let mut found = BTreeMap::new();
            let tenants =
                endpoint.tenants.iter().map(|tenant| (digest(&tenant.path), tenant)).collect::<Vec<_>>();
            spread(&tenants, String::new(), &mut found);
            found
        }
    }
}

fn spread(tenants: &[(u64, &TenantRoute)], bits: String, found: &mut BTreeMap<String, Vec<Path>>) {
    let count: usize = tenants.iter().map(|(_, tenant)| if tenant.issues_tokens { 3 } else { 1 }).sum();
    // Digests that are the same for 64 bits do not happen by chance.
    if count <= MAX_PATHS || bits.len() == 64 {
        if count > 0 {
            found.insert(bits, tenants.iter().flat_map(|(_, tenant)| paths(tenant)).collect());
        }
        return;
    }
    for bit in [0, 1] {
        let at = 63 - bits.len();
        let half: Vec<_> = tenants.iter().copied().filter(|(digest, _)| digest >> at & 1 == bit).collect();
        spread(&half, format!("{bits}{bit}"), found);
    }
}

fn digest(path: &str) -> u64 {
    let digest = Sha256::digest(path.as_bytes());
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// The SCIM base URL and, for OAuth 2.0 clients, where they get tokens and learn that (RFC 8414).
fn paths(tenant: &TenantRoute) -> Vec<Path> {
    let TenantRoute { path, issues_tokens } = tenant;
    let mut paths = vec![Path { path: format!("/{path}/scim/v2"), exact: false }];
    if *issues_tokens {
        paths.push(Path { path: format!("/{path}/oauth2/token"), exact: true });
        paths.push(Path { path: format!("/.well-known/oauth-authorization-server/{path}"), exact: true });
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{super::fixture::validated, *};

    fn spread_over(tenants: &BTreeSet<TenantRoute>) -> BTreeMap<String, Vec<Path>> {
        let mut endpoint = validated("{}", "");
        endpoint.tenants = tenants.iter().cloned().collect();
        routes(&endpoint)
    }

    fn many() -> impl Strategy<Value = BTreeSet<TenantRoute>> {
        prop::collection::btree_map("[a-z]{1,4}", any::<bool>(), 0..400).prop_map(|tenants| {
            let route = |(path, issues_tokens)| TenantRoute { path, issues_tokens };
            tenants.into_iter().map(route).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_path_is_in_one_object_of_bounded_size(tenants in many()) {
            let objects = spread_over(&tenants);
            let mut found: Vec<String> = Vec::new();
            for paths in objects.values() {
                prop_assert!(!paths.is_empty() && paths.len() <= MAX_PATHS);
                found.extend(paths.iter().map(|path| path.path.clone()));
            }
            let mut expected: Vec<String> =
                tenants.iter().flat_map(paths).map(|path| path.path).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn tenant_that_comes_changes_one_object_or_divides_it(tenants in many(), path in "[a-z]{5}") {
            let before = spread_over(&tenants);
            let mut more = tenants;
            more.insert(TenantRoute { path, issues_tokens: false });
            let after = spread_over(&more);
            let changed: Vec<_> = after.iter().filter(|(bits, paths)| before.get(*bits) != Some(paths)).collect();
            let gone: Vec<_> = before.keys().filter(|bits| !after.contains_key(*bits)).collect();
            match gone.as_slice() {
                [] => prop_assert_eq!(changed.len(), 1),
                [parent] => prop_assert!(changed.iter().all(|(bits, _)| bits.starts_with(parent.as_str()))),
                _ => prop_assert!(false, "{gone:?} are gone"),
            }
        }
    }
}
