//! [`Duration`]: a length of time as manifests write it, such as `90s`, `12h` or `30d`.
//!
//! Kubernetes itself writes `72h` and has no day; people who keep leavers for a month mean days, so `d` is a
//! unit here. The text is kept as written, and [`Duration::get`] is what it means.

use std::fmt;
use std::time;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time: whole numbers with the units `d` (24 hours), `h`, `m` and `s`, such as `90s`, `1h30m` or
/// `30d`. It is more than nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    text: String,
    length: time::Duration,
}

/// Why a text is no [`Duration`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no length of time: write whole numbers with the units d, h, m and s, such as 90s, 1h30m or 30d"
)]
pub struct DurationError {
    text: String,
}

/// Digits before one unit at most: a million days are 2,700 years.
const MAX_DIGITS: usize = 6;

impl Duration {
    /// What it means.
    #[must_use]
    pub fn get(&self) -> time::Duration {
        self.length
    }

    /// Whole days.
    #[must_use]
    pub(super) fn days(days: u32) -> Self {
        Self { text: format!("{days}d"), length: time::Duration::from_secs(u64::from(days) * 86_400) }
    }

    fn parse(text: &str) -> Option<time::Duration> {
        let mut seconds: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            if digits == 0 || digits > MAX_DIGITS {
                return None;
            }
            let number: u64 = rest[..digits].parse().ok()?;
            let mut after = rest[digits..].chars();
            let unit = match after.next()? {
                'd' => 86_400,
                'h' => 3600,
                'm' => 60,
                's' => 1,
                _ => return None,
            };
            seconds = seconds.checked_add(number.checked_mul(unit)?)?;
            rest = after.as_str();
        }
        (seconds > 0).then(|| time::Duration::from_secs(seconds))
    }
}

impl TryFrom<String> for Duration {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match Self::parse(&text) {
            Some(length) => Ok(Self { text, length }),
            None => Err(DurationError { text }),
        }
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.text
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([0-9]{1,6}[dhms])+$') && self.matches('[1-9]')",
                "message": "must be a length of time in the units d, h, m and s, such as 90s, 1h30m or 30d",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_time_is_the_sum_of_its_parts() {
        for (text, seconds) in
            [("90s", 90), ("1h30m", 5400), ("30d", 2_592_000), ("0d1s", 1), ("1d1d", 172_800)]
        {
            let duration = Duration::try_from(text.to_owned()).unwrap();
            assert_eq!(duration.get().as_secs(), seconds, "{text}");
            assert_eq!(serde_json::to_value(&duration).unwrap(), text);
        }
    }

    #[test]
    fn text_that_is_no_length_of_time_is_refused() {
        for text in ["", "0s", "30", "d", "-1h", "1.5h", "1w", "1 h", "1H", "1h30", "1234567s", "1hé"] {
            assert!(Duration::try_from(text.to_owned()).is_err(), "{text}");
        }
        let error = Duration::try_from("1w".to_owned()).unwrap_err();
        insta::assert_snapshot!(error, @r#""1w" is no length of time: write whole numbers with the units d, h, m and s, such as 90s, 1h30m or 30d"#);
    }
}
