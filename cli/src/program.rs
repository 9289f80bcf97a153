//! `headwater`: runs a whole stack on this machine, and operates a deployment.
//! Each command is a module with its `Options` and its `run`; this file only chooses.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::domain::{self, Domain};
use crate::local::{RunFile, keep_watch};
use crate::{call, migrate, new, parked, postgres, rebuild, start_epoch, status, tail, up, verify};

#[derive(Parser)]
#[command(name = "headwater", version, about = "CQRS for gRPC backends on Postgres")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything on this machine until Ctrl-C.
    Up(Box<up::Options>),
    /// Call any method: JSON in, JSON out.
    Call(call::Options),
    /// Show the pipeline: heads, checkpoints, replicas, lag, health.
    Status(status::Options),
    /// Follow the log, decoded.
    Tail(tail::Options),
    /// Check that what is stored is whole.
    Verify(verify::Options),
    /// Mend the rows of the views that are not what the log says.
    Repair(verify::views::Repair),
    /// Make anew what follows from the log.
    Rebuild(rebuild::Options),
    /// List, retry or drop events that could not be applied.
    Parked(parked::Options),
    /// Make a repository for a domain of your own.
    New(new::Options),
    /// Replay a file as commands of the sample domain.
    Load(headwater_domain_load::Options),
    /// Bring both databases' schemas to this version.
    Migrate(migrate::Options),
    /// Start a new epoch of the log after it was restored, and have the views made anew.
    StartEpoch(start_epoch::Options),
    /// Print the folder of the PostgreSQL server programs that `up` would use.
    Postgres(postgres::Options),
    /// Stop what a killed `up` leaves behind; started by `up` itself.
    #[command(hide = true)]
    Watchman,
}

/// Runs the command that the process was called with, on a domain.
pub fn run(domain: Domain) -> ExitCode {
    let command = Cli::parse().command;
    domain::set(domain);
    if let Command::Watchman = command {
        keep_watch(std::io::stdin().lock());
        return ExitCode::SUCCESS;
    }
    match carry_out(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("headwater: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False if the command did its work and found that something is wrong.
#[tokio::main]
async fn carry_out(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Up(options) => up::run(*options).await.map(|()| true),
        Command::Call(options) => call::run(options).await,
        Command::Status(options) => status::run(options).await,
        Command::Tail(options) => tail::run(options).await.map(|()| true),
        Command::Verify(options) => verify::run(options).await,
        Command::Repair(options) => verify::views::repair(&options).await,
        Command::Rebuild(options) => rebuild::run(options).await.map(|()| true),
        Command::Parked(options) => parked::run(options).await,
        Command::New(options) => new::run(&options).map(|()| true),
        Command::Load(options) => {
            let router = |data| RunFile::find(data).ok().map(|run| run.router.to_string());
            headwater_domain_load::run(options, router).await.map(|()| true)
        }
        Command::Migrate(options) => migrate::run(options).await.map(|()| true),
        Command::StartEpoch(options) => start_epoch::run(options).await.map(|()| true),
        Command::Postgres(options) => postgres::run(options).map(|()| true),
        Command::Watchman => Ok(true),
    }
}
