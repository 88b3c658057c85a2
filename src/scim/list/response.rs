//! The list answer (RFC 7644 section 3.4.2, RFC 9865 section 2.1), written around resources that are JSON already.

/// URN of the list answer's schema.
pub const LIST_RESPONSE_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";

/// How an answer says where its page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paging {
    /// `startIndex`, as asked.
    Index {
        /// 1 for the first match.
        start_index: u64,
    },
    /// `nextCursor`; left out on the last page.
    Cursor {
        /// The token for the next page.
        next: Option<String>,
    },
}

/// The resources of a list answer, as JSON already.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    count: usize,
    /// Separated by commas.
    json: Vec<u8>,
}

impl Resources {
    /// Adds a resource, which `write` appends.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.count > 0 {
            self.json.push(b',');
        }
        write(&mut self.json);
        self.count += 1;
    }

    /// Makes room for `others` like the first, or somewhat longer: to grow later would copy all of them.
    pub fn reserve(&mut self, others: usize) {
        let each = self.json.len() + self.json.len() / 8;
        self.json.reserve(others.saturating_mul(each) + 1024);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The JSON of each, separated by commas.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

/// A list answer.
#[must_use]
pub fn write_response(total: u64, paging: &Paging, resources: &Resources) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + resources.json.len());
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(b"{\"schemas\":[\"");
    out.extend_from_slice(LIST_RESPONSE_SCHEMA.as_bytes());
    out.extend_from_slice(b"\"],\"totalResults\":");
    out.extend_from_slice(buffer.format(total).as_bytes());
    out.extend_from_slice(b",\"itemsPerPage\":");
    out.extend_from_slice(buffer.format(resources.count).as_bytes());
    match paging {
        Paging::Index { start_index } => {
            out.extend_from_slice(b",\"startIndex\":");
            out.extend_from_slice(buffer.format(*start_index).as_bytes());
        }
        Paging::Cursor { next: Some(next) } => {
            // base64url needs no escapes.
            out.extend_from_slice(b",\"nextCursor\":\"");
            out.extend_from_slice(next.as_bytes());
            out.push(b'"');
        }
        Paging::Cursor { next: None } => {}
    }
    out.extend_from_slice(b",\"Resources\":[");
    out.extend_from_slice(&resources.json);
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_written_around_the_resources() {
        let written = |paging: &Paging, resources: &[&str]| {
            let mut written = Resources::default();
            for resource in resources {
                written.push(|out| out.extend_from_slice(resource.as_bytes()));
            }
            String::from_utf8(write_response(7, paging, &written)).unwrap()
        };
        let index = Paging::Index { start_index: 3 };
        insta::assert_snapshot!(written(&index, &["{\"id\":\"1\"}", "{\"id\":\"2\"}"]), @r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":7,"itemsPerPage":2,"startIndex":3,"Resources":[{"id":"1"},{"id":"2"}]}"#);
        let next = Paging::Cursor { next: Some("YWJj".into()) };
        insta::assert_snapshot!(written(&next, &["{}"]), @r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":7,"itemsPerPage":1,"nextCursor":"YWJj","Resources":[{}]}"#);
        insta::assert_snapshot!(written(&Paging::Cursor { next: None }, &[]), @r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":7,"itemsPerPage":0,"Resources":[]}"#);
    }
}
