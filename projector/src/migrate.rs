//! The read database's schema: `headwater migrate` and `headwater up` create it, servers check it
//! and never change it.

mod ddl;

use std::collections::BTreeMap;

use headwater_eventlog::{NoPrimary, Servers};
use headwater_kernel::Access;
use thiserror::Error;
use tokio_postgres::{Client, GenericClient, Transaction};

use crate::primary::ReadDatabase;
use crate::projection::{Projection, ViewInfo};

/// Version of `sql/schema.sql`.
pub const SCHEMA_VERSION: i32 = 4;

/// The part of the schema that does not depend on the views.
const SCHEMA: &str = include_str!("../sql/schema.sql");

/// Outcome of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The tables it created.
    pub created: Vec<String>,
}

/// Error of a schema that is not, or cannot be made, as this program needs it.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// There is none.
    #[error("the read database has no schema yet; run `headwater migrate`")]
    Missing,
    /// Another version of the fixed part.
    #[error("the read database's schema has version {found}, this program needs {needed}; {cure}")]
    Version {
        /// The version in the database.
        found: i32,
        /// The version that this program needs.
        needed: i32,
        /// The remedy.
        cure: &'static str,
    },
    /// A view's table is of another version, or missing.
    #[error("the view {view} needs version {needed}, live is {found}; {cure}")]
    ViewVersion {
        /// The view.
        view: &'static str,
        /// The live version, or `none`.
        found: String,
        /// The version in the code.
        needed: u32,
        /// The remedy.
        cure: &'static str,
    },
    /// The columns of a view were changed but not its version.
    #[error(
        "the columns of the view {view} differ from those of its table {table}, but its version \
         was not raised: raise View::VERSION"
    )]
    Changed {
        /// The view.
        view: &'static str,
        /// The table.
        table: String,
    },
    /// A name that cannot be used.
    #[error("{0:?} cannot be the name of a view: {1}")]
    Name(&'static str, &'static str),
    /// The URL is wrong.
    #[error("the URL of the read database {0}")]
    Url(String),
    /// No server of the read database takes writes.
    #[error("the read database: {0}")]
    NoPrimary(#[from] NoPrimary),
    /// The database failed.
    #[error("the read database: {}", full(.0))]
    Database(#[from] tokio_postgres::Error),
}

/// The driver's own text says only "db error"; what the server said is in the source.
fn full(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

const MIGRATE: &str = "run `headwater migrate`";
const UPGRADE: &str = "upgrade this program";
const REBUILD: &str = "the projection has to be rebuilt: locally by `headwater up --wipe`; a \
                       deployment goes on with the programs of the live version until then";

/// Creates what the projections need in the read database at `owner_url`, or finds that all is
/// there. Needs the rights of the schema's owner, and for the first time those to create roles. All
/// or nothing.
///
/// # Errors
/// The database cannot be reached, or holds views of other versions, which only a rebuild can
/// replace.
pub async fn migrate(owner_url: &str, projections: &[Projection]) -> Result<Migrated, SchemaError> {
    for view in projections.iter().flat_map(Projection::views) {
        if let Some(why) = ddl::unfit(view.name) {
            return Err(SchemaError::Name(view.name, why));
        }
    }
    let mut connection = primary(owner_url).await?;
    let transaction = connection.transaction().await?;
    transaction.batch_execute(include_str!("../sql/migrate/lock.sql")).await?;
    if exists(&transaction).await? {
        match check_version(&transaction).await {
            // Brought up to date by what follows.
            Err(SchemaError::Version { found, .. }) if found < SCHEMA_VERSION => {}
            checked => checked?,
        }
    }
    transaction.batch_execute(SCHEMA).await?;
    let set_version = include_str!("../sql/migrate/set_version.sql");
    transaction.execute(set_version, &[&SCHEMA_VERSION]).await?;
    let mut done = Migrated::default();
    for projection in projections {
        migrate_views(&transaction, projection, &mut done).await?;
    }
    transaction.commit().await?;
    Ok(done)
}

/// Empties the views of the projections and takes them back to the log's beginning, for a log whose
/// history is another one than they were made from. All or nothing; their projectors fill them
/// again.
///
/// # Errors
/// The database cannot be reached, or does not hold what the projections need.
pub async fn empty(owner_url: &str, projections: &[Projection]) -> Result<(), SchemaError> {
    let mut connection = primary(owner_url).await?;
    check(&connection, projections).await?;
    let transaction = connection.transaction().await?;
    for projection in projections {
        let lock = include_str!("../sql/migrate/lock_progress.sql");
        transaction.execute(lock, &[&projection.name()]).await?;
        let forget = include_str!("../sql/migrate/forget_progress.sql");
        transaction.execute(forget, &[&projection.name()]).await?;
        for view in projection.views() {
            transaction.batch_execute(&ddl::truncate(view)).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// Removes the draft, or what is left of one.
pub(crate) const DROP_DRAFT: &str = include_str!("../sql/audit/drop.sql");

/// Makes an empty draft of a projection, unlogged: the tables of its views and what belongs to
/// them, in the schema that the projection is in.
pub(crate) async fn draft(
    connection: &mut ReadDatabase,
    projection: &Projection,
) -> Result<(), SchemaError> {
    let unlogged = |sql: &str| projection.sql(sql).replace("CREATE TABLE", "CREATE UNLOGGED TABLE");
    let transaction = connection.transaction().await?;
    transaction.batch_execute(DROP_DRAFT).await?;
    transaction.batch_execute(&unlogged(SCHEMA)).await?;
    for view in projection.views() {
        transaction.batch_execute(&unlogged(&ddl::table(view))).await?;
        transaction.batch_execute(&projection.sql(&ddl::indexes(view))).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Of several servers the one that takes writes.
async fn primary(owner_url: &str) -> Result<ReadDatabase, SchemaError> {
    let servers = Servers::parse(owner_url).map_err(SchemaError::Url)?;
    let place = servers.find().await?;
    Ok(ReadDatabase::open(Access::ReadWrite, servers.url(place), "headwater-migrate").await?)
}

/// Checks that the read database holds what the projections need.
///
/// # Errors
/// It does not, or it cannot be read.
pub async fn check(client: &Client, projections: &[Projection]) -> Result<(), SchemaError> {
    if !exists(client).await? {
        return Err(SchemaError::Missing);
    }
    check_version(client).await?;
    let live = live_views(client).await?;
    for view in projections.iter().flat_map(Projection::views) {
        compare(view, live.get(view.name))?;
    }
    Ok(())
}

/// A view as the database has it.
struct Live {
    version: u32,
    definition: String,
}

fn compare(view: &ViewInfo, live: Option<&Live>) -> Result<(), SchemaError> {
    let Some(live) = live else {
        let (view, needed) = (view.name, view.version);
        return Err(SchemaError::ViewVersion { view, found: "none".into(), needed, cure: MIGRATE });
    };
    if live.version != view.version {
        let cure = if live.version < view.version { REBUILD } else { UPGRADE };
        let (view, needed) = (view.name, view.version);
        return Err(SchemaError::ViewVersion {
            view,
            found: live.version.to_string(),
            needed,
            cure,
        });
    }
    if live.definition != ddl::definition(view) {
        return Err(SchemaError::Changed { view: view.name, table: view.table() });
    }
    Ok(())
}

async fn exists(client: &impl GenericClient) -> Result<bool, tokio_postgres::Error> {
    client.query_one(include_str!("../sql/migrate/exists.sql"), &[]).await?.try_get(0)
}

async fn check_version(client: &impl GenericClient) -> Result<(), SchemaError> {
    let row = client.query_opt(include_str!("../sql/migrate/version.sql"), &[]).await?;
    let found: i32 = row.ok_or(SchemaError::Missing)?.try_get(0)?;
    if found != SCHEMA_VERSION {
        let cure = if found < SCHEMA_VERSION { MIGRATE } else { UPGRADE };
        return Err(SchemaError::Version { found, needed: SCHEMA_VERSION, cure });
    }
    Ok(())
}

async fn live_views(
    client: &impl GenericClient,
) -> Result<BTreeMap<String, Live>, tokio_postgres::Error> {
    let sql = include_str!("../sql/migrate/live_views.sql");
    let mut live = BTreeMap::new();
    for row in client.query(sql, &[]).await? {
        let version: i32 = row.try_get(1)?;
        let view = Live { version: version.unsigned_abs(), definition: row.try_get(2)? };
        live.insert(row.try_get(0)?, view);
    }
    Ok(live)
}

async fn migrate_views(
    transaction: &Transaction<'_>,
    projection: &Projection,
    done: &mut Migrated,
) -> Result<(), SchemaError> {
    let live = live_views(transaction).await?;
    let started = include_str!("../sql/migrate/started.sql");
    let started: bool = transaction.query_one(started, &[&projection.name()]).await?.try_get(0)?;
    for view in projection.views() {
        match live.get(view.name) {
            // Its events have gone by.
            None if started => {
                let (view, needed) = (view.name, view.version);
                let found = "none".to_owned();
                return Err(SchemaError::ViewVersion { view, found, needed, cure: REBUILD });
            }
            None => {
                create(transaction, projection, view).await?;
                done.created.push(view.table());
            }
            some => compare(view, some)?,
        }
        // Indexes may be added without a new version: they change no row.
        transaction.batch_execute(&ddl::indexes(view)).await?;
        transaction.batch_execute(&ddl::grants(view)).await?;
    }
    Ok(())
}

async fn create(
    transaction: &Transaction<'_>,
    projection: &Projection,
    view: &ViewInfo,
) -> Result<(), SchemaError> {
    transaction.batch_execute(&ddl::table(view)).await?;
    transaction.batch_execute(&ddl::live_view(view)).await?;
    let register = include_str!("../sql/migrate/register.sql");
    let version = view.version as i32;
    let definition = ddl::definition(view);
    transaction.execute(register, &[&projection.name(), &view.name, &version, &definition]).await?;
    Ok(())
}
