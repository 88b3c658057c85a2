//! Connections: slow ones, many of them, and how they end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use scim_operator::server::connection::ConnectionLimits;

use crate::support::{Server, config};

const QUICK: ConnectionLimits = ConnectionLimits {
    connections: 2,
    wait: Duration::from_millis(100),
    first_request: Duration::from_millis(200),
    idle: Duration::from_millis(400),
    check: Duration::from_millis(20),
};

/// Writes `head` and reads to the end, on a thread of its own; gives the text and how long it took.
async fn exchange(server: &Server, head: &'static str) -> (String, Duration) {
    let address = server.address;
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        (text, started.elapsed())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn connection_that_never_finishes_its_first_head_is_closed() {
    let server = Server::with(&config(), QUICK).await;
    for head in ["", "GET /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthor"] {
        let (text, took) = exchange(&server, head).await;
        assert_eq!(text, "");
        assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn idle_connection_is_kept_for_a_while_and_then_closed() {
    let server = Server::with(&config(), QUICK).await;
    let (text, took) = exchange(&server, "GET /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn connection_beyond_the_cap_is_told_to_come_back() {
    let limits = ConnectionLimits { first_request: Duration::from_secs(10), ..QUICK };
    let server = Server::with(&config(), limits).await;
    let held = [TcpStream::connect(server.address).unwrap(), TcpStream::connect(server.address).unwrap()];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (text, _) = exchange(&server, "").await;
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("Retry-After: 5"), "{text}");
    drop(held);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (text, _) = exchange(&server, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_only() {
    let server = Server::with(&config(), QUICK).await;
    for head in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let (text, _) = exchange(&server, head).await;
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400") || text.starts_with("HTTP/1.1 505"),
            "{text}"
        );
    }
    assert_eq!(server.get("/Users").await.status, 200);
}

#[tokio::test]
async fn stopped_server_finishes_what_is_under_way_and_ends() {
    let mut server = Server::start().await;
    let address = server.address;
    let mut stream = TcpStream::connect(address).unwrap();
    // The head is here, the body is not: the request is under way.
    let head = "POST /acme/scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer acme-token\r\nContent-Type: application/json\r\nContent-Length: 79\r\n\r\n";
    let body = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"patient"}"#;
    assert_eq!(body.len(), 79);
    stream.write_all(head.as_bytes()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!server.scim.is_finished());
    assert!(TcpStream::connect(address).is_err(), "no new connections");
    stream.write_all(body.as_bytes()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), &mut server.scim).await.unwrap().unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 201 "), "{text}");
}
