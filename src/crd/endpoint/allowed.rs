//! `spec.allowedTenants` of a `ScimEndpoint`: from which namespaces tenants are served, as routes are in the Gateway API.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::crd::values::Labels;

/// Which tenants may be served by an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedTenants {
    /// From which namespaces.
    #[serde(default)]
    pub namespaces: TenantNamespaces,
}

/// The namespaces whose tenants may be served.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.from != 'Selector' || has(self.selector)")
        .message("selector is required with from: Selector: say which namespaces")
        .field_path(".selector"),
    validation = Rule::new("self.from == 'Selector' || !has(self.selector)")
        .message("selector has no effect without from: Selector: set from, or remove selector")
        .field_path(".selector")
)]
pub struct TenantNamespaces {
    /// `Same`: tenants in the endpoint's own namespace. `All`: tenants in any namespace. `Selector`: tenants in the
    /// namespaces whose labels match `selector`; the endpoint's own is no exception.
    #[serde(default)]
    pub from: NamespaceFrom,
    /// The labels that a namespace must have, with `from: Selector`. Every namespace has the label
    /// `kubernetes.io/metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum NamespaceFrom {
    #[default]
    Same,
    All,
    Selector,
}

/// Labels that a namespace must have: all of `matchLabels` and all of `matchExpressions`.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0")
        .message("needs matchLabels or matchExpressions; every namespace is from: All")
)]
pub struct NamespaceSelector {
    /// Labels and the values that they must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub match_labels: Labels,
    /// Conditions on single labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelExpression>,
}

/// One condition on a label.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)")
        .message("values is required with In and NotIn, and must be absent with Exists and DoesNotExist")
        .field_path(".values")
)]
pub struct LabelExpression {
    /// The label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// `In`, `NotIn`: its value is, or is not, one of `values`; a namespace without the label is not in them.
    /// `Exists`, `DoesNotExist`: the label is there, or is not.
    pub operator: LabelOperator,
    /// The values of `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

// No doc comments on the variants: they would turn the enumeration into alternatives in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the field that has this type explains the values")]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl NamespaceSelector {
    /// Whether a namespace with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let Self { match_labels, match_expressions } = self;
        match_labels.0.iter().all(|(key, value)| labels.get(key) == Some(value))
            && match_expressions.iter().all(|expression| expression.matches(labels))
    }

    /// The labels that it looks at.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let Self { match_labels, match_expressions } = self;
        let expressions = match_expressions.iter().map(|expression| expression.key.as_str());
        match_labels.0.keys().map(String::as_str).chain(expressions)
    }
}

impl LabelExpression {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let Self { key, operator, values } = self;
        let value = labels.get(key);
        match operator {
            LabelOperator::In => value.is_some_and(|value| values.contains(value)),
            LabelOperator::NotIn => !value.is_some_and(|value| values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}
