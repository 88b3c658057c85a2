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
