//! List requests (RFC 7644 sections 3.4.2 and 3.4.3, RFC 9865): the query parameters of GET and the body of `.search`
//! become one [`ListRequest`].

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::scim::error::{ScimError, ScimType};
use crate::scim::filter::{Expression, FilterLimits};
use crate::scim::path::AttributePath;
use crate::scim::projection::Projection;

/// URN of the `.search` body's schema.
pub const SEARCH_REQUEST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What a tenant allows a list request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// Resources on one page; also the page size when the client names none.
    pub max_page_size: usize,
    /// Bounds of the filter.
    pub filter: FilterLimits,
}

/// A list request, checked but for what only the schema knows.
#[derive(Debug, Clone, PartialEq)]
pub struct ListRequest {
    /// `filter`.
    pub filter: Option<Expression>,
    /// `sortBy` and `sortOrder`.
    pub sort: Option<SortRequest>,
    /// `attributes` and `excludedAttributes`.
    pub projection: Projection,
    /// Which page.
    pub page: PageRequest,
}

/// `sortBy` and `sortOrder` (RFC 7644 section 3.4.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortRequest {
    /// The attribute.
    pub by: AttributePath,
    /// `descending` instead of `ascending`.
    pub descending: bool,
}

/// Which page was asked for; `count` is within the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageRequest {
    /// `startIndex` (1 or more) and `count` (RFC 7644 section 3.4.2.4).
    Index {
        /// 1 for the first match.
        start_index: u64,
        /// Resources at most; 0 asks for the total only.
        count: usize,
    },
    /// `cursor` and `count` (RFC 9865).
    Cursor {
        /// The token; `None` for the first page.
        token: Option<String>,
        /// Resources at most; 0 asks for the total only.
        count: usize,
    },
}

/// The parameters as they came, before they are understood together.
#[derive(Default)]
struct Parameters {
    filter: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
    attributes: Vec<String>,
    excluded: Vec<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    /// `count` was not an integer: which `scimType` that is depends on whether there is a cursor.
    bad_count: Option<String>,
    cursor: Option<String>,
}

impl ListRequest {
    /// From the percent-decoded query parameters of GET; parameters that SCIM does not define are ignored.
    pub fn from_query<K: AsRef<str>, V: AsRef<str>>(
        parameters: &[(K, V)],
        limits: &ListLimits,
    ) -> Result<Self, ScimError> {
        let mut asked = Parameters::default();
        for (name, value) in parameters {
            let value = value.as_ref();
            let split = || value.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned);
            match name.as_ref().to_ascii_lowercase().as_str() {
                "filter" => asked.filter = Some(value.to_owned()),
                "sortby" => asked.sort_by = Some(value.to_owned()),
                "sortorder" => asked.sort_order = Some(value.to_owned()),
                "attributes" => asked.attributes.extend(split()),
                "excludedattributes" => asked.excluded.extend(split()),
                "startindex" => {
                    asked.start_index = Some(integer(value).ok_or_else(|| bad_start_index(value))?);
                }
                "count" => match integer(value) {
                    Some(count) => asked.count = Some(count),
                    None => asked.bad_count = Some(value.to_owned()),
                },
                "cursor" => asked.cursor = Some(value.to_owned()),
                _ => {}
            }
        }
        asked.finish(limits)
    }

    /// From the body of a `.search` request (RFC 7644 section 3.4.3).
    pub fn from_search(body: &Value, limits: &ListLimits) -> Result<Self, ScimError> {
        let Value::Object(body) = body else {
            return Err(ScimError::invalid_syntax("the body of .search must be a JSON object"));
        };
        let mut asked = Parameters::default();
        let mut declared = false;
        for (name, value) in body {
            let name = name.to_ascii_lowercase();
            if value.is_null() {
                continue;
            }
            match name.as_str() {
                "schemas" => {
                    declared = value.as_array().is_some_and(|schemas| {
                        let wanted = |schema: &str| schema.eq_ignore_ascii_case(SEARCH_REQUEST_SCHEMA);
                        schemas.iter().any(|schema| schema.as_str().is_some_and(wanted))
                    });
                }
                "filter" => asked.filter = Some(text("filter", value)?),
                "sortby" => asked.sort_by = Some(text("sortBy", value)?),
                "sortorder" => asked.sort_order = Some(text("sortOrder", value)?),
                "attributes" => asked.attributes = names("attributes", value)?,
                "excludedattributes" => asked.excluded = names("excludedAttributes", value)?,
                "startindex" => {
                    let index = json_integer(value).ok_or_else(|| bad_start_index(&value.to_string()))?;
                    asked.start_index = Some(index);
                }
                "count" => match json_integer(value) {
                    Some(count) => asked.count = Some(count),
                    None => asked.bad_count = Some(value.to_string()),
                },
                "cursor" => asked.cursor = Some(text("cursor", value)?),
                _ => {}
            }
        }
        if !declared {
            return Err(ScimError::invalid_syntax(format!(
                "schemas of a .search body must contain {SEARCH_REQUEST_SCHEMA:?}"
            )));
        }
        asked.finish(limits)
    }

    /// What a cursor is bound to: the tenant, the endpoint, the filter and the order.
    #[must_use]
    pub fn digest(&self, tenant: &str, endpoint: &str) -> [u8; 8] {
        let filter = self.filter.as_ref().map(ToString::to_string);
        let sort = self.sort.as_ref().map(|sort| format!("{} {}", sort.by, sort.descending));
        let mut hash = Sha256::new();
        for part in [Some(tenant), Some(endpoint), filter.as_deref(), sort.as_deref()] {
            match part {
                Some(part) => {
                    hash.update([1]);
                    hash.update(part.len().to_be_bytes());
                    hash.update(part);
                }
                None => hash.update([0]),
            }
        }
        let digest: [u8; 32] = hash.finalize().into();
        std::array::from_fn(|index| digest[index])
    }
}

