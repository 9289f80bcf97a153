//! What a node shows of a projection.

use std::collections::HashSet;

use postgres_types::ToSql;
use tokio_postgres::Client;

use crate::projection::Projection;
use crate::projection::checkpoint::Checkpoint;
use crate::session::read_checkpoint;
use crate::stop::{Stop, within};

/// Name of an audit's sessions in Postgres.
pub(crate) const APPLICATION: &str = "headwater-audit";

/// Rows that are not the fold of the log, and known not to be: view and key.
pub(crate) type Held = HashSet<(String, String)>;

/// Where a projection is on a node.
pub(crate) async fn shown(client: &Client, of: &Projection) -> Result<Checkpoint, Stop> {
    read_checkpoint(client, of.name()).await?.ok_or(Stop::NotBegun)
}

/// Rows that wait behind parked events, or lack dropped ones.
pub(crate) async fn held(client: &Client, of: &Projection) -> Result<Held, Stop> {
    let (sql, name) = (of.sql(include_str!("../../sql/audit/held.sql")), of.name());
    let named: [&(dyn ToSql + Sync); 1] = [&name];
    let rows = within("reading what is parked", client.query(&*sql, &named)).await?;
    let mut held = Held::new();
    for row in rows {
        held.insert((row.try_get(0)?, row.try_get(1)?));
    }
    Ok(held)
}
