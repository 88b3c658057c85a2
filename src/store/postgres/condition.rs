//! A [`Condition`] as SQL over `scim.resource r`.

use super::value::{Step, Value};
use crate::store::plan::{Comparison, Condition, successor};

/// SQL with its parameters, each a `?` in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    text: String,
    parameters: Vec<Value>,
}

impl Fragment {
    /// Appends text and the parameters of the `?` in it.
    pub(super) fn push(&mut self, text: &str, parameters: impl IntoIterator<Item = Value>) -> &mut Self {
        let parameters = parameters.into_iter();
        let mut parts = text.split('?');
        self.text.push_str(parts.next().unwrap_or_default());
        for (part, parameter) in parts.zip(parameters) {
            self.parameters.push(parameter);
            self.text.push('$');
            self.text.push_str(&self.parameters.len().to_string());
            self.text.push_str(part);
        }
        self
    }

    /// The statement.
    pub(super) fn into_step(self) -> Step {
        Step::new(self.text, self.parameters)
    }
}

/// A tenant's resources of one type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    pub tenant: i64,
    pub resource_type: &'s str,
}

impl Scope<'_> {
    /// Appends a query for the keys of the resources that a condition holds for.
    pub(super) fn keys(self, sql: &mut Fragment, condition: &Condition) {
        let tenant = || Value::from(self.tenant);
        match condition {
            Condition::Never => {
                sql.push("SELECT NULL::BIGINT AS key WHERE FALSE", []);
            }
            Condition::Id(id) => {
                let query = "SELECT key FROM scim.resource WHERE tenant = ? AND type = ? AND id = ?";
                sql.push(query, [tenant(), self.type_value(), Value::bytes(id)]);
            }
            Condition::Value { attribute, unique: _, key } => {
                let query = "SELECT resource AS key FROM scim.lookup WHERE tenant = ? AND attribute = ? AND value = ?";
                sql.push(query, [tenant(), attribute.as_str().into(), Value::bytes(key)]);
            }
            Condition::Prefix { attribute, prefix } => {
                let query = "SELECT resource AS key FROM scim.lookup WHERE tenant = ? AND attribute = ? AND value >= ?";
                sql.push(query, [tenant(), attribute.as_str().into(), Value::bytes(prefix)]);
                if let Some(above) = successor(prefix) {
                    sql.push(" AND value < ?", [Value::bytes(&above)]);
                }
            }
            Condition::Member(id) => {
                let query =
                    "SELECT m.\"group\" AS key FROM scim.member m WHERE m.tenant = ? AND m.member IN (";
                sql.push(query, [tenant()]);
                self.member(sql, id);
                sql.push(")", []);
            }
            Condition::InGroup(id) => {
                let query = "SELECT key FROM (WITH RECURSIVE below (key) AS (
                       SELECT m.member FROM scim.member m WHERE m.tenant = ? AND m.\"group\" =
                         (SELECT key FROM scim.resource WHERE tenant = ? AND type = 'Group' AND id = ?)
                       UNION
                       SELECT m.member FROM below
                       JOIN scim.member m ON m.tenant = ? AND m.\"group\" = below.key
                     ) SELECT key FROM below) AS all_below";
                sql.push(query, [tenant(), tenant(), Value::bytes(id), tenant()]);
            }
            Condition::Time { .. } => {
                let query = "SELECT r.key AS key FROM scim.resource r WHERE r.tenant = ? AND r.type = ? AND ";
                sql.push(query, [tenant(), self.type_value()]);
                self.holds(sql, condition);
            }
            Condition::And(parts) => {
                sql.push(
                    "SELECT r.key AS key FROM scim.resource r WHERE r.tenant = ? AND r.key IN (",
                    [tenant()],
                );
                let (first, others) = parts.split_first().unwrap_or((&Condition::Never, &[]));
                self.keys(sql, first);
                sql.push(")", []);
                for part in others {
                    sql.push(" AND ", []);
                    self.holds(sql, part);
                }
            }
            Condition::Or(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    sql.push(if index == 0 { "(" } else { " UNION (" }, []);
                    self.keys(sql, part);
                    sql.push(")", []);
                }
            }
        }
    }

    /// Appends an expression that tells whether a condition holds for `scim.resource r`; only for conditions
    /// that [`Condition::is_asked_cheaply`].
    fn holds(self, sql: &mut Fragment, condition: &Condition) {
        let tenant = || Value::from(self.tenant);
        match condition {
            Condition::Id(id) => {
                sql.push("r.id = ?", [Value::bytes(id)]);
            }
            Condition::Value { attribute, unique, key } => {
                let query = "EXISTS (SELECT 1 FROM scim.lookup l
                                     WHERE l.tenant = ? AND l.attribute = ? AND l.value = ? AND ";
                sql.push(query, [tenant(), attribute.as_str().into(), Value::bytes(key)]);
                sql.push(
                    if *unique { "l.slot IN (0, r.key) AND l.resource = r.key)" } else { "l.slot = r.key)" },
                    [],
                );
            }
            Condition::Member(id) => {
                let query = "EXISTS (SELECT 1 FROM scim.member m
                                     WHERE m.tenant = ? AND m.\"group\" = r.key AND m.member IN (";
                sql.push(query, [tenant()]);
                self.member(sql, id);
                sql.push("))", []);
            }
            Condition::Time { last_modified, comparison, milliseconds } => {
                let operator = match comparison {
                    Comparison::Equal => " = ?",
                    Comparison::Above => " > ?",
                    Comparison::From => " >= ?",
                    Comparison::Below => " < ?",
                    Comparison::UpTo => " <= ?",
                };
                sql.push(if *last_modified { "r.last_modified" } else { "r.created" }, []);
                sql.push(operator, [Value::from(*milliseconds)]);
            }
            Condition::And(parts) => self.joined(sql, parts, " AND "),
            Condition::Or(parts) => self.joined(sql, parts, " OR "),
            Condition::Never | Condition::Prefix { .. } | Condition::InGroup(_) => {
                sql.push("r.key IN (", []);
                self.keys(sql, condition);
                sql.push(")", []);
            }
        }
    }

    fn joined(self, sql: &mut Fragment, parts: &[Condition], separator: &str) {
        for (index, part) in parts.iter().enumerate() {
            sql.push(if index == 0 { "(" } else { separator }, []);
            self.holds(sql, part);
        }
        sql.push(")", []);
    }

    fn member(self, sql: &mut Fragment, id: &str) {
        let query = "SELECT key FROM scim.resource WHERE tenant = ? AND type IN ('User', 'Group') AND id = ?";
        sql.push(query, [Value::from(self.tenant), Value::bytes(id)]);
    }

    fn type_value(self) -> Value {
        self.resource_type.into()
    }
}
