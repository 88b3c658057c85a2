//! A SCIM client that hides nothing: every status and body comes back as it is.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// One tenant's base URL and token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// `http://HOST/TENANT/scim/v2`.
    pub(crate) base: String,
    token: String,
}

/// A request about to be sent.
#[derive(Debug)]
pub(crate) struct Request(reqwest::RequestBuilder);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// `null` when the body is empty.
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(base: String, token: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(1))
            .build()
            .expect("a client without TLS always builds");
        Self { http, base, token: token.to_owned() }
    }

    /// The same tenant by a connection pool of its own.
    pub(crate) fn another(&self) -> Self {
        Self::new(self.base.clone(), &self.token)
    }

    /// The same server with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// `path` begins with `/`, or is a whole URL as in `meta.location`.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let method: Method = method.parse().expect("an HTTP method");
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        Request(self.http.request(method, url).bearer_auth(&self.token))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).body(body).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path).body(body).send().await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.request("PATCH", path).body(body).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send().await
    }

    /// `GET path?filter=…`.
    pub(crate) async fn find(&self, path: &str, filter: &str) -> Answer {
        self.request("GET", path).query(&[("filter", filter)]).send().await
    }

    /// Creates, and the id.
    pub(crate) async fn create(&self, path: &str, body: &Value) -> String {
        self.post(path, body).await.expect(201).id()
    }

    /// Every resource of a type, by cursor.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self
                .request("GET", path)
                .query(&[("cursor", cursor.as_str()), ("count", "500")])
                .send()
                .await
                .expect(200)
                .body;
            all.extend(page["Resources"].as_array().into_iter().flatten().cloned());
            match page["nextCursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return all,
            }
        }
    }

    /// `totalResults` of a type.
    pub(crate) async fn total(&self, path: &str) -> u64 {
        let answer = self.get(&format!("{path}?count=0")).await.expect(200);
        answer.body["totalResults"].as_u64().expect("totalResults is a number")
    }
}

impl Request {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        Self(self.0.header(name, value))
    }

    pub(crate) fn query(self, parameters: &[(&str, &str)]) -> Self {
        Self(self.0.query(parameters))
    }

    pub(crate) fn body(self, body: &Value) -> Self {
        Self(self.0.header("Content-Type", "application/scim+json").body(body.to_string()))
    }

    /// Sends and reads the whole answer; a connection that breaks fails the test.
    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.expect("the server answers")
    }

    /// Sends and reads the whole answer, `Err` when the connection breaks first.
    pub(crate) async fn try_send(self) -> Result<Answer, reqwest::Error> {
        let response = self.0.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                panic!("{status}: the body is no JSON ({error}): {}", String::from_utf8_lossy(&bytes))
            })
        };
        assert_ne!(
            status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "a 500 is our fault, whatever was asked: {body}"
        );
        Ok(Answer { status: status.as_u16(), headers, body })
    }
}

impl Answer {
    /// The answer, when it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// The resource's id.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {:#}", self.body)).to_owned()
    }

    /// `meta.version`.
    #[track_caller]
    pub(crate) fn version(&self) -> String {
        let version = self.body["meta"]["version"].as_str();
        version.unwrap_or_else(|| panic!("no meta.version in {:#}", self.body)).to_owned()
    }

    /// A header, empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are ASCII"))
    }
}
