//! The machine, which stories share with each other and which a history has for itself: its clients
//! keep every core busy, and a story's bounds on time do not allow for that.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// Held by a story while it is played.
pub type Share = RwLockReadGuard<'static, ()>;
/// Held by a history from its cluster's start to its end.
pub type Whole = RwLockWriteGuard<'static, ()>;

/// Waits for histories to end.
pub async fn share() -> Share {
    MACHINE.read().await
}

/// Waits for every story and history that is under way.
pub async fn whole() -> Whole {
    MACHINE.write().await
}
