//! The auditor: compares the rows of every view with the fold of the log at the positions that the
//! rows claim, on any node, and repairs single rows.
//!
//! ```text
//! log -> draft (the same fold, into a schema of its own) --- up to a node's checkpoint
//!                                                              |
//! node: one snapshot, rows in the order of their keys ------ compare ---> differences -> repair
//! ```
//! Nothing stops meanwhile. Memory is bounded: both sides are read row by row. What is written is
//! the draft, unlogged, on the read primary, which needs as much room as the views.

pub(crate) mod compare;
pub(crate) mod draft;
pub(crate) mod repair;
pub(crate) mod shown;

use std::time::Duration;

use headwater_eventlog::EventLog;
use headwater_kernel::Access;
use tokio::time::{Instant, sleep};

use crate::primary::ReadDatabase;
use crate::projection::Projection;
use crate::stop::{Stop, within};

pub use compare::{Difference, DifferenceKind, Outcome};
use draft::{Draft, Purpose};
pub use repair::Repaired;
use shown::{APPLICATION, held, shown};

/// Time that a node may take to come as far as the draft.
const NODE_MAX: Duration = Duration::from_secs(30);
/// Pause before a node that is behind is looked at again.
const AGAIN: Duration = Duration::from_millis(50);

/// A server of the read database.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name in reports.
    pub name: String,
    /// The URL, of a login that may read the views.
    pub url: String,
}

/// What was found on one node.
#[derive(Clone, Debug)]
pub struct NodeReport {
    /// The node.
    pub node: String,
    /// Events that its rows are to be the fold of.
    pub applied: u64,
    /// What the comparison came to.
    pub outcome: Outcome,
}

/// An audit of one projection.
pub struct Audit {
    projection: Projection,
    owner_url: String,
    draft: Draft,
}

impl Audit {
    /// Folds the log into a draft, up to where the projection is on the read primary, which
    /// `owner_url` names, as the schema's owner. `progress` is told how many events have been
    /// folded, and of how many.
    ///
    /// # Errors
    /// A database cannot be reached, the projection has not begun, or another audit is under way.
    pub async fn begin(
        owner_url: &str,
        log: EventLog,
        projection: &Projection,
        progress: impl FnMut(u64, u64),
    ) -> Result<Self, Stop> {
        let primary = ReadDatabase::open(Access::ReadOnly, owner_url, APPLICATION).await?;
        let at = shown(&primary, projection).await?;
        let mut draft = Draft::begin(owner_url, log, projection, Purpose::Audit).await?;
        draft.advance(&at, progress).await?;
        let (projection, owner_url) = (projection.clone(), owner_url.to_owned());
        Ok(Self { projection, owner_url, draft })
    }

    /// Compares a node's rows with the fold, at one snapshot of the node.
    ///
    /// # Errors
    /// The node cannot be read, shows another history, or does not come as far as the draft within
    /// 30 seconds.
    pub async fn compare(&mut self, node: &Node) -> Result<NodeReport, Stop> {
        let primary = ReadDatabase::open(Access::ReadOnly, &self.owner_url, APPLICATION).await?;
        let mut untouched = held(&primary, &self.projection).await?;
        let database = ReadDatabase::open(Access::ReadOnly, &node.url, APPLICATION).await?;
        let until = Instant::now() + NODE_MAX;
        let at = loop {
            let begin = include_str!("../sql/audit/snapshot.sql");
            within("taking a snapshot", database.batch_execute(begin)).await?;
            let at = shown(&database, &self.projection).await?;
            if self.draft.is_within(&at) {
                break at;
            }
            within("leaving a snapshot", database.batch_execute("ROLLBACK")).await?;
            if Instant::now() > until {
                return Err(Stop::Silent("the node's replay"));
            }
            // tidy: allow sleep: a node that is behind is looked at again
            sleep(AGAIN).await;
        };
        // Parked before the snapshot, or after it, or tried again meanwhile: none of them is told.
        untouched.extend(held(&primary, &self.projection).await?);
        self.draft.advance(&at, |_, _| {}).await?;
        untouched.extend(held(self.draft.client(), self.draft.projection()).await?);
        let outcome =
            compare::compare(&database, &self.draft, self.projection.views(), &untouched).await?;
        let applied = at.heads.iter().map(|head| head.position.0).sum();
        Ok(NodeReport { node: node.name.clone(), applied, outcome })
    }

    /// Makes these rows on the read primary what the fold says, in one transaction that keeps the
    /// projector waiting; watchers are told, and the revision is raised. Rows that are right by
    /// then, or held back, are left alone.
    ///
    /// # Errors
    /// The read primary cannot be reached, or shows another history; nothing was changed.
    pub async fn repair(&mut self, differences: &[Difference]) -> Result<Repaired, Stop> {
        let primary = ReadDatabase::open(Access::ReadWrite, &self.owner_url, APPLICATION).await?;
        repair::repair(primary, &mut self.draft, &self.projection, differences).await
    }

    /// Removes the draft.
    ///
    /// # Errors
    /// The read primary cannot be reached; the next audit removes it.
    pub async fn end(self) -> Result<(), Stop> {
        self.draft.remove().await
    }
}
