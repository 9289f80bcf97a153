//! Shutdown: one request for it, seen by everything, and a deadline after which the process exits
//! anyway.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Says when the process has to end. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// Requested by [`Shutdown::trigger`] only; for tests and for tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requested by SIGTERM or SIGINT. A second signal ends the process at once.
    ///
    /// # Errors
    /// If the signals cannot be listened to.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let requested = shutdown.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
            requested.trigger();
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::error!("second signal: exiting without draining");
            std::process::exit(1);
        });
        Ok(shutdown)
    }

    /// Exits the process if it still runs this long after shutdown was requested. The clock runs on
    /// a thread of its own, so that a runtime that blocks while draining cannot stop it.
    pub fn exit_after(&self, deadline: Duration) {
        let shutdown = self.clone();
        tokio::spawn(async move {
            shutdown.requested().await;
            std::thread::spawn(move || {
                #[expect(clippy::disallowed_methods, reason = "on a thread of its own")]
                std::thread::sleep(deadline);
                tracing::error!(?deadline, "not drained within the deadline: exiting anyway");
                std::process::exit(1);
            });
        });
    }

    /// Requests it.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// True if shutdown has been requested.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when it is requested.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// For futures that must own their wait.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}
