//! What is shown while a run goes on: one line that is written over on a terminal, plain lines elsewhere.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal as _, Write as _, stderr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::session::Shared;

/// Where progress goes.
#[derive(Debug, Clone)]
pub struct Progress {
    is_terminal: bool,
    is_quiet: bool,
    is_open: Rc<Cell<bool>>,
    name: Rc<RefCell<String>>,
}

impl Progress {
    /// To stderr; `quiet`: nowhere.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self {
            is_terminal: stderr().is_terminal(),
            is_quiet: quiet,
            is_open: Rc::default(),
            name: Rc::default(),
        }
    }

    /// A phase begins.
    pub fn phase(&self, name: &str) {
        let is_new = *self.name.borrow() != name;
        if is_new && !self.is_terminal && !self.is_quiet {
            // Nobody to tell when the standard error is closed.
            let _ = writeln!(stderr(), "phase: {name}");
        }
        name.clone_into(&mut self.name.borrow_mut());
    }

    /// Shows how it goes, until it is dropped.
    pub async fn watch(self, shared: Rc<Shared>) {
        let every = if self.is_terminal { Duration::from_millis(500) } else { Duration::from_secs(10) };
        let mut before = (Instant::now(), 0);
        loop {
            tokio::time::sleep(every).await;
            if self.is_quiet {
                continue;
            }
            let now = Instant::now();
            let (line, count) = line(&shared, before, now);
            before = (now, count);
            if self.is_terminal {
                let _ = write!(stderr(), "\r\x1b[2K{line}");
                let _ = stderr().flush();
                self.is_open.set(true);
            } else {
                let _ = writeln!(stderr(), "{line}");
            }
        }
    }

    /// Ends the line.
    pub fn end(&self) {
        if self.is_open.replace(false) {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}

fn line(shared: &Shared, before: (Instant, u64), now: Instant) -> (String, u64) {
    let mut recorder = shared.recorder.borrow_mut();
    recorder.tick(now);
    let count: u64 =
        recorder.phases.iter().flat_map(|phase| phase.rows.values()).map(|row| row.requests).sum();
    let errors: u64 =
        recorder.phases.iter().flat_map(|phase| phase.rows.values()).map(super::recorder::Row::failed).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    let rate = (count - before.1) as f64 / (now - before.0).as_secs_f64().max(0.001);
    let name = recorder.phase().map_or("", |phase| phase.name.as_str());
    let last = recorder.timeline.last();
    let (p50, p99) = last.map_or((0.0, 0.0), |second| (second.p50, second.p99));
    let left = match shared.stop.get() {
        _ if shared.interrupted.get() => "  ending".to_owned(),
        Some(stop) if stop > now => format!("  at most {} s left", (stop - now).as_secs()),
        _ => String::new(),
    };
    let line = format!(
        "{name}: {rate:.0} requests/s  p50 {p50:.1} ms  p99 {p99:.1} ms  {count} requests  {errors} errors{left}"
    );
    (line, count)
}
