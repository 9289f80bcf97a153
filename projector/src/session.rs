//! A projection's session on the read primary: its lock, its checkpoint, its rows.

use std::collections::{HashMap, HashSet};

use futures_util::future::try_join_all;
use headwater_kernel::row::Value;
use headwater_kernel::{Access, Epoch, Lineage, LogId, ViewError};
use postgres_types::ToSql;
use time::OffsetDateTime;
use tokio_postgres::{Client, Row, Statement};

use crate::columns::{Array, values};
use crate::migrate;
use crate::parked::{self, Waiting};
use crate::primary::ReadDatabase;
use crate::projection::checkpoint::Checkpoint;
use crate::projection::loaded::Need;
use crate::projection::parked::{BLOCKED_MAX, Blocked};
use crate::projection::plan::Folded;
use crate::projection::{Projection, ViewInfo};
use crate::stop::{Stop, within};
use crate::stored::{Stored, StoredStarts};
use crate::{commit::Commit, statements};

/// A session on the read primary. Any error leaves it in doubt: drop it and open another.
pub struct Session {
    connection: ReadDatabase,
    projection: Projection,
    by_key: Vec<Statement>,
    by_column: HashMap<(usize, &'static str), Statement>,
    commit: Statement,
    heartbeat: Statement,
}

impl Session {
    /// Connects, checks the schema and prepares the statements.
    ///
    /// # Errors
    /// The read primary cannot be reached, or its schema is not what the projection needs.
    pub async fn open(url: &str, projection: &Projection) -> Result<Self, Stop> {
        within("connecting to the read primary", async {
            let connection =
                ReadDatabase::open(Access::ReadWrite, url, "headwater-projector").await?;
            migrate::check(&connection, std::slice::from_ref(projection)).await?;
            Self::on(connection, projection).await
        })
        .await
    }

    /// A session on a connection to a database that has what the projection needs.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) async fn on(
        connection: ReadDatabase,
        projection: &Projection,
    ) -> Result<Self, Stop> {
        connection.batch_execute(include_str!("../sql/projector/session.sql")).await?;
        let views = projection.views();
        let by_key = views.iter().map(statements::by_key);
        let by_key: Vec<_> = by_key.map(|sql| projection.sql(&sql).into_owned()).collect();
        let by_key = try_join_all(by_key.iter().map(|sql| connection.prepare(sql))).await?;
        let commit = connection.prepare(&projection.sql(&statements::commit(views))).await?;
        let heartbeat = projection.sql(include_str!("../sql/projector/heartbeat.sql"));
        let heartbeat = connection.prepare(&heartbeat).await?;
        let (projection, by_column) = (projection.clone(), HashMap::new());
        Ok(Self { connection, projection, by_key, by_column, commit, heartbeat })
    }

    /// The connection.
    pub(super) fn connection(&self) -> &ReadDatabase {
        &self.connection
    }

