//! Entity tags (RFC 7644 section 3.14, RFC 9110 section 8.8.3) and the preconditions made of them.
//!
//! Every tag is weak and compares weakly: a resource's bytes may differ by projection while its
//! version is the same.

use std::fmt;

use super::error::ScimError;

/// A resource's version. Its weak entity tag is `meta.version` and the `ETag` header.
///
/// `related` covers what a representation derives from other resources (a user's `groups`): a digest
/// of it, so that a conditional read never answers 304 while group membership has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Counts the changes of the resource's own state, from 1.
    pub number: u64,
    /// Digest of derived state; `None` when there is none.
    pub related: Option<u32>,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.related {
            None => write!(f, "W/\"{}\"", self.number),
            Some(digest) => write!(f, "W/\"{}-{digest:08x}\"", self.number),
        }
    }
}

/// One header's list of entity tags: `*` or tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: any existing resource.
    Any,
    /// Opaque tags without their `W/` prefix: SCIM compares weakly.
    Tags(Vec<String>),
}

impl EntityTags {
    /// Parses a header's value, or a bulk operation's `version`. Some clients leave the quotes out;
    /// a tag without them is taken as it stands, up to the next comma.
    pub fn parse(text: &str) -> Result<Self, ScimError> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let opaque = rest.strip_prefix("W/").or_else(|| rest.strip_prefix("w/")).unwrap_or(rest);
            let (tag, after) = match opaque.strip_prefix('"') {
                Some(quoted) => {
                    quoted.split_once('"').ok_or_else(|| malformed("a closing quote is missing"))?
                }
                None => opaque.split_at(opaque.find(',').unwrap_or(opaque.len())),
            };
            let tag = tag.trim();
            if tag.contains(|c: char| c.is_control() || c == '"' || c == '*') {
                return Err(malformed("a tag holds a character that no entity tag may hold"));
            }
            tags.push(tag.to_owned());
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start_matches([' ', '\t', ',']),
                None if after.is_empty() => after,
                None => return Err(malformed("tags must be separated by commas")),
            };
        }
        if tags.is_empty() {
            return Err(malformed("there is no tag"));
        }
        Ok(Self::Tags(tags))
    }

    fn holds(&self, version: &Version) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => {
                let current = version.to_string();
                let current = current.trim_start_matches("W/").trim_matches('"');
                tags.iter().any(|tag| tag == current)
            }
        }
    }
}

fn malformed(reason: &str) -> ScimError {
    ScimError::invalid_syntax(format!(
        "If-Match or If-None-Match is malformed: {reason}; send the value of meta.version, such as W/\"3\", or *"
    ))
}

/// The preconditions a request carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `If-Match`: proceed only when the version is one of these.
    pub if_match: Option<EntityTags>,
    /// `If-None-Match`: proceed only when the version is none of these.
    pub if_none_match: Option<EntityTags>,
}

impl Preconditions {
    /// From the values of the two headers (several lines of one header joined by commas).
    pub fn parse(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<Self, ScimError> {
        Ok(Self {
            if_match: if_match.map(EntityTags::parse).transpose()?,
            if_none_match: if_none_match.map(EntityTags::parse).transpose()?,
        })
    }

    /// Whether a change of an existing resource may proceed; 412 when not.
    pub fn check(&self, version: &Version) -> Result<(), ScimError> {
        if self.if_match.as_ref().is_some_and(|tags| !tags.holds(version)) {
            return Err(ScimError::precondition_failed(format!(
                "If-Match does not hold: the resource's version is {version}; read it again and repeat the change"
            )));
        }
        if self.if_none_match.as_ref().is_some_and(|tags| tags.holds(version)) {
            return Err(ScimError::precondition_failed(format!(
                "If-None-Match does not hold: the resource's version is {version}"
            )));
        }
        Ok(())
    }

    /// Whether a read is to answer 304 (`If-None-Match`), once [`Self::check_read`] has passed.
    #[must_use]
    pub fn not_modified(&self, version: &Version) -> bool {
        self.if_none_match.as_ref().is_some_and(|tags| tags.holds(version))
    }

    /// Whether a read may proceed: `If-Match` only, for a read that `If-None-Match` stops is a 304.
    pub fn check_read(&self, version: &Version) -> Result<(), ScimError> {
        Self { if_match: self.if_match.clone(), if_none_match: None }.check(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VERSION: Version = Version { number: 3, related: None };

    #[track_caller]
    fn parses(text: &str, list: &[&str]) {
        let expected = EntityTags::Tags(list.iter().map(ToString::to_string).collect());
        assert_eq!(EntityTags::parse(text), Ok(expected), "{text}");
    }

    #[test]
    fn header_in_each_spelling_parses() {
        assert_eq!(EntityTags::parse(" * "), Ok(EntityTags::Any));
        parses("W/\"3\"", &["3"]);
        parses("\"3\", W/\"4-00ff\" ,w/\"5\"", &["3", "4-00ff", "5"]);
        parses("3", &["3"]);
        parses("W/3,4", &["3", "4"]);
        parses("\"a,b\"", &["a,b"]);
    }

    #[test]
    fn header_malformed_is_refused() {
        for text in ["", ",", "W/\"3", "\"3\"\"4\"", "W/\"3\" x", "3\u{1}4", "*, \"3\""] {
            assert!(EntityTags::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn if_match_of_another_version_is_412_naming_the_current() {
        let preconditions = Preconditions::parse(Some("W/\"2\""), None).unwrap();
        let error = preconditions.check(&VERSION).unwrap_err();
        assert_eq!(error.status, 412);
        assert!(error.detail.contains("W/\"3\""));
        assert_eq!(Preconditions::parse(Some("W/\"2\", W/\"3\""), None).unwrap().check(&VERSION), Ok(()));
        assert_eq!(Preconditions::parse(Some("*"), None).unwrap().check(&VERSION), Ok(()));
    }

    #[test]
    fn if_none_match_of_the_version_is_304_on_read_and_412_on_write() {
        let preconditions = Preconditions::parse(None, Some("W/\"3\"")).unwrap();
        assert!(preconditions.not_modified(&VERSION));
        assert_eq!(preconditions.check_read(&VERSION), Ok(()));
        assert_eq!(preconditions.check(&VERSION).unwrap_err().status, 412);
        assert!(!preconditions.not_modified(&Version { number: 3, related: Some(1) }));
    }

    proptest! {
        #[test]
        fn version_as_header_holds_for_itself_only(number in 1..u64::MAX, related: Option<u32>, weak: bool) {
            let version = Version { number, related };
            let tag = version.to_string();
            let text = if weak { tag.as_str() } else { &tag[2..] };
            let preconditions = Preconditions::parse(Some(text), Some(text)).unwrap();
            prop_assert!(preconditions.check_read(&version).is_ok());
            prop_assert!(preconditions.not_modified(&version));
            let next = Version { number: number - 1, related };
            prop_assert!(preconditions.check_read(&next).is_err());
            prop_assert!(!preconditions.not_modified(&next));
        }

        #[test]
        fn any_text_as_header_never_panics(text in ".{0,80}") {
            let _ = EntityTags::parse(&text);
        }
    }
}
