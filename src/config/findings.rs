//! What is wrong with a manifest, where, and what to do about it.
//!
//! Checks collect findings and never stop at the first; the caller decides from [`has_errors`]. A finding never
//! contains the value of a Secret.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The manifests are refused.
    Error,
    /// The manifests are taken, but they probably do not do what their author meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Whether the manifests are refused for it.
    pub severity: Severity,
    /// A stable name for this kind of finding, such as `unknown-field`.
    pub code: &'static str,
    /// Where it is; absent for an object that did not come from a file.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The object, as `ScimTenant identity/acme`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field, as `spec.endpointRef.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The file, as it was named to us; `<stdin>` for the standard input.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Finding {
    /// An error without place or object.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            location: None,
            object: None,
            field: None,
            message: message.into(),
            hint: None,
        }
    }

    /// A warning without place or object.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, location: Option<Location>) -> Self {
        self.location = location;
        self
    }

    /// Adds the object.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Adds the field; an empty path is the object itself.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into()).filter(|field| !field.is_empty());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the manifests are refused for it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Whether the manifests are refused.
#[must_use]
pub fn has_errors(findings: &[Finding]) -> bool {
    findings.iter().any(Finding::is_error)
}

/// Puts findings in the order of a reader: by file, line and column.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| a.location.cmp(&b.location).then(a.severity.cmp(&b.severity)));
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        write!(f, "{}: ", self.severity)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding::error("required", "is required")
            .at(Some(Location { file: "tenant.yaml".into(), line: 7, column: 3 }))
            .object("ScimTenant identity/acme")
            .field("spec.endpointRef.name")
            .hint("name the ScimEndpoint")
    }

    #[test]
    fn finding_as_text_is_one_line_and_a_hint() {
        insta::assert_snapshot!(finding(), @r"
        tenant.yaml:7:3: error: ScimTenant identity/acme: spec.endpointRef.name: is required
          hint: name the ScimEndpoint
        ");
    }

    #[test]
    fn finding_as_json_has_file_line_and_column() {
        insta::assert_json_snapshot!(finding(), @r#"
        {
          "severity": "error",
          "code": "required",
          "file": "tenant.yaml",
          "line": 7,
          "column": 3,
          "object": "ScimTenant identity/acme",
          "field": "spec.endpointRef.name",
          "message": "is required",
          "hint": "name the ScimEndpoint"
        }
        "#);
    }
}
