//! Many clients at once, and what became of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_tests::history::log::Change;
use headwater_tests::history::record::{Answer, Operation, Outcome, Requirement, What};
use tokio::task::JoinHandle;

use super::client::{Client, Shared};
use super::queries::Enforcement;
use super::world::World;

const CLIENTS: usize = 12;
/// Number of the first watcher; there is one for each store.
const WATCHERS_FROM: usize = 20;
/// Connections to the router, shared by the clients.
const CHANNELS: usize = 4;
/// What a client is at ends by then: its attempts are few, and each is bounded.
const LAST_STEP_MAX: Duration = Duration::from_secs(90);

/// A load that goes on until it is stopped.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Operation>>>,
}

impl Load {
    pub fn start(world: &World, enforcement: Enforcement) -> Self {
        let shared = Arc::clone(&world.shared);
        let channels: Vec<_> = (0..CHANNELS).map(|_| world.cluster.router()).collect();
        let client = |number: usize| Client {
            channel: channels[number % CHANNELS].clone(),
            enforcement,
            ..world.client(number)
        };
        let clients = (0..CLIENTS).map(|number| tokio::spawn(client(number).work()));
        let mut clients: Vec<_> = clients.collect();
        // Without enforcement replies are older than what was told before; watches are not.
        if enforcement == Enforcement::On {
            let watchers = (0..).zip(&world.shop.stores);
            let watchers = watchers.map(|(n, store)| world.watcher(WATCHERS_FROM + n, *store));
            clients.extend(watchers.map(|watcher| tokio::spawn(watcher.work())));
        }
        Self { shared, clients }
    }

    /// Lets the clients work for a while.
    pub async fn run_for(&self, time: Duration) {
        // tidy: allow sleep: the test is about what happens in a stretch of time
        tokio::time::sleep(time).await;
    }

    /// Lets every client finish what it is at. Gives what they did, and the opening of the shop.
    pub async fn stop(self, world: &World) -> Vec<Operation> {
        self.shared.over.store(true, Ordering::Relaxed);
        let mut all = world.opening.clone();
        for client in self.clients {
            let ended = tokio::time::timeout(LAST_STEP_MAX, client).await;
            all.extend(ended.expect("every call is bounded").expect("a client failed"));
        }
        all
    }
}

/// How often each kind of operation ended in each way.
pub fn summary(operations: &[Operation]) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for operation in operations {
        *counts.entry(ending(operation)).or_default() += 1;
    }
    let line = |(ending, count): (String, u64)| format!("{count:7} {ending}\n");
    counts.into_iter().map(line).collect()
}

fn ending(operation: &Operation) -> String {
    match &operation.what {
        What::Command(command) => {
            let kind = match &command.change {
                Change::TransferredOut { .. } => "transfer",
                _ => "command",
            };
            match &command.outcome {
                Outcome::Acknowledged(receipts) => match receipts[0].replayed {
                    true => format!("{kind}: acknowledged by the receipt of an earlier attempt"),
                    false => format!("{kind}: acknowledged"),
                },
                Outcome::Refused(reason) => format!("{kind}: refused: {reason}"),
                Outcome::Unknown(reason) => format!("{kind}: unknown: {reason}"),
                Outcome::Broken(_) => format!("{kind}: broken"),
            }
        }
        What::Query(query) => {
            let kind = match &query.requirement {
                Requirement::Any => "any",
                Requirement::AtLeast(_) => "at_least",
                Requirement::MaxStaleness(_) => "max_staleness",
                Requirement::Strong => "strong",
            };
            match &query.answer {
                Answer::Shown(_) => format!("query ({kind}): answered"),
                Answer::Failed(reason) => format!("query ({kind}): failed: {reason}"),
                Answer::Broken(_) => format!("query ({kind}): broken"),
            }
        }
    }
}

/// A history in which nothing happened proves nothing.
pub fn assert_worth_something(operations: &[Operation]) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for operation in operations {
        *counts.entry(ending(operation)).or_default() += 1;
    }
    for (ending, least) in [
        ("command: acknowledged", 100),
        ("transfer: acknowledged", 10),
        ("query (at_least): answered", 200),
        ("query (any): answered", 50),
        ("query (max_staleness): answered", 10),
    ] {
        let count = counts.get(ending).copied().unwrap_or_default();
        assert!(count >= least, "only {count} times {ending}\n{}", summary(operations));
    }
}
