//! How far a long command is: one line that moves on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often the line of a terminal moves.
const BLINK: Duration = Duration::from_millis(100);

/// How often a line is written elsewhere.
const NOW_AND_THEN: Duration = Duration::from_secs(5);

/// Width of the bar.
const BAR: usize = 24;

/// Says on the standard error how far it is.
pub struct Progress {
    terminal: bool,
    shown: Option<Instant>,
    began: Instant,
    /// Whether a line of the terminal is to be wiped.
    dirty: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { terminal: io::stderr().is_terminal(), shown: None, began: Instant::now(), dirty: false }
    }
}

impl Progress {
    /// Shows it, if it is time to.
    pub fn show(&mut self, what: &str, done: u64, total: u64) {
        let pause = if self.terminal { BLINK } else { NOW_AND_THEN };
        if self.shown.unwrap_or(self.began).elapsed() < pause {
            return;
        }
        self.shown = Some(Instant::now());
        let line = line(what, done, total, self.terminal);
        // Nobody to tell when the standard error is closed.
        let _ = if self.terminal {
            self.dirty = true;
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }

    /// Wipes the line, for what is said next.
    pub fn done(&mut self) {
        if std::mem::take(&mut self.dirty) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}

fn line(what: &str, done: u64, total: u64, bar: bool) -> String {
    let percent = done.min(total).saturating_mul(100).checked_div(total).unwrap_or(100);
    if !bar {
        return format!("{what}: {percent} %");
    }
    let full = usize::try_from(percent).unwrap_or(100) * BAR / 100;
    format!("[{}{}] {percent:3} %  {what}", "=".repeat(full), " ".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_shows_the_part_that_is_done() {
        assert_eq!(line("identity/acme", 1, 3, false), "identity/acme: 33 %");
        assert_eq!(line("checking", 1, 2, true), "[============            ]  50 %  checking");
        assert_eq!(line("checking", 9, 2, true), "[========================] 100 %  checking");
        assert_eq!(line("checking", 0, 0, false), "checking: 100 %");
    }
}