    /// Tries to become the one that applies the projection; it stays so as long as the session
    /// lives.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn try_lock(&self) -> Result<bool, Stop> {
        let sql = include_str!("../sql/projector/lock.sql");
        let name = self.projection.name();
        let parameters: [&(dyn ToSql + Sync); 1] = [&name];
        let row = self.connection.query_one(sql, &parameters);
        Ok(within("asking for the lock", row).await?.try_get(0)?)
    }

    /// The projection's checkpoint, if it has one.
    ///
    /// # Errors
    /// The connection failed, or the stored checkpoint makes no sense.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>, Stop> {
        checkpoint_in(&self.connection, &self.projection).await
    }

    /// Stores the first checkpoint, unless there is one by now.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn create_checkpoint(
        &self,
        first: &Checkpoint,
        lineage: &Lineage,
    ) -> Result<(), Stop> {
        let sql = self.projection.sql(include_str!("../sql/projector/checkpoint_create.sql"));
        let (stored, starts) = (Stored::of(first), StoredStarts::of(lineage));
        let (name, epoch) = (self.projection.name(), first.epoch.0 as i32);
        let parameters: [&(dyn ToSql + Sync); 8] = [
            &name,
            &first.log.0,
            &epoch,
            &stored.positions,
            &stored.digests,
            &first.as_of,
            &starts.epochs,
            &starts.positions,
        ];
        let stored = self.connection.execute(&*sql, &parameters);
        within("storing the first checkpoint", stored).await?;
        Ok(())
    }

    /// Takes the checkpoint to the epoch that the lineage is in. False if it was not at `at` any
    /// more.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn adopt_epoch(&self, at: &Checkpoint, lineage: &Lineage) -> Result<bool, Stop> {
        let sql = include_str!("../sql/projector/adopt_epoch.sql");
        let (stored, starts) = (Stored::of(at), StoredStarts::of(lineage));
        let name = self.projection.name();
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &name,
            &stored.positions,
            &stored.digests,
            &at.revision,
            &starts.epochs,
            &starts.positions,
        ];
        let row = self.connection.query_one(sql, &parameters);
        let moved: i64 = within("going on in a new epoch", row).await?.try_get(0)?;
        Ok(moved == 1)
    }

    /// Rows that wait behind parked events.
    ///
    /// # Errors
    /// The connection failed, or it is more than may wait.
    pub async fn blocked(&self) -> Result<Blocked, Stop> {
        let sql = self.projection.sql(include_str!("../sql/projector/blocked.sql"));
        let (name, limit) = (self.projection.name(), BLOCKED_MAX as i64 + 1);
        let parameters: [&(dyn ToSql + Sync); 2] = [&name, &limit];
        let rows = self.connection.query(&*sql, &parameters);
        let rows = within("reading what is parked", rows).await?;
        if rows.len() > BLOCKED_MAX {
            return Err(Stop::TooMuchParked);
        }
        let mut blocked = Blocked::default();
        for row in rows {
            blocked.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(blocked)
    }

    /// Rows and streams of the projection that wait, and the event that each waits behind.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn waiting(&self) -> Result<Vec<Waiting>, Stop> {
        parked::list(&self.connection, Some(self.projection.name())).await
    }

    /// The rows that a batch needs and that exist, by view. All statements go out at once.
    ///
    /// # Errors
    /// The connection failed, or it is more than `rows_max` rows.
    pub async fn load(
        &mut self,
        needs: &[Need],
        rows_max: usize,
    ) -> Result<Vec<Vec<Vec<Value>>>, Stop> {
        for (index, need) in needs.iter().enumerate() {
            for column in need.matching.keys() {
                self.prepare(index, column, rows_max).await?;
            }
        }
        let this = &*self;
        let mut reads = Vec::new();
        for (index, need) in needs.iter().enumerate() {
            let view = &this.projection.views()[index];
            if !need.keys.is_empty() {
                let keys = array(view, view.columns[0].name, &need.keys)?;
                reads.push((index, &this.by_key[index], keys));
            }
            for (column, wanted) in &need.matching {
                let statement = &this.by_column[&(index, *column)];
                reads.push((index, statement, array(view, column, wanted)?));
            }
        }
        let answers = try_join_all(reads.iter().map(|(index, statement, keys)| async move {
            let rows = this.connection.query(*statement, &[keys.parameter()]).await?;
            this.rows(*index, &rows).map(|rows| (*index, rows))
        }));
        let mut loaded: Vec<Vec<Vec<Value>>> = needs.iter().map(|_| Vec::new()).collect();
        for (index, rows) in within("loading rows", answers).await? {
            loaded[index].extend(rows);
        }
        if loaded.iter().map(Vec::len).sum::<usize>() > rows_max {
            return Err(Stop::TooManyRows(rows_max));
        }
        Ok(loaded)
    }

    /// Writes what a batch comes to and moves the checkpoint, in one statement. False if the
    /// checkpoint was not at `before` any more: then nothing was written.
    ///
    /// # Errors
    /// The connection failed; the batch may have been written all the same, as the stored
    /// checkpoint will tell.
    pub async fn commit(
        &self,
        before: &Checkpoint,
        after: &Checkpoint,
        folded: Folded,
    ) -> Result<bool, Stop> {
        let commit = Commit::of(&self.projection, before, after, folded)?;
        let parameters = commit.parameters();
        let row = self.connection.query_one(&self.commit, &parameters);
        let moved: i64 = within("committing a batch", row).await?.try_get(0)?;
        Ok(moved == 1)
    }

    /// Begins a transaction, for several commits that count together.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn begin(&self) -> Result<(), Stop> {
        within("beginning a transaction", self.connection.batch_execute("BEGIN")).await
    }

    /// Marks a place in the transaction to come back to.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn save(&self) -> Result<(), Stop> {
        within("a savepoint", self.connection.batch_execute("SAVEPOINT piece")).await
    }

    /// Forgets that place, and keeps what came since.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn keep(&self) -> Result<(), Stop> {
        within("a savepoint", self.connection.batch_execute("RELEASE SAVEPOINT piece")).await
    }

    /// Forgets that place, and undoes everything since.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn restore(&self) -> Result<(), Stop> {
        let undo = "ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece";
        let undo = self.connection.batch_execute(undo);
        within("going back to a savepoint", undo).await
    }

    /// Undoes the transaction.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn abandon(&self) -> Result<(), Stop> {
        within("ending a transaction", self.connection.batch_execute("ROLLBACK")).await
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// The connection failed; it may have been committed all the same.
    pub async fn end(&self) -> Result<(), Stop> {
        within("committing a transaction", self.connection.batch_execute("COMMIT")).await
    }

    /// Moves `as_of` alone. False if the checkpoint was not at `at` any more.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn heartbeat(&self, at: &Checkpoint, as_of: OffsetDateTime) -> Result<bool, Stop> {
        let stored = Stored::of(at);
        let name = self.projection.name();
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&name, &stored.positions, &stored.digests, &at.revision, &as_of];
        let moved = self.connection.execute(&self.heartbeat, &parameters);
        Ok(within("a heartbeat", moved).await? == 1)
    }

    /// Forgets the oldest changes, for those who watch, but `kept` (a commit counts once for each
    /// view).
    ///
    /// # Errors
    /// The connection failed.
    pub async fn prune(&self, kept: u32) -> Result<(), Stop> {
        let sql = include_str!("../sql/projector/prune.sql");
        let (name, kept) = (self.projection.name(), i64::from(kept));
        let parameters: [&(dyn ToSql + Sync); 2] = [&name, &kept];
        within("forgetting old changes", self.connection.execute(sql, &parameters)).await?;
        Ok(())
    }

    async fn prepare(
        &mut self,
        index: usize,
        column: &'static str,
        rows_max: usize,
    ) -> Result<(), Stop> {
        if !self.by_column.contains_key(&(index, column)) {
            let view = &self.projection.views()[index];
            // One more than may be loaded, so that too many are noticed and not cut.
            let sql = statements::by_column(view, column, rows_max + 1);
            let sql = self.projection.sql(&sql).into_owned();
            let statement = within("preparing a statement", self.connection.prepare(&sql)).await?;
            self.by_column.insert((index, column), statement);
        }
        Ok(())
    }

    fn rows(&self, index: usize, rows: &[Row]) -> Result<Vec<Vec<Value>>, Stop> {
        let columns = self.projection.views()[index].columns;
        let read = |row| values(columns, row).map_err(Stop::from);
        rows.iter().map(read).collect()
    }
}

