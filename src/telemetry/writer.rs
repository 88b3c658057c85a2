//! A background thread that writes log lines, so that no request waits for whoever reads stdout.
//!
//! Lines are collected in one buffer and written many at a time. When the reader is slower than the
//! server, lines beyond the bound are dropped and counted: serving goes before logging.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait for the reader: about ten thousand lines.
const MAX_PENDING: usize = 4 << 20;

/// Pause between two writes, so that under load one system call writes many lines.
const BATCH_PAUSE: Duration = Duration::from_millis(5);

/// How long [`LogWriter::close`] waits for the reader.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The handle to the writer thread; clones write to the same thread.
#[derive(Clone)]
pub struct LogWriter {
    shared: Arc<Shared>,
    dropped: Counter,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something to write, and when all of it was written.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    writing: bool,
    closed: bool,
}

impl Shared {
    /// A panicking logger must not silence the others.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogWriter {
    /// Starts the thread that writes to `out`.
    pub fn spawn(out: Box<dyn Write + Send>) -> io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || run(&for_thread, out))?;
        Ok(Self { shared, dropped: Counter::default() })
    }

    /// Hands over one or more whole lines.
    pub fn write_lines(&self, lines: &[u8]) {
        let mut state = self.shared.lock();
        if state.pending.len() + lines.len() > MAX_PENDING {
            self.dropped.inc();
            return;
        }
        let was_empty = state.pending.is_empty();
        state.pending.extend_from_slice(lines);
        drop(state);
        if was_empty {
            self.shared.changed.notify_all();
        }
    }

    /// Counts the lines that were dropped because the reader was too slow.
    #[must_use]
    pub fn dropped(&self) -> Counter {
        self.dropped.clone()
    }

    /// Waits until what was handed over has been written, but not for ever.
    pub fn flush(&self) {
        let state = self.shared.lock();
        let _ = self
            .shared
            .changed
            .wait_timeout_while(state, CLOSE_TIMEOUT, |state| !state.pending.is_empty() || state.writing);
    }

    /// Flushes and ends the thread.
    pub fn close(&self) {
        self.flush();
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

/// The thread: take what is pending, write it, pause, again.
fn run(shared: &Shared, mut out: Box<dyn Write + Send>) {
    let mut batch = Vec::new();
    loop {
        let mut state = shared.lock();
        state.writing = false;
        shared.changed.notify_all();
        while state.pending.is_empty() && !state.closed {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.pending.is_empty() {
            return;
        }
        std::mem::swap(&mut state.pending, &mut batch);
        state.writing = true;
        drop(state);
        // Whoever closed our stdout does not want the lines; serving goes on.
        let _ = out.write_all(&batch);
        let _ = out.flush();
        batch.clear();
        thread::sleep(BATCH_PAUSE);
    }
}

impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.write_lines(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A reader that takes the first write and then nothing more until it is told to.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(lines.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_to_a_stuck_reader_are_dropped_and_counted() {
        let (release, stuck) = mpsc::channel();
        let writer = LogWriter::spawn(Box::new(Stuck(stuck))).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            writer.write_lines(&line);
        }
        assert!(writer.dropped().get() >= 10, "{}", writer.dropped().get());
        drop(release);
        writer.close();
    }

    #[test]
    fn lines_written_before_close_reach_the_reader_in_order() {
        #[derive(Clone, Default)]
        struct Shared(Arc<Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(lines);
                Ok(lines.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let out = Shared::default();
        let writer = LogWriter::spawn(Box::new(out.clone())).unwrap();
        let numbers: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let expected = numbers.join("\n") + "\n";
        for line in expected.lines() {
            writer.write_lines(format!("{line}\n").as_bytes());
        }
        writer.close();
        assert_eq!(String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), expected);
    }
}
