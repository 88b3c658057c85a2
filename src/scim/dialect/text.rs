//! Filters and paths, made standard as text: names, and values without their quotes.
//!
//! One scan over the words; what it does not understand it copies, for the parser to refuse.

use std::borrow::Cow;

use super::rewrite::Standard;
use super::{Rule, Rules};
use crate::scim::path::AttributePath;
use crate::scim::schema::{AttributeRef, AttributeType, ENTERPRISE_USER_SCHEMA};

/// The enterprise extension's URN as Microsoft's documentation also has it.
const TYPO: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";

/// Rules that are about text.
pub(super) const RULES: Rules =
    Rules::of(&[Rule::EnterpriseTypo, Rule::RootEnterprise, Rule::UnquotedValue, Rule::StringBoolean]);

/// Attributes of the enterprise extension (RFC 7643 section 4.3).
const ENTERPRISE: [&str; 6] =
    ["employeeNumber", "costCenter", "organization", "division", "department", "manager"];

/// What the next word is.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Name,
    Operator,
    Value,
}

impl Standard<'_> {
    /// A filter or PATCH path as the RFC has it.
    pub(super) fn text<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let mut out = String::with_capacity(text.len() + ENTERPRISE_USER_SCHEMA.len());
        let mut expected = Expected::Name;
        // What a value filter is about; what the comparison is about.
        let (mut holder, mut subject): (Option<AttributeRef>, Option<AttributeRef>) = (None, None);
        let mut rest = text;
        while let Some(mark) = rest.chars().next() {
            let length = match mark {
                '"' => string_length(rest),
                '(' | ')' | '[' | ']' => 1,
                c if c.is_whitespace() => c.len_utf8(),
                _ => {
                    let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '"');
                    rest.find(ends).unwrap_or(rest.len())
                }
            };
            let (word, after) = rest.split_at(length);
            rest = after;
            match mark {
                '[' => (holder, expected) = (subject.take(), Expected::Name),
                ']' => (subject, expected) = (holder.take(), Expected::Operator),
                '(' | ')' => expected = Expected::Name,
                c if c.is_whitespace() => {}
                _ => {
                    let joins = ["and", "or", "not"].iter().any(|joiner| word.eq_ignore_ascii_case(joiner));
                    match expected {
                        Expected::Name | Expected::Operator if joins => expected = Expected::Name,
                        Expected::Name => {
                            let name = match &holder {
                                None => self.name(word).map_or(Cow::Borrowed(word), Cow::Owned),
                                Some(_) => Cow::Borrowed(word),
                            };
                            subject = self.subject(holder.as_ref(), &name);
                            out.push_str(&name);
                            expected = Expected::Operator;
                            continue;
                        }
                        Expected::Operator if word.starts_with('.') => {
                            subject = subject.as_ref().and_then(|holder| part(holder, &word[1..]));
                        }
                        Expected::Operator if word.eq_ignore_ascii_case("pr") => expected = Expected::Name,
                        Expected::Operator => expected = Expected::Value,
                        Expected::Value => {
                            out.push_str(&self.value(word, subject.as_ref()));
                            expected = Expected::Name;
                            continue;
                        }
                    }
                }
            }
            out.push_str(word);
        }
        if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
    }

    /// What a name stands for, when it has to be written differently.
    pub(super) fn name(&mut self, name: &str) -> Option<String> {
        let resource_type = self.resource_type?;
        if name.get(..TYPO.len()).is_some_and(|urn| urn.eq_ignore_ascii_case(TYPO)) {
            let applies = self.has_enterprise() && self.applies(Rule::EnterpriseTypo, "schemas");
            return applies.then(|| format!("{ENTERPRISE_USER_SCHEMA}{}", &name[TYPO.len()..]));
        }
        let attribute = name.split_once('.').map_or(name, |(attribute, _)| attribute);
        let known = ENTERPRISE.iter().find(|known| known.eq_ignore_ascii_case(attribute))?;
        let path = AttributePath::split(attribute)?;
        if !self.has_enterprise() || resource_type.resolve(&path).is_some() {
            return None;
        }
        self.applies(Rule::RootEnterprise, *known).then(|| format!("{ENTERPRISE_USER_SCHEMA}:{name}"))
    }

    fn has_enterprise(&self) -> bool {
        let extensions = self.resource_type.map_or(&[][..], |resource_type| &resource_type.extensions);
        extensions.iter().any(|extension| extension.schema.id == ENTERPRISE_USER_SCHEMA)
    }

    fn subject(&self, holder: Option<&AttributeRef>, name: &str) -> Option<AttributeRef> {
        match holder {
            Some(holder) => part(holder, name),
            None => self.resource_type?.resolve(&AttributePath::split(name)?),
        }
    }

    /// A comparison value: text in quotes where the attribute is text, a boolean where it is one.
    fn value<'t>(&mut self, word: &'t str, subject: Option<&AttributeRef>) -> Cow<'t, str> {
        let kind = subject.map(|subject| compared(subject).unwrap_or(AttributeType::Complex));
        let name = || subject.map_or_else(|| "filter".to_owned(), ToString::to_string);
        if let Some(inner) = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
            let boolean = ["true", "false"].into_iter().find(|known| inner.eq_ignore_ascii_case(known));
            return match boolean {
                Some(boolean)
                    if kind == Some(AttributeType::Boolean) && self.applies(Rule::StringBoolean, name()) =>
                {
                    Cow::Borrowed(boolean)
                }
                _ => Cow::Borrowed(word),
            };
        }
        let literal = ["true", "false", "null"].iter().any(|known| word.eq_ignore_ascii_case(known));
        let number = serde_json::from_str::<serde_json::Number>(word).is_ok();
        let is_text = matches!(
            kind,
            Some(
                AttributeType::String
                    | AttributeType::DateTime
                    | AttributeType::Binary
                    | AttributeType::Reference
            )
        );
        if word.starts_with('"') || literal || (number && !is_text) || (kind.is_some() && !is_text) {
            return Cow::Borrowed(word);
        }
        if !self.applies(Rule::UnquotedValue, name()) {
            return Cow::Borrowed(word);
        }
        Cow::Owned(serde_json::Value::from(word).to_string())
    }
}

/// A sub-attribute of a value, as the attribute that a value filter compares.
fn part(holder: &AttributeRef, name: &str) -> Option<AttributeRef> {
    let sub_attribute = holder.attribute.sub_attribute(name)?;
    Some(AttributeRef { sub_attribute: Some(sub_attribute.clone()), ..holder.clone() })
}

/// The type that is compared: of a complex attribute its `value`'s.
fn compared(subject: &AttributeRef) -> Option<AttributeType> {
    let leaf = subject.leaf();
    match leaf.kind {
        AttributeType::Complex => leaf.sub_attribute("value").map(|value| value.kind),
        kind => Some(kind),
    }
}

/// The length of a text in quotes, with them; to the end when it is not closed.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        if byte == b'"' && !escaped {
            return index + 1;
        }
        escaped = byte == b'\\' && !escaped;
    }
    text.len()
}
