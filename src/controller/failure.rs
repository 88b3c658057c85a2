//! Why a reconcile ended early: each is tried again after a wait.

use super::cluster::ApiError;

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The API server.
    #[error(transparent)]
    Api(#[from] ApiError),
}

impl Failure {
    /// A word for metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Api(error) => error.reason(),
        }
    }
}
