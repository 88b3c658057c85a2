//! Discovery documents: `/ServiceProviderConfig`, `/Schemas` and `/ResourceTypes` (RFC 7644 section 4,
//! RFC 7643 sections 5 to 7, RFC 9865 section 4).
//!
//! Made from the same registry and limits that requests are held to, so that nothing is claimed
//! which does not work.

use serde_json::{Value, json};

use super::schema::{ResourceType, Schema};

/// URN of the service provider configuration schema.
pub const SERVICE_PROVIDER_CONFIG_SCHEMA: &str =
    "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
/// URN of the schema of schemas.
pub const SCHEMA_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
/// URN of the resource type schema.
pub const RESOURCE_TYPE_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";

/// The limits that a service provider configuration states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Operations at most in one bulk request.
    pub max_bulk_operations: u32,
    /// Bytes at most of a bulk request.
    pub max_bulk_payload_bytes: u64,
    /// Resources at most in a page, which is also how many a page has when the client does not say.
    pub max_page_size: u32,
    /// How long a cursor stays good.
    pub cursor_timeout_seconds: u64,
}

/// One way in which a client of this tenant can authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// A token that was agreed on.
    BearerToken,
    /// An access token of an authorization server, by its issuer URL.
    Issuer(String),
    /// An access token of the endpoint itself, by the URL of its token endpoint.
    TokenEndpoint(String),
}

impl Scheme {
    /// An item of `authenticationSchemes`; the first is the primary one.
    fn document((index, scheme): (usize, &Self)) -> Value {
        let (kind, name, description, spec) = match scheme {
            Self::BearerToken => (
                "oauthbearertoken",
                "Bearer token",
                "A token in the Authorization header: \"Authorization: Bearer TOKEN\"".to_owned(),
                "https://www.rfc-editor.org/info/rfc6750",
            ),
            Self::Issuer(issuer) => (
                "oauth2",
                "OAuth 2.0 access token",
                format!("A JWT access token of {issuer} with the scopes scim.read and scim.write"),
                "https://www.rfc-editor.org/info/rfc9068",
            ),
            Self::TokenEndpoint(url) => (
                "oauth2",
                "OAuth 2.0 client credentials",
                format!("An access token from {url} with the scopes scim.read and scim.write"),
                "https://www.rfc-editor.org/info/rfc6749",
            ),
        };
        json!({
            "type": kind, "name": name, "description": description, "specUri": spec, "primary": index == 0,
        })
    }
}

/// `/ServiceProviderConfig` (RFC 7643 section 5, with `pagination` of RFC 9865 section 4).
#[must_use]
pub fn service_provider_config(capabilities: &Capabilities, schemes: &[Scheme], base_url: &str) -> Value {
    json!({
        "schemas": [SERVICE_PROVIDER_CONFIG_SCHEMA],
        "patch": {"supported": true},
        "bulk": {
            "supported": true,
            "maxOperations": capabilities.max_bulk_operations,
            "maxPayloadSize": capabilities.max_bulk_payload_bytes,
        },
        "filter": {"supported": true, "maxResults": capabilities.max_page_size},
        "changePassword": {"supported": false},
        "sort": {"supported": true},
        "etag": {"supported": true},
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": capabilities.max_page_size,
            "maxPageSize": capabilities.max_page_size,
            "cursorTimeout": capabilities.cursor_timeout_seconds,
        },
        "authenticationSchemes": schemes.iter().enumerate().map(Scheme::document).collect::<Value>(),
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base_url}/ServiceProviderConfig"),
        },
    })
}

/// One of `/Schemas` (RFC 7643 section 7).
#[must_use]
pub fn schema(schema: &Schema, base_url: &str) -> Value {
    json!({
        "schemas": [SCHEMA_SCHEMA],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes,
        "meta": {"resourceType": "Schema", "location": format!("{base_url}/Schemas/{}", schema.id)},
    })
}

