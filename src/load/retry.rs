//! When a request is sent again, and after how long: the rules of each identity provider.

use std::time::Duration;

use super::random::Random;
use super::request::{Answer, Failure};

/// How a client tries again. Waits are exponential with full jitter, unless the server says how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Tries of one request at most, the first included.
    pub tries: u32,
    /// The longest first wait; it doubles with each further try.
    pub first: Duration,
    /// No wait is longer, also when the server asks for more.
    pub cap: Duration,
    /// The first wait after a 429 without `Retry-After`, when it is another one, without jitter.
    pub throttled: Option<Duration>,
}

impl RetryPolicy {
    /// What to wait before the try after `tried` of them failed like this; none to give up.
    #[must_use]
    pub fn wait(
        &self,
        tried: u32,
        outcome: &Result<Answer, Failure>,
        random: &mut Random,
    ) -> Option<Duration> {
        if tried >= self.tries || !is_retried(outcome) {
            return None;
        }
        let doubled = |first: Duration| first.saturating_mul(1 << (tried - 1).min(16)).min(self.cap);
        if let Ok(answer) = outcome {
            if let Some(asked) = answer.retry_after.as_deref().and_then(whole_seconds) {
                // Everybody who was told the same second must not come in the same millisecond.
                return Some((asked + Duration::from_millis(random.below(250))).min(self.cap));
            }
            if answer.status == 429
                && let Some(first) = self.throttled
            {
                return Some(doubled(first));
            }
        }
        Some(doubled(self.first).mul_f64(random.unit()))
    }
}

/// Whether this is worth another try: no answer, too many requests, or the server's own fault.
fn is_retried(outcome: &Result<Answer, Failure>) -> bool {
    match outcome {
        Ok(answer) => matches!(answer.status, 429 | 500 | 502 | 503 | 504),
        Err(_) => true,
    }
}

/// `Retry-After` in whole seconds, RFC 9110 section 10.2.3. A date counts as absent, as with Okta.
fn whole_seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        tries: 4,
        first: Duration::from_millis(500),
        cap: Duration::from_secs(30),
        throttled: Some(Duration::from_secs(5)),
    };

    #[expect(clippy::unnecessary_wraps, reason = "it is an outcome, of which there are others")]
    fn answer(status: u16, retry_after: Option<&str>) -> Result<Answer, Failure> {
        Ok(Answer { status, retry_after: retry_after.map(str::to_owned), body: bytes::Bytes::new() })
    }

    fn wait(tried: u32, outcome: &Result<Answer, Failure>) -> Option<Duration> {
        POLICY.wait(tried, outcome, &mut Random::new(1, 1))
    }

    #[test]
    fn retry_after_in_seconds_is_honoured_and_a_date_is_not() {
        let asked = wait(1, &answer(503, Some("7"))).unwrap();
        assert!((Duration::from_secs(7)..Duration::from_millis(7250)).contains(&asked), "{asked:?}");
        assert_eq!(wait(1, &answer(503, Some("3600"))), Some(POLICY.cap));
        assert_eq!(
            wait(1, &answer(429, Some("Wed, 21 Oct 2026 07:28:00 GMT"))),
            Some(Duration::from_secs(5))
        );
    }

    #[test]
    fn throttling_without_retry_after_waits_and_doubles() {
        assert_eq!(wait(1, &answer(429, None)), Some(Duration::from_secs(5)));
        assert_eq!(wait(3, &answer(429, None)), Some(Duration::from_secs(20)));
    }

    #[test]
    fn waits_have_jitter_below_a_bound_that_doubles() {
        for tried in 1..4 {
            for seed in 0..50 {
                let wait =
                    POLICY.wait(tried, &Err(Failure::Cut(String::new())), &mut Random::new(seed, 0)).unwrap();
                assert!(wait < POLICY.first * (1 << (tried - 1)), "{wait:?}");
            }
        }
        assert_eq!(wait(4, &Err(Failure::Cut(String::new()))), None);
    }

    #[test]
    fn refusals_are_not_tried_again() {
        for status in [400, 401, 403, 404, 409, 412, 413, 501] {
            assert_eq!(wait(1, &answer(status, None)), None);
        }
    }
}
