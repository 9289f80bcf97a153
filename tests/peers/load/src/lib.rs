//! Clients of peers under the bench's load: each reads a load a line, and answers with the round
//! that it made, so that the bench can take turns between systems.

use std::io::{BufRead as _, Write as _};

/// The bench's own load generator.
#[path = "../../../src/bench/load.rs"]
pub mod load;

use load::{Load, Round};

/// Items that each client changes in turn, as in the bench.
pub const ITEMS_PER_CLIENT: usize = 50;
/// Payload of an event: about the size of a recorded sale.
pub const PAYLOAD_BYTES: usize = 60;

/// Answers loads until standard input ends. Each line is a load as JSON; each answer is a line.
///
/// # Errors
/// A line is not understood, or the round fails.
pub async fn answer<F>(mut round: impl FnMut(Load) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<Round>>,
{
    println!("ready");
    let (sender, mut lines) = tokio::sync::mpsc::channel::<String>(1);
    // A thread of its own: standard input cannot be waited for otherwise.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        let load = serde_json::from_str(&line).ok().and_then(|value| Load::from_json(&value));
        let Some(load) = load else { anyhow::bail!("not a load: {line}") };
        let round = round(load).await?;
        println!("{}", round.to_json());
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The first argument.
///
/// # Errors
/// There is none.
pub fn url() -> anyhow::Result<String> {
    std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("give the server's URL"))
}
