//! The database users of a local stack, each with the least rights: they are granted the group
//! roles that the migrations make, and own nothing.

use anyhow::Context;
use tokio_postgres::Client;

/// Made by initdb; used for set-up only.
pub const SUPERUSER: &str = "postgres";
/// Owns the databases and migrates them; may create roles, but is no superuser, as on a managed
/// Postgres.
pub const OWNER: &str = "headwater_owner";
/// The replicas' login.
pub(crate) const REPLICATION: &str = "headwater_replication";
/// The database of both sides.
pub const DATABASE: &str = "headwater";

/// A login to be made on a primary.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the login.
    pub name: &'static str,
    /// Password of the login.
    pub password: String,
    /// Options of CREATE ROLE beside LOGIN.
    pub options: &'static str,
    /// Group roles that it is a member of.
    pub groups: &'static [&'static str],
    /// True if the login's transactions are read-only unless it says otherwise. Settings are not
    /// inherited from groups, so the login carries it itself.
    pub is_read_only: bool,
}

/// Makes logins, or gives existing ones their password again.
pub(crate) async fn ensure(client: &Client, logins: &[Login]) -> anyhow::Result<()> {
    for login in logins {
        let parameters = [
            ("headwater.login", login.name),
            ("headwater.password", login.password.as_str()),
            ("headwater.options", login.options),
            ("headwater.groups", &login.groups.join(",")),
            ("headwater.read_only", if login.is_read_only { "on" } else { "off" }),
        ];
        for (name, value) in parameters {
            client.execute("SELECT set_config($1, $2, false)", &[&name, &value]).await?;
        }
        let made = client.batch_execute(include_str!("sql/ensure_login.sql")).await;
        made.with_context(|| format!("cannot make the database user {}", login.name))?;
    }
    Ok(())
}

/// Makes the database if it is not there.
pub(crate) async fn ensure_database(client: &Client) -> anyhow::Result<()> {
    let exists = "SELECT 1 FROM pg_database WHERE datname = $1";
    if client.query_opt(exists, &[&DATABASE]).await?.is_none() {
        // CREATE DATABASE takes no parameters and no transaction; both names are constants.
        let create = format!("CREATE DATABASE {DATABASE} OWNER {OWNER}");
        client.batch_execute(&create).await.context("cannot create the database")?;
    }
    Ok(())
}

/// State of a replication slot, for the replica that left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Slot with all the WAL that the replica has not got yet.
    Holds,
    /// Slot that has given WAL up, since its replica was unreachable for too long.
    Lost,
    /// There is none, hence nothing was kept.
    Missing,
}

/// Looks at a replica's slot on its primary.
pub async fn slot(client: &Client, name: &str) -> anyhow::Result<Slot> {
    let row = client.query_opt(include_str!("sql/slot_state.sql"), &[&name]).await?;
    Ok(match row.map(|row| row.get::<_, Option<String>>(0)) {
        None => Slot::Missing,
        Some(Some(status)) if status == "lost" => Slot::Lost,
        Some(_) => Slot::Holds,
    })
}

/// Makes a slot that keeps WAL from now on.
pub async fn make_slot(client: &Client, name: &str) -> anyhow::Result<()> {
    client.execute("SELECT pg_create_physical_replication_slot($1, true)", &[&name]).await?;
    Ok(())
}

/// Drops the slots of replicas that are no longer wanted: each would keep WAL for ever.
pub(crate) async fn drop_slots_except(client: &Client, wanted: &[String]) -> anyhow::Result<()> {
    client.execute(include_str!("sql/drop_slots.sql"), &[&wanted]).await?;
    Ok(())
}
