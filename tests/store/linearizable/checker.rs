//! Whether a history of concurrent calls on one resource is linearizable: whether there is an order of them that keeps
//! the order of calls that did not overlap, and in which each answer is right.
//!
//! The search is that of Wing and Gong with the memory of Lowe: a set of calls that are done and the state they led to
//! is looked at once.

use std::collections::HashSet;

/// What was asked of a resource that holds a number, 0 at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    /// To hold this number.
    Write(u64),
    /// What it holds; this was the answer.
    Read(u64),
}

/// A call, by a clock that all callers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) asked: Asked,
    pub(crate) began: u64,
    /// When it was answered with success. Without: it may have happened, at any time since, or not.
    pub(crate) ended: Option<u64>,
}

/// Calls that are done, and the state after them.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Step {
    done: Vec<u64>,
    state: u64,
}

impl Step {
    fn has(&self, call: usize) -> bool {
        self.done[call / 64] >> (call % 64) & 1 == 1
    }

    /// With one call more, if its answer is right.
    fn with(&self, number: usize, call: &Call) -> Option<Self> {
        let state = match call.asked {
            Asked::Write(value) => value,
            Asked::Read(value) if value == self.state => value,
            Asked::Read(_) => return None,
        };
        let mut done = self.done.clone();
        done[number / 64] |= 1 << (number % 64);
        Some(Self { done, state })
    }
}

/// Whether there is such an order.
pub(crate) fn is_linearizable(calls: &[Call]) -> bool {
    // A write that nobody heard of and nobody saw may as well not have happened.
    let seen: HashSet<Asked> = calls.iter().map(|call| call.asked).collect();
    let matters = |call: &&Call| match call.asked {
        Asked::Write(value) => call.ended.is_some() || seen.contains(&Asked::Read(value)),
        Asked::Read(_) => true,
    };
    let calls: Vec<Call> = calls.iter().filter(matters).copied().collect();
    let first = Step { done: vec![0; calls.len().div_ceil(64)], state: 0 };
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(step) = open.pop() {
        let left = || calls.iter().enumerate().filter(|(number, _)| !step.has(*number));
        // Whoever was answered first comes before all that began after that.
        let Some(first_end) = left().filter_map(|(_, call)| call.ended).min() else { return true };
        let next = || left().filter(|(_, call)| call.began < first_end);
        // A read that is right now changes nothing: whatever comes later may as well come after it.
        let mut reads = next().filter(|(_, call)| matches!(call.asked, Asked::Read(_)));
        if let Some(next) = reads.find_map(|(number, call)| step.with(number, call)) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
            continue;
        }
        for (number, call) in next() {
            if let Some(next) = step.with(number, call)
                && seen.insert(next.clone())
            {
                open.push(next);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(asked: Asked, began: u64, ended: u64) -> Call {
        Call { asked, began, ended: (ended > 0).then_some(ended) }
    }

    #[test]
    fn known_histories_are_told_apart() {
        use Asked::{Read, Write};
        let good = [
            vec![],
            vec![call(Read(0), 1, 2)],
            vec![call(Write(1), 1, 2), call(Read(1), 3, 4)],
            // While a write goes on, either side of it may be seen, in this order.
            vec![call(Write(1), 1, 9), call(Read(0), 2, 3), call(Read(1), 4, 5)],
            // A write that nobody heard of may have happened, late, or not at all.
            vec![call(Write(1), 1, 0), call(Read(0), 2, 3), call(Read(1), 4, 5)],
            vec![call(Write(1), 1, 0), call(Read(0), 2, 3), call(Write(2), 4, 5), call(Read(1), 6, 7)],
            vec![call(Write(1), 1, 0), call(Read(0), 2, 3)],
        ];
        for history in good {
            assert!(is_linearizable(&history), "{history:?}");
        }
        let bad = [
            vec![call(Read(1), 1, 2)],
            // Stale.
            vec![call(Write(1), 1, 2), call(Read(0), 3, 4)],
            // Lost.
            vec![call(Write(1), 1, 2), call(Write(2), 3, 4), call(Read(1), 5, 6)],
            // Seen and not seen any more.
            vec![call(Write(1), 1, 9), call(Read(1), 2, 3), call(Read(0), 4, 5)],
            vec![call(Write(1), 1, 0), call(Read(1), 2, 3), call(Read(0), 4, 5)],
            // Two readers that see two writes in two orders.
            vec![
                call(Write(1), 1, 20),
                call(Write(2), 2, 21),
                call(Read(1), 3, 4),
                call(Read(2), 5, 6),
                call(Read(1), 7, 8),
            ],
            // Seen before it was asked for.
            vec![call(Read(1), 1, 2), call(Write(1), 3, 4)],
        ];
        for history in bad {
            assert!(!is_linearizable(&history), "{history:?}");
        }
    }

    /// By trying every order: right, and for a few calls only.
    fn by_trying(calls: &[Call], done: &mut Vec<usize>, state: u64) -> bool {
        let left: Vec<usize> = (0..calls.len()).filter(|number| !done.contains(number)).collect();
        if left.iter().all(|number| calls[*number].ended.is_none()) {
            return true;
        }
        left.iter().any(|number| {
            let call = calls[*number];
            if left.iter().any(|other| calls[*other].ended.is_some_and(|ended| ended < call.began)) {
                return false;
            }
            let state = match call.asked {
                Asked::Write(value) => value,
                Asked::Read(value) if value == state => value,
                Asked::Read(_) => return false,
            };
            done.push(*number);
            let found = by_trying(calls, done, state);
            done.pop();
            found
        })
    }

    fn any_call() -> impl Strategy<Value = (bool, u64, u64, u64, bool)> {
        (any::<bool>(), 0_u64..3, 0_u64..20, 1_u64..10, prop::bool::weighted(0.8))
    }

    proptest! {
        #[test]
        fn search_finds_what_trying_every_order_finds(drawn in prop::collection::vec(any_call(), 0..7)) {
            // Every moment is of one call only, as with a clock that counts.
            let calls: Vec<Call> = drawn.iter().zip(0_u64..).map(|((write, value, began, length, answered), number)| {
                let asked = if *write { Asked::Write(*value) } else { Asked::Read(*value) };
                let ended = (*answered || !write).then_some((began + length) * 20 + 2 * number + 1);
                Call { asked, began: began * 20 + 2 * number, ended }
            }).collect();
            prop_assert_eq!(is_linearizable(&calls), by_trying(&calls, &mut Vec::new(), 0));
        }

        #[test]
        fn calls_that_took_effect_one_after_the_other_are_linearizable(
            drawn in prop::collection::vec((any::<bool>(), 0_u64..60, 0_u64..60, any::<bool>()), 1..150),
            stale in any::<prop::sample::Index>(),
        ) {
            let (mut state, mut calls) = (0, Vec::new());
            for ((write, before, after, answered), number) in drawn.iter().zip(1_u64..) {
                let moment = number * 10;
                let asked = if *write { state = number; Asked::Write(number) } else { Asked::Read(state) };
                let ended = (*answered || !write).then_some(moment + after + 1);
                calls.push(Call { asked, began: moment.saturating_sub(*before), ended });
            }
            prop_assert!(is_linearizable(&calls));
            // One that sees what nobody wrote makes it wrong.
            let index = stale.index(calls.len());
            calls[index] = Call { asked: Asked::Read(u64::MAX), ended: Some(u64::MAX), ..calls[index] };
            prop_assert!(!is_linearizable(&calls));
        }
    }
}
