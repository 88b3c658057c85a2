//! The least HTTP/1.1 that can measure: keep-alive, `Content-Length`, nothing else.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A request as bytes.
pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
    if !body.is_empty() {
        request.push_str("Content-Type: application/scim+json\r\nContent-Length: ");
        request.push_str(&body.len().to_string());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    request.into_bytes()
}

/// Status and length of the answer that `bytes` begins with, when its head is complete.
pub(crate) fn head(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = &bytes[..end];
    let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()?;
    let mut length = 0;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if line[..colon].eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(&line[colon + 1..]).expect("headers are ASCII");
            length = value.trim().parse().expect("a length is a number");
        }
        assert!(!line[..colon].eq_ignore_ascii_case(b"transfer-encoding"), "answers must have a length");
    }
    Some((status, end + 4, length))
}

/// One connection that waits for each answer: for setting up and for latencies.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, buffer: Vec::with_capacity(1 << 16) }
    }

    /// Sends, and gives status and body.
    pub(crate) fn call(&mut self, request: &[u8]) -> (u16, &[u8]) {
        self.stream.write_all(request).expect("the server reads");
        self.buffer.clear();
        let mut chunk = [0; 1 << 14];
        loop {
            let read = self.stream.read(&mut chunk).expect("the server answers");
            assert_ne!(
                read,
                0,
                "the server closed the connection: {}",
                String::from_utf8_lossy(&self.buffer)
            );
            self.buffer.extend_from_slice(&chunk[..read]);
            if let Some((status, start, length)) = head(&self.buffer)
                && self.buffer.len() >= start + length
            {
                return (status, &self.buffer[start..start + length]);
            }
        }
    }

    /// Sends, and gives the body of an answer with this status.
    pub(crate) fn expect(&mut self, status: u16, request: &[u8]) -> serde_json::Value {
        let (seen, body) = self.call(request);
        assert_eq!(seen, status, "{}", String::from_utf8_lossy(body));
        if body.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(body).expect("JSON") }
    }
}
