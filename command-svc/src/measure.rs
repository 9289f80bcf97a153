//! Metrics of the write side.

use std::time::Duration;

use headwater_chassis::Metrics;
use headwater_chassis::metrics::{
    BATCH_SIZES, Counter, Family, Histogram, LATENCY_SECONDS, Labels,
};

use crate::reply::{Answer, AppendError};

/// The metrics of one process.
pub(crate) struct Measures {
    batch_commands: Histogram,
    append_seconds: Histogram,
    done: Counter,
    replayed: Counter,
    refused: Counter,
    conflicts: Counter,
    decided_again: Counter,
    overloaded: Counter,
    failed: Family<Labels<1>, Counter>,
}

impl Measures {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let commands = metrics.counters::<Labels<1>>(
            "headwater_commands_total",
            "Commands answered, by outcome; stale ones were decided again",
        );
        let outcome = |name: &str| commands.get_or_create(&[("outcome", name.to_owned())]).clone();
        Self {
            batch_commands: metrics.histogram(
                "headwater_append_batch_commands",
                "Commands per append",
                BATCH_SIZES,
            ),
            append_seconds: metrics.histogram(
                "headwater_append_seconds",
                "Time from sending an append to its commit",
                LATENCY_SECONDS,
            ),
            done: outcome("committed"),
            replayed: outcome("replayed"),
            refused: outcome("refused"),
            conflicts: outcome("version_conflict"),
            decided_again: outcome("stale"),
            overloaded: outcome("overloaded"),
            failed: commands,
        }
    }

    pub(crate) fn append(&self, commands: usize, took: Duration) {
        self.batch_commands.observe(commands as f64);
        self.append_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn answered(&self, answer: &Answer) {
        match answer {
            Answer::Done { replayed: false, .. } => self.done.inc(),
            Answer::Done { replayed: true, .. } => self.replayed.inc(),
            Answer::Refused(_) => self.refused.inc(),
            Answer::VersionConflict(_) | Answer::OtherHistory(_) => self.conflicts.inc(),
            // Counted when it is decided again.
            Answer::DecideAgain | Answer::Behind => return,
            Answer::Failed(error) => {
                self.failed.get_or_create(&[("outcome", name(*error).to_owned())]).inc()
            }
        };
    }

    pub(crate) fn decided_again(&self) {
        self.decided_again.inc();
    }

    pub(crate) fn overloaded(&self) {
        self.overloaded.inc();
    }
}

fn name(error: AppendError) -> &'static str {
    match error {
        AppendError::KeyReused => "key_reused",
        AppendError::DatabaseUnavailable => "database_unavailable",
        AppendError::OutcomeUnknown => "outcome_unknown",
        AppendError::TooLarge | AppendError::BadName => "too_large",
        AppendError::OtherAggregate => "other_aggregate",
        AppendError::Unmigrated => "unmigrated",
        AppendError::Unloadable
        | AppendError::Panicked
        | AppendError::Refused
        | AppendError::Defect => "defect",
    }
}