impl Parameters {
    fn finish(self, limits: &ListLimits) -> Result<ListRequest, ScimError> {
        let Self { filter, sort_by, sort_order, attributes, excluded, start_index, count, bad_count, cursor } =
            self;
        let filter = filter.map(|text| Expression::parse(&text, limits.filter)).transpose()?;
        let descending = match sort_order.as_deref() {
            None | Some("") => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(order) => {
                return Err(ScimError::invalid_value(format!(
                    "sortOrder must be \"ascending\" or \"descending\", not {order:?}"
                )));
            }
        };
        let sort = match sort_by.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(by) => Some(SortRequest { by: AttributePath::parse(by)?, descending }),
        };
        let attributes: Vec<&str> = attributes.iter().map(String::as_str).collect();
        let excluded: Vec<&str> = excluded.iter().map(String::as_str).collect();
        let projection = Projection::parse(&attributes, &excluded)?;
        if let Some(count) = bad_count {
            let scim_type = if cursor.is_some() { ScimType::InvalidCount } else { ScimType::InvalidValue };
            return Err(ScimError::bad_request(
                scim_type,
                format!("count must be an integer, not {count:?}"),
            ));
        }
        // Negative is 0 (RFC 7644 table 6); what is more than a page holds is as much as a page holds.
        let count = count.map_or(limits.max_page_size, |count| {
            usize::try_from(count.max(0)).unwrap_or(usize::MAX).min(limits.max_page_size)
        });
        let page = match cursor {
            Some(_) if start_index.is_some() => {
                return Err(ScimError::invalid_value(
                    "startIndex and cursor cannot be used together; page with one of them",
                ));
            }
            Some(token) => {
                PageRequest::Cursor { token: Some(token).filter(|token| !token.is_empty()), count }
            }
            None => {
                let start_index = u64::try_from(start_index.unwrap_or(1)).unwrap_or(1).max(1);
                PageRequest::Index { start_index, count }
            }
        };
        Ok(ListRequest { filter, sort, projection, page })
    }
}

/// An integer, those beyond `i64` brought to its ends: they are integers all the same.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

fn json_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => integer(&number.to_string()),
        _ => None,
    }
}

fn bad_start_index(value: &str) -> ScimError {
    ScimError::invalid_value(format!("startIndex must be an integer, not {value:?}"))
}

fn text(name: &str, value: &Value) -> Result<String, ScimError> {
    let text = value.as_str().ok_or_else(|| ScimError::invalid_syntax(format!("{name} must be a string")))?;
    Ok(text.to_owned())
}

