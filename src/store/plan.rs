//! How to find what a filter matches: a [`Plan`] names the rows that may match, by what the database has
//! indexes for. The filter itself stays the judge: unless the plan is exact, every candidate is
//! evaluated with [`Filter::matches`].

use serde_json::Number;

use super::index::{self, MAX_PREFIX};
use crate::scim::filter::{Filter, Literal, Operator, fold, instant};
use crate::scim::resource::Load;
use crate::scim::schema::{AttributeRef, AttributeType, ResourceType};

/// Which rows of a type may match.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// The candidates; every row of the type when `None`.
    pub condition: Option<Condition>,
    /// The candidates are the matches.
    pub exact: bool,
    /// How many candidates to expect.
    pub effort: Effort,
}

/// How many rows a condition leaves, from few to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effort {
    /// One at most, by a unique value.
    Point,
    /// Those that share one value.
    Few,
    /// A range of values.
    Range,
    /// Every row.
    All,
}

/// A condition on a resource that the database can answer by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// No resource.
    Never,
    /// Its id.
    Id(String),
    /// An indexed attribute has this key ([`index::key`]).
    Value { attribute: String, unique: bool, key: String },
    /// An indexed attribute has a key that begins so.
    Prefix { attribute: String, prefix: String },
    /// A group has this direct member.
    Member(String),
    /// A resource is in this group, directly or not.
    InGroup(String),
    /// `meta.created` or `meta.lastModified`, in milliseconds.
    Time { last_modified: bool, comparison: Comparison, milliseconds: i64 },
    /// All hold; the first finds the candidates, the others are asked of each.
    And(Vec<Condition>),
    /// One holds.
    Or(Vec<Condition>),
}

impl Condition {
    /// Whether asking it of one resource costs little, however many resources it holds for.
    fn is_asked_cheaply(&self) -> bool {
        match self {
            Self::Never | Self::Id(_) | Self::Value { .. } | Self::Member(_) | Self::Time { .. } => true,
            Self::Prefix { .. } | Self::InGroup(_) => false,
            Self::And(parts) | Self::Or(parts) => parts.iter().all(Self::is_asked_cheaply),
        }
    }
}

/// Comparisons of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    /// `=`.
    Equal,
    /// `>`.
    Above,
    /// `>=`.
    From,
    /// `<`.
    Below,
    /// `<=`.
    UpTo,
}

impl Plan {
    /// The plan for a type's filter.
    pub(super) fn new(resource_type: &ResourceType, filter: Option<&Filter>) -> Self {
        match filter {
            None => Self { condition: None, exact: true, effort: Effort::All },
            Some(filter) => Self::filter(resource_type, filter).unwrap_or(Self::SCAN),
        }
    }

    const SCAN: Self = Self { condition: None, exact: false, effort: Effort::All };

    /// `None` when no index helps.
    fn filter(resource_type: &ResourceType, filter: &Filter) -> Option<Self> {
        match filter {
            Filter::Nothing => exactly(Condition::Never, Effort::Point),
            Filter::And(left, right) => {
                match (Self::filter(resource_type, left), Self::filter(resource_type, right)) {
                    (Some(left), Some(right)) => Some(Self::both(left, right)),
                    (Some(one), None) | (None, Some(one)) => Some(Self { exact: false, ..one }),
                    (None, None) => None,
                }
            }
            Filter::Or(left, right) => {
                let (left, right) = (Self::filter(resource_type, left)?, Self::filter(resource_type, right)?);
                Some(Self {
                    condition: Some(Condition::Or(vec![left.condition?, right.condition?])),
                    exact: left.exact && right.exact,
                    // The union of two single rows is no single row any more.
                    effort: left.effort.max(right.effort).max(Effort::Few),
                })
            }
            Filter::Compare(attribute, operator, Literal::String(text)) => {
                Self::compare(resource_type, attribute, *operator, text)
            }
            Filter::Compare(attribute, Operator::Eq, Literal::Number(number)) => {
                Self::integer(resource_type, attribute, number)
            }
            Filter::ValuePath(attribute, inner) if attribute.attribute.kind == AttributeType::Complex => {
                Self::value_path(resource_type, attribute, inner)
            }
            Filter::Compare(..) | Filter::ValuePath(..) | Filter::Not(_) | Filter::Present(_) => None,
        }
    }

