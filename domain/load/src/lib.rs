//! `headwater load sales FILE`: replays a file of retail sales as commands through the router.
//!
//! The file is read twice and never held: once to check it and to learn which stores, items and
//! units there are, once to record its sales. Ids and idempotency keys follow from the file alone,
//! so a load that was interrupted is run again: what had been applied is answered with its first
//! receipt, and the rest is done.

mod sale;

mod lines;

mod survey;

mod ids;

mod commands;

mod retry;

mod sender;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand, value_parser};
use futures_util::{Stream, StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use commands::{Command, Maker};
use sender::{Sender, Sent};
use survey::Survey;

/// Calls under way at once, unless said otherwise.
pub const CONCURRENCY: u16 = 16;

/// Commands in a call, unless said otherwise.
pub const BATCH: u16 = 100;

/// `headwater load …`.
#[derive(Args)]
pub struct Options {
    /// Contents of the file.
    #[command(subcommand)]
    pub what: What,
}

/// The kinds of files that can be loaded.
#[derive(Subcommand)]
pub enum What {
    /// Replays retail sales: a CSV file with the header store,product,quantity,amount,timestamp.
    ///
    /// Opens each store, lists each product that it sells at the mean price paid, receives the
    /// units that will be sold, and records each sale. `amount` is in minor units of the currency
    /// (cents), for all units of the line; `timestamp` is RFC 3339. The whole file is checked
    /// before anything is sent. An interrupted load is run again and ends in the same state, as
    /// long as the service keeps idempotency keys (HEADWATER_KEY_RETENTION_HOURS).
    Sales(Sales),
}

/// `headwater load sales …`.
#[derive(Args, Clone, Debug)]
pub struct Sales {
    /// The file.
    pub file: PathBuf,
    /// Address to send to: the router of what runs on this machine, unless given.
    #[arg(long)]
    pub router: Option<String>,
    /// Data folder of the `headwater up` to load into.
    #[arg(long, env = "HEADWATER_DATA")]
    pub data: Option<PathBuf>,
    /// Calls under way at once.
    #[arg(long, default_value_t = CONCURRENCY, value_parser = value_parser!(u16).range(1..=4096))]
    pub concurrency: u16,
    /// Commands in a call.
    #[arg(long, default_value_t = BATCH, value_parser = value_parser!(u16).range(1..=500))]
    pub batch: u16,
    /// Currency of all amounts, as an ISO 4217 code.
    #[arg(long, default_value = "USD")]
    pub currency: String,
    /// City of all stores, which the file does not tell.
    #[arg(long, default_value = "unknown")]
    pub city: String,
    /// Gives up when one command has found no answer for so many seconds.
    #[arg(long, default_value_t = 60)]
    pub patience: u64,
}

/// Counts of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Stores in the file.
    pub stores: u64,
    /// Items in the file: a product in a store.
    pub items: u64,
    /// Sales in the file.
    pub sales: u64,
    /// Commands that were applied now.
    pub applied: u64,
    /// Commands that had been applied by an earlier run.
    pub replays: u64,
    /// Stores and items that had been made by the load of another file.
    pub found: u64,
    /// Tries that were repeated.
    pub retries: u64,
    /// From the first command to the last.
    pub elapsed: Duration,
}

/// Runs the command, and prints the summary. Without a router among the options, `local` finds that
/// of what runs on this machine from a data folder.
///
/// # Errors
/// As [`sales`].
pub async fn run(
    options: Options,
    local: impl FnOnce(Option<PathBuf>) -> Option<String>,
) -> anyhow::Result<()> {
    let What::Sales(mut options) = options.what;
    if options.router.is_none() {
        options.router = local(options.data.clone());
    }
    let summary = tokio::select! {
        loaded = sales(options) => loaded?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted; the same command goes on where it stopped");
        }
    };
    println!("{summary}");
    Ok(())
}

