//! List requests and answers (RFC 7644 sections 3.4.2 and 3.4.3, RFC 9865).

mod request;
mod response;

pub use request::{ListLimits, ListRequest, PageRequest, SEARCH_REQUEST_SCHEMA, SortRequest};
pub use response::{LIST_RESPONSE_SCHEMA, Paging, Resources, write_response};
