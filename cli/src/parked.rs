//! `headwater parked list | show | retry | drop`: events that a projection could not apply, and the
//! rows that wait behind them.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use headwater_eventlog::EventLog;
use headwater_kernel::{Position, RecordedEvent};
use headwater_projector::parked::{Waiting, list_all};
use headwater_projector::projection::Projection;
use headwater_projector::retry::{Retried, Retry, RetryError, Which};
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::local::RunFile;
use crate::{table, tail};

/// In the place of a view: the key is that of a stream, none of whose events is applied.
const STREAM: &str = "-";

/// `headwater parked …`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    places: Places,
    /// Work to do.
    #[command(subcommand)]
    what: What,
}

/// Connections: those of what runs on this machine, unless given.
#[derive(Args)]
struct Places {
    /// The write database, which holds the log.
    #[arg(long, global = true, env = "HEADWATER_WRITE_URL", hide_env_values = true)]
    write_url: Option<String>,
    /// The read database, as its owner: postgres://owner:…@host/database.
    #[arg(long, global = true, env = "HEADWATER_READ_OWNER_URL", hide_env_values = true)]
    read_owner_url: Option<String>,
    /// Data folder of the `headwater up` to look at.
    #[arg(long, global = true, env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
}

/// Actions on parked events.
#[derive(Subcommand)]
enum What {
    /// Show what waits, and behind which event.
    List {
        /// Prints JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show the event that a row waits behind, decoded.
    Show(Row),
    /// Fold rows on from where they stopped, with all that followed.
    Retry {
        #[command(flatten)]
        row: OptionalRow,
        /// Everything that waits.
        #[arg(long, conflicts_with_all = ["view", "key"], required_unless_present = "view")]
        all: bool,
    },
    /// Leave the event that a row waits behind out of it for good, and fold what followed.
    Drop {
        #[command(flatten)]
        row: Row,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
        /// Name to keep beside what was dropped.
        #[arg(long, env = "USER", default_value = "unknown")]
        by: String,
    },
}

/// A row that waits.
#[derive(Args)]
struct Row {
    /// The view; `-` for a stream.
    view: String,
    /// Key of the row; id of the stream.
    key: String,
}

/// A row that waits, or none.
#[derive(Args)]
struct OptionalRow {
    /// The view; `-` for a stream.
    #[arg(requires = "key")]
    view: Option<String>,
    /// Key of the row; id of the stream.
    key: Option<String>,
}

/// The databases.
struct Urls {
    write: String,
    read: String,
}

/// Does it; false if something waits still.
///
/// # Errors
/// A database cannot be reached, or nothing of that name waits.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let urls = options.places.urls()?;
    match options.what {
        What::List { json } => show_all(&list_all(&urls.read).await?, json).map(|()| true),
        What::Show(row) => row.show(&urls).await.map(|()| true),
        What::Retry { row: OptionalRow { view: Some(view), key: Some(key) }, .. } => {
            retry_one(&urls, &Row { view, key }).await
        }
        What::Retry { .. } => retry_all(&urls).await,
        What::Drop { row, yes, by } => drop_one(&urls, &row, yes, &by).await,
    }
}

impl Places {
    fn urls(self) -> anyhow::Result<Urls> {
        if let (Some(write), Some(read)) = (&self.write_url, &self.read_owner_url) {
            return Ok(Urls { write: write.clone(), read: read.clone() });
        }
        if self.write_url.is_some() || self.read_owner_url.is_some() {
            bail!("--write-url goes with --read-owner-url");
        }
        let run = RunFile::find(self.data)?;
        Ok(Urls { write: run.write_url, read: run.read_owner_url })
    }
}

impl Row {
    /// The view as the database has it.
    fn stored_view(&self) -> &str {
        if self.view == STREAM { "" } else { &self.view }
    }

    async fn find(&self, urls: &Urls) -> anyhow::Result<Waiting> {
        let waits = |w: &Waiting| w.view == self.stored_view() && w.row_key == self.key;
        let found = list_all(&urls.read).await?.into_iter().find(waits);
        found.with_context(|| format!("{} {} does not wait", self.view, self.key))
    }

    async fn show(&self, urls: &Urls) -> anyhow::Result<()> {
        let waiting = self.find(urls).await?;
        let mut object = entry(&waiting)?;
        let pool = DescriptorPool::decode(crate::domain::domain().descriptors)?;
        object["event"] = tail::render(&pool, &event(urls, &waiting).await?)?;
        println!("{}", serde_json::to_string_pretty(&object)?);
        Ok(())
    }
}

/// The event, from the log.
async fn event(urls: &Urls, waiting: &Waiting) -> anyhow::Result<RecordedEvent> {
    let log = EventLog::connect(&urls.write, 1).await?;
    let before = Position(waiting.position.0.saturating_sub(1));
    let place = log.place_before(waiting.partition, before).await?;
    let chunk = log.read(waiting.partition, &place, 1).await?;
    let found = chunk.events.into_iter().find(|event| event.position == waiting.position);
    found.context("the log does not have the event: is it the one that the views are of?")
}