    /// Both conditions, the more selective one first.
    fn both(left: Self, right: Self) -> Self {
        let (first, second) = if left.effort <= right.effort { (left, right) } else { (right, left) };
        if !second.condition.as_ref().is_some_and(Condition::is_asked_cheaply) {
            return Self { exact: false, ..first };
        }
        let exact = first.exact && second.exact;
        let parts = [first.condition, second.condition].into_iter().flatten().collect();
        Self { condition: Some(Condition::And(parts)), exact, effort: first.effort }
    }

    fn compare(
        resource_type: &ResourceType,
        attribute: &AttributeRef,
        operator: Operator,
        text: &str,
    ) -> Option<Self> {
        let sub_attribute = attribute.sub_attribute.as_ref().map(|sub| sub.name.as_str());
        let name = (attribute.extension.is_none()).then_some(attribute.attribute.name.as_str());
        match (name, sub_attribute, operator) {
            (Some("id"), None, Operator::Eq) => exactly(Condition::Id(text.to_owned()), Effort::Point),
            (Some("members"), None | Some("value"), Operator::Eq) if resource_type.has_members() => {
                exactly(Condition::Member(fold_id(attribute, text)), Effort::Few)
            }
            (Some("groups"), None | Some("value"), Operator::Eq) if resource_type.has_groups() => {
                exactly(Condition::InGroup(fold_id(attribute, text)), Effort::Range)
            }
            (Some("meta"), Some(field @ ("created" | "lastModified")), operator) => {
                let (comparison, milliseconds) = time(operator, text)?;
                let last_modified = field == "lastModified";
                let condition = Condition::Time { last_modified, comparison, milliseconds };
                exactly(condition, Effort::Range)
            }
            (_, _, Operator::Eq) if attribute.leaf().kind != AttributeType::Integer => {
                let index::Indexed { name, unique, case_exact } = index::indexed(resource_type, attribute)?;
                let key = index::key(text, case_exact);
                let effort = if unique { Effort::Point } else { Effort::Few };
                exactly(Condition::Value { attribute: name, unique, key }, effort)
            }
            (_, _, Operator::Sw) if !text.is_empty() && attribute.leaf().kind != AttributeType::Integer => {
                let index::Indexed { name, unique: _, case_exact } =
                    index::indexed(resource_type, attribute)?;
                let folded = fold(text, case_exact);
                let prefix: String = folded.chars().take(MAX_PREFIX).collect();
                let exact = prefix == folded;
                let condition = Some(Condition::Prefix { attribute: name, prefix });
                Some(Self { condition, exact, effort: Effort::Range })
            }
            _ => None,
        }
    }

    /// An integer that is equal to a number; one that is written as a fraction is left to the judge.
    fn integer(resource_type: &ResourceType, attribute: &AttributeRef, number: &Number) -> Option<Self> {
        let index::Indexed { name, unique, case_exact: _ } = index::indexed(resource_type, attribute)?;
        let key = index::integer_key(number)?;
        let effort = if unique { Effort::Point } else { Effort::Few };
        exactly(Condition::Value { attribute: name, unique, key }, effort)
    }

