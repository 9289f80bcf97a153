//! `headwater status`: the pipeline from the log's heads to the replicas, and the health of every
//! program.

mod look;
mod render;

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::local::RunFile;

/// `headwater status …`.
#[derive(Args)]
pub struct Options {
    /// Prints JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// URL of the write database: that of what runs on this machine, unless given.
    #[arg(long, env = "HEADWATER_WRITE_URL", hide_env_values = true)]
    write_url: Option<String>,
    /// URLs of the read database's nodes, separated by commas.
    #[arg(long, env = "HEADWATER_READ_URLS", hide_env_values = true, value_delimiter = ',')]
    read_urls: Vec<String>,
    /// Data folder of the `headwater up` to look at.
    #[arg(long, env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
}

/// Prints what is going on; true if all is well.
///
/// # Errors
/// Nothing runs, and no URLs were given.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let places = places(&options)?;
    let status = look::look(&places).await;
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&status)?),
        false => print!("{}", render::render(&status)),
    }
    Ok(status.is_well())
}

fn places(options: &Options) -> anyhow::Result<look::Places> {
    if let Some(write_url) = &options.write_url {
        if options.read_urls.is_empty() {
            bail!("--write-url goes with --read-urls");
        }
        let named = |(n, url): (usize, &String)| (format!("node {}", n + 1), url.clone());
        return Ok(look::Places {
            write_url: write_url.clone(),
            read_urls: options.read_urls.iter().enumerate().map(named).collect(),
            programs: Vec::new(),
        });
    }
    let run = RunFile::find(options.data.clone())?;
    let programs = run.programs.iter().map(|p| (p.name.clone(), p.grpc, p.admin)).collect();
    Ok(look::Places { write_url: run.write_url, read_urls: run.read_urls, programs })
}
