//! What is parked, as it is stored on the read primary.

use std::collections::HashSet;

use headwater_eventlog::Servers;
use headwater_kernel::{Access, Partition, Position, StreamId};
use postgres_types::ToSql;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::columns::Array;
use crate::migrate::SchemaError;
use crate::parked_columns::ParkedColumns;
use crate::primary::ReadDatabase;
use crate::projection::parked::{BLOCKED_MAX, NO_VIEW, Parked};
use crate::projection::refold::Dropped;
use crate::projection::{Changes, Projection, ViewInfo};
use crate::statements;
use crate::stop::{Stop, within};

/// A row, or a stream, and the event that it waits behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The projection.
    pub projection: String,
    /// The view; empty if the event is applied to no row.
    pub view: String,
    /// The row's key; the stream's id if there is no view.
    pub row_key: String,
    /// Reason why the event was not applied.
    pub error: String,
    /// The event's partition.
    pub partition: Partition,
    /// The event's position.
    pub position: Position,
    /// The event's stream.
    pub stream: StreamId,
    /// The event's type.
    pub type_name: String,
    /// Time at which the event was recorded.
    pub recorded_at: OffsetDateTime,
    /// Time since which the row waits.
    pub parked_at: OffsetDateTime,
    /// The last event of every partition that the row has seen; `None` if that is not known.
    pub folded: Option<Vec<Position>>,
}

impl Waiting {
    /// True if it is a stream, none of whose events is applied.
    pub fn is_stream(&self) -> bool {
        self.view == NO_VIEW
    }

    /// What tells it from all others of its projection.
    pub(super) fn place(&self) -> (&str, &str) {
        (&self.view, &self.row_key)
    }

    /// The event, as one that is left out of the row.
    pub(super) fn dropped(&self) -> Dropped {
        Dropped {
            view: self.view.clone(),
            row_key: self.row_key.clone(),
            partition: self.partition,
            position: self.position,
        }
    }
}

/// What waits, in one projection or in all of them.
///
/// # Errors
/// The connection failed.
pub(super) async fn list(
    connection: &ReadDatabase,
    projection: Option<&str>,
) -> Result<Vec<Waiting>, Stop> {
    let sql = include_str!("../sql/projector/parked_list.sql");
    // As many as wait at most, for some projections.
    let limit = 10 * BLOCKED_MAX as i64;
    let parameters: [&(dyn ToSql + Sync); 2] = [&projection, &limit];
    let rows = within("reading what is parked", connection.query(sql, &parameters)).await?;
    rows.iter().map(waiting).collect()
}

/// What waits in all projections of the read database with this URL, of which there may be several,
/// separated by commas.
///
/// # Errors
/// It cannot be reached, or lacks the rights of its owner.
pub async fn list_all(url: &str) -> Result<Vec<Waiting>, Stop> {
    let servers = Servers::parse(url).map_err(SchemaError::Url)?;
    let place = servers.find().await?;
    let open = ReadDatabase::open(Access::ReadOnly, servers.url(place), "headwater-parked");
    let connection = within("connecting to the read primary", open).await?;
    list(&connection, None).await
}

fn waiting(row: &Row) -> Result<Waiting, Stop> {
    let folded: Option<Vec<i64>> = row.try_get("folded")?;
    let position = |p: i64| Position(p.unsigned_abs());
    Ok(Waiting {
        projection: row.try_get("projection")?,
        view: row.try_get("view")?,
        row_key: row.try_get("row_key")?,
        error: row.try_get("error")?,
        partition: Partition(row.try_get::<_, i32>("partition")? as u16),
        position: position(row.try_get("position")?),
        stream: StreamId(row.try_get::<_, Uuid>("stream")?),
        type_name: row.try_get("type_name")?,
        recorded_at: row.try_get("recorded_at")?,
        parked_at: row.try_get("parked_at")?,
        folded: folded.map(|folded| folded.into_iter().map(position).collect()),
    })
}

/// The events that are left out of rows of a projection.
pub(super) async fn dropped(
    connection: &ReadDatabase,
    projection: &str,
) -> Result<HashSet<Dropped>, Stop> {
    let sql = include_str!("../sql/projector/parked_dropped.sql");
    let parameters: [&(dyn ToSql + Sync); 1] = [&projection];
    let rows = within("reading what was dropped", connection.query(sql, &parameters)).await?;
    let dropped = |row: &Row| {
        Ok(Dropped {
            view: row.try_get(0)?,
            row_key: row.try_get(1)?,
            partition: Partition(row.try_get::<_, i32>(2)? as u16),
            position: Position(row.try_get::<_, i64>(3)?.unsigned_abs()),
        })
    };
    rows.iter().map(dropped).collect()
}

/// Locks the projection's checkpoint, first of all in a transaction that changes its rows.
pub(super) async fn lock(connection: &ReadDatabase, projection: &str) -> Result<(), Stop> {
    let sql = include_str!("../sql/projector/parked_lock.sql");
    let parameters: [&(dyn ToSql + Sync); 1] = [&projection];
    within("locking the checkpoint", connection.query(sql, &parameters)).await?;
    Ok(())
}

