//! A work queue: each key at most once, never by two workers at a time, not before it is due.
//!
//! A key that is added again while it waits keeps the earlier time, so that a burst of changes becomes one turn. One
//! that is added while it is worked on has another turn afterwards. After a failure the key waits, longer each time
//! and never two keys for the same time.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// The wait after the first failure.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No failure makes a key wait longer: when the API server is back after a minute, work goes on soon.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// All is done, until something changes.
    Done,
    /// All is done, and it is looked at again after this time.
    Again(Duration),
    /// It failed and is tried again after a wait.
    Failed,
}

/// Keys that wait for their turn.
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    /// Ordered by time; the number keeps keys of the same time apart, first come first served.
    due: BTreeMap<(Instant, u64), K>,
    waiting: HashMap<K, (Instant, u64)>,
    /// With the time of the next turn, when it was added meanwhile.
    running: HashMap<K, Option<Instant>>,
    failures: HashMap<K, u32>,
    number: u64,
}

impl<K: Clone + Eq + Hash + Debug> Queue<K> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::new()), changed: Notify::new() }
    }

    /// Gives a key a turn, `after` this time at the latest.
    pub(crate) fn add(&self, key: K, after: Duration) {
        if self.state().add(key, Instant::now() + after) {
            self.changed.notify_one();
        }
    }

    /// Waits for the next key whose time has come. [`Self::done`] must follow.
    pub(crate) async fn next(&self) -> K {
        loop {
            let changed = self.changed.notified();
            let first = {
                let mut state = self.state();
                match state.pop(Instant::now()) {
                    Ok(key) => {
                        // One word can stand for several keys.
                        if !state.due.is_empty() {
                            self.changed.notify_one();
                        }
                        return key;
                    }
                    Err(first) => first,
                }
            };
            match first {
                Some(time) => tokio::select! {
                    () = tokio::time::sleep_until(time.into()) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// Ends a turn that [`Self::next`] began.
    pub(crate) fn done(&self, key: &K, turn: Turn) {
        self.state().done(key, turn, Instant::now(), jitter());
        self.changed.notify_one();
    }

    /// Takes back the turns of workers that were stopped: they are had again at once.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        let running: Vec<K> = state.running.drain().map(|(key, _)| key).collect();
        for key in running {
            state.add(key, Instant::now());
        }
        self.changed.notify_one();
    }

    /// How many keys wait, whether or not their time has come.
    pub(crate) fn len(&self) -> usize {
        self.state().due.len()
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn new() -> Self {
        Self {
            due: BTreeMap::new(),
            waiting: HashMap::new(),
            running: HashMap::new(),
            failures: HashMap::new(),
            number: 0,
        }
    }

    /// Whether somebody must be told.
    fn add(&mut self, key: K, time: Instant) -> bool {
        if let Some(next) = self.running.get_mut(&key) {
            *next = Some(next.map_or(time, |next| next.min(time)));
            return false;
        }
        if let Some(place) = self.waiting.get(&key).copied() {
            if place.0 <= time {
                return false;
            }
            self.due.remove(&place);
        }
        self.number += 1;
        let place = (time, self.number);
        self.due.insert(place, key.clone());
        self.waiting.insert(key, place);
        true
    }

    /// The first key whose time has come, or when the next one's will.
    fn pop(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        match self.due.first_entry() {
            Some(first) if first.key().0 <= now => {
                let key = first.remove();
                self.waiting.remove(&key);
                self.running.insert(key.clone(), None);
                Ok(key)
            }
            Some(first) => Err(Some(first.key().0)),
            None => Err(None),
        }
    }

    fn done(&mut self, key: &K, turn: Turn, now: Instant, jitter: f64) {
        let added = self.running.remove(key).flatten();
        let time = match turn {
            Turn::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                *failures += 1;
                // A change during the turn waits as well: it is likely to fail for the same reason.
                Some(now + wait_after(*failures, jitter))
            }
            Turn::Done | Turn::Again(_) => {
                self.failures.remove(key);
                let again = if let Turn::Again(after) = turn { Some(now + after) } else { None };
                [added, again].into_iter().flatten().min()
            }
        };
        if let Some(time) = time {
            self.add(key.clone(), time);
        }
    }
}

/// Doubles with each failure up to a bound; `jitter` from 0 to 1 takes up to half of it away.
fn wait_after(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST_WAIT).mul_f64(1.0 - jitter / 2.0)
}

fn jitter() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness there is no jitter, which harms nobody.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A queue with a clock of its own, in milliseconds.
    struct Clocked {
        state: State<&'static str>,
        begin: Instant,
    }

    impl Clocked {
        fn new() -> Self {
            Self { state: State::new(), begin: Instant::now() }
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.begin + Duration::from_millis(milliseconds)
        }

        fn add(&mut self, key: &'static str, milliseconds: u64) {
            let time = self.at(milliseconds);
            self.state.add(key, time);
        }

        fn pop(&mut self, milliseconds: u64) -> Option<&'static str> {
            let now = self.at(milliseconds);
            self.state.pop(now).ok()
        }

        fn done(&mut self, key: &'static str, turn: Turn, milliseconds: u64) {
            let now = self.at(milliseconds);
            self.state.done(&key, turn, now, 0.0);
        }
    }

    #[test]
    fn burst_of_changes_is_one_turn_at_the_first_ones_time() {
        let mut queue = Clocked::new();
        queue.add("a", 50);
        queue.add("a", 80);
        assert_eq!((queue.pop(49), queue.pop(50)), (None, Some("a")));
        queue.done("a", Turn::Done, 51);
        assert_eq!(queue.pop(100_000), None);
    }

    #[test]
    fn change_during_a_turn_is_a_turn_afterwards_and_never_beside_it() {
        let mut queue = Clocked::new();
        queue.add("a", 0);
        assert_eq!(queue.pop(0), Some("a"));
        queue.add("a", 1);
        assert_eq!(queue.pop(100_000), None);
        queue.done("a", Turn::Done, 100_000);
        assert_eq!(queue.pop(100_000), Some("a"));
        queue.done("a", Turn::Done, 100_000);
        assert_eq!(queue.pop(200_000), None);
    }

    #[test]
    fn later_time_gives_way_to_an_earlier_one() {
        let mut queue = Clocked::new();
        queue.add("a", 30);
        queue.add("b", 20);
        queue.add("a", 10);
        assert_eq!((queue.pop(40), queue.pop(40), queue.pop(40)), (Some("a"), Some("b"), None));
    }

    #[test]
    fn failure_waits_longer_each_time_and_success_forgets_it() {
        let mut queue = Clocked::new();
        queue.add("a", 0);
        for (now, wait) in [(0, 200), (200, 400), (600, 800), (1400, 1600)] {
            assert_eq!(queue.pop(now), Some("a"));
            // What changes during the turn waits as well.
            queue.add("a", now);
            queue.done("a", Turn::Failed, now);
            assert_eq!(queue.pop(now + wait - 1), None);
        }
        assert_eq!(queue.pop(3000), Some("a"));
        queue.done("a", Turn::Again(Duration::from_secs(5)), 3000);
        assert_eq!((queue.pop(7999), queue.pop(8000)), (None, Some("a")));
        queue.done("a", Turn::Failed, 8000);
        assert_eq!(queue.pop(8200), Some("a"));
    }

    #[test]
    fn change_comes_before_the_next_look() {
        let mut queue = Clocked::new();
        queue.add("a", 0);
        assert_eq!(queue.pop(0), Some("a"));
        queue.add("a", 20);
        queue.done("a", Turn::Again(Duration::from_secs(30)), 10);
        assert_eq!((queue.pop(19), queue.pop(20)), (None, Some("a")));
    }

    #[test]
    fn wait_is_bounded_whatever_the_failures() {
        assert_eq!(wait_after(1, 0.0), FIRST_WAIT);
        assert_eq!(wait_after(1, 1.0), FIRST_WAIT / 2);
        assert_eq!(wait_after(u32::MAX, 0.0), LONGEST_WAIT);
    }

    #[tokio::test]
    async fn turn_of_a_stopped_worker_is_had_again() {
        let queue = Queue::new();
        queue.add("a", Duration::ZERO);
        assert_eq!(queue.next().await, "a");
        queue.abandon();
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test]
    async fn several_workers_serve_every_key_once() {
        let queue = Arc::new(Queue::new());
        let (sender, mut turns) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..8 {
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            tokio::spawn(async move {
                loop {
                    let key = queue.next().await;
                    tokio::task::yield_now().await;
                    queue.done(&key, Turn::Done);
                    if sender.send(key).is_err() {
                        return;
                    }
                }
            });
        }
        for key in 0..1000 {
            queue.add(key, Duration::from_millis(key % 7));
        }
        let mut served = Vec::new();
        for _ in 0..1000 {
            served.push(turns.recv().await.unwrap());
        }
        served.sort_unstable();
        assert_eq!(served, (0..1000).collect::<Vec<_>>());
    }
}
