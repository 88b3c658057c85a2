//! The custom resources as Rust types: what people write and `kubectl apply` takes.
//!
//! The schema of a `CustomResourceDefinition` is derived from these types: doc comments become the
//! field documentation, attributes become constraints, defaults and CEL rules. What one object can
//! know about itself is refused here; what needs two objects is [`crate::config`]'s work.

mod audit;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, `pub` included, into a function body")]
mod authentication;
pub mod condition;
mod definitions;
mod duration;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, `pub` included, into a function body")]
mod endpoint;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, `pub` included, into a function body")]
mod lifecycle;
mod limits;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, `pub` included, into a function body")]
mod oauth2;
mod reference;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, `pub` included, into a function body")]
mod schemas;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, `pub` included, into a function body")]
mod tenant;
mod values;

pub use audit::Audit;
pub use authentication::{Authentication, Bearer, BearerToken, Rotation, Scope, SecretKeyRef};
pub use definitions::{definition_yaml, definitions, schema};
pub use duration::{Duration, DurationError};
pub use endpoint::{
    Access, AllowedTenants, Autoscaling, CaSecretRef, Cidr, ClusterIpExposure, Exposure, GatewayExposure,
    ImagePullPolicy, IngressExposure, IssuerRef, LabelExpression, LabelOperator, LoadBalancerExposure,
    NamespaceFrom, NamespaceSelector, NetworkPolicySpec, ParentRef, Postgres, PostgresPool, PostgresTls,
    PostgresTlsMode, PullSecret, Routing, ScimEndpoint, ScimEndpointSpec, ScimEndpointStatus, Server, Sqlite,
    Storage, TenantNamespaces, Tls, UrlSecretRef,
};
pub use lifecycle::{Lifecycle, MembershipSpec, OnDeactivate, OnDelete, OnRecreate, UnknownMembers};
pub use limits::{EndpointLimits, TenantLimits};
pub use oauth2::{
    OAuth2, OAuth2Algorithm, OAuth2Client, OAuth2Issuer, OAuth2RequiredClaim, OAuth2Scopes, PublicKey,
};
pub use reference::reference_markdown;
pub use schemas::{
    BaseSchema, CoreAttribute, CoreMutability, CoreSchema, CoreSchemas, ExtensionSchema, SchemaAttribute,
    SchemaMutability, SchemaReturned, SchemaSubAttribute, SchemaType, SchemaUniqueness, TenantResourceType,
    TenantSchemas,
};
pub use tenant::{
    DeletionPolicy, EndpointRef, IdentityProvider, ScimTenant, ScimTenantSpec, ScimTenantStatus,
};
pub use values::{Annotations, Labels, Size};

use std::borrow::Cow;

/// The API group of the custom resources.
pub const GROUP: &str = "scim-operator.io";
/// The one version of [`GROUP`] there is.
pub const VERSION: &str = "v1alpha1";
/// `GROUP/VERSION`, as manifests write it.
pub const API_VERSION: &str = "scim-operator.io/v1alpha1";
/// The key of a tenant's bearer Secret that holds the token.
pub const TOKEN_KEY: &str = "token";
/// The key of a tenant's bearer Secret that holds the token before the last rotation; it is also that token's name.
pub const PREVIOUS_TOKEN_KEY: &str = "previous-token";
/// The annotation of a Secret made by us that says since when [`TOKEN_KEY`] is there (RFC 3339).
pub const ISSUED_AT_ANNOTATION: &str = "scim-operator.io/token-issued-at";
/// The annotation of a Secret made by us that says until when [`PREVIOUS_TOKEN_KEY`] works (RFC 3339).
pub const PREVIOUS_EXPIRES_AT_ANNOTATION: &str = "scim-operator.io/previous-token-expires-at";

impl ScimTenant {
    /// The first path segment under which the tenant is served: `spec.path`, else the object's name.
    #[must_use]
    pub fn path(&self) -> &str {
        self.spec.path.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }

    /// The tenant's bearer tokens; `None` when it has OAuth 2.0 and says nothing of them.
    #[must_use]
    pub fn bearer(&self) -> Option<Cow<'_, Bearer>> {
        let Authentication { bearer, oauth2 } = &self.spec.authentication;
        match bearer {
            Some(bearer) => Some(Cow::Borrowed(bearer)),
            None if oauth2.is_some() => None,
            None => Some(Cow::Owned(Bearer::default())),
        }
    }

    /// The Secret that holds the tenant's main bearer token, in the tenant's namespace; `None` when it has none.
    #[must_use]
    pub fn token_secret(&self) -> Option<String> {
        let bearer = self.bearer()?;
        Some(bearer.secret_name.clone().unwrap_or_else(|| {
            let name = self.metadata.name.as_deref().unwrap_or_default();
            format!("{name}-scim-token")
        }))
    }
}