/// Loads a file of sales.
///
/// # Errors
/// A line is malformed (nothing was sent then), the router cannot be reached, or a command is
/// refused.
pub async fn sales(options: Sales) -> anyhow::Result<Summary> {
    let patience = Duration::from_secs(options.patience);
    let sender = Sender::connect(router(&options), patience).await?;
    let survey = checked(&options).await?;
    let since = Instant::now();
    let maker = Maker::new(survey.digest, &options.currency, &options.city);
    let load = Load {
        sender: &sender,
        concurrency: options.concurrency.into(),
        batch: options.batch.into(),
    };
    // A store a call, since they are few.
    let stores = batches(maker.stores(&survey), 1).map(|batch| Ok(vec![batch?]));
    let mut sent = load.phase("opening stores", survey.stores.len(), stores).await?;
    // An item's stock is received right after it was listed, while its state is still cached.
    let listed = batches(maker.items(&survey), load.batch);
    let items = listed.zip(batches(maker.stock(&survey), load.batch));
    let items = items.map(|(listed, received)| Ok(vec![listed?, received?]));
    sent += load.phase("stocking items", 2 * survey.items.len(), items).await?;
    let sales = batches(maker.sales(survey.open_again(&options.file)?), load.batch);
    let sales = sales.map(|batch| Ok(vec![batch?]));
    sent += load.phase("recording sales", survey.sales as usize, sales).await?;
    Ok(Summary {
        stores: survey.stores.len() as u64,
        items: survey.items.len() as u64,
        sales: survey.sales,
        applied: sent.applied,
        replays: sent.replays,
        found: sent.found,
        retries: sent.retries,
        elapsed: since.elapsed(),
    })
}

fn router(options: &Sales) -> &str {
    options.router.as_deref().unwrap_or("127.0.0.1:50050")
}

async fn checked(options: &Sales) -> anyhow::Result<Survey> {
    let path = options.file.clone();
    let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    let bar = bar("checking the file", bytes, OF_BYTES);
    let surveyed = tokio::task::spawn_blocking(move || {
        let survey = Survey::of_file(&path, |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        survey.with_context(|| format!("cannot load {}", path.display()))
    });
    surveyed.await?
}

/// Sends commands in bounded numbers.
#[derive(Clone, Copy)]
struct Load<'a> {
    sender: &'a Sender,
    /// Calls under way.
    concurrency: usize,
    /// Commands in a call.
    batch: usize,
}

/// Commands of a call.
type Batch = Vec<Command>;

impl Load<'_> {
    /// Sends all of them, in any order, but the batches of one step one after the other; stops at
    /// the first that fails for good.
    async fn phase(
        &self,
        what: &'static str,
        count: usize,
        steps: impl Iterator<Item = anyhow::Result<Vec<Batch>>>,
    ) -> anyhow::Result<Sent> {
        let bar = bar(what, count as u64, OF_COMMANDS);
        let mut sending = self.under_way(steps);
        let mut sent = Sent::default();
        while let Some(result) = sending.next().await {
            sent += result.with_context(|| format!("{what}: stopped after {}", sent.commands()))?;
            bar.set_position(sent.commands());
        }
        bar.finish_and_clear();
        let seconds = bar.elapsed().as_secs_f64();
        let rate = count as f64 / seconds.max(0.001);
        eprintln!("  ✓ {what}: {count} ({seconds:.1} s, {rate:.0}/s)");
        Ok(sent)
    }

    fn under_way(
        &self,
        steps: impl Iterator<Item = anyhow::Result<Vec<Batch>>>,
    ) -> impl Stream<Item = anyhow::Result<Sent>> + Unpin {
        let send = async |step: anyhow::Result<Vec<Batch>>| {
            let mut sent = Sent::default();
            for batch in step? {
                sent += self.sender.send(batch).await?;
            }
            Ok(sent)
        };
        Box::pin(stream::iter(steps).map(send).buffer_unordered(self.concurrency))
    }
}

/// Divides commands into batches of this size.
fn batches(
    mut commands: impl Iterator<Item = anyhow::Result<Command>>,
    size: usize,
) -> impl Iterator<Item = anyhow::Result<Batch>> {
    let next = move || match commands.by_ref().take(size).collect::<anyhow::Result<Batch>>() {
        Ok(batch) if batch.is_empty() => None,
        batch => Some(batch),
    };
    std::iter::from_fn(next)
}

const OF_BYTES: &str = "  {msg:17} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const OF_COMMANDS: &str = "  {msg:17} {wide_bar} {human_pos}/{human_len} {rate} {eta}";

/// A progress bar on standard error; nothing where that is not a terminal.
fn bar(what: &'static str, count: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(count).with_message(what);
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.with_key("rate", rate)),
        Err(_) => bar,
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(0.001);
        let commands = self.applied + self.replays + self.found;
        writeln!(f, "{} stores, {} items, {} sales", self.stores, self.items, self.sales)?;
        write!(
            f,
            "{commands} commands in {seconds:.1} s ({:.0}/s): {} applied, {} replays",
            commands as f64 / seconds,
            self.applied,
            self.replays,
        )?;
        if self.found > 0 {
            write!(f, ", {} stores and items were there", self.found)?;
        }
        if self.retries > 0 {
            write!(f, "; {} tries repeated", self.retries)?;
        }
        Ok(())
    }
}
