//! Database user that each program logs in as, and the groups that give it the least rights it
//! needs.
//!
//! The groups are made by the migrations of those who own the tables; here is only who belongs to
//! which.

use crate::local::postgres::Role;
use crate::local::postgres::users::Login;
use crate::local::secrets::Secrets;

/// command-svc: appends to the log and reads it; neither updates nor deletes.
pub const COMMAND: &str = "headwater_command_svc";
/// The projector: reads the log, writes the views.
pub const PROJECTOR: &str = "headwater_projector_svc";
/// query-svc: reads the views, and how far the log goes.
pub const QUERY: &str = "headwater_query_svc";
/// `headwater status`, `tail` and `verify`: reads both sides, and sees who is connected.
pub const CLI: &str = "headwater_cli";

/// The logins to be made on a primary. A user may appear twice where one database holds both sides;
/// its groups add up.
pub fn on(role: Role, secrets: &Secrets) -> Vec<Login> {
    let mut logins = Vec::new();
    if role.holds_log() {
        logins.push(login(COMMAND, &secrets.command, &["headwater_command"]));
        logins.push(login(PROJECTOR, &secrets.projector, &["headwater_feed"]));
        logins.push(read_only(login(QUERY, &secrets.query, &["headwater_end"])));
        logins.push(read_only(login(CLI, &secrets.cli, &["headwater_feed", "pg_monitor"])));
    }
    if role.holds_views() {
        logins.push(login(PROJECTOR, &secrets.projector, &["headwater_projector"]));
        logins.push(read_only(login(QUERY, &secrets.query, &["headwater_query"])));
        logins.push(read_only(login(CLI, &secrets.cli, &["headwater_query", "pg_monitor"])));
    }
    logins
}

fn login(name: &'static str, password: &str, groups: &'static [&'static str]) -> Login {
    Login { name, password: password.to_owned(), options: "", groups, is_read_only: false }
}

fn read_only(login: Login) -> Login {
    Login { is_read_only: true, ..login }
}
