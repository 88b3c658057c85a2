//! When a token that we made is replaced: a pure decision over what the Secret says, the same for the Secrets that
//! `serve` keeps and for those of a cluster.
//!
//! A Secret holds a current token, and for some time after a rotation the one before. Every step is one atomic write of
//! the Secret, so a crash leaves the state before it or after it, and either is good: the current token always works,
//! and the previous one carries its own end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How far a clock may have been ahead of ours without our correcting what it wrote.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// How often, and how long the old token still works: `authentication.bearer.rotation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How long a token is current.
    pub interval: Duration,
    /// How long it works after that; shorter than the interval.
    pub overlap: Duration,
}

/// What a Secret that we made says of its tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Since when the current token is there; unknown in a Secret made before anybody asked.
    pub issued_at: Option<Timestamp>,
    /// Until when the previous token works; none when there is no previous token.
    pub previous_expires_at: Option<Timestamp>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What to write now; none when the Secret is as it should be.
    pub write: Option<Write>,
    /// When to ask again, at the latest: as the Secret will be then, there is something to do. None: never.
    pub next: Option<Timestamp>,
}

/// One write of the whole Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Make a new token; the current one becomes the previous one.
    pub new_token: bool,
    /// What the Secret then says. Without `previous_expires_at` it holds no previous token.
    pub state: State,
}

/// Decides what to write to a Secret now. Without a rotation the current token stays; a previous one still ends.
///
/// Times are whole seconds, as a Secret writes them.
#[must_use]
pub fn plan(now: Timestamp, state: State, rotation: Option<Rotation>) -> Plan {
    let now = whole(now);
    // The previous token's end is kept, and never moved away; a clock that was ahead, or a shorter overlap, brings it
    // nearer.
    let latest = rotation.map_or(Timestamp::MAX, |rotation| later(now, rotation.overlap));
    let previous_expires_at =
        state.previous_expires_at.filter(|end| *end > now).map(|end| whole(end).min(latest));
    // A time that has not come yet is a clock's mistake, and would keep the token for as long.
    let issued_at = match state.issued_at {
        Some(issued_at) if issued_at.duration_since(now) <= CLOCK_SKEW => whole(issued_at),
        _ => now,
    };
    let due = rotation.map(|rotation| later(issued_at, rotation.interval));
    if let (Some(due), Some(rotation), None) = (due, rotation, previous_expires_at)
        && due <= now
    {
        let end = later(now, rotation.overlap);
        let state = State { issued_at: Some(now), previous_expires_at: Some(end) };
        return Plan { write: Some(Write { new_token: true, state }), next: Some(end) };
    }
    let kept = State { issued_at: Some(issued_at), previous_expires_at };
    let write = (kept != state).then_some(Write { new_token: false, state: kept });
    // A rotation that is due while the previous token still works waits for that one's end.
    Plan { write, next: previous_expires_at.or(due) }
}