fn names(name: &str, value: &Value) -> Result<Vec<String>, ScimError> {
    let wrong = || ScimError::invalid_syntax(format!("{name} must be a list of attribute names"));
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const LIMITS: ListLimits = ListLimits {
        max_page_size: 100,
        filter: FilterLimits { max_length: 200, max_depth: 8, max_terms: 8 },
    };

    fn query(parameters: &[(&str, &str)]) -> Result<ListRequest, ScimError> {
        ListRequest::from_query(parameters, &LIMITS)
    }

    fn search(mut body: Value) -> Result<ListRequest, ScimError> {
        body["schemas"] = json!([SEARCH_REQUEST_SCHEMA]);
        ListRequest::from_search(&body, &LIMITS)
    }

    #[test]
    fn pages_by_index_are_brought_within_the_limits() {
        for (parameters, start_index, count) in [
            (&[][..], 1, 100),
            (&[("startIndex", "0"), ("count", "10")], 1, 10),
            (&[("startIndex", "-5"), ("count", "-1")], 1, 0),
            (&[("startindex", "7"), ("COUNT", "0")], 7, 0),
            (&[("startIndex", "+7"), ("count", "101")], 7, 100),
            (&[("count", "99999999999999999999")], 1, 100),
            (&[("startIndex", "-99999999999999999999")], 1, 100),
        ] {
            let page = query(parameters).unwrap().page;
            assert_eq!(page, PageRequest::Index { start_index, count }, "{parameters:?}");
        }
    }

    #[test]
    fn pages_by_cursor_begin_with_an_empty_one() {
        let page = |parameters: &[(&str, &str)]| query(parameters).unwrap().page;
        assert_eq!(page(&[("cursor", "")]), PageRequest::Cursor { token: None, count: 100 });
        let token = Some("abc".to_owned());
        assert_eq!(page(&[("cursor", "abc"), ("count", "500")]), PageRequest::Cursor { token, count: 100 });
    }

    #[test]
    fn parameters_malformed_are_refused() {
        for (parameters, scim_type) in [
            (&[("count", "ten")][..], ScimType::InvalidValue),
            (&[("count", "1.5")], ScimType::InvalidValue),
            (&[("count", "ten"), ("cursor", "")], ScimType::InvalidCount),
            (&[("startIndex", "")], ScimType::InvalidValue),
            (&[("startIndex", "1"), ("cursor", "")], ScimType::InvalidValue),
            (&[("sortBy", "userName"), ("sortOrder", "up")], ScimType::InvalidValue),
            (&[("sortBy", "user name")], ScimType::InvalidPath),
            (&[("filter", "userName")], ScimType::InvalidFilter),
            (&[("filter", "")], ScimType::InvalidFilter),
            (&[("attributes", "userName"), ("excludedAttributes", "name")], ScimType::InvalidValue),
        ] {
            let error = query(parameters).unwrap_err();
            assert_eq!((error.status, error.scim_type), (400, Some(scim_type)), "{parameters:?}");
        }
    }

    #[test]
    fn query_and_search_body_are_the_same_request() {
        let asked = query(&[
            ("filter", "displayName sw \"smith\""),
            ("sortBy", "meta.lastModified"),
            ("sortOrder", "Descending"),
            ("attributes", "displayName, userName"),
            ("startIndex", "1"),
            ("count", "10"),
            ("unknown", "x"),
        ]);
        let searched = search(json!({
            "attributes": ["displayName", "userName"],
            "filter": "displayName sw \"smith\"",
            "sortBy": "meta.lastModified",
            "sortOrder": "descending",
            "startIndex": 1,
            "count": 10,
            "excludedAttributes": null,
        }));
        assert_eq!(asked, searched);
        let asked = asked.unwrap();
        assert_eq!(asked.digest("acme", "/Users"), searched.unwrap().digest("acme", "/Users"));
        assert!(asked.sort.is_some_and(|sort| sort.descending));
    }

    #[test]
    fn search_body_malformed_is_refused() {
        for body in [
            json!({"filter": 7}),
            json!({"count": "10"}),
            json!({"startIndex": 1.5}),
            json!({"attributes": "userName"}),
            json!({"attributes": [7]}),
            json!({"cursor": 7}),
        ] {
            assert_eq!(search(body.clone()).unwrap_err().status, 400, "{body}");
        }
        let undeclared = ListRequest::from_search(&json!({"count": 1}), &LIMITS).unwrap_err();
        assert_eq!(undeclared.scim_type, Some(ScimType::InvalidSyntax));
        assert!(ListRequest::from_search(&json!([]), &LIMITS).is_err());
    }

    #[test]
    fn digest_differs_with_tenant_endpoint_filter_and_order() {
        let digest = |parameters: &[(&str, &str)], tenant, endpoint| {
            query(parameters).unwrap().digest(tenant, endpoint)
        };
        let digests = [
            digest(&[], "acme", "/Users"),
            digest(&[], "umbrella", "/Users"),
            digest(&[], "acme", "/Groups"),
            digest(&[("filter", "title pr")], "acme", "/Users"),
            digest(&[("sortBy", "title")], "acme", "/Users"),
            digest(&[("sortBy", "title"), ("sortOrder", "descending")], "acme", "/Users"),
        ];
        let distinct: std::collections::HashSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
        assert_eq!(digest(&[("count", "1"), ("cursor", "x")], "acme", "/Users"), digests[0]);
    }

    proptest! {
        #[test]
        fn any_parameters_never_panic(
            parameters in proptest::collection::vec((proptest::sample::select(vec![
                "filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes",
            ]), "[a-zA-Z0-9.:,\\[\\]\" é-]{0,20}"), 0..5),
        ) {
            if let Ok(request) = ListRequest::from_query(&parameters, &LIMITS) {
                let (PageRequest::Index { count, .. } | PageRequest::Cursor { count, .. }) = request.page;
                prop_assert!(count <= LIMITS.max_page_size);
                let _ = request.digest("acme", "/Users");
            }
        }
    }
}
