//! `headwater postgres`: which PostgreSQL server programs would be used. `make` asks, and installs
//! some if there are none.

use std::path::PathBuf;

use clap::Args;

use crate::account::Account;
use crate::data::default_root;
use crate::postgres::find;

/// Where to look.
#[derive(Args)]
pub struct Options {
    /// Folder of the server programs [default: the newest found].
    #[arg(long, env = "HEADWATER_PG_BIN")]
    pub pg_bin: Option<PathBuf>,
    /// Data folder whose `postgres` folder is looked into too.
    #[arg(long, env = "HEADWATER_DATA")]
    pub data: Option<PathBuf>,
}

/// Prints the folder, or fails and says what was looked at.
pub fn run(options: Options) -> anyhow::Result<()> {
    let roots: Vec<PathBuf> = default_root().into_iter().chain(options.data).collect();
    let account = Account::for_postgres()?;
    let places = find::places(options.pg_bin.as_deref(), &roots);
    let found = find::find(&places, None, account.as_ref())?;
    println!("{}", found.bin.display());
    Ok(())
}
