//! When requests are due: an open loop, in which a slow server does not slow the demand for it.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Hands out the times at which requests are due.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    /// Seconds between two; 0 without a rate.
    interval: f64,
    taken: Cell<u64>,
}

/// From when a request's latency counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now: nothing is scheduled.
    Now,
    /// At this time. It may be past: every connection was busy, and the wait is part of the latency.
    At(Instant),
}

impl Pace {
    /// So many a second from `start`; without a rate as fast as connections are free.
    #[must_use]
    pub fn new(start: Instant, rate: Option<f64>) -> Self {
        Self { start, interval: rate.map_or(0.0, |rate| 1.0 / rate), taken: Cell::new(0) }
    }

    /// Takes the next turn.
    pub fn take(&self) -> Due {
        if self.interval <= 0.0 {
            return Due::Now;
        }
        let turn = self.taken.get();
        self.taken.set(turn + 1);
        #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 requests")]
        Due::At(self.start + Duration::from_secs_f64(turn as f64 * self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_evenly_spaced_and_do_not_wait_for_anybody() {
        let start = Instant::now();
        let pace = Pace::new(start, Some(4.0));
        let at = |millis| Due::At(start + Duration::from_millis(millis));
        assert_eq!([pace.take(), pace.take(), pace.take()], [at(0), at(250), at(500)]);
        assert_eq!(Pace::new(start, None).take(), Due::Now);
    }
}
