//! A later start of `make up` on a year of sales: how long until everything is ready, after the
//! stop of the run that took the sales in. The folder with the sales is made the first time, and
//! kept; each start is on a copy of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use headwater_cli::local::{RunFile, connect};
use headwater_eventlog::EventLog;
use headwater_tests::bench::fill::fill;
use headwater_tests::bench::report::{Report, median, number};
use headwater_tests::harness::{binaries, eventually};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::place_and_time;
use super::size::kept;
use crate::rig::Pace;

const EVENTS: usize = 2_700_000;
const QUICK_EVENTS: usize = 50_000;
/// The first start of all makes four Postgres nodes.
const READY: Duration = Duration::from_secs(120);
const STOPPED: Duration = Duration::from_secs(90);
/// The views take in 60,000 events a second.
const CAUGHT_UP: Duration = Duration::from_secs(300);

/// A running `headwater up`.
struct Up {
    child: Child,
    folder: PathBuf,
}

impl Up {
    /// Starts it, waits until it is ready, and tells how long that took.
    async fn start(folder: &Path) -> anyhow::Result<(Up, Duration)> {
        let started = Instant::now();
        let mut command = Command::new(binaries()?.join("headwater"));
        command.args(["up", "--router-listen", "127.0.0.1:0", "--data"]).arg(folder);
        let log = std::fs::File::create(folder.with_extension("log"))?;
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.kill_on_drop(true).spawn()?;
        let up = Up { child, folder: folder.to_owned() };
        let own = up.child.id();
        eventually(READY, || async {
            let run = RunFile::read(folder).map_err(|error| format!("{error:#}"))?;
            let own = run.is_some_and(|run| Some(run.supervisor.pid) == own);
            if own { Ok(()) } else { Err(format!("it does not run on {folder:?}")) }
        })
        .await;
        Ok((up, started.elapsed()))
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.context("it runs")?, Signal::INT)?;
        tokio::time::timeout(STOPPED, self.child.wait()).await.context("it does not stop")??;
        Ok(())
    }
}

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let events = if pace.is_quick { QUICK_EVENTS } else { EVENTS };
    let year = kept(&format!("year-{events}"))?;
    if !year.exists() {
        make(&year, events).await?;
    }
    let copy = kept("start")?;
    let mut times = Vec::new();
    for _ in 0..pace.rounds.min(3) {
        remove(&copy)?;
        let copied = std::process::Command::new("cp").arg("-Rp").arg(&year).arg(&copy).status()?;
        if !copied.success() {
            bail!("cannot copy {} to {}", year.display(), copy.display());
        }
        let (up, took) = Up::start(&copy).await?;
        println!("  ready after {took:.2?}");
        times.push(took.as_secs_f64());
        up.stop().await?;
    }
    remove(&copy)?;
    let each: Vec<String> = times.iter().map(|time| format!("{time:.1}")).collect();
    let text = format!(
        "{}\n\n| start with {events} events | rounds | goal |\n|---|---|---|\n| {} s | {} | ≤ 4 s |\n",
        place_and_time(),
        number(median(times)),
        each.join(" ")
    );
    Ok(Report { text, plots: Vec::new() })
}

/// A folder whose first run took in the events and was stopped. Under its name only when whole.
async fn make(year: &Path, events: usize) -> anyhow::Result<()> {
    println!("  making a log of {events} events and its views, which is kept in {year:?}");
    let unfinished = year.with_extension("unfinished");
    remove(&unfinished)?;
    std::fs::create_dir_all(&unfinished)?;
    let (up, took) = Up::start(&unfinished).await?;
    println!("  first start of all: {took:.2?}");
    let run = RunFile::read(&up.folder)?.context("it runs")?;
    let log = EventLog::connect(&run.write_owner_url, 1).await?;
    fill(&log, events).await?;
    let filled = Instant::now();
    eventually(CAUGHT_UP, || async {
        let ends = [
            (&run.write_owner_url, "SELECT max(position) FROM headwater_log.event"),
            (
                &run.read_owner_url,
                "SELECT sum(p)::bigint FROM headwater_read.checkpoint, unnest(positions) p",
            ),
        ];
        let mut places = Vec::new();
        for (url, sql) in ends {
            let client = connect(url).await.map_err(|error| format!("{error:#}"))?;
            let row = client.query_one(sql, &[]).await.map_err(|error| error.to_string())?;
            places.push(row.get::<_, i64>(0));
        }
        if places[0] == places[1] { Ok(()) } else { Err(format!("{places:?}")) }
    })
    .await;
    println!("  the views had caught up {:.1?} later", filled.elapsed());
    log.close().await;
    up.stop().await?;
    std::fs::rename(&unfinished, year)?;
    Ok(())
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}