/// The second that has begun.
fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).map_or(Timestamp::MAX, whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn every(interval: u64, overlap: u64) -> Rotation {
        Rotation { interval: Duration::from_secs(interval), overlap: Duration::from_secs(overlap) }
    }

    fn state(issued_at: i64, previous: Option<i64>) -> State {
        State { issued_at: Some(at(issued_at)), previous_expires_at: previous.map(at) }
    }

    #[test]
    fn token_is_replaced_after_the_interval_and_ends_after_the_overlap() {
        let rotation = Some(every(100, 30));
        assert_eq!(plan(at(99), state(0, None), rotation), Plan { write: None, next: Some(at(100)) });
        let rotated = Write { new_token: true, state: state(100, Some(130)) };
        assert_eq!(
            plan(at(100), state(0, None), rotation),
            Plan { write: Some(rotated), next: Some(at(130)) }
        );
        assert_eq!(plan(at(129), rotated.state, rotation), Plan { write: None, next: Some(at(130)) });
        let dropped = Write { new_token: false, state: state(100, None) };
        assert_eq!(
            plan(at(130), rotated.state, rotation),
            Plan { write: Some(dropped), next: Some(at(200)) }
        );
    }

    #[test]
    fn overlap_counts_from_the_rotation_that_came_late() {
        let plan = plan(at(1000), state(0, Some(50)), Some(every(100, 30)));
        assert_eq!(plan.write, Some(Write { new_token: true, state: state(1000, Some(1030)) }));
    }

    #[test]
    fn secret_without_a_date_is_as_old_as_our_knowledge_of_it() {
        let plan = plan(at(500), State::default(), Some(every(100, 30)));
        let write = Some(Write { new_token: false, state: state(500, None) });
        assert_eq!(plan, Plan { write, next: Some(at(600)) });
    }

    #[test]
    fn shorter_interval_waits_for_the_previous_token_and_shorter_overlap_brings_its_end() {
        let before = state(100, Some(900));
        assert_eq!(
            plan(at(200), before, Some(every(50, 40))),
            Plan {
                write: Some(Write { new_token: false, state: state(100, Some(240)) }),
                next: Some(at(240))
            }
        );
        assert_eq!(plan(at(200), before, None), Plan { write: None, next: Some(at(900)) });
        assert!(plan(at(240), state(100, Some(240)), Some(every(50, 40))).write.unwrap().new_token);
    }

    #[test]
    fn without_a_rotation_only_the_previous_token_ends() {
        assert_eq!(plan(at(1 << 36), state(0, None), None), Plan { write: None, next: None });
        let write = Some(Write { new_token: false, state: state(100, None) });
        assert_eq!(plan(at(900), state(100, Some(900)), None), Plan { write, next: None });
    }

    #[test]
    fn clock_that_was_ahead_keeps_no_token_for_as_long() {
        let plan = plan(at(1000), state(1 << 36, Some(1 << 37)), Some(every(100, 30)));
        assert_eq!(plan.write, Some(Write { new_token: false, state: state(1000, Some(1030)) }));
    }

    /// A Secret and everything that people were told of its tokens.
    struct World {
        state: State,
        current: usize,
        previous: Option<usize>,
        /// By token: from when, and until when it was promised to work at most.
        told: Vec<(i64, i64)>,
    }

    impl World {
        fn works(&self, token: usize, now: i64) -> bool {
            let previous_works = || self.state.previous_expires_at.is_some_and(|end| end > at(now));
            token == self.current || self.previous == Some(token) && previous_works()
        }

        fn write(&mut self, write: Write, now: i64) {
            if write.new_token {
                let end = write.state.previous_expires_at.unwrap().as_second();
                self.told[self.current].1 = end;
                self.previous = Some(self.current);
                self.current = self.told.len();
                self.told.push((now, i64::MAX));
            }
            if write.state.previous_expires_at.is_none() {
                self.previous = None;
            }
            self.state = write.state;
        }
    }

    /// What happens next: time passes; the process looks, and may die before or after the write; a person changes
    /// the rotation.
    #[derive(Debug, Clone)]
    enum Event {
        Pass(i64),
        Look { dies_before_the_write: bool },
        Configure(Option<Rotation>),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let rotation = prop::option::of(
            (2_u64..2000)
                .prop_flat_map(|interval| (1..interval).prop_map(move |overlap| every(interval, overlap))),
        );
        prop::collection::vec(
            prop_oneof![
                3 => (0_i64..3000).prop_map(Event::Pass),
                6 => any::<bool>().prop_map(|dies_before_the_write| Event::Look { dies_before_the_write }),
                1 => rotation.prop_map(Event::Configure),
            ],
            1..200,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn somebody_is_always_let_in_and_no_token_outlives_its_end(events in events()) {
            let mut now = 1_000_000;
            let mut rotation = Some(every(1000, 100));
            let mut world = World {
                state: State::default(),
                current: 0,
                previous: None,
                told: vec![(now, i64::MAX)],
            };
            for event in events {
                match event {
                    Event::Pass(seconds) => now += seconds,
                    Event::Configure(to) => rotation = to,
                    Event::Look { dies_before_the_write } => {
                        let plan = plan(at(now), world.state, rotation);
                        prop_assert!(plan.next.is_none_or(|next| next > at(now)), "{plan:?} at {now}");
                        if let (Some(write), false) = (plan.write, dies_before_the_write) {
                            // The token that was current goes on for the overlap.
                            let before = world.current;
                            world.write(write, now);
                            prop_assert!(world.works(before, now));
                            let again = super::plan(at(now), world.state, rotation);
                            prop_assert_eq!(again.write, None, "a second look changes nothing");
                            prop_assert_eq!(again.next, plan.next);
                        }
                    }
                }
                prop_assert!(world.works(world.current, now));
                for (token, (_, end)) in world.told.iter().enumerate() {
                    prop_assert!(!world.works(token, now) || now < *end, "token {token} works at {now}, after {end}");
                }
                let working = (0..world.told.len()).filter(|token| world.works(*token, now)).count();
                prop_assert!((1..=2).contains(&working));
            }
        }

        #[test]
        fn rotation_that_is_looked_at_in_time_lets_every_token_live_its_full_time(
            (interval, overlap) in (2_u64..500).prop_flat_map(|interval| (Just(interval), 1..interval)),
        ) {
            let rotation = Some(every(interval, overlap));
            let (mut now, mut state) = (0, State { issued_at: Some(at(0)), previous_expires_at: None });
            let mut rotations = Vec::new();
            while now < 5 * i64::try_from(interval).unwrap() {
                let plan = plan(at(now), state, rotation);
                if let Some(write) = plan.write {
                    state = write.state;
                    if write.new_token {
                        rotations.push(now);
                    }
                }
                now = plan.next.unwrap().as_second();
            }
            let expected: Vec<i64> = (1..5).map(|n| n * i64::try_from(interval).unwrap()).collect();
            prop_assert_eq!(rotations, expected);
        }
    }
}
