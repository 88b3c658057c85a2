//! The query string, decoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::scim::error::ScimError;

/// The parameters, in the order sent. Unknown ones are for nobody and ignored
/// (identity providers add their own).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    /// Decodes a query string; `+` is a space, as forms and most client libraries write it.
    pub fn parse(query: Option<&'a str>) -> Result<Self, ScimError> {
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(Self::default()) };
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The values of a parameter, in the order sent; the case of its name does not matter.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[(Cow<'a, str>, Cow<'a, str>)] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, ScimError> {
    let not_utf8 = |_| ScimError::invalid_value("the query string is not percent-encoded UTF-8");
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Ok(Cow::Owned(percent_decode_str(&spaced).decode_utf8().map_err(not_utf8)?.into_owned()));
    }
    percent_decode_str(text).decode_utf8().map_err(not_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_found_in_any_case() {
        let parameters =
            Parameters::parse(Some("filter=userName+eq%20%22a%2Bb%22&count=&x&Count=1")).unwrap();
        assert_eq!(parameters.values("filter").collect::<Vec<_>>(), ["userName eq \"a+b\""]);
        assert_eq!(parameters.values("startIndex").count(), 0);
        assert_eq!(parameters.values("x").collect::<Vec<_>>(), [""]);
        assert_eq!(parameters.values("count").collect::<Vec<_>>(), ["", "1"]);
        assert!(Parameters::parse(Some("filter=%ff")).is_err());
    }
}
