//! A peer's client process, which makes a round of load for each line that it is given.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::bench::load::{Load, Round};

/// Beyond the time of the load itself.
const ANSWER: Duration = Duration::from_secs(30);

/// A running client; it ends when this is dropped, or when the bench does.
pub struct Client {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    /// Starts it, and waits until it has connected.
    ///
    /// # Errors
    /// It cannot be started, or ends at once.
    pub async fn start(program: &Path, args: &[String]) -> anyhow::Result<Client> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot run {program:?}"))?;
        let input = child.stdin.take().context("a pipe")?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let mut client = Client { child, input, lines };
        if client.line(Duration::ZERO).await? != "ready" {
            bail!("{} is not ready", program.display());
        }
        Ok(client)
    }

    /// Makes one round.
    ///
    /// # Errors
    /// The client failed; its standard error is the bench's.
    pub async fn round(&mut self, load: Load) -> anyhow::Result<Round> {
        self.input.write_all(format!("{}\n", load.to_json()).as_bytes()).await?;
        let line = self.line(load.time).await?;
        let round = serde_json::from_str(&line).ok();
        round.as_ref().and_then(Round::from_json).with_context(|| format!("not a round: {line}"))
    }

    async fn line(&mut self, time: Duration) -> anyhow::Result<String> {
        let line = tokio::time::timeout(time + ANSWER, self.lines.next_line()).await;
        line.context("a peer's client does not answer")??.context("a peer's client has ended")
    }

    /// Process number.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}
