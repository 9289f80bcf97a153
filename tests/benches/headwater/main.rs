//! Headwater beside its peers: `make bench`, or `make bench-NAME` for one scenario. BENCHMARKS.md
//! tells what each measures, and `make bench ARGS=--quick` shows in three minutes that all work.
//!
//! Options: names of scenarios (none: all), `--quick`, `--rounds N`, `--seconds N` of each round,
//! `--minutes N` after which no other scenario begins, `--list`.

mod rig;
mod scenarios;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use futures_util::FutureExt as _;
use headwater_tests::bench::report::{Output, Report};

use rig::Pace;
use scenarios::SCENARIOS;

/// `make bench` ends within this time.
const MINUTES: u32 = 20;
/// No scenario takes longer.
const SCENARIO_MAX: Duration = Duration::from_secs(600);

struct Options {
    names: Vec<String>,
    pace: Pace,
    /// Time for all of them; what is made once and kept does not count.
    time: Duration,
}

fn options() -> anyhow::Result<Options> {
    let mut names = Vec::new();
    let mut pace = Pace { rounds: 5, time: Duration::from_secs(4), is_quick: false };
    let mut minutes = MINUTES;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || -> anyhow::Result<u32> {
            let value = args.next().with_context(|| format!("{arg} needs a number"))?;
            value.parse().context(arg.clone())
        };
        match arg.as_str() {
            "--quick" => pace = Pace { rounds: 1, time: Duration::from_secs(1), is_quick: true },
            "--rounds" => pace.rounds = value()? as usize,
            "--seconds" => pace.time = Duration::from_secs(1) * value()?,
            "--minutes" => minutes = value()?,
            // What cargo says to every bench.
            "--bench" => {}
            "--list" => {
                for (name, about, _) in SCENARIOS {
                    println!("{name:10} {about}");
                }
                std::process::exit(0);
            }
            name if SCENARIOS.iter().any(|(known, ..)| *known == name) => names.push(arg),
            other => bail!("'{other}' is neither a scenario nor an option; --list shows them"),
        }
    }
    Ok(Options { names, pace, time: Duration::from_secs(60) * minutes })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = options()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a parent")?;
    let output = Output {
        folder: target()?.join("bench"),
        repository: (!options.pace.is_quick).then(|| root.to_owned()),
    };
    let is_wanted =
        |name: &str| options.names.is_empty() || options.names.iter().any(|wanted| wanted == name);
    if is_wanted("size") {
        scenarios::size::prepare(&options.pace).await?;
    }
    let until = Instant::now() + options.time;
    let mut failed = Vec::new();
    for (name, about, scenario) in SCENARIOS.into_iter().filter(|(name, ..)| is_wanted(name)) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            println!("{name}: not begun, the time is over");
            continue;
        }
        println!("{name}: {about}");
        let started = Instant::now();
        let measured = measured(scenario(options.pace.clone()), left.min(SCENARIO_MAX)).await;
        match measured.and_then(|report| output.write(name, &report).map(|()| report)) {
            Ok(report) => println!("{}\n({name} took {:.0?})\n", report.text, started.elapsed()),
            Err(error) => {
                println!("{name} failed: {error:#}\n");
                failed.push(name);
            }
        }
    }
    println!("written to {}", output.folder.display());
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
        std::process::exit(1);
    }
    Ok(())
}

/// One scenario within its time. If it panics (a client got no answer, a program logged an error),
/// the others go on.
async fn measured(
    scenario: impl Future<Output = anyhow::Result<Report>>,
    time: Duration,
) -> anyhow::Result<Report> {
    let caught = AssertUnwindSafe(tokio::time::timeout(time, scenario)).catch_unwind().await;
    caught.map_err(|_| anyhow!("it panicked; see above"))?.context("it took too long")?
}

/// The folder that cargo builds in.
fn target() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/<profile>/deps/<bench>
    Ok(own.ancestors().nth(3).context("a bench lies in target/<profile>/deps")?.to_owned())
}
