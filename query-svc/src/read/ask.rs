//! Kinds of reads that are sent to a node (a point read, a statement, a transaction of several
//! statements), and the gate that judges their answers.

use headwater_kernel::{Access, Consistency};

use super::progress::AttemptError;
use crate::choice::{Verdict, judge};
use crate::nodes::{Key, Node, Params, PointReader, Statement, Transaction};
use crate::seen::{Answer, NodeError, NodeState, NodeStateTable};
use crate::write_side::WriteClock;

/// A read that can be sent to any node, and again to another one.
pub trait Ask<T>: Sync {
    /// The flag that it is opened with, which chooses the node.
    fn access(&self) -> Access;

    /// The projection whose checkpoint it is judged and dated by.
    fn projection(&self) -> &'static str;

    /// Sends it to a node; the answer has passed the gate.
    fn ask(
        &self,
        node: &Node,
        gate: &Gate<'_>,
    ) -> impl Future<Output = Result<Answer<T>, AttemptError>> + Send;
}

/// Judge of what a node shows, by the checkpoint that was read in the same snapshot.
pub struct Gate<'r> {
    /// States of the nodes as last seen.
    pub table: &'r NodeStateTable,
    /// The freshness that is required.
    pub required: &'r Consistency,
    /// Clock that ages are measured by.
    pub clock: &'r WriteClock,
}

impl Gate<'_> {
    /// Admits an answer from this state, or not.
    ///
    /// # Errors
    /// [`AttemptError::TooOld`].
    pub fn admit(&self, node: &Node, shown: &NodeState) -> Result<(), AttemptError> {
        let verdict = match self.table.is_stray(&shown.checkpoint) {
            true => Verdict::OtherLog,
            false => judge(&shown.checkpoint, self.required, self.clock.read().now),
        };
        node.meters().answered(shown.role, verdict == Verdict::Fresh);
        if verdict == Verdict::Fresh {
            return Ok(());
        }
        // What was seen before promised more than this: the node went back. Which log is the right
        // one, should it be another, is decided where all nodes are in sight.
        self.table.corrected(node.index, shown);
        Err(AttemptError::TooOld)
    }
}

/// A row by its key, in one statement with those that are read at the same time.
pub struct PointAsk<'r, K: 'static, R: 'static> {
    /// The readers of all nodes.
    pub reader: &'r PointReader<K, R>,
    /// The key.
    pub key: K,
}

impl<K: Key, R: Clone + Send + 'static> Ask<Option<R>> for PointAsk<'_, K, R> {
    fn access(&self) -> Access {
        Access::ReadOnly
    }

    fn projection(&self) -> &'static str {
        self.reader.projection()
    }

    async fn ask(&self, node: &Node, gate: &Gate<'_>) -> Result<Answer<Option<R>>, AttemptError> {
        let answer = self.reader.ask(node.index, self.key.clone()).await?;
        gate.admit(node, &answer.node_state)?;
        Ok(answer)
    }
}

/// The rows of one statement.
pub struct RowsAsk<'r, R> {
    /// The statement.
    pub statement: &'r Statement<R>,
    /// Parameters after the projection's name.
    pub params: Params<'r>,
}

impl<R: Send> Ask<Vec<R>> for RowsAsk<'_, R> {
    fn access(&self) -> Access {
        Access::ReadOnly
    }

    fn projection(&self) -> &'static str {
        self.statement.projection
    }

    async fn ask(&self, node: &Node, gate: &Gate<'_>) -> Result<Answer<Vec<R>>, AttemptError> {
        let answer = node.query(self.statement, self.params).await?;
        gate.admit(node, &answer.node_state)?;
        Ok(answer)
    }
}

/// A transaction of several statements.
pub struct TransactionAsk<W> {
    /// Read-only, or read-write on the primary.
    pub access: Access,
    /// The projection of all its statements.
    pub projection: &'static str,
    /// The statements.
    pub work: W,
}

impl<T, W, F> Ask<T> for TransactionAsk<W>
where
    T: Send,
    W: Fn(Transaction) -> F + Sync,
    F: Future<Output = Result<T, NodeError>> + Send,
{
    fn access(&self) -> Access {
        self.access
    }

    fn projection(&self) -> &'static str {
        self.projection
    }

    async fn ask(&self, node: &Node, gate: &Gate<'_>) -> Result<Answer<T>, AttemptError> {
        let (transaction, shown) = node.begin_transaction(self.access, self.projection).await?;
        // Judged before anything else is read in the snapshot.
        gate.admit(node, &shown)?;
        let done = async {
            let value = (self.work)(transaction.clone()).await?;
            transaction.commit().await?;
            Ok(Answer::new(value, shown))
        };
        done.await.map_err(|error: NodeError| {
            node.failed(&error);
            match self.access {
                Access::ReadOnly => AttemptError::Failed(error),
                // What it wrote may have been committed: never done twice.
                Access::ReadWrite => AttemptError::Final(error),
            }
        })
    }
}
