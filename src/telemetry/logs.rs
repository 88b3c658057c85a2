//! Logs: readable on a terminal, JSON for machines, one line an event.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::writer::LogWriter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl LogFormat {
    /// Decides [`Self::Auto`] by looking at stdout.
    #[must_use]
    pub fn resolved(self) -> Self {
        match self {
            Self::Auto if io::stdout().is_terminal() => Self::Text,
            Self::Auto => Self::Json,
            chosen => chosen,
        }
    }
}

/// Sends this process's log events to stdout, by way of a [`LogWriter`]. `level` is a filter such as
/// `info` or `scim_operator=debug`; `RUST_LOG` is used when it is absent. Gives the writer, and
/// whether request lines (which are of level info) are wanted.
pub fn init(format: LogFormat, level: Option<&str>) -> Result<(LogWriter, bool), LogError> {
    let text = level.map_or_else(|| std::env::var("RUST_LOG").unwrap_or_default(), str::to_owned);
    // A filter would take a misspelt level for the name of a module.
    if level.is_some() && !text.contains(['=', ',']) && text.parse::<LevelFilter>().is_err() {
        return Err(LogError::Level(text, "it is no level".to_owned()));
    }
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&text)
        .map_err(|error| LogError::Level(text.clone(), error.to_string()))?;
    let requests = filter.max_level_hint().is_none_or(|level| level >= LevelFilter::INFO);
    let writer = LogWriter::spawn(Box::new(io::stdout())).map_err(LogError::Thread)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer.clone());
    // A second call in one process (tests) keeps the first subscriber.
    let _ = match format.resolved() {
        LogFormat::Json => tracing::subscriber::set_global_default(
            subscriber
                .json()
                .flatten_event(true)
                .with_target(false)
                .with_current_span(false)
                .with_span_list(false)
                .finish(),
        ),
        LogFormat::Text | LogFormat::Auto => tracing::subscriber::set_global_default(
            subscriber.with_ansi(io::stdout().is_terminal()).with_target(false).compact().finish(),
        ),
    };
    Ok((writer, requests))
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not a filter.
    #[error("log level {0:?} is not understood: {1}; use error, warn, info, debug or trace")]
    Level(String, String),
    /// The writer thread did not start.
    #[error("cannot start the log writer thread: {0}")]
    Thread(#[source] io::Error),
}
