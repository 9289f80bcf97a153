//! The transaction in which other tables take the place of the live ones.

use std::collections::HashMap;
use std::time::Duration;

use headwater_kernel::Access;
use headwater_kernel::row::Value;
use postgres_types::ToSql;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::tables::{self, Registered};
use super::terms::{APPLICATION, Compared, History, Source, TOLD_MAX, applied, registered, target};
use crate::audit::draft::Draft;
use crate::audit::repair::rows;
use crate::columns::values;
use crate::primary::ReadDatabase;
use crate::projection::checkpoint::Checkpoint;
use crate::projection::{Changes, Projection, ViewInfo};
use crate::stop::{Stop, within};
use crate::{migrate, parked, statements};

/// What a switch did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// Events that the rows are the fold of.
    pub applied: u64,
    /// Rows that were told to those who watch, since they differ from what was there; `None` if all
    /// watches read anew.
    pub told: Option<usize>,
    /// Rows that wait behind parked events.
    pub parked: u64,
    /// Time for which the projector waited.
    pub projector_waited: Duration,
    /// Time for which queries waited.
    pub queries_waited: Duration,
}

/// One attempt to switch.
pub(super) struct Switch<'a> {
    pub projection: &'a Projection,
    pub draft: &'a mut Draft,
    pub source: Source,
    pub history: History,
    pub compared: &'a Compared,
}

impl Switch<'_> {
    /// In a transaction that is dropped with its connection if anything fails.
    pub async fn attempt(mut self, owner_url: &str) -> Result<Switched, Stop> {
        let primary = ReadDatabase::open(Access::ReadWrite, owner_url, APPLICATION).await?;
        let begin = include_str!("../../sql/rebuild/transaction.sql");
        within("beginning a transaction", primary.batch_execute(begin)).await?;
        let live = registered(&primary, self.projection).await?;
        // The tables before the checkpoint: a commit of the projector does it in this order.
        run(&primary, "barring the projector", &tables::lock_writers(&live)).await?;
        let begun = Instant::now();
        parked::lock(&primary, self.projection.name()).await?;
        // Nothing moves from here on: the draft comes to the very same place.
        let target = target(&primary, self.draft, self.projection, self.history).await?;
        self.draft.advance(&target, |_, _| {}).await?;
        let changes = self.changes(&primary).await?;
        self.make_room(&primary).await?;
        let barred = Instant::now();
        run(&primary, "barring the queries", &tables::lock_readers(&live)).await?;
        self.exchange(&primary, &live).await?;
        let told = self.tell(&primary, changes).await?;
        let parked = waiting(&primary, self.projection).await?;
        within("committing the switch", primary.batch_execute("COMMIT")).await?;
        let (projector_waited, queries_waited) = (begun.elapsed(), barred.elapsed());
        Ok(Switched { applied: applied(&target), told, parked, projector_waited, queries_waited })
    }

    /// The rows of watched views that differ, or `None` if they are too many to be told: those that
    /// did when they were compared, and those that have changed since then, on either side.
    async fn changes(&mut self, primary: &Client) -> Result<Option<Vec<Changes>>, Stop> {
        let Compared::Rows(since, differences) = self.compared else { return Ok(None) };
        let place: [&(dyn ToSql + Sync); 3] =
            [&self.projection.name(), &(applied(since) as i64), &since.revision];
        let kept = include_str!("../../sql/rebuild/keeps_changes.sql");
        let kept = within("looking for changes", primary.query_one(kept, &place)).await?;
        if !kept.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        let mut stored = Vec::new();
        let mut wanted = Vec::new();
        let mut found = 0;
        for view in self.projection.views() {
            let mut keys = Vec::new();
            if view.watched {
                let of_view = differences.iter().filter(|difference| difference.view == view.name);
                keys.extend(of_view.map(|difference| difference.key.clone()));
                keys.extend(changed(primary, view, self.projection, since).await?);
                let mut seen = std::collections::HashSet::new();
                keys.retain(|key| seen.insert(key.clone()));
            }
            found += keys.len();
            if found > TOLD_MAX {
                return Ok(None);
            }
            let (now, then) = self.both(primary, view, keys).await?;
            stored.push(now);
            wanted.push(then);
        }
        Ok(Some(self.projection.changes(stored, wanted)?))
    }

    async fn both(
        &self,
        primary: &Client,
        view: &ViewInfo,
        keys: Vec<Value>,
    ) -> Result<(Vec<Vec<Value>>, Vec<(Value, Option<Vec<Value>>)>), Stop> {
        if keys.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let sql = statements::by_key(view);
        let stored = rows(primary, &sql, view, &keys).await?;
        let folded =
            rows(self.draft.client(), &self.draft.projection().sql(&sql), view, &keys).await?;
        let mut folded: HashMap<Value, Vec<Value>> =
            folded.into_iter().map(|row| (row[0].clone(), row)).collect();
        let row = |key: Value| (key.clone(), folded.remove(&key));
        Ok((stored, keys.into_iter().map(row).collect()))
    }

    /// Takes what is kept away, or to where the draft is otherwise, and makes room for what is to
    /// be kept.
    async fn make_room(&self, primary: &Client) -> Result<(), Stop> {
        let (kept, drafted) = (self.projection.kept(), self.projection.drafted());
        run(primary, "making room", &kept.sql(migrate::SCHEMA)).await?;
        let before = registered(primary, &kept).await?;
        match self.source {
            Source::Draft => {
                run(primary, "dropping tables", &tables::drop_all(&before, &kept)).await?;
            }
            Source::Kept => {
                run(primary, "making room", migrate::DROP_DRAFT).await?;
                run(primary, "making room", &drafted.sql(migrate::SCHEMA)).await?;
                move_all(primary, &before, &kept, &drafted).await?;
                copy_place(primary, &kept, &drafted).await?;
            }
        }
        on(primary, &kept, include_str!("../../sql/rebuild/clear.sql")).await
    }

    /// The live tables are kept, and those of the draft are live.
    async fn exchange(&self, primary: &Client, live: &[Registered]) -> Result<(), Stop> {
        let (kept, drafted) = (self.projection.kept(), self.projection.drafted());
        copy_place(primary, self.projection, &kept).await?;
        move_all(primary, live, self.projection, &kept).await?;
        let new = registered(primary, &drafted).await?;
        move_all(primary, &new, &drafted, self.projection).await?;
        let publish = tables::publish(live, self.projection.views());
        run(primary, "publishing the views", &publish).await?;
        on(primary, self.projection, include_str!("../../sql/rebuild/dropped.sql")).await?;
        if self.history == History::Any {
            on(primary, self.projection, include_str!("../../sql/rebuild/adopt.sql")).await?;
        }
        Ok(())
    }

    async fn tell(
        &self,
        primary: &ReadDatabase,
        changes: Option<Vec<Changes>>,
    ) -> Result<Option<usize>, Stop> {
        let name = self.projection.name();
        // At least once, so that the projector learns of it.
        parked::revise(primary, name, "", (Vec::new(), Vec::new())).await?;
        let Some(changes) = changes else {
            on(primary, self.projection, include_str!("../../sql/rebuild/expire.sql")).await?;
            return Ok(None);
        };
        let mut told = 0;
        for (view, changes) in self.projection.views().iter().zip(changes) {
            if !changes.log.is_empty() {
                told += changes.log.len();
                let changed = changes.log.into_iter().map(|c| (c.key, c.former)).unzip();
                parked::revise(primary, name, view.name, changed).await?;
            }
        }
        Ok(Some(told))
    }
}

