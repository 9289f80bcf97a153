//! `headwater tail`: follows the log, decoded, one line of JSON an event.

use std::io::Write as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use headwater_eventlog::{EventLog, Head};
use headwater_kernel::{Partition, Position, RecordedEvent};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use crate::call::shown;
use crate::local::RunFile;

/// Time to wait for a hint before looking anyway.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events read at once.
const CHUNK: u32 = 1_000;

/// `headwater tail …`.
#[derive(Args)]
pub struct Options {
    /// Place to begin at: `end` (only what comes), `start`, or a position.
    #[arg(long, default_value = "end")]
    from: From,
    /// Only this partition; all of them unless given.
    #[arg(long)]
    partition: Option<u16>,
    /// Only events whose type's name contains this.
    #[arg(long, value_name = "TEXT")]
    pub r#type: Option<String>,
    /// Stops at the end instead of waiting for more.
    #[arg(long)]
    no_follow: bool,
    /// URL of the write database: that of what runs on this machine, unless given.
    #[arg(long, env = "HEADWATER_WRITE_URL", hide_env_values = true)]
    write_url: Option<String>,
    /// Data folder of the `headwater up` to follow.
    #[arg(long, env = "HEADWATER_DATA")]
    data: Option<PathBuf>,
}

/// Place to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With what comes next.
    End,
    /// After this position.
    After(Position),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "end" => Ok(Self::End),
            "start" => Ok(Self::After(Position(0))),
            text => match text.parse::<u64>() {
                Ok(position) if position > 0 => Ok(Self::After(Position(position - 1))),
                _ => Err("must be `end`, `start` or a position from 1".to_owned()),
            },
        }
    }
}

/// Prints events until interrupted, or until the end with `--no-follow`.
///
/// # Errors
/// The log cannot be reached, or is corrupt.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let url = match &options.write_url {
        Some(url) => url.clone(),
        None => RunFile::find(options.data.clone())?.write_url,
    };
    let log = EventLog::connect(&url, 2).await?;
    let pool = DescriptorPool::decode(crate::domain::domain().descriptors)?;
    let mut places = places(&log, &options).await?;
    let mut wakeups = log.wakeups().await?;
    loop {
        let mut is_caught_up = true;
        for (partition, head) in &mut places {
            is_caught_up &=
                step(&log, *partition, head, |event| print(&pool, &options, event)).await?;
        }
        if !is_caught_up {
            continue;
        }
        if options.no_follow {
            return Ok(());
        }
        if let Ok(Err(error)) = tokio::time::timeout(LOOK_EVERY, wakeups.next()).await {
            return Err(error).context("lost the connection; start again with --from");
        }
    }
}

/// Prints the next chunk; true if there is no more.
async fn step(
    log: &EventLog,
    partition: Partition,
    head: &mut Head,
    mut print: impl FnMut(&RecordedEvent) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let chunk = log.read(partition, head, CHUNK).await?;
    chunk.events.iter().try_for_each(&mut print)?;
    *head = chunk.end;
    Ok(chunk.caught_up)
}

async fn places(log: &EventLog, options: &Options) -> anyhow::Result<Vec<(Partition, Head)>> {
    let partitions = log.info().partitions;
    if let Some(wanted) = options.partition.filter(|wanted| *wanted >= partitions) {
        bail!("there is no partition {wanted}: the log has {partitions}, numbered from 0");
    }
    let heads = log.heads().await?.heads;
    let mut places = Vec::new();
    for (number, head) in heads.into_iter().enumerate() {
        let partition = Partition(number as u16);
        if options.partition.is_some_and(|wanted| wanted != partition.0) {
            continue;
        }
        let place = match options.from {
            From::End => head,
            From::After(position) => log.place_before(partition, position).await?,
        };
        places.push((partition, place));
    }
    Ok(places)
}

fn print(pool: &DescriptorPool, options: &Options, event: &RecordedEvent) -> anyhow::Result<()> {
    // Reading begins where an append ended, which may lie before the place asked for.
    let is_early = matches!(options.from, From::After(position) if event.position <= position);
    let is_wanted = options.r#type.as_deref().is_none_or(|text| event.type_name.contains(text));
    if is_early || !is_wanted {
        return Ok(());
    }
    let line = render(pool, event)?;
    writeln!(std::io::stdout().lock(), "{line}").context("nobody reads any more")
}

/// An event as one JSON object.
pub(crate) fn render(pool: &DescriptorPool, event: &RecordedEvent) -> anyhow::Result<Value> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("partition", json!(event.partition.0));
    put("position", json!(event.position.0));
    put("recorded", json!(event.recorded_at.format(&Rfc3339)?));
    put("stream", json!(event.stream.to_string()));
    put("version", json!(event.version.0));
    put("type", json!(event.type_name));
    put("schema_version", json!(event.schema_version));
    put("data", data(pool, event));
    put("command", json!(event.command_id.to_string()));
    if let Some(caller) = &event.caller {
        put("caller", json!(caller));
    }
    if let Some(traceparent) = &event.traceparent {
        put("traceparent", json!(traceparent));
    }
    Ok(Value::Object(object))
}

/// The payload as JSON; as hexadecimal if this program does not know its type.
fn data(pool: &DescriptorPool, event: &RecordedEvent) -> Value {
    let message = pool
        .get_message_by_name(&event.type_name)
        .and_then(|known| DynamicMessage::decode(known, event.payload.as_slice()).ok());
    let value = message.and_then(|message| {
        message.serialize_with_options(serde_json::value::Serializer, &shown()).ok()
    });
    let hex = || event.payload.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    value.unwrap_or_else(|| Value::String(hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        let after = |position| Ok(From::After(Position(position)));
        assert_eq!("end".parse(), Ok(From::End));
        assert_eq!("start".parse(), after(0));
        assert_eq!("1".parse(), after(0));
        assert_eq!("42".parse(), after(41));
        assert!("0".parse::<From>().is_err());
        assert!("x".parse::<From>().is_err());
    }
}
