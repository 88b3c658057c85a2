//! [`Rule`]: one named thing that a dialect reads differently from the RFCs, and [`Tolerated`]: which
//! of them a request made use of.

/// A named rule. The reading of requests asks for each where it matters, so that a dialect without
/// any costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Rule {
    /// An attribute that no schema defines is dropped.
    UnknownAttribute,
    /// A URN in `schemas` that this type does not have is dropped.
    UnknownSchema,
    /// `schemas` may be missing, or lack the base schema.
    MissingSchemas,
    /// `"true"` and `"False"` are booleans, in filters too.
    StringBoolean,
    /// `op` of a PATCH in any case (`"Replace"`).
    OpCase,
    /// `remove` with a list of values removes those values, not all.
    RemoveWithValue,
    /// Dotted and URN-qualified names in a path-less value (`"name.givenName"`).
    QualifiedNames,
    /// Read-only attributes in a path-less value (`id`) are skipped.
    ReadOnlyInPatch,
    /// A member may be a bare id instead of an object.
    BareMember,
    /// `add` with a value filter that matches nothing makes the value that the filter describes.
    AddByFilter,
    /// `replace` with a value filter that matches nothing makes the value that the filter describes.
    ReplaceByFilter,
    /// `remove` with a value filter that matches nothing does nothing.
    RemoveUnmatched,
    /// `""` clears, as `null` does.
    EmptyClears,
    /// Of several values marked primary, the first is.
    FirstPrimary,
    /// The enterprise extension's URN with a dot for its last colon.
    EnterpriseTypo,
    /// The enterprise extension's attributes without its URN, also in paths and filters.
    RootEnterprise,
    /// `manager` as a list, as a bare id, or cleared by one of these that is empty.
    ManagerForm,
    /// Text in a filter without its quotes (`externalId eq jyoung`).
    UnquotedValue,
    /// A token without `Bearer` before it.
    BareToken,
}

impl Rule {
    /// As metrics and logs show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownAttribute => "unknown_attribute",
            Self::UnknownSchema => "unknown_schema",
            Self::MissingSchemas => "missing_schemas",
            Self::StringBoolean => "string_boolean",
            Self::OpCase => "op_case",
            Self::RemoveWithValue => "remove_with_value",
            Self::QualifiedNames => "qualified_names",
            Self::ReadOnlyInPatch => "read_only_in_patch",
            Self::BareMember => "bare_member",
            Self::AddByFilter => "add_by_filter",
            Self::ReplaceByFilter => "replace_by_filter",
            Self::RemoveUnmatched => "remove_unmatched",
            Self::EmptyClears => "empty_clears",
            Self::FirstPrimary => "first_primary",
            Self::EnterpriseTypo => "enterprise_typo",
            Self::RootEnterprise => "root_enterprise",
            Self::ManagerForm => "manager_form",
            Self::UnquotedValue => "unquoted_value",
            Self::BareToken => "bare_token",
        }
    }

    /// Whether something that the client sent is not kept.
    #[must_use]
    pub const fn drops(self) -> bool {
        matches!(self, Self::UnknownAttribute | Self::UnknownSchema)
    }
}

/// A dialect's table: the set of its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    /// None: the RFCs and nothing else.
    pub const NONE: Self = Self(0);

    /// These rules.
    #[must_use]
    pub const fn of(rules: &[Rule]) -> Self {
        Self::NONE.and(rules)
    }

    /// Those of this set and these.
    #[must_use]
    pub const fn and(self, rules: &[Rule]) -> Self {
        let mut bits = self.0;
        let mut index = 0;
        while index < rules.len() {
            bits |= 1 << rules[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    /// Whether a rule is among them.
    #[must_use]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }

    /// Those of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one rule of another set is among them.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// How many names one request keeps for a rule, so that a log line stays a line.
const MAX_NAMES: usize = 32;

/// The rules that a request made use of: names of attributes only, never values, so that it can be
/// logged.
///
/// [`Rule::AddByFilter`], [`Rule::ReplaceByFilter`] and [`Rule::RemoveUnmatched`] are among them only once
/// the change is applied: before that, nobody knows whether a filter matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tolerated {
    uses: Vec<Use>,
    missed: Vec<Rule>,
}

/// What one rule did in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The rule.
    pub rule: Rule,
    /// How often it applied.
    pub count: u64,
    /// To what: each name once, and not all when there are many.
    pub names: Vec<String>,
}

impl Tolerated {
    /// Notes that a rule applied to something of this name.
    pub fn report(&mut self, rule: Rule, name: impl Into<String>) {
        let found = self.uses.iter().position(|used| used.rule == rule);
        let index = found.unwrap_or_else(|| {
            self.uses.push(Use { rule, count: 0, names: Vec::new() });
            self.uses.len() - 1
        });
        let used = &mut self.uses[index];
        used.count += 1;
        if used.names.len() < MAX_NAMES {
            let name = name.into();
            if !used.names.contains(&name) {
                used.names.push(name);
            }
        }
    }

    /// Each rule that applied, once.
    #[must_use]
    pub fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// Notes that a rule would have applied that this dialect does not have.
    pub(super) fn miss(&mut self, rule: Rule) {
        if !self.missed.contains(&rule) {
            self.missed.push(rule);
        }
    }

    /// Each rule that would have applied, once.
    #[must_use]
    pub fn missed(&self) -> &[Rule] {
        &self.missed
    }

    /// What a rule applied to.
    #[must_use]
    pub fn names(&self, rule: Rule) -> &[String] {
        self.uses.iter().find(|used| used.rule == rule).map_or(&[], |used| &used.names)
    }
}
