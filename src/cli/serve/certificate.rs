//! Follows the folder of the certificate: a kubelet replaces the files when their Secret changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::server::tls::Certificates;

/// How often to look: two small files.
const LOOK: Duration = Duration::from_secs(1);

/// Serves a new certificate when there is one, until it is dropped.
pub(super) async fn follow(certificates: Arc<Certificates>, folder: PathBuf) {
    let mut trouble = None;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        match certificates.reload() {
            Ok(Some(not_after)) => {
                trouble = None;
                tracing::info!(%not_after, folder = %folder.display(), "new connections get the new certificate");
            }
            Ok(None) => {}
            Err(error) => {
                let text = error.to_string();
                if trouble.as_ref() != Some(&text) {
                    tracing::error!(
                        error = text,
                        "the new certificate cannot be served, the one of before is; repair the Secret"
                    );
                    trouble = Some(text);
                }
            }
        }
    }
}
