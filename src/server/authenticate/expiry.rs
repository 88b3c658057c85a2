//! Says in the log that a token ends: 30 days, 7 days and one day before, and when it has ended; each
//! once in a server's life.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};

use super::bearer::Token;

/// How near a token's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Nearness {
    Far,
    Month,
    Week,
    Day,
    Ended,
}

/// How near the end is `remaining` before it.
fn nearness(remaining: SignedDuration) -> Nearness {
    match remaining.as_secs() {
        ..=0 => Nearness::Ended,
        1..=86_400 => Nearness::Day,
        86_401..=604_800 => Nearness::Week,
        604_801..=2_592_000 => Nearness::Month,
        _ => Nearness::Far,
    }
}

/// What is to be said of a token now; nothing of what was said, and nothing of a rotated token that nobody
/// uses any more: that is how it should be.
fn due(token: &Token, now: Timestamp) -> Option<Nearness> {
    let nearness = nearness(token.expires_at?.duration_since(now));
    let warned = token.remembered.warned.load(Ordering::Relaxed);
    if nearness as u8 <= warned {
        // The end may have been moved away: then it is said again when it is near.
        token.remembered.warned.store(nearness as u8, Ordering::Relaxed);
        return None;
    }
    let in_use = |replaced_at| token.remembered.last_used.get().is_some_and(|used| used > replaced_at);
    if token.replaced_at.is_some_and(|replaced_at| !in_use(replaced_at)) {
        return None;
    }
    token.remembered.warned.store(nearness as u8, Ordering::Relaxed);
    Some(nearness)
}

/// Warns of a token when it is time to.
pub(super) fn warn(tenant: &str, token: &Token, now: Timestamp) {
    let (Some(nearness), Some(expires_at)) = (due(token, now), token.expires_at) else { return };
    let name = &*token.name;
    let last_used = token.remembered.last_used.get().map_or("never".to_owned(), |time| time.to_string());
    match (nearness, token.replaced_at.is_some()) {
        (Nearness::Ended, _) => {
            tracing::warn!(tenant, token = name, %expires_at, last_used, "a bearer token has ended and is refused now");
        }
        (_, true) => {
            tracing::warn!(tenant, token = name, %expires_at, last_used, "the old token of a rotation is still in use and ends soon: give the identity provider the new one");
        }
        (_, false) => {
            tracing::warn!(tenant, token = name, %expires_at, last_used, "a bearer token ends soon: add a new one to authentication.bearer.tokens and give it to the identity provider");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Scopes;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(expires_at: i64, replaced_at: Option<i64>) -> Token {
        Token {
            name: "next".into(),
            digest: [0; 32],
            scopes: Scopes::ALL,
            not_before: None,
            expires_at: Some(at(expires_at)),
            replaced_at: replaced_at.map(at),
            remembered: std::sync::Arc::default(),
        }
    }

    #[test]
    fn each_threshold_is_said_once() {
        let token = token(100 * DAY, None);
        let mut said = Vec::new();
        for hour in 0..110 * 24 {
            said.extend(due(&token, at(hour * 3600)).map(|nearness| (hour / 24, nearness)));
        }
        let expected =
            [(70, Nearness::Month), (93, Nearness::Week), (99, Nearness::Day), (100, Nearness::Ended)];
        assert_eq!(said, expected);
    }

    #[test]
    fn start_close_to_the_end_says_only_how_close() {
        let token = token(100 * DAY, None);
        assert_eq!(due(&token, at(99 * DAY + 1)), Some(Nearness::Day));
        assert_eq!(due(&token, at(99 * DAY + 2)), None);
    }

    #[test]
    fn end_that_is_moved_away_is_said_again_when_it_is_near() {
        let mut token = token(10 * DAY, None);
        assert_eq!(due(&token, at(9 * DAY)), Some(Nearness::Day));
        token.expires_at = Some(at(100 * DAY));
        assert_eq!(due(&token, at(10 * DAY)), None);
        assert_eq!(due(&token, at(99 * DAY)), Some(Nearness::Day));
    }

    #[test]
    fn rotated_token_is_warned_of_only_while_somebody_uses_it() {
        let token = token(5 * DAY, Some(DAY));
        token.remembered.last_used.note(at(DAY - 1));
        assert_eq!(due(&token, at(2 * DAY)), None);
        token.remembered.last_used.note(at(2 * DAY));
        assert_eq!(due(&token, at(2 * DAY + 1)), Some(Nearness::Week));
    }
}
