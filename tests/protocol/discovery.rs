//! Discovery (RFC 7644 section 4), and that it tells the truth.

use scim_operator::server::connection::ConnectionLimits;
use serde_json::json;
use std::sync::Arc;

use crate::support::{ENTERPRISE, GROUP, RequestExt, Server, USER, config};

#[tokio::test]
async fn service_provider_config_states_the_limits_in_force() {
    let mut config = config();
    Arc::make_mut(&mut config.tenants[0]).limits.max_bulk_operations = 7;
    Arc::make_mut(&mut config.tenants[0]).limits.max_page_size = 2;
    let server = Server::with(&config, ConnectionLimits::default()).await;
    let reply = server.get("/ServiceProviderConfig").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/scim+json"));
    assert_eq!(reply.body["bulk"], json!({"supported": true, "maxOperations": 7, "maxPayloadSize": 4 << 20}));
    assert_eq!(reply.body["filter"], json!({"supported": true, "maxResults": 2}));
    assert_eq!(reply.body["pagination"]["cursorTimeout"], 600);
    assert_eq!(reply.body["meta"]["location"], format!("{}/ServiceProviderConfig", server.base("acme")));
    for name in ["a", "b", "c"] {
        server.user(name).await;
    }
    let page = server.get("/Users?count=100").await;
    assert_eq!((&page.body["itemsPerPage"], &page.body["totalResults"]), (&json!(2), &json!(3)));
}

#[tokio::test]
async fn schemas_and_resource_types_are_lists_and_single_documents() {
    let server = Server::start().await;
    for (list, ids) in
        [("/Schemas", vec![USER, ENTERPRISE, GROUP]), ("/ResourceTypes", vec!["User", "Group"])]
    {
        let reply = server.get(list).await;
        assert_eq!(reply.body["totalResults"], ids.len(), "{}", reply.text);
        for id in &ids {
            let single = server.get(&format!("{list}/{id}")).await;
            assert_eq!((single.status, &single.body["id"]), (200, &json!(id)), "{}", single.text);
            assert!(reply.body["Resources"].as_array().unwrap().contains(&single.body));
            assert_eq!(single.body["meta"]["location"], format!("{}{list}/{id}", server.base("acme")));
        }
        assert_eq!(server.get(&format!("{list}/urn:none")).await.status, 404);
    }
}

#[tokio::test]
async fn discovery_is_read_only_and_not_filtered() {
    let server = Server::start().await;
    for path in ["/ServiceProviderConfig", "/Schemas", "/ResourceTypes", "/ResourceTypes/User"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let reply = server.request(method, path).scim(&json!({})).reply().await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
        let filtered = server.get(&format!("{path}?filter=id%20pr")).await;
        assert!(filtered.error().starts_with("403: "), "{}", filtered.error());
        assert_eq!(server.get(&format!("{path}?startIndex=7&count=1&sortBy=id")).await.status, 200);
    }
}