/// The keys that have changed since this place.
async fn changed(
    client: &Client,
    view: &ViewInfo,
    projection: &Projection,
    since: &Checkpoint,
) -> Result<Vec<Value>, Stop> {
    let sql = statements::changed_since(view, TOLD_MAX + 1);
    let place: [&(dyn ToSql + Sync); 4] =
        [&projection.name(), &view.name, &(applied(since) as i64), &since.revision];
    let rows = within("reading changes", client.query(&sql, &place)).await?;
    let key = |row| Ok(values(&view.columns[..1], row)?.remove(0));
    rows.iter().map(key).collect()
}

async fn waiting(client: &Client, projection: &Projection) -> Result<u64, Stop> {
    let sql = include_str!("../../sql/rebuild/waiting.sql");
    let named: [&(dyn ToSql + Sync); 1] = [&projection.name()];
    let row = within("counting what is parked", client.query_one(sql, &named)).await?;
    Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
}

async fn move_all(
    client: &Client,
    tables: &[Registered],
    source: &Projection,
    target: &Projection,
) -> Result<(), Stop> {
    run(client, "moving tables", &tables::move_all(tables, source, target)).await?;
    let moved = tables::between(include_str!("../../sql/rebuild/move.sql"), source, target);
    on(client, source, &moved).await
}

async fn copy_place(client: &Client, source: &Projection, target: &Projection) -> Result<(), Stop> {
    let copied = tables::between(include_str!("../../sql/rebuild/keep.sql"), source, target);
    on(client, source, &copied).await
}

/// A statement of which `$1` is the projection.
async fn on(client: &Client, projection: &Projection, sql: &str) -> Result<(), Stop> {
    let named: [&(dyn ToSql + Sync); 1] = [&projection.name()];
    within("switching", client.execute(sql, &named)).await?;
    Ok(())
}

async fn run(client: &Client, what: &'static str, sql: &str) -> Result<(), Stop> {
    within(what, client.batch_execute(sql)).await
}