/// What a retry comes to.
pub(super) struct Outcome<'a> {
    /// By view, in the projection's order.
    pub changes: Vec<Changes>,
    /// Rows and streams that were tried.
    pub tried: Vec<&'a Waiting>,
    /// What could not be applied again.
    pub parked: Vec<&'a Parked>,
    /// Events that are left out from now on, and who says so.
    pub dropped: Option<(&'a [Waiting], &'a str)>,
    /// Partitions of the log.
    pub partitions: usize,
}

/// Writes it in the transaction that holds the checkpoint's row.
pub(super) async fn write(
    connection: &ReadDatabase,
    projection: &Projection,
    outcome: Outcome<'_>,
) -> Result<(), Stop> {
    let name = projection.name();
    let Outcome { changes, tried, parked, dropped, partitions } = outcome;
    release(connection, name, &tried).await?;
    park_again(connection, name, &parked, partitions as i64).await?;
    if let Some((events, by)) = dropped {
        for event in events {
            drop_event(connection, event, by).await?;
        }
    }
    // At least once, so that the projector learns what does not wait any more.
    revise(connection, name, "", (Vec::new(), Vec::new())).await?;
    rewrite(connection, projection, changes).await
}

/// Writes rows in the transaction that holds the checkpoint's row; `changes` by view, in the
/// projection's order.
pub(super) async fn rewrite(
    connection: &ReadDatabase,
    projection: &Projection,
    changes: Vec<Changes>,
) -> Result<(), Stop> {
    for (view, changes) in projection.views().iter().zip(changes) {
        if changes.rows() > 0 {
            rewrite_view(connection, projection.name(), view, changes).await?;
        }
    }
    Ok(())
}

async fn release(connection: &ReadDatabase, name: &str, tried: &[&Waiting]) -> Result<(), Stop> {
    let (views, keys): (Vec<&str>, Vec<&str>) =
        tried.iter().map(|w| (w.view.as_str(), w.row_key.as_str())).unzip();
    let sql = include_str!("../sql/projector/parked_release.sql");
    let parameters: [&(dyn ToSql + Sync); 3] = [&name, &views, &keys];
    within("releasing rows", connection.execute(sql, &parameters)).await?;
    Ok(())
}

async fn park_again(
    connection: &ReadDatabase,
    name: &str,
    parked: &[&Parked],
    partitions: i64,
) -> Result<(), Stop> {
    let columns = ParkedColumns::of(parked.iter().copied());
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&name];
    columns.push_to(&mut parameters);
    parameters.push(&partitions);
    let sql = include_str!("../sql/projector/parked_again.sql");
    within("parking events", connection.execute(sql, &parameters)).await?;
    Ok(())
}

async fn drop_event(connection: &ReadDatabase, event: &Waiting, by: &str) -> Result<(), Stop> {
    let (partition, position) = (i32::from(event.partition.0), event.position.0 as i64);
    let sql = include_str!("../sql/projector/parked_drop.sql");
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &event.projection,
        &event.view,
        &event.row_key,
        &partition,
        &position,
        &event.stream.0,
        &event.type_name,
        &event.error,
        &by,
    ];
    within("dropping an event", connection.execute(sql, &parameters)).await?;
    Ok(())
}

/// Raises the revision, and tells those who watch of changed rows.
pub(super) async fn revise(
    connection: &ReadDatabase,
    name: &str,
    view: &str,
    (keys, former): (Vec<String>, Vec<Option<String>>),
) -> Result<(), Stop> {
    let sql = include_str!("../sql/projector/parked_revise.sql");
    let parameters: [&(dyn ToSql + Sync); 4] = [&name, &view, &keys, &former];
    within("raising the revision", connection.query_one(sql, &parameters)).await?;
    Ok(())
}

async fn rewrite_view(
    connection: &ReadDatabase,
    name: &str,
    view: &ViewInfo,
    changes: Changes,
) -> Result<(), Stop> {
    let Changes { inserts, updates, deletes, log } = changes;
    let replaced = updates.iter().map(|row| row[0].clone());
    let gone: Vec<_> = deletes.into_iter().chain(replaced).collect();
    let gone = Array::of(view.columns[0].kind, gone.into_iter())?;
    let delete = statements::delete(view);
    within("deleting rows", connection.execute(&delete, &[gone.parameter()])).await?;
    let rows = updates.into_iter().chain(inserts).collect();
    let columns = Array::of_rows(view.columns, rows)?;
    let parameters: Vec<_> = columns.iter().map(Array::parameter).collect();
    let insert = statements::insert(view);
    within("inserting rows", connection.execute(&insert, &parameters)).await?;
    if view.watched {
        revise(connection, name, view.name, log.into_iter().map(|c| (c.key, c.former)).unzip())
            .await?;
    }
    Ok(())
}
