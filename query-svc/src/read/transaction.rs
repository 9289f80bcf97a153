//! Transactions: opened read-only or read-write, and that flag alone chooses replica or primary.

use std::ops::Deref;

use deadpool_postgres::{ClientWrapper, Object};
use headwater_kernel::Consistency;
use tokio::time::Instant;

use crate::choice::{Choice, PickRequest, PrimaryRoom};
use crate::nodes::Node;
use crate::nodes::ReadPool;
use crate::seen::NodeError;
use crate::seen::NodeSet;

/// Nodes that are tried for a read-only transaction.
const ATTEMPTS_MAX: u32 = 3;

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Reads, on a replica if there is one; all statements see one snapshot.
    ReadOnly,
    /// Writes, on the read primary. Queries never need it; the role that the query server logs in
    /// with may not write anything either.
    ReadWrite,
}

impl AccessMode {
    fn begin(self) -> &'static str {
        match self {
            Self::ReadOnly => "START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            // The connection's default is read only; this says otherwise for one transaction.
            Self::ReadWrite => "START TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
        }
    }
}

/// An open transaction on a connection of its own. Dropped without [`PoolTransaction::commit`], it
/// is rolled back by closing the connection.
pub struct PoolTransaction {
    /// Taken when the transaction ends.
    connection: Option<Object>,
    node: String,
}

impl PoolTransaction {
    /// Host and port of the node it runs on.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Ends it and keeps what it did.
    ///
    /// # Errors
    /// If it could not be committed, or it is not known whether it was.
    pub async fn commit(self) -> Result<(), NodeError> {
        self.end("COMMIT").await
    }

    /// Ends it and undoes what it did.
    ///
    /// # Errors
    /// If the connection broke, which undoes it as well.
    pub async fn rollback(self) -> Result<(), NodeError> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, sql: &str) -> Result<(), NodeError> {
        if let Some(connection) = &self.connection {
            connection.batch_execute(sql).await?;
        }
        // Only a connection whose transaction has ended goes back to the pool.
        drop(self.connection.take());
        Ok(())
    }
}

impl Deref for PoolTransaction {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.connection
            .as_ref()
            .expect("the connection is taken only by what consumes the transaction")
    }
}

impl Drop for PoolTransaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

impl ReadPool {
    /// Opens a transaction. The mode alone decides where: read-only on the least loaded replica (on
    /// the primary only if no replica will do), read-write on the primary.
    ///
    /// # Errors
    /// If no such node can be reached, or the primary takes over no more reads.
    pub async fn transaction(&self, mode: AccessMode) -> Result<PoolTransaction, NodeError> {
        let mut avoided = NodeSet::default();
        let mut error = NodeError::Unreachable("no node is in the choice".into());
        for _ in 0..ATTEMPTS_MAX {
            let Some(node) = self.node_for(mode, avoided)? else { break };
            match begin(node, mode).await {
                Ok(transaction) => return Ok(transaction),
                Err(failed) => {
                    node.failed(&failed);
                    avoided.insert(node.index);
                    error = failed;
                }
            }
        }
        Err(error)
    }

    /// [`NodeError::Busy`] if only the primary is left, and its share is spent.
    fn node_for(&self, mode: AccessMode, avoided: NodeSet) -> Result<Option<&Node>, NodeError> {
        match mode {
            AccessMode::ReadWrite => Ok(self.primary().map(|node| &**node)),
            AccessMode::ReadOnly => {
                let pick_request = PickRequest {
                    consistency: &Consistency::Any,
                    avoided,
                    primary_too: false,
                    primary_room: PrimaryRoom::Now,
                    in_tokens_epoch: false,
                    now: self.clock().read().now,
                    random_seed: self.random_seed(),
                };
                match self.pick(&pick_request) {
                    Choice::Read(node) => Ok(Some(&self.nodes()[node])),
                    Choice::Fallback(node) => {
                        let turn = self.share().ask(Instant::now());
                        turn.map_err(|_| NodeError::Busy)?.take();
                        Ok(Some(&self.nodes()[node]))
                    }
                    Choice::Wait
                    | Choice::Refused
                    | Choice::Earlier
                    | Choice::Later
                    | Choice::Foreign => Ok(None),
                }
            }
        }
    }
}

async fn begin(node: &Node, mode: AccessMode) -> Result<PoolTransaction, NodeError> {
    let connection = node.connections().get().await?;
    let transaction = PoolTransaction { connection: Some(connection), node: node.name.clone() };
    transaction.batch_execute(mode.begin()).await?;
    Ok(transaction)
}
