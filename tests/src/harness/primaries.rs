//! Nodes that hold log and views now, by their places in the plan.

use std::sync::atomic::{AtomicUsize, Ordering};

use headwater_cli::local::Plan;

pub struct Primaries {
    log: AtomicUsize,
    views: AtomicUsize,
}

impl Primaries {
    /// As they are started.
    pub fn of(plan: &Plan) -> Self {
        let place = |name: &str| plan.nodes.iter().position(|node| node.name == name);
        let [log, views] = [plan.log_primary(), plan.view_primary()]
            .map(|node| AtomicUsize::new(place(&node.name).expect("it is in the plan")));
        Self { log, views }
    }

    pub fn log(&self) -> usize {
        self.log.load(Ordering::SeqCst)
    }

    pub fn views(&self) -> usize {
        self.views.load(Ordering::SeqCst)
    }

    /// Another node holds the log.
    pub fn holds_log(&self, place: usize) {
        self.log.store(place, Ordering::SeqCst);
    }

    /// Another node is the primary that holds the views.
    pub fn holds_views(&self, place: usize) {
        self.views.store(place, Ordering::SeqCst);
    }
}
