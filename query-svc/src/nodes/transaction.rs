//! Transactions of several statements on one node, which all see one snapshot.

use std::sync::Arc;

use deadpool_postgres::{ClientWrapper, Object};
use futures_util::future::try_join;
use headwater_kernel::Access;
use tokio::time::timeout;
use tokio_postgres::Row;

use super::connection::{ANSWER_MAX, Params, abandon, answered};
use super::node::Node;
use super::statement::{CHECKPOINT, Statement, decode};
use crate::seen::{NodeError, NodeState, is_stale_plan};

/// A transaction that is under way. Cheap to clone; all clones are the same transaction, which is
/// rolled back by closing its connection if it ends without a commit.
#[derive(Clone)]
pub struct Transaction(Arc<Inner>);

struct Inner {
    /// Taken when the transaction has ended.
    connection: Option<Object>,
    access: Access,
    projection: &'static str,
}

/// Beginning of a transaction. The connection's default is read-only; the flag says otherwise for
/// one transaction at a time. Before the snapshot is taken comes the lock that a rebuild's switch
/// of tables waits for: other tables than the snapshot's would not be what its checkpoint says.
fn begin_sql(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => {
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
             LOCK TABLE headwater_read.view_version IN ACCESS SHARE MODE"
        }
        Access::ReadWrite => {
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE;
             LOCK TABLE headwater_read.view_version IN ACCESS SHARE MODE"
        }
    }
}

impl Node {
    /// Opens a transaction on a connection of its own. Its first statement reads the checkpoint of
    /// the projection, and so takes the snapshot; both go out in one round trip.
    ///
    /// # Errors
    /// Why it could not be opened, which is noted of the node.
    pub async fn begin_transaction(
        &self,
        access: Access,
        projection: &'static str,
    ) -> Result<(Transaction, NodeState), NodeError> {
        match self.open(access, projection).await {
            Ok((transaction, rows)) => {
                let rows = self.conclude(projection, Ok(rows))?;
                Ok((transaction, rows.node_state))
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    async fn open(
        &self,
        access: Access,
        projection: &'static str,
    ) -> Result<(Transaction, Vec<Row>), NodeError> {
        let connection = Some(self.lent.get().await?);
        let transaction = Transaction(Arc::new(Inner { connection, access, projection }));
        let client = transaction.client()?;
        let checkpoint = answered(client.prepare_cached(CHECKPOINT)).await?;
        let names = [projection];
        // Only a reference is a parameter, so a slice as one takes two of them.
        let names: Params<'_> = &[&&names[..]];
        // Sent in this order on one connection, without waiting in between.
        let begun = client.batch_execute(begin_sql(access));
        let ((), rows) = answered(try_join(begun, client.query(&checkpoint, names))).await?;
        Ok((transaction, rows))
    }
}

impl Transaction {
    /// The rows of a statement, in the transaction's snapshot. Statements that are awaited together
    /// share a round trip.
    ///
    /// # Errors
    /// Why there is no answer; [`NodeError::Defect`] if the statement is of another projection than
    /// the one that the transaction is dated by, or writes and may not.
    pub async fn rows<R>(
        &self,
        statement: &Statement<R>,
        params: Params<'_>,
    ) -> Result<Vec<R>, NodeError> {
        if statement.projection != self.0.projection {
            let name = statement.name;
            return Err(NodeError::defect(format_args!("{name} is of another projection")));
        }
        let params = statement.with_projection(params);
        let rows = self.query(statement.sql, &params).await;
        decode(statement, &rows.map_err(|error| self.blame(error))?)
    }

    async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, NodeError> {
        let client = self.client()?;
        let prepared = answered(client.prepare_cached(sql)).await?;
        let run = async {
            client.query(&prepared, params).await.map_err(|error| match is_stale_plan(&error) {
                // A failed statement has ended the transaction: all of it is tried again.
                true => {
                    client.statement_cache.remove(sql, &[]);
                    NodeError::Conflict("a view was changed meanwhile".into())
                }
                false => NodeError::from(error),
            })
        };
        timeout(ANSWER_MAX, run).await.unwrap_or(Err(NodeError::Silent))
    }

    /// The primary does not lag: what it lacks, or refuses to this role, no other attempt finds.
    fn blame(&self, error: NodeError) -> NodeError {
        match (self.0.access, error) {
            (Access::ReadWrite, NodeError::Schema(text)) => NodeError::Defect(text),
            (Access::ReadWrite | Access::ReadOnly, error) => error,
        }
    }

    /// Ends it and keeps what it did.
    ///
    /// # Errors
    /// If it could not be committed, or it is not known whether it was, or clones of it are left.
    pub async fn commit(self) -> Result<(), NodeError> {
        let Some(mut inner) = Arc::into_inner(self.0) else {
            return Err(NodeError::defect("a transaction was kept beyond its end"));
        };
        if let Some(client) = &inner.connection {
            answered(client.batch_execute("COMMIT")).await?;
        }
        // Only a connection whose transaction has ended goes back to the pool.
        drop(inner.connection.take());
        Ok(())
    }

    fn client(&self) -> Result<&ClientWrapper, NodeError> {
        let ended = || NodeError::defect("the transaction has ended");
        Ok(self.0.connection.as_ref().ok_or_else(ended)?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            abandon(connection);
        }
    }
}
