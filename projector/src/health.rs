//! The health of all projections as one check, `sync`: of `/readyz`, and the gRPC health service
//! `headwater.sync`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_chassis::Readiness;

/// Name of the check.
pub const SYNC: &str = "sync";

/// Gathers what each part says. Clones share one state.
#[derive(Clone)]
pub struct Health {
    readiness: Readiness,
    parts: Arc<Mutex<BTreeMap<String, Result<(), String>>>>,
}

impl Health {
    /// Nothing has been said yet.
    pub fn new(readiness: Readiness) -> Self {
        Self { readiness, parts: Arc::default() }
    }

    /// A part says how it is: ok, or what is wrong, for operators and without secrets.
    pub fn note(&self, part: String, state: Result<(), String>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(part, state);
        let wrong: Vec<String> = parts
            .iter()
            .filter_map(|(part, state)| Some(format!("{part}: {}", state.as_ref().err()?)))
            .collect();
        let sync = if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) };
        self.readiness.set(SYNC, sync);
    }
}
