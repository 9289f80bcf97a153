//! The read database's schema: `headwater migrate` and `headwater up` create it, servers check it
//! and never change it.

pub(crate) mod ddl;

use std::collections::BTreeMap;

use headwater_eventlog::{NoPrimary, Servers};
use headwater_kernel::Access;
use thiserror::Error;
use tokio_postgres::{Client, GenericClient, Transaction};

use crate::primary::ReadDatabase;
use crate::projection::{Projection, ViewInfo};

/// Version of `sql/schema.sql`.
pub const SCHEMA_VERSION: i32 = 4;

/// Outcome of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The tables it created.
    pub created: Vec<String>,
    /// The projections whose live views are of earlier versions, or lack one, so that they have to
    /// be rebuilt. The programs of the live version go on until then.
    pub to_rebuild: Vec<&'static str>,
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
    /// The projection has a view that the program does not know, and would not keep up.
    #[error(
        "the projection {projection} has the view {view}, which this program does not know: \
         upgrade this program or, if the view is one no longer, run `headwater rebuild views`"
    )]
    UnknownView {
        /// The projection.
        projection: &'static str,
        /// The view.
        view: String,
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
const REBUILD: &str = "run `headwater rebuild views`; the programs of the live version go on until \
                       that is done";

/// Creates what the projections need in the read database at `owner_url`, or finds that all is
/// there. Needs the rights of the schema's owner, and for the first time those to create roles. All
/// or nothing.
///
/// # Errors
/// The database cannot be reached, or holds views of later versions.
pub async fn migrate(owner_url: &str, projections: &[Projection]) -> Result<Migrated, SchemaError> {
    for view in projections.iter().flat_map(Projection::views) {
        if let Some(why) = ddl::unfit(view.name) {
            return Err(SchemaError::Name(view.name, why));
        }
    }
    let mut connection = primary(owner_url).await?;
    let transaction = connection.transaction().await?;
    transaction.batch_execute(include_str!("../sql/migrate/lock.sql")).await?;
    if is_made(&transaction).await? {
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
        if migrate_views(&transaction, projection, &mut done).await? == Fit::ToRebuild {
            done.to_rebuild.push(projection.name());
        }
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

/// The part of the schema that does not depend on the views.
pub(crate) const SCHEMA: &str = include_str!("../sql/schema.sql");
const REGISTER: &str = include_str!("../sql/migrate/register.sql");

/// Makes an empty draft of a projection: the tables of its views and what belongs to them, in the
/// schema that the projection is in. Unlogged if it is only to be looked at.
pub(crate) async fn draft(
    connection: &mut ReadDatabase,
    projection: &Projection,
    logged: bool,
) -> Result<(), SchemaError> {
    let made = |sql: &str| match logged {
        true => projection.sql(sql).into_owned(),
        false => projection.sql(sql).replace("CREATE TABLE", "CREATE UNLOGGED TABLE"),
    };
    let transaction = connection.transaction().await?;
    transaction.batch_execute(DROP_DRAFT).await?;
    transaction.batch_execute(&made(SCHEMA)).await?;
    for view in projection.views() {
        transaction.batch_execute(&made(&ddl::table(view))).await?;
        transaction.batch_execute(&projection.sql(&ddl::indexes(view))).await?;
        register(&transaction, projection, view).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Whether the views that a rebuild has replaced are those of the program.
pub(crate) async fn fits(client: &Client, projection: &Projection) -> Result<(), SchemaError> {
    let live = live_views(client, projection).await?;
    projection.views().iter().try_for_each(|view| compare(view, live.get(view.name), UPGRADE))
}

/// Of several servers the URL of the one that takes writes.
pub(crate) async fn primary_url(owner_url: &str) -> Result<String, SchemaError> {
    let servers = Servers::parse(owner_url).map_err(SchemaError::Url)?;
    let place = servers.find().await?;
    Ok(servers.url(place).to_owned())
}

async fn primary(owner_url: &str) -> Result<ReadDatabase, SchemaError> {
    let url = primary_url(owner_url).await?;
    Ok(ReadDatabase::open(Access::ReadWrite, &url, "headwater-migrate").await?)
}

/// Checks that the read database holds what the projections need.
///
/// # Errors
/// It does not, or it cannot be read.
pub async fn check(client: &Client, projections: &[Projection]) -> Result<(), SchemaError> {
    if !is_made(client).await? {
        return Err(SchemaError::Missing);
    }
    check_version(client).await?;
    for projection in projections {
        let live = live_views(client, projection).await?;
        let has_started = has_started(client, projection).await?;
        let missing = if has_started { REBUILD } else { MIGRATE };
        for view in projection.views() {
            compare(view, live.get(view.name), missing)?;
        }
        if let Some((view, _)) = live.iter().find(|(_, live)| live.is_unknown) {
            let (projection, view) = (projection.name(), view.clone());
            return Err(SchemaError::UnknownView { projection, view });
        }
    }
    Ok(())
}

async fn has_started(
    client: &impl GenericClient,
    projection: &Projection,
) -> Result<bool, tokio_postgres::Error> {
    let started = include_str!("../sql/migrate/started.sql");
    client.query_one(started, &[&projection.name()]).await?.try_get(0)
}

/// A view as the database has it.
struct Live {
    version: u32,
    definition: String,
    /// Of the projection, but not in the program.
    is_unknown: bool,
}

fn compare(view: &ViewInfo, live: Option<&Live>, missing: &'static str) -> Result<(), SchemaError> {
    let Some(live) = live else {
        let (view, needed) = (view.name, view.version);
        return Err(SchemaError::ViewVersion { view, found: "none".into(), needed, cure: missing });
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

async fn is_made(client: &impl GenericClient) -> Result<bool, tokio_postgres::Error> {
    client.query_one(EXISTS, &[]).await?.try_get(0)
}

/// Whether the schema that the projection is in has been made.
pub(crate) async fn exists(client: &Client, projection: &Projection) -> Result<bool, SchemaError> {
    Ok(client.query_one(&*projection.sql(EXISTS), &[]).await?.try_get(0)?)
}

const EXISTS: &str = include_str!("../sql/migrate/exists.sql");

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
    projection: &Projection,
) -> Result<BTreeMap<String, Live>, tokio_postgres::Error> {
    let sql = projection.sql(include_str!("../sql/migrate/live_views.sql"));
    let mut live = BTreeMap::new();
    for row in client.query(&*sql, &[]).await? {
        let name: String = row.try_get(0)?;
        let version: i32 = row.try_get(1)?;
        let is_known = projection.views().iter().any(|view| view.name == name);
        let is_unknown = !is_known && row.try_get::<_, String>(3)? == projection.name();
        let (version, definition) = (version.unsigned_abs(), row.try_get(2)?);
        live.insert(name, Live { version, definition, is_unknown });
    }
    Ok(live)
}

async fn migrate_views(
    transaction: &Transaction<'_>,
    projection: &Projection,
    done: &mut Migrated,
) -> Result<Fit, SchemaError> {
    let live = live_views(transaction, projection).await?;
    let has_started = has_started(transaction, projection).await?;
    let mut fit = Fit::Live;
    if live.values().any(|live| live.is_unknown) {
        fit = Fit::ToRebuild;
    }
    for view in projection.views() {
        let of_another = match live.get(view.name) {
            // Its events have gone by.
            None if has_started => true,
            None => {
                create(transaction, projection, view).await?;
                done.created.push(view.table());
                false
            }
            Some(live) => live.version < view.version,
        };
        if of_another {
            fit = Fit::ToRebuild;
            continue;
        }
        if let Some(live) = live.get(view.name) {
            compare(view, Some(live), UPGRADE)?;
        }
        // Indexes may be added without a new version: they change no row.
        transaction.batch_execute(&ddl::indexes(view)).await?;
        transaction.batch_execute(&ddl::grants(view)).await?;
    }
    Ok(fit)
}

/// Whether the live views are those of the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Live,
    ToRebuild,
}

async fn create(
    transaction: &Transaction<'_>,
    projection: &Projection,
    view: &ViewInfo,
) -> Result<(), SchemaError> {
    transaction.batch_execute(&ddl::table(view)).await?;
    transaction.batch_execute(&ddl::live_view(view)).await?;
    register(transaction, projection, view).await?;
    Ok(())
}

async fn register(
    transaction: &Transaction<'_>,
    projection: &Projection,
    view: &ViewInfo,
) -> Result<(), tokio_postgres::Error> {
    let (version, definition) = (view.version as i32, ddl::definition(view));
    let register = projection.sql(REGISTER);
    let name = projection.name();
    transaction.execute(&*register, &[&name, &view.name, &version, &definition]).await?;
    Ok(())
}