fn shown_view(view: &str) -> &str {
    if view.is_empty() { STREAM } else { view }
}

fn entry(waiting: &Waiting) -> anyhow::Result<Value> {
    Ok(json!({
        "projection": waiting.projection,
        "view": shown_view(&waiting.view),
        "key": waiting.row_key,
        "partition": waiting.partition.0,
        "position": waiting.position.0,
        "type": waiting.type_name,
        "since": waiting.parked_at.format(&Rfc3339)?,
        "error": waiting.error,
    }))
}

fn show_all(waiting: &[Waiting], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let entries: Vec<Value> = waiting.iter().map(entry).collect::<anyhow::Result<_>>()?;
        println!("{}", serde_json::to_string_pretty(&entries)?);
        return Ok(());
    }
    if waiting.is_empty() {
        println!("nothing is parked");
        return Ok(());
    }
    lines(waiting)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn lines(waiting: &[Waiting]) -> anyhow::Result<Vec<String>> {
    let header = ["projection", "view", "key", "position", "type", "since", "error"];
    let mut rows = Vec::new();
    for each in waiting {
        // Without fractions of a second, which nobody reads.
        let since = each.parked_at.replace_nanosecond(0)?.format(&Rfc3339)?;
        rows.push([
            each.projection.clone(),
            shown_view(&each.view).to_owned(),
            each.row_key.clone(),
            format!("{}:{}", each.partition.0, each.position.0),
            each.type_name.clone(),
            since,
            each.error.clone(),
        ]);
    }
    Ok(table::lines(header, rows))
}

fn projection(name: &str) -> anyhow::Result<Projection> {
    let all = (crate::domain::domain().projections)();
    let found = all.into_iter().find(|projection| projection.name() == name);
    found.with_context(|| format!("this program does not have the projection {name}"))
}

async fn retry_one(urls: &Urls, row: &Row) -> anyhow::Result<bool> {
    let waiting = row.find(urls).await?;
    let which = Which::One(waiting.view, waiting.row_key);
    let mut retry = Retry::open(&urls.write, &urls.read, projection(&waiting.projection)?).await?;
    Ok(tell(&retry.again(&which).await?))
}

async fn retry_all(urls: &Urls) -> anyhow::Result<bool> {
    let mut is_well = true;
    for projection in (crate::domain::domain().projections)() {
        let mut retry = Retry::open(&urls.write, &urls.read, projection).await?;
        is_well &= tell(&retry.again(&Which::All).await?);
    }
    Ok(is_well)
}

async fn drop_one(urls: &Urls, row: &Row, yes: bool, by: &str) -> anyhow::Result<bool> {
    let waiting = row.find(urls).await?;
    if !yes && !is_confirmed(&waiting)? {
        bail!("nothing was dropped");
    }
    let mut retry = Retry::open(&urls.write, &urls.read, projection(&waiting.projection)?).await?;
    let dropped = retry.drop_event(&waiting.view, &waiting.row_key, by).await;
    if let Err(RetryError::NotParked) = dropped {
        bail!("it does not wait any more: nothing was dropped");
    }
    println!("dropped the event at {}:{}", waiting.partition.0, waiting.position.0);
    Ok(tell(&dropped?))
}

fn is_confirmed(waiting: &Waiting) -> anyhow::Result<bool> {
    println!(
        "{} at {}:{} will never be applied to {} {}, unless the views are filled anew.",
        waiting.type_name,
        waiting.partition.0,
        waiting.position.0,
        shown_view(&waiting.view),
        waiting.row_key
    );
    print!("Type `yes` to drop it: ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Prints what came of it; true if nothing of it waits any more.
fn tell(retried: &Retried) -> bool {
    println!("{} released, {} rows written", retried.released, retried.rows);
    for (view, key, error) in &retried.still {
        println!("waits still: {} {key}: {error}", shown_view(view));
    }
    retried.still.is_empty()
}

#[cfg(test)]
mod tests {
    use headwater_kernel::{Partition, StreamId};
    use time::OffsetDateTime;

    use super::*;

    fn waiting(view: &str) -> Waiting {
        Waiting {
            projection: "retail".to_owned(),
            view: view.to_owned(),
            row_key: "k".to_owned(),
            error: "no row".to_owned(),
            partition: Partition(1),
            position: Position(7),
            stream: StreamId(uuid::Uuid::nil()),
            type_name: "x.Y".to_owned(),
            recorded_at: OffsetDateTime::UNIX_EPOCH,
            parked_at: OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(1_500),
            folded: None,
        }
    }

    #[test]
    fn what_waits_is_a_line_each() {
        let lines = lines(&[waiting("item"), waiting("")]).expect("rendered");
        let expected = [
            "projection  view  key  position  type  since                 error",
            "retail      item  k    1:7       x.Y   1970-01-01T00:00:01Z  no row",
            "retail      -     k    1:7       x.Y   1970-01-01T00:00:01Z  no row",
        ];
        assert_eq!(lines, expected);
    }
}
