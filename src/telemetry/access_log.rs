//! The access log: one line a request, cheap enough to be on by default.
//!
//! Lines are formatted straight into a buffer of the calling thread and handed to the
//! [`LogWriter`]. A record has ids, names and numbers; query strings, bodies and tokens have no place in it.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::logs::LogFormat;
use super::writer::LogWriter;

/// What one line says.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// `X-Request-Id`, the client's or ours.
    pub request_id: &'a str,
    /// The trace id of `traceparent`.
    pub trace_id: Option<&'a str>,
    /// The tenant's `NAMESPACE/NAME`, once it is known.
    pub tenant: Option<&'a str>,
    /// The name of the token that was used.
    pub credential: Option<&'a str>,
    /// What was asked for: `get`, `patch`, ...
    pub operation: &'a str,
    /// The resource type's name.
    pub resource_type: Option<&'a str>,
    /// The resource's id.
    pub resource_id: Option<&'a str>,
    /// The answer's HTTP status.
    pub status: u16,
    /// From the request's head to the answer's.
    pub duration: Duration,
    /// The client's address.
    pub client: IpAddr,
}

/// Writes records.
pub struct AccessLog {
    target: Option<(LogWriter, LogFormat)>,
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(512));
}

impl AccessLog {
    /// Writes lines of a format.
    #[must_use]
    pub fn new(writer: LogWriter, format: LogFormat) -> Self {
        Self { target: Some((writer, format.resolved())) }
    }

    /// Writes nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { target: None }
    }

    /// Writes one line.
    pub fn record(&self, record: &Record<'_>) {
        let Some((writer, format)) = &self.target else { return };
        LINE.with_borrow_mut(|line| {
            line.clear();
            match format {
                LogFormat::Json => json(line, Timestamp::now(), record),
                LogFormat::Text | LogFormat::Auto => text(line, Timestamp::now(), record),
            }
            writer.write_lines(line);
        });
    }
}

fn json(line: &mut Vec<u8>, now: Timestamp, record: &Record<'_>) {
    // Writing to a Vec cannot fail.
    let _ = write!(line, "{{\"timestamp\":\"{now:.6}\",\"level\":\"INFO\",\"message\":\"request\"");
    field(line, "request_id", Some(record.request_id));
    field(line, "trace_id", record.trace_id);
    field(line, "tenant", record.tenant);
    field(line, "credential", record.credential);
    field(line, "operation", Some(record.operation));
    field(line, "resource_type", record.resource_type);
    field(line, "resource_id", record.resource_id);
    line.extend_from_slice(b",\"status\":");
    line.extend_from_slice(itoa::Buffer::new().format(record.status).as_bytes());
    line.extend_from_slice(b",\"duration_ms\":");
    milliseconds(line, record.duration);
    let _ = writeln!(line, ",\"client\":\"{}\"}}", record.client);
}

fn field(line: &mut Vec<u8>, name: &str, value: Option<&str>) {
    let Some(value) = value else { return };
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":\"");
    if value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        line.extend_from_slice(value.as_bytes());
        line.push(b'"');
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
            0..0x20 => line.push(b'?'),
            _ => line.push(byte),
        }
    }
    line.push(b'"');
}

/// Microseconds as milliseconds with three decimals, without floats.
fn milliseconds(line: &mut Vec<u8>, duration: Duration) {
    let micros = duration.as_micros();
    let mut digits = itoa::Buffer::new();
    line.extend_from_slice(digits.format(micros / 1000).as_bytes());
    let rest = digits.format(1000 + micros % 1000);
    line.push(b'.');
    line.extend_from_slice(&rest.as_bytes()[1..]);
}

fn text(line: &mut Vec<u8>, now: Timestamp, record: &Record<'_>) {
    let _ = write!(line, "{now:.3} {:>6} {}", record.operation, record.status);
    if let Some(tenant) = record.tenant {
        let _ = write!(line, " {tenant}");
    }
    if let Some(resource_type) = record.resource_type {
        let _ = write!(line, " {resource_type}");
    }
    if let Some(id) = record.resource_id {
        let _ = write!(line, " {id}");
    }
    line.push(b' ');
    milliseconds(line, record.duration);
    let _ = writeln!(line, "ms client={} request_id={}", record.client, record.request_id);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            request_id: "a\"b",
            trace_id: None,
            tenant: Some("identity/acme"),
            credential: Some("token"),
            operation: "get",
            resource_type: Some("User"),
            resource_id: Some("0190"),
            status: 200,
            duration: Duration::from_micros(1042),
            client: IpAddr::from([127, 0, 0, 1]),
        }
    }

    #[test]
    fn json_line_is_one_object_with_escapes() {
        let mut line = Vec::new();
        json(&mut line, Timestamp::UNIX_EPOCH, &record());
        let line = String::from_utf8(line).unwrap();
        insta::assert_snapshot!(line.trim_end(), @r#"{"timestamp":"1970-01-01T00:00:00.000000Z","level":"INFO","message":"request","request_id":"a\"b","tenant":"identity/acme","credential":"token","operation":"get","resource_type":"User","resource_id":"0190","status":200,"duration_ms":1.042,"client":"127.0.0.1"}"#);
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
    }

    #[test]
    fn text_line_reads_from_left_to_right() {
        let mut line = Vec::new();
        text(&mut line, Timestamp::UNIX_EPOCH, &record());
        insta::assert_snapshot!(String::from_utf8(line).unwrap().trim_end(), @r#"1970-01-01T00:00:00.000Z    get 200 identity/acme User 0190 1.042ms client=127.0.0.1 request_id=a"b"#);
    }
}
