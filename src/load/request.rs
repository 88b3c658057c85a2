//! One request, and what became of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What a request is for: the rows of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operation {
    Discover,
    FindUser,
    CreateUser,
    GetUser,
    PutUser,
    PatchUser,
    DeleteUser,
    ListUsers,
    FindGroup,
    CreateGroup,
    GetGroup,
    PatchGroup,
    PatchMembers,
    DeleteGroup,
    ListGroups,
}

impl Operation {
    /// As in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::FindUser => "find user",
            Self::CreateUser => "create user",
            Self::GetUser => "get user",
            Self::PutUser => "put user",
            Self::PatchUser => "patch user",
            Self::DeleteUser => "delete user",
            Self::ListUsers => "list users",
            Self::FindGroup => "find group",
            Self::CreateGroup => "create group",
            Self::GetGroup => "get group",
            Self::PatchGroup => "patch group",
            Self::PatchMembers => "patch members",
            Self::DeleteGroup => "delete group",
            Self::ListGroups => "list groups",
        }
    }
}

/// A request to one tenant.
#[derive(Debug, Clone)]
pub struct Request {
    /// What for.
    pub operation: Operation,
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: hyper::Method,
    /// Below the tenant's base URL, with its query.
    pub path: String,
    /// JSON.
    pub body: Option<Bytes>,
}

impl Request {
    /// A GET.
    #[must_use]
    pub fn get(operation: Operation, path: impl Into<String>) -> Self {
        Self { operation, method: hyper::Method::GET, path: path.into(), body: None }
    }

    /// A request with a body.
    #[must_use]
    pub fn with(operation: Operation, method: hyper::Method, path: impl Into<String>, body: &Value) -> Self {
        Self { operation, method, path: path.into(), body: Some(Bytes::from(body.to_string())) }
    }

    /// A DELETE.
    #[must_use]
    pub fn delete(operation: Operation, path: impl Into<String>) -> Self {
        Self { operation, method: hyper::Method::DELETE, path: path.into(), body: None }
    }

    /// Whether it asks for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.method != hyper::Method::GET
    }
}

/// A segment of a path: an id, which is the server's word.
#[must_use]
pub fn segment(id: &str) -> String {
    const SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(id, SET).to_string()
}

/// A value of a query.
#[must_use]
pub fn query(text: &str) -> String {
    const SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, SET).to_string()
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, as sent.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the server says that it did what it was asked for.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `detail` of a SCIM error, RFC 7644 section 3.12, or the beginning of whatever came.
    #[must_use]
    pub fn detail(&self) -> String {
        let json = self.json();
        let text = match json.get("detail").and_then(Value::as_str) {
            Some(detail) => detail.to_owned(),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        // A server's words do not speak to the terminal.
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection: the server has not seen the request.
    Connect(String),
    /// No answer in time.
    Timeout(Duration),
    /// The connection ended before the answer did.
    Cut(String),
}

impl Failure {
    /// Whether the server may have seen the request.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        !matches!(self, Self::Connect(_))
    }

    /// As in reports, where an answer has its status.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Timeout(_) => "timeout",
            Self::Cut(_) => "cut",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Timeout(after) => write!(f, "no answer within {} s", after.as_secs_f64()),
            Self::Cut(why) => write!(f, "the connection ended before the answer: {why}"),
        }
    }
}

/// What became of one request, retries included.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It has happened.
    Accepted(Answer),
    /// The server refused it. `doubt`: an earlier try of it may have happened.
    Refused {
        /// The last answer.
        answer: Answer,
        /// Whether an earlier try may have happened.
        doubt: bool,
    },
    /// It was given up. `doubt`: a try of it may have happened.
    GivenUp {
        /// Whether a try may have happened.
        doubt: bool,
    },
}

impl Verdict {
    /// Whether nobody knows whether it happened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Refused { doubt: true, .. } | Self::GivenUp { doubt: true })
    }
}
