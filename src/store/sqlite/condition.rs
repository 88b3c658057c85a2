//! A [`Condition`] as SQL over `resource r`.

use rusqlite::types::Value;

use crate::store::plan::{Comparison, Condition, successor};

/// SQL with its parameters, each a `?` in the order of the text.
#[derive(Debug, Default)]
pub(super) struct Fragment {
    pub text: String,
    pub parameters: Vec<Value>,
}

impl Fragment {
    /// Appends text and the parameters of the `?` in it.
    pub(super) fn push(&mut self, text: &str, parameters: impl IntoIterator<Item = Value>) -> &mut Self {
        self.text.push_str(text);
        self.parameters.extend(parameters);
        self
    }
}

/// A tenant's resources of one type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    pub tenant: i64,
    pub resource_type: &'s str,
}

impl Scope<'_> {
    /// Appends a query for the keys of the resources that a condition holds for. Each part names the index
    /// it goes by, so that the way does not depend on what SQLite guesses of the data.
    pub(super) fn keys(self, sql: &mut Fragment, condition: &Condition) {
        let tenant = || Value::Integer(self.tenant);
        match condition {
            Condition::Never => {
                sql.push("SELECT NULL AS key WHERE FALSE", []);
            }
            Condition::Id(id) => {
                let query = "SELECT key FROM resource WHERE tenant = ? AND type = ? AND id = ?";
                sql.push(query, [tenant(), self.type_value(), id.clone().into()]);
            }
            Condition::Value { attribute, unique: _, key } => {
                let query =
                    "SELECT resource AS key FROM lookup WHERE tenant = ? AND attribute = ? AND value = ?";
                sql.push(query, [tenant(), attribute.clone().into(), key.clone().into()]);
            }
            Condition::Prefix { attribute, prefix } => {
                let query =
                    "SELECT resource AS key FROM lookup WHERE tenant = ? AND attribute = ? AND value >= ?";
                sql.push(query, [tenant(), attribute.clone().into(), prefix.clone().into()]);
                if let Some(above) = successor(prefix) {
                    sql.push(" AND value < ?", [above.into()]);
                }
            }
            Condition::Member(id) => {
                let query = "SELECT m.\"group\" AS key FROM member m WHERE m.tenant = ? AND m.member IN (";
                sql.push(query, [tenant()]);
                self.member(sql, id);
                sql.push(")", []);
            }
            Condition::InGroup(id) => {
                let query = "SELECT key FROM (WITH RECURSIVE below (key) AS (
                       SELECT m.member FROM member m WHERE m.tenant = ? AND m.\"group\" =
                         (SELECT key FROM resource WHERE tenant = ? AND type = 'Group' AND id = ?)
                       UNION
                       SELECT m.member FROM below JOIN member m ON m.tenant = ? AND m.\"group\" = below.key
                     ) SELECT key FROM below)";
                sql.push(query, [tenant(), tenant(), id.clone().into(), tenant()]);
            }
            Condition::Time { .. } => {
                let query = "SELECT r.key AS key FROM resource r WHERE r.tenant = ? AND r.type = ? AND ";
                sql.push(query, [tenant(), self.type_value()]);
                self.holds(sql, condition);
            }
            Condition::And(parts) => {
                sql.push("SELECT r.key AS key FROM resource r WHERE r.key IN (", []);
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
                    sql.push(if index == 0 { "SELECT key FROM (" } else { " UNION SELECT key FROM (" }, []);
                    self.keys(sql, part);
                    sql.push(")", []);
                }
            }
        }
    }

    /// Appends an expression that tells whether a condition holds for `resource r`; only for conditions
    /// that [`Condition::is_asked_cheaply`].
    fn holds(self, sql: &mut Fragment, condition: &Condition) {
        let tenant = || Value::Integer(self.tenant);
        match condition {
            Condition::Id(id) => {
                sql.push("r.id = ?", [id.clone().into()]);
            }
            Condition::Value { attribute, unique, key } => {
                let query = "EXISTS (SELECT 1 FROM lookup l WHERE l.tenant = ? AND l.attribute = ? AND l.value = ? AND ";
                sql.push(query, [tenant(), attribute.clone().into(), key.clone().into()]);
                sql.push(
                    if *unique { "l.slot IN (0, r.key) AND l.resource = r.key)" } else { "l.slot = r.key)" },
                    [],
                );
            }
            Condition::Member(id) => {
                let query = "EXISTS (SELECT 1 FROM member m WHERE m.tenant = ? AND m.\"group\" = r.key AND m.member IN (";
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
                sql.push(operator, [Value::Integer(*milliseconds)]);
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
        let query = "SELECT key FROM resource WHERE tenant = ? AND type IN ('User', 'Group') AND id = ?";
        sql.push(query, [Value::Integer(self.tenant), Value::from(id.to_owned())]);
    }

    fn type_value(self) -> Value {
        Value::from(self.resource_type.to_owned())
    }
}
