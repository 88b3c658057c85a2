//! The filter grammar (RFC 7644 figure 1): a scanner and a recursive descent, both bounded.

use super::{Expression, FilterLimits, Literal, Operator};
use crate::scim::error::ScimError;
use crate::scim::path::AttributePath;

impl Expression {
    /// Parses a filter; errors are `invalidFilter` and say what was expected at which column.
    pub fn parse(text: &str, limits: FilterLimits) -> Result<Self, ScimError> {
        let mut syntax = Syntax::new(text, limits, ScimError::invalid_filter, "filter")?;
        let expression = syntax.disjunction()?;
        syntax.end("\"and\", \"or\" or the end of the filter")?;
        Ok(expression)
    }
}

/// A position in the text of a filter or path, and what is left of its limits.
pub(in crate::scim) struct Syntax<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
    terms: usize,
    in_value_filter: bool,
    limits: FilterLimits,
    refuse: fn(String) -> ScimError,
    /// What the text is, for errors: `filter` or `path`.
    what: &'static str,
}

impl<'a> Syntax<'a> {
    pub(in crate::scim) fn new(
        text: &'a str,
        limits: FilterLimits,
        refuse: fn(String) -> ScimError,
        what: &'static str,
    ) -> Result<Self, ScimError> {
        if text.len() > limits.max_length {
            return Err(refuse(format!(
                "the {what} is {} bytes long; at most {} are allowed",
                text.len(),
                limits.max_length
            )));
        }
        let (position, depth, terms) = (0, 0, 0);
        Ok(Self { text, position, depth, terms, in_value_filter: false, limits, refuse, what })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_space(&mut self) {
        self.position = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes one punctuation mark when it is next.
    fn take(&mut self, mark: char) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.position += mark.len_utf8();
        }
        found
    }

