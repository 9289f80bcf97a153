//! The terms of a rebuild: which log and tables it is of, and where the switch is.

use headwater_eventlog::Head;
use postgres_types::ToSql;
use tokio_postgres::Client;

use super::tables::Registered;
use crate::audit::compare::Difference;
use crate::audit::draft::Draft;
use crate::audit::shown::shown;
use crate::projection::Projection;
use crate::projection::checkpoint::Checkpoint;
use crate::stop::{Stop, within};

/// Rows of watched views that are told as changes; if more differ, all watches read anew.
pub const TOLD_MAX: usize = 10_000;
/// Name of the sessions in Postgres.
pub(super) const APPLICATION: &str = "headwater-rebuild";

/// Log that the live rows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The very one: the switch is at the live positions, and tokens count on.
    Same,
    /// Maybe one that the log has no more: the switch is at the log's end. For a new epoch.
    Any,
}

/// Tables that take the place of the live ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Draft,
    Kept,
}

/// What was found before the switch, for those who watch.
pub(super) enum Compared {
    /// These rows differed, at this place.
    Rows(Checkpoint, Vec<Difference>),
    /// More than are told one by one.
    TooMuch,
}

/// Place where the switch would be now.
pub(super) async fn target(
    primary: &Client,
    draft: &Draft,
    projection: &Projection,
    history: History,
) -> Result<Checkpoint, Stop> {
    match history {
        History::Same => shown(primary, projection).await,
        History::Any => {
            let heads = within("reading the log's heads", draft.log().heads()).await?;
            Ok(Checkpoint { heads: heads.heads, ..draft.checkpoint().clone() })
        }
    }
}

pub(super) fn applied(checkpoint: &Checkpoint) -> u64 {
    checkpoint.heads.iter().map(|head: &Head| head.position.0).sum()
}

/// The tables of a projection in the schema that it is in.
pub(super) async fn registered(
    client: &Client,
    projection: &Projection,
) -> Result<Vec<Registered>, Stop> {
    let sql = projection.sql(include_str!("../../sql/rebuild/registered.sql")).into_owned();
    let named: [&(dyn ToSql + Sync); 1] = [&projection.name()];
    let mut registered = Vec::new();
    for row in within("reading the views' versions", client.query(&sql, &named)).await? {
        let version: i32 = row.try_get(1)?;
        let (view, definition) = (row.try_get(0)?, row.try_get(2)?);
        registered.push(Registered { view, version: version.unsigned_abs(), definition });
    }
    Ok(registered)
}
