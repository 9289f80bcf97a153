//! What every read works with.

use std::sync::Arc;
use std::time::Duration;

use crate::nodes::ReadPool;
use crate::seen::WaitMeters;
use crate::write_side::{LogEnds, Reading};

/// The pool, the way to the log, and the bounds of a wait.
#[derive(Clone)]
pub struct Backend {
    /// The nodes.
    pub pool: Arc<ReadPool>,
    /// Where the end of the log is asked for.
    pub log: LogEnds,
    /// The longest wait for freshness.
    pub wait_max: Duration,
    /// Where waits are counted.
    pub meters: Arc<WaitMeters>,
}

impl Backend {
    /// The time that ages are measured by.
    pub fn time(&self) -> Reading {
        self.pool.clock().read()
    }
}
