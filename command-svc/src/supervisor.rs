//! The tasks that a process cannot do without, and whether one of them has died.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Starts tasks, and learns when one of them panics. Clones share what they know.
#[derive(Clone)]
pub(crate) struct Supervisor {
    died: watch::Sender<Option<&'static str>>,
}

impl Supervisor {
    /// Of no task yet.
    pub(crate) fn new() -> Self {
        Self { died: watch::Sender::new(None) }
    }

    /// Starts a task. It may end by itself, when nobody needs it any more.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let died = self.died.clone();
        tokio::spawn(async move {
            // Nothing of it is looked at again.
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                died.send_replace(Some(name));
            }
        })
    }

    /// Resolves when a task has panicked, with its name; never, if none does.
    pub(crate) fn failure(&self) -> impl Future<Output = &'static str> + Send + use<> {
        let mut died = self.died.subscribe();
        async move {
            match died.wait_for(Option::is_some).await.map(|name| *name) {
                Ok(Some(name)) => name,
                // The supervisor is gone, and so are its tasks.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
    }
}
