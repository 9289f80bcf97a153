//! `headwater postgres`: which PostgreSQL server programs would be used. `make` asks, and installs
//! some if there are none.

use std::path::PathBuf;

use clap::Args;

use crate::local::{Account, Host, default_root};

/// Data folder to look at.
#[derive(Args)]
pub struct Options {
    /// Folder of the server programs [default: the newest found].
    #[arg(long, env = "HEADWATER_PG_BIN")]
    pg_bin: Option<PathBuf>,
    /// Data folder whose `postgres` folder is looked into too.
    #[arg(long, env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
}

/// Prints the folder, or fails and says what was looked at.
pub fn run(options: Options) -> anyhow::Result<()> {
    let roots: Vec<PathBuf> = default_root().into_iter().chain(options.data).collect();
    let found = Host::find(Account::for_postgres()?, options.pg_bin.as_deref(), &roots, None)?;
    println!("{}", found.installation.bin.display());
    Ok(())
}
