//! `headwater`: runs a whole stack on this machine, and operates a deployment.
//! Each command is a module with its `Options` and its `run`; this file only chooses.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use headwater_cli::{call, load, migrate, status, tail, up, verify, watchman, where_is_postgres};

#[derive(Parser)]
#[command(name = "headwater", version, about = "CQRS for gRPC backends on Postgres")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine until Ctrl-C.
    Up(up::Options),
    /// Call any method: JSON in, JSON out.
    Call(call::Options),
    /// Show the pipeline, from the log's heads to the replicas.
    Status(status::Options),
    /// Follow the log, decoded.
    Tail(tail::Options),
    /// Check what is stored.
    Verify(verify::Options),
    /// Replay a file as commands.
    Load(load::Options),
    /// Bring both databases' schemas to this version.
    Migrate(migrate::Options),
    /// Print the folder of the PostgreSQL server programs that `up` would use.
    Postgres(where_is_postgres::Options),
    /// Stop what a killed `up` leaves behind; started by `up` itself.
    #[command(hide = true)]
    Watchman,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Watchman = command {
        watchman::run(std::io::stdin().lock());
        return ExitCode::SUCCESS;
    }
    match run(command) {
        Ok(true) => ExitCode::SUCCESS,
        // It has said so itself.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("headwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Call(options) => return call::run(options).await,
        Command::Status(options) => return status::run(options).await,
        Command::Verify(options) => return verify::run(options).await,
        Command::Up(options) => up::run(options).await?,
        Command::Tail(options) => tail::run(options).await?,
        Command::Load(options) => load::run(options).await?,
        Command::Migrate(options) => migrate::run(options).await?,
        Command::Postgres(options) => where_is_postgres::run(options)?,
        Command::Watchman => {}
    }
    Ok(true)
}
