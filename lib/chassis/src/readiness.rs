//! Readiness: one state, shown by `/readyz`, by the gRPC health service and to the drain.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// The state of the process's checks. Clones share one state.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<watch::Sender<Checks>>,
}

/// A copy of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    checks: BTreeMap<String, Check>,
    draining: bool,
}

/// The state of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Ok, or what is wrong: a sentence for operators, without secrets.
    pub result: Result<(), String>,
    /// True if the process is unready while this check fails.
    pub required: bool,
}

impl Readiness {
    /// With these required checks, each failing as "starting" until it is set.
    pub fn new(required: &[&str]) -> Self {
        let starting = || Check { result: Err("starting".to_owned()), required: true };
        let checks = required.iter().map(|name| ((*name).to_owned(), starting())).collect();
        let (state, _) = watch::channel(Checks { checks, draining: false });
        Self { state: Arc::new(state) }
    }

    /// Sets a required check: while it fails the process is unready.
    pub fn set(&self, name: &str, result: Result<(), String>) {
        self.put(name, Check { result, required: true });
    }

    /// Sets a check that is only reported (by `/readyz` and as the gRPC health service
    /// `headwater.<name>`), such as `sync`: a lag is an alarm, not a reason to take the process out
    /// of service.
    pub fn report(&self, name: &str, result: Result<(), String>) {
        self.put(name, Check { result, required: false });
    }

    fn put(&self, name: &str, check: Check) {
        self.state.send_if_modified(|state| {
            let changed = state.checks.get(name) != Some(&check);
            if changed {
                state.checks.insert(name.to_owned(), check);
            }
            changed
        });
    }

    /// The process is going away: from now on everything is unready, whatever the checks say.
    pub fn drain(&self) {
        self.state.send_if_modified(|state| !std::mem::replace(&mut state.draining, true));
    }

    /// A copy of the state.
    pub fn checks(&self) -> Checks {
        self.state.borrow().clone()
    }

    /// Follows the state.
    pub fn subscribe(&self) -> watch::Receiver<Checks> {
        self.state.subscribe()
    }

    /// True if the process can serve.
    pub fn is_ready(&self) -> bool {
        self.state.borrow().is_ready()
    }
}

impl Checks {
    /// True if the process can serve: it is not draining, and no required check fails.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.checks.values().all(|check| !check.required || check.result.is_ok())
    }

    /// True if the named check holds; `None` if there is no such check.
    pub fn holds(&self, name: &str) -> Option<bool> {
        self.checks.get(name).map(|check| !self.draining && check.result.is_ok())
    }

    /// True if the process is draining.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// One line for each check, in the order of their names.
    pub fn lines(&self) -> Vec<String> {
        let draining = self.draining.then(|| "process: failed: shutting down".to_owned());
        let checks =
            self.checks.iter().map(|(name, check)| match (&check.result, check.required) {
                (Ok(()), _) => format!("{name}: ok"),
                (Err(problem), true) => format!("{name}: failed: {problem}"),
                (Err(problem), false) => format!("{name}: warning: {problem}"),
            });
        draining.into_iter().chain(checks).collect()
    }
}
