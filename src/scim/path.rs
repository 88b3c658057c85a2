//! Attribute paths (RFC 7644 sections 3.5.2 and 3.10), parsed and not yet resolved.

use std::fmt;

use super::error::ScimError;
use super::filter::{Expression, FilterLimits, Syntax};

/// `[URN:]attribute[.subAttribute]`, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributePath {
    /// The schema URN before the attribute name.
    pub schema: Option<String>,
    /// The attribute name; empty when the path is a bare extension URN.
    pub attribute: String,
    /// The sub-attribute name.
    pub sub_attribute: Option<String>,
}

/// A PATCH path: an attribute path with an optional value filter, `emails[type eq "work"].value`.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPath {
    /// The attribute; its `sub_attribute` is the one after the brackets where there is a filter.
    pub attribute: AttributePath,
    /// The value filter, its attributes relative to the attribute.
    pub filter: Option<Expression>,
}

impl AttributePath {
    /// Parses an attribute path (`sortBy`, `attributes`, filters). A URN's last colon-separated part
    /// is the attribute, except where the whole text is a schema URN (ask [`Self::is_bare_urn`] of
    /// the registry's schemas when resolving).
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        let text = text.trim();
        let limits = FilterLimits::default();
        let mut syntax = Syntax::new(text, limits, ScimError::invalid_path, "attribute path")?;
        let path = syntax.attribute_path()?;
        syntax.end("the end of the attribute path")?;
        Ok(path)
    }

    /// Splits the text of a path at its last colon and at its dot; `None` when the parts are no
    /// attribute names.
    pub(super) fn split(text: &str) -> Option<Self> {
        let (schema, name) = match text.rsplit_once(':') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        let (attribute, sub_attribute) = match name.split_once('.') {
            Some((attribute, sub_attribute)) => (attribute, Some(sub_attribute)),
            None => (name, None),
        };
        let valid = schema.is_none_or(|schema| !schema.is_empty())
            && is_name(attribute)
            && sub_attribute.is_none_or(is_name);
        if valid {
            return Some(Self {
                schema: schema.map(str::to_owned),
                attribute: attribute.to_owned(),
                sub_attribute: sub_attribute.map(str::to_owned),
            });
        }
        // A URN whose last part is no name (`urn:example:ext:2.0`) can only be a schema's.
        let is_urn = text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("urn:"));
        (is_urn && text.len() > 4 && !text.ends_with([':', '.'])).then(|| Self {
            schema: Some(text.to_owned()),
            attribute: String::new(),
            sub_attribute: None,
        })
    }

    /// Whether the whole path is this schema URN and names no attribute of it.
    #[must_use]
    pub fn is_bare_urn(&self, urn: &str) -> bool {
        let Some(schema) = &self.schema else { return false };
        let text = if self.attribute.is_empty() { schema } else { &self.to_string() };
        text.eq_ignore_ascii_case(urn)
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schema, attribute, sub_attribute } = self;
        if let Some(schema) = schema {
            let separator = if attribute.is_empty() { "" } else { ":" };
            write!(f, "{schema}{separator}")?;
        }
        f.write_str(attribute)?;
        sub_attribute.as_ref().map_or(Ok(()), |name| write!(f, ".{name}"))
    }
}

/// `ATTRNAME` of RFC 7643 section 2.1, and `$ref`.
fn is_name(text: &str) -> bool {
    let plain = text.strip_prefix('$').unwrap_or(text);
    plain.starts_with(|c: char| c.is_ascii_alphabetic())
        && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl PatchPath {
    /// Parses a PATCH `path`; errors are `invalidPath` and say what was expected where.
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        let text = text.trim();
        let mut syntax = Syntax::new(text, FilterLimits::default(), ScimError::invalid_path, "path")?;
        let mut attribute = syntax.attribute_path()?;
        let filter = syntax.value_filter(&attribute)?;
        if filter.is_some() {
            attribute.sub_attribute = syntax.sub_attribute()?;
        }
        syntax.end("the end of the path")?;
        Ok(Self { attribute, filter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(schema: Option<&str>, attribute: &str, sub_attribute: Option<&str>) -> AttributePath {
        AttributePath {
            schema: schema.map(Into::into),
            attribute: attribute.into(),
            sub_attribute: sub_attribute.map(Into::into),
        }
    }

    #[test]
    fn attribute_path_in_each_form_parses() {
        let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        for (text, expected) in [
            ("userName", path(None, "userName", None)),
            ("name.familyName", path(None, "name", Some("familyName"))),
            ("members.$ref", path(None, "members", Some("$ref"))),
            (
                "urn:ietf:params:scim:schemas:core:2.0:User:userName",
                path(Some("urn:ietf:params:scim:schemas:core:2.0:User"), "userName", None),
            ),
            (&format!("{enterprise}:manager.value"), path(Some(enterprise), "manager", Some("value"))),
            ("urn:example:hr:1.0", path(Some("urn:example:hr:1.0"), "", None)),
            ("urn:example:hr:1.0:badge.id", path(Some("urn:example:hr:1.0"), "badge", Some("id"))),
        ] {
            let parsed = AttributePath::parse(text).unwrap();
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(parsed.to_string(), text);
        }
        assert!(AttributePath::parse(enterprise).unwrap().is_bare_urn(enterprise));
        assert!(AttributePath::parse("urn:example:hr:1.0").unwrap().is_bare_urn("URN:example:hr:1.0"));
        assert!(!AttributePath::parse(&format!("{enterprise}:manager")).unwrap().is_bare_urn(enterprise));
    }

    #[test]
    fn patch_path_with_filter_and_sub_attribute_parses() {
        let parsed = PatchPath::parse("emails[type eq \"work\"].value").unwrap();
        assert_eq!(parsed.attribute, path(None, "emails", Some("value")));
        assert_eq!(parsed.filter.unwrap().to_string(), "type eq \"work\"");
        assert!(PatchPath::parse("members[value eq \"1\" or display sw \"]\"]").unwrap().filter.is_some());
    }

    #[test]
    fn patch_path_malformed_says_what_was_expected_where() {
        let errors: Vec<String> = [
            "",
            "1name",
            "emails[",
            "emails[type eq \"work\"",
            "emails[type eq \"work\"].",
            "emails[type eq \"work\"]value",
            "emails[type eq \"work\"].value.x",
            "name.first.last",
            "emails.value[type eq \"work\"]",
            "emails]",
            "user name",
        ]
        .iter()
        .map(|text| PatchPath::parse(text).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
400 invalidPath: path column 1: expected an attribute name, found the end of the path
400 invalidPath: path column 1: expected an attribute name, found "1name"
400 invalidPath: path column 8: expected an attribute name, found the end of the path
400 invalidPath: path column 22: expected "and", "or" or "]", found the end of the path
400 invalidPath: path column 24: expected a sub-attribute name, found the end of the path
400 invalidPath: path column 23: expected the end of the path, found "value"
400 invalidPath: path column 24: expected a sub-attribute name, found "value.x"
400 invalidPath: path column 1: expected an attribute name, found "name.first.last"
400 invalidPath: path column 13: expected an operator (a value filter follows an attribute, not a sub-attribute), found '['
400 invalidPath: path column 7: expected the end of the path, found ']'
400 invalidPath: path column 6: expected the end of the path, found "name"
"#);
    }

    proptest! {
        #[test]
        fn any_text_as_path_never_panics(text in "[a-z:.$\\[\\]() \"\\\\0-9é]{0,60}") {
            let _ = AttributePath::parse(&text);
            let _ = PatchPath::parse(&text);
        }
    }
}