    /// `emails[value eq "a" and type eq "work"]`: candidates by what its inner filter must match.
    fn value_path(resource_type: &ResourceType, attribute: &AttributeRef, inner: &Filter) -> Option<Self> {
        match inner {
            Filter::And(left, right) => {
                let left = Self::value_path(resource_type, attribute, left);
                let right = Self::value_path(resource_type, attribute, right);
                let one = match (left, right) {
                    (Some(left), Some(right)) => Self::both(left, right),
                    (one, other) => one.or(other)?,
                };
                // One element must match both, which conditions on the resource cannot tell.
                Some(Self { exact: false, ..one })
            }
            Filter::Or(left, right) => {
                let left = Self::value_path(resource_type, attribute, left)?;
                let right = Self::value_path(resource_type, attribute, right)?;
                Some(Self {
                    condition: Some(Condition::Or(vec![left.condition?, right.condition?])),
                    exact: left.exact && right.exact,
                    effort: left.effort.max(right.effort).max(Effort::Few),
                })
            }
            Filter::Compare(leaf, operator, Literal::String(text)) => {
                let sub_attribute = leaf.sub_attribute.as_ref().unwrap_or(&leaf.attribute);
                let absolute = AttributeRef {
                    extension: attribute.extension.clone(),
                    attribute: attribute.attribute.clone(),
                    sub_attribute: Some(sub_attribute.clone()),
                };
                Self::compare(resource_type, &absolute, *operator, text)
            }
            _ => None,
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every caller answers with an option")]
fn exactly(condition: Condition, effort: Effort) -> Option<Plan> {
    Some(Plan { condition: Some(condition), exact: true, effort })
}

/// Ids fold to themselves; what a filter says may not, where the attribute ignores case.
fn fold_id(attribute: &AttributeRef, text: &str) -> String {
    let value = attribute.sub_attribute.as_ref().or_else(|| attribute.attribute.sub_attribute("value"));
    fold(text, value.is_none_or(|value| value.compares_exactly())).into_owned()
}

/// A comparison with a time, in the whole milliseconds that are stored.
fn time(operator: Operator, text: &str) -> Option<(Comparison, i64)> {
    let time = instant(text)?;
    let nanoseconds = time.as_nanosecond();
    let floor = i64::try_from(nanoseconds.div_euclid(1_000_000)).ok()?;
    let whole = nanoseconds.rem_euclid(1_000_000) == 0;
    let ceiling = if whole { floor } else { floor + 1 };
    match operator {
        Operator::Eq if whole => Some((Comparison::Equal, floor)),
        Operator::Gt => Some((Comparison::Above, floor)),
        Operator::Ge => Some((Comparison::From, ceiling)),
        Operator::Lt => Some((Comparison::Below, ceiling)),
        Operator::Le => Some((Comparison::UpTo, floor)),
        _ => None,
    }
}

/// What related data the evaluation of a filter needs.
pub(super) fn mentions(filter: &Filter) -> Load {
    match filter {
        Filter::And(left, right) | Filter::Or(left, right) => union(mentions(left), mentions(right)),
        Filter::Not(inner) => mentions(inner),
        Filter::Compare(attribute, ..) | Filter::Present(attribute) | Filter::ValuePath(attribute, _) => {
            needed_by(attribute)
        }
        Filter::Nothing => Load { members: false, groups: false },
    }
}

/// What related data an attribute's value is made of.
pub(super) fn needed_by(attribute: &AttributeRef) -> Load {
    let core = attribute.extension.is_none();
    Load {
        members: core && attribute.attribute.name == "members",
        // meta.version carries a digest of the groups.
        groups: core && matches!(attribute.attribute.name.as_str(), "groups" | "meta"),
    }
}

/// What either needs.
pub(super) fn union(left: Load, right: Load) -> Load {
    Load { members: left.members || right.members, groups: left.groups || right.groups }
}

/// The least text above every text that begins with `prefix`, in the order of code points.
pub(super) fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        if let Some(next) = ((last as u32 + 1)..=0x10_FFFF).find_map(char::from_u32) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_of_a_prefix_is_the_next_text_without_it() {
        assert_eq!(successor("ab").as_deref(), Some("ac"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(successor("\u{10FFFF}"), None);
    }
}