/// One of `/ResourceTypes` (RFC 7643 section 6).
#[must_use]
pub fn resource_type(resource_type: &ResourceType, base_url: &str) -> Value {
    let extensions = resource_type.extensions.iter();
    let mut document = json!({
        "schemas": [RESOURCE_TYPE_SCHEMA],
        "id": resource_type.name,
        "name": resource_type.name,
        "description": resource_type.description,
        "endpoint": resource_type.endpoint,
        "schema": resource_type.schema.id,
        "schemaExtensions": extensions
            .map(|extension| json!({"schema": extension.schema.id, "required": extension.required}))
            .collect::<Value>(),
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base_url}/ResourceTypes/{}", resource_type.name),
        },
    });
    if resource_type.extensions.is_empty()
        && let Some(document) = document.as_object_mut()
    {
        document.shift_remove("schemaExtensions");
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::schema::Registry;

    const BASE: &str = "https://scim.example.com/acme/scim/v2";

    #[test]
    fn authentication_schemes_are_those_of_the_tenant() {
        let schemes = [Scheme::Issuer("https://id.example.com".into()), Scheme::TokenEndpoint("URL".into())];
        let documents: Vec<Value> = schemes.iter().enumerate().map(Scheme::document).collect();
        insta::assert_json_snapshot!(documents, @r#"
        [
          {
            "type": "oauth2",
            "name": "OAuth 2.0 access token",
            "description": "A JWT access token of https://id.example.com with the scopes scim.read and scim.write",
            "specUri": "https://www.rfc-editor.org/info/rfc9068",
            "primary": true
          },
          {
            "type": "oauth2",
            "name": "OAuth 2.0 client credentials",
            "description": "An access token from URL with the scopes scim.read and scim.write",
            "specUri": "https://www.rfc-editor.org/info/rfc6749",
            "primary": false
          }
        ]
        "#);
    }

    #[test]
    fn service_provider_config_states_the_limits_in_force() {
        let capabilities = Capabilities {
            max_bulk_operations: 1000,
            max_bulk_payload_bytes: 4_194_304,
            max_page_size: 500,
            cursor_timeout_seconds: 3600,
        };
        insta::assert_json_snapshot!(service_provider_config(&capabilities, &[Scheme::BearerToken], BASE), @r#"
        {
          "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
          ],
          "patch": {
            "supported": true
          },
          "bulk": {
            "supported": true,
            "maxOperations": 1000,
            "maxPayloadSize": 4194304
          },
          "filter": {
            "supported": true,
            "maxResults": 500
          },
          "changePassword": {
            "supported": false
          },
          "sort": {
            "supported": true
          },
          "etag": {
            "supported": true
          },
          "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": 500,
            "maxPageSize": 500,
            "cursorTimeout": 3600
          },
          "authenticationSchemes": [
            {
              "type": "oauthbearertoken",
              "name": "Bearer token",
              "description": "A token in the Authorization header: \"Authorization: Bearer TOKEN\"",
              "specUri": "https://www.rfc-editor.org/info/rfc6750",
              "primary": true
            }
          ],
          "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": "https://scim.example.com/acme/scim/v2/ServiceProviderConfig"
          }
        }
        "#);
    }

    #[test]
    fn resource_types_name_their_schemas() {
        let registry = Registry::core();
        let documents: Vec<Value> = registry.resource_types.iter().map(|t| resource_type(t, BASE)).collect();
        insta::assert_json_snapshot!(documents, @r#"
        [
          {
            "schemas": [
              "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
            ],
            "id": "User",
            "name": "User",
            "description": "User Account",
            "endpoint": "/Users",
            "schema": "urn:ietf:params:scim:schemas:core:2.0:User",
            "schemaExtensions": [
              {
                "schema": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
                "required": false
              }
            ],
            "meta": {
              "resourceType": "ResourceType",
              "location": "https://scim.example.com/acme/scim/v2/ResourceTypes/User"
            }
          },
          {
            "schemas": [
              "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
            ],
            "id": "Group",
            "name": "Group",
            "description": "Group",
            "endpoint": "/Groups",
            "schema": "urn:ietf:params:scim:schemas:core:2.0:Group",
            "meta": {
              "resourceType": "ResourceType",
              "location": "https://scim.example.com/acme/scim/v2/ResourceTypes/Group"
            }
          }
        ]
        "#);
    }

    #[test]
    fn schemas_state_every_characteristic() {
        let registry = Registry::core();
        let documents: Vec<Value> = registry.schemas().into_iter().map(|s| schema(s, BASE)).collect();
        assert_eq!(
            documents[0]["meta"]["location"],
            format!("{BASE}/Schemas/{}", documents[0]["id"].as_str().unwrap())
        );
        insta::assert_json_snapshot!(documents[0]["attributes"][0], @r#"
        {
          "name": "userName",
          "type": "string",
          "multiValued": false,
          "description": "Unique identifier for the user, typically used to sign in; unique without regard to case",
          "required": true,
          "caseExact": false,
          "mutability": "readWrite",
          "returned": "default",
          "uniqueness": "server"
        }
        "#);
        insta::assert_json_snapshot!(documents[2]["attributes"][1]["subAttributes"][1], @r#"
        {
          "name": "$ref",
          "type": "reference",
          "multiValued": false,
          "description": "The URI of the member",
          "required": false,
          "caseExact": true,
          "mutability": "immutable",
          "returned": "default",
          "uniqueness": "none",
          "referenceTypes": [
            "User",
            "Group"
          ]
        }
        "#);
    }
}
