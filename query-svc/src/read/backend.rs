//! Shared parts of all reads.

use std::sync::Arc;
use std::time::Duration;

use super::waiting::WaitingPlaces;
use crate::nodes::ReadPool;
use crate::seen::WaitMeters;
use crate::write_side::{LogEnds, Reading};

/// Pool, the way to the log, and the bounds of a wait.
#[derive(Clone)]
pub struct Backend {
    /// The nodes.
    pub pool: Arc<ReadPool>,
    /// Source of the log's end.
    pub log: LogEnds,
    /// The longest wait for freshness.
    pub wait_max: Duration,
    /// Places of the calls that wait.
    pub waiting: Arc<WaitingPlaces>,
    /// Meters of waits.
    pub meters: Arc<WaitMeters>,
}

impl Backend {
    /// The time that ages are measured by.
    pub fn time(&self) -> Reading {
        self.pool.clock().read()
    }
}
