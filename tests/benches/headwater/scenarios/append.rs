//! The append function called in a loop over one connection, as an appender does, by batches of one
//! command and of 64: what a call costs, and what a command adds to it.

use std::sync::Arc;

use headwater_eventlog::{Appender, EventLog, Outcome};
use headwater_kernel::Partition;
use headwater_tests::bench::fill::{command, sale};
use headwater_tests::bench::load::{Load, repeat};
use headwater_tests::bench::report::{Report, Sample, median};
use headwater_tests::harness::Options;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::report;
use crate::rig::{Pace, Rig, write_side};

const STREAMS: usize = 3_200;
const BATCH: usize = 64;
const ONE: &str = "append of 1";
const MANY: &str = "append of 64";

struct Streams {
    appender: Appender,
    streams: Vec<(Uuid, u64)>,
    next: usize,
}

impl Streams {
    /// Appends one event to each of the next streams.
    async fn append(&mut self, batch: usize) -> u64 {
        let chosen: Vec<usize> = (0..batch).map(|n| (self.next + n) % STREAMS).collect();
        self.next = (self.next + batch) % STREAMS;
        let commands = chosen.iter().map(|at| {
            let (stream, version) = self.streams[*at];
            command(stream, version, vec![sale("0198c9f0-0000-7000-8000-000000000000", 7)])
        });
        let commands: Vec<_> = commands.collect();
        let outcomes = self.appender.append(&commands).await.expect("appended");
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))));
        chosen.iter().for_each(|at| self.streams[*at].1 += 1);
        batch as u64
    }
}

pub async fn run(pace: Pace) -> anyhow::Result<Report> {
    let options = Options { command_svcs: 0, ..write_side() };
    let mut rig = Rig::start(options).await?;
    let log = EventLog::connect(&rig.cluster.command_url(), 1).await?;
    let streams = (0..STREAMS).map(|_| (Uuid::now_v7(), 0)).collect();
    let appender = log.appender(Partition(0));
    let streams = Arc::new(Mutex::new(Streams { appender, streams, next: 0 }));
    for _ in 0..pace.rounds {
        for (name, batch) in [(ONE, 1), (MANY, BATCH)] {
            rig.round(name, Load::closed(1, pace.time), |_, turns| {
                let streams = Arc::clone(&streams);
                repeat(turns, move || {
                    let streams = Arc::clone(&streams);
                    async move { streams.lock().await.append(batch).await }
                })
            })
            .await;
        }
    }
    let mut report = report(&rig.samples, &[]);
    report.text += &parts(&rig.samples);
    Ok(report)
}

/// Both batches' costs as a part of the call and a part of each command.
fn parts(samples: &[Sample]) -> String {
    let whole = |sample: &Sample| 1e6 / sample.rate;
    let server = |sample: &Sample| {
        let spent = sample.cost.cpu.get("write").copied().unwrap_or_default();
        spent.as_secs_f64() * 1e6 / sample.operations
    };
    let row = |name: &str, goal: &str, cost: &dyn Fn(&Sample) -> f64| {
        let of = |name: &str, factor: usize| {
            let samples = samples.iter().filter(|sample| sample.name == name);
            median(samples.map(|sample| cost(sample) * factor as f64))
        };
        let (one, many) = (of(ONE, 1), of(MANY, BATCH));
        let each = (many - one) / (BATCH - 1) as f64;
        format!("| {name} | {:.1} | {each:.2} | {goal} |\n", one - each)
    };
    let head = "\n| µs | by the call | by the command | goal |\n|---|---|---|---|\n";
    let rows = [row("whole append", "≤ 70 + 6", &whole), row("CPU of the server", "", &server)];
    format!("{head}{}", rows.concat())
}
