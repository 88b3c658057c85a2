//! Why a turn ended early: it is tried again after a wait.

use super::{apply::ApplyError, cluster::ApiError};

/// Why a turn ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An object could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The operating system gives no random bytes.
    #[error("cannot make a token")]
    Random(#[source] std::io::Error),
}

impl Failure {
    /// A word for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Api(error) | Self::Apply(ApplyError::Api(error)) => error.reason(),
            Self::Apply(_) => "apply",
            Self::Random(_) => "random",
        }
    }
}
