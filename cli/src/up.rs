//! `headwater up`: a whole headwater on this machine, until Ctrl-C.
//!
//! Top to bottom: take the data folder, look whether it can work, plan, start, show, supervise,
//! stop.

mod options;
mod preflight;
mod summary;

use std::path::PathBuf;

use anyhow::Context;

use crate::local::{
    self, DataFolder, Host, Layout, Plan, PortBlock, Progress, RunFile, Secrets, Signals, Stack,
    Watchman, default_root, must_be_free,
};

pub use options::Options;

/// Runs the command until it is told to stop.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let progress = Progress::shown();
    let mut signals = Signals::listen()?;
    let root = options.data.clone().map_or_else(default_root, Ok)?;
    let mut data = DataFolder::open(&root)?;
    data.sign("headwater up")?;
    if options.wipe && data.has_data() {
        preflight::confirm_wipe(data.root(), options.yes)?;
    }
    local::stop_orphans(data.root()).await;
    if options.wipe {
        local::stop_nodes(data.root()).await?;
        data.wipe()?;
    }

    let host = preflight::host(&data, options.pg_bin.as_deref())?;
    let layout = preflight::layout(&data, &options, host.installation.major)?;
    preflight::disk(&data)?;
    must_be_free(options.router_listen).or_else(advise("choose another with --router-listen"))?;
    local::rotate_logs(&data.logs())?;

    let mut stack = plan(&data, host, &layout, &options)?;
    progress.say(&format!("headwater {} on {}", env!("CARGO_PKG_VERSION"), data.root().display()));
    progress.say(&format!("  {}", stack.plan.host.installation));
    let started = tokio::select! {
        started = start(&mut stack, &options, &progress) => started,
        _ = signals.next() => Err(anyhow::anyhow!("stopped before it was up")),
    };
    let outcome = match started {
        Ok(()) => {
            summary::show(&stack).await;
            local::until_told(&mut stack, &mut signals, &progress).await
        }
        Err(error) => Err(error),
    };
    local::stop(&mut stack, &mut signals, &progress).await;
    RunFile::remove(data.root());
    outcome
}

fn plan(
    data: &DataFolder,
    host: Host,
    layout: &Layout,
    options: &Options,
) -> anyhow::Result<Stack> {
    let shape = options.shape(layout);
    let mut ports = match options.port_base {
        Some(base) => {
            PortBlock::at(base, shape.ports()).or_else(advise("choose another --port-base"))?
        }
        None => PortBlock::find(seed(data), shape.ports())?,
    };
    data.keep_layout(layout)?;
    let has_nodes = ["write", "primary"].iter().any(|name| data.root().join(name).exists());
    let secrets = Secrets::load(&data.root().join("secrets.json"), !has_nodes)?;
    let plan = Plan::new(data.root(), host, secrets, &shape, &mut ports)?;
    let own = std::env::current_exe()?;
    let binaries = match &options.bin_dir {
        Some(folder) => folder.clone(),
        None => own.parent().map(PathBuf::from).context("a program has a folder")?,
    };
    Ok(Stack::new(plan, binaries, Watchman::start(&own)?, ports))
}

/// Adds what to do to the end of an error, after its causes.
fn advise<T>(what: &str) -> impl FnOnce(anyhow::Error) -> anyhow::Result<T> {
    move |error| Err(anyhow::anyhow!("{error:#}; {what}"))
}

/// The same for the same folder, so that a stack keeps its ports from run to run.
fn seed(data: &DataFolder) -> u64 {
    let bytes = data.root().as_os_str().as_encoded_bytes();
    // FNV-1a, 64 bits.
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

async fn start(stack: &mut Stack, options: &Options, progress: &Progress) -> anyhow::Result<()> {
    stack.start_databases(progress).await?;
    stack.start_programs(!options.no_wait, progress).await
}