fn array(view: &ViewInfo, column: &str, wanted: &HashSet<Value>) -> Result<Array, ViewError> {
    let column = view.columns.iter().find(|c| c.name == column);
    let column = column.ok_or_else(|| ViewError(format!("{} lacks a column", view.name)))?;
    Array::of(column.kind, wanted.iter().cloned())
}

const CHECKPOINT: &str = include_str!("../sql/projector/checkpoint.sql");

/// The checkpoint of a projection, if it has one.
///
/// # Errors
/// The connection failed, or the stored checkpoint makes no sense.
pub async fn read_checkpoint(
    client: &Client,
    projection: &str,
) -> Result<Option<Checkpoint>, Stop> {
    checkpoint_by(client, CHECKPOINT, projection).await
}

/// The checkpoint of a projection in the schema that it is in.
pub(super) async fn checkpoint_in(
    client: &Client,
    projection: &Projection,
) -> Result<Option<Checkpoint>, Stop> {
    checkpoint_by(client, &projection.sql(CHECKPOINT), projection.name()).await
}

async fn checkpoint_by(
    client: &Client,
    sql: &str,
    projection: &str,
) -> Result<Option<Checkpoint>, Stop> {
    let parameters: [&(dyn ToSql + Sync); 1] = [&projection];
    let row = client.query_opt(sql, &parameters);
    let Some(row) = within("reading the checkpoint", row).await? else { return Ok(None) };
    let epoch: i32 = row.try_get("epoch")?;
    let stored = Stored { positions: row.try_get("positions")?, digests: row.try_get("digests")? };
    Ok(Some(Checkpoint {
        log: LogId(row.try_get("log_id")?),
        epoch: Epoch(epoch.unsigned_abs()),
        heads: stored.heads()?,
        as_of: row.try_get("as_of")?,
        revision: row.try_get("revision")?,
    }))
}