    /// The run of characters up to a space, bracket or quote: a name, keyword, number or stray text.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | '"'));
        &rest[..end.unwrap_or(rest.len())]
    }

    /// Takes a keyword, in any case, when it is the next word.
    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.word().eq_ignore_ascii_case(keyword);
        if found {
            self.position += keyword.len();
        }
        found
    }

    fn unexpected(&self, expected: &str) -> ScimError {
        let word = self.word();
        let found = match (word, self.rest().chars().next()) {
            (_, None) => format!("the end of the {}", self.what),
            ("", Some(mark)) => format!("{mark:?}"),
            (word, _) if word.chars().count() > 60 => {
                format!("{:?}…", word.chars().take(60).collect::<String>())
            }
            (word, _) => format!("{word:?}"),
        };
        let column = self.text[..self.position].chars().count() + 1;
        (self.refuse)(format!("{} column {column}: expected {expected}, found {found}", self.what))
    }

    pub(in crate::scim) fn end(&mut self, expected: &str) -> Result<(), ScimError> {
        self.skip_space();
        if self.rest().is_empty() { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn descend(&mut self) -> Result<(), ScimError> {
        self.depth += 1;
        if self.depth > self.limits.max_depth {
            let (what, most) = (self.what, self.limits.max_depth);
            return Err((self.refuse)(format!("the {what} nests deeper than {most} levels")));
        }
        Ok(())
    }

    fn disjunction(&mut self) -> Result<Expression, ScimError> {
        let mut left = self.conjunction()?;
        loop {
            self.skip_space();
            if !self.take_keyword("or") {
                return Ok(left);
            }
            left = Expression::Or(Box::new(left), Box::new(self.conjunction()?));
        }
    }

    fn conjunction(&mut self) -> Result<Expression, ScimError> {
        let mut left = self.unary()?;
        loop {
            self.skip_space();
            if !self.take_keyword("and") {
                return Ok(left);
            }
            left = Expression::And(Box::new(left), Box::new(self.unary()?));
        }
    }

    fn unary(&mut self) -> Result<Expression, ScimError> {
        self.skip_space();
        let negated = self.take_keyword("not");
        if negated {
            self.skip_space();
        }
        if self.take('(') {
            self.descend()?;
            let inner = self.disjunction()?;
            self.skip_space();
            if !self.take(')') {
                return Err(self.unexpected("\"and\", \"or\" or \")\""));
            }
            self.depth -= 1;
            return Ok(if negated { Expression::Not(Box::new(inner)) } else { inner });
        }
        if negated {
            return Err(self.unexpected("\"(\" after \"not\""));
        }
        self.term()
    }

    /// `attrPath op value`, `attrPath pr`, or a value path. What follows a value path's bracket
    /// (`emails[type eq "work"].value co "@"`) is one more condition on the same value.
    fn term(&mut self) -> Result<Expression, ScimError> {
        self.terms += 1;
        if self.terms > self.limits.max_terms {
            let (what, most) = (self.what, self.limits.max_terms);
            return Err((self.refuse)(format!("the {what} has more than {most} comparisons")));
        }
        let attribute = self.attribute_path()?;
        let Some(inner) = self.value_filter(&attribute)? else { return self.comparison(attribute) };
        let Some(sub_attribute) = self.sub_attribute()? else {
            return Ok(Expression::ValuePath(attribute, Box::new(inner)));
        };
        let relative = AttributePath { schema: None, attribute: sub_attribute, sub_attribute: None };
        let inner = Expression::And(Box::new(inner), Box::new(self.comparison(relative)?));
        Ok(Expression::ValuePath(attribute, Box::new(inner)))
    }

    /// An attribute path.
    pub(in crate::scim) fn attribute_path(&mut self) -> Result<AttributePath, ScimError> {
        let word = self.word();
        let path = AttributePath::split(word).ok_or_else(|| self.unexpected("an attribute name"))?;
        self.position += word.len();
        Ok(path)
    }

    /// `[filter]`, when a bracket is next.
    pub(in crate::scim) fn value_filter(
        &mut self,
        attribute: &AttributePath,
    ) -> Result<Option<Expression>, ScimError> {
        if !self.rest().starts_with('[') {
            return Ok(None);
        }
        if self.in_value_filter {
            return Err(self.unexpected("an operator (value filters cannot be nested)"));
        }
        if attribute.sub_attribute.is_some() {
            return Err(
                self.unexpected("an operator (a value filter follows an attribute, not a sub-attribute)")
            );
        }
        self.take('[');
        self.descend()?;
        self.in_value_filter = true;
        let inner = self.disjunction()?;
        self.skip_space();
        if !self.take(']') {
            return Err(self.unexpected("\"and\", \"or\" or \"]\""));
        }
        self.in_value_filter = false;
        self.depth -= 1;
        Ok(Some(inner))
    }

    /// `.subAttribute`, when a dot is next.
    pub(in crate::scim) fn sub_attribute(&mut self) -> Result<Option<String>, ScimError> {
        if !self.take('.') {
            return Ok(None);
        }
        let word = self.word();
        match AttributePath::split(word) {
            Some(AttributePath { schema: None, attribute, sub_attribute: None }) => {
                self.position += word.len();
                Ok(Some(attribute))
            }
            _ => Err(self.unexpected("a sub-attribute name")),
        }
    }

    fn comparison(&mut self, attribute: AttributePath) -> Result<Expression, ScimError> {
        self.skip_space();
        if self.take_keyword("pr") {
            return Ok(Expression::Present(attribute));
        }
        let word = self.word();
        let operator = Operator::parse(word)
            .ok_or_else(|| self.unexpected("an operator (eq, ne, co, sw, ew, gt, ge, lt, le or pr)"))?;
        self.position += word.len();
        self.skip_space();
        Ok(Expression::Compare(attribute, operator, self.literal()?))
    }

    fn literal(&mut self) -> Result<Literal, ScimError> {
        const EXPECTED: &str = "a value (text in double quotes, a number, true, false or null)";
        if self.rest().starts_with('"') {
            return self.string();
        }
        let word = self.word();
        let literal = if word.eq_ignore_ascii_case("true") {
            Literal::Boolean(true)
        } else if word.eq_ignore_ascii_case("false") {
            Literal::Boolean(false)
        } else if word.eq_ignore_ascii_case("null") {
            Literal::Null
        } else {
            Literal::Number(serde_json::from_str(word).map_err(|_| self.unexpected(EXPECTED))?)
        };
        self.position += word.len();
        Ok(literal)
    }

    fn string(&mut self) -> Result<Literal, ScimError> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.bytes().enumerate().skip(1).find(|(_, byte)| {
            let closes = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            closes
        });
        let Some((end, _)) = end else {
            self.position = self.text.len();
            return Err(self.unexpected("a closing double quote"));
        };
        let text = serde_json::from_str(&rest[..=end]).map_err(|_| {
            self.unexpected(
                "text in double quotes with the escapes of JSON (\\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX)",
            )
        })?;
        self.position += end + 1;
        Ok(Literal::String(text))
    }
}

impl Operator {
    const ALL: [Self; 9] =
        [Self::Eq, Self::Ne, Self::Co, Self::Sw, Self::Ew, Self::Gt, Self::Ge, Self::Lt, Self::Le];

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.keyword().eq_ignore_ascii_case(word))
    }

    /// As it stands in a filter.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Co => "co",
            Self::Sw => "sw",
            Self::Ew => "ew",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
        }
    }
}
