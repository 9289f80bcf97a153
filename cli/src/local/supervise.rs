//! Keeps a started stack running, and stops it when told to.

mod logs;
mod orphans;
mod revival;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::local::progress::Progress;
use crate::local::run_file::RunFile;
use crate::local::stack::Stack;
use crate::local::system::Process;

use revival::{Next, Revival};

pub(crate) use logs::rotate as rotate_logs;
pub(crate) use orphans::{stop_nodes, stop_orphans};

const TICK: Duration = Duration::from_millis(200);
/// Signals closer together than this are one.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
const LOGS_EVERY: Duration = Duration::from_secs(10);
/// Ways in which the user says stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on these signals are ours and end nothing by themselves.
    pub(crate) fn listen() -> anyhow::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for Ctrl-C, SIGTERM, or the terminal's end.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Restarts what dies, until a signal comes.
pub(crate) async fn until_told(
    stack: &mut Stack,
    signals: &mut Signals,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut revivals = BTreeMap::new();
    let mut logs_due = Instant::now() + LOGS_EVERY;
    RunFile::of(&stack.plan, |name| stack.pid(name))?.write(&stack.plan.root)?;
    loop {
        tokio::select! {
            () = signals.next() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
        if revive(stack, &mut revivals, progress).await {
            RunFile::of(&stack.plan, |name| stack.pid(name))?.write(&stack.plan.root)?;
        }
        if Instant::now() >= logs_due {
            logs::cut(&stack.plan.logs())?;
            logs_due = Instant::now() + LOGS_EVERY;
        }
    }
}

/// Looks after every member once; true if one was started.
async fn revive(
    stack: &mut Stack,
    revivals: &mut BTreeMap<String, Revival>,
    progress: &Progress,
) -> bool {
    let mut has_started = false;
    for name in stack.names() {
        let Some((status, ran, log)) = stack.process(&name).and_then(death) else { continue };
        let revival = revivals.entry(name.clone()).or_default();
        match revival.next(ran, Instant::now(), rand::random()) {
            Next::Schedule(delay) => progress.say(&format!(
                "{name} ended ({status}); starting it again in {:.1} s. Its log: {}",
                delay.as_secs_f64(),
                log.display()
            )),
            Next::Wait => {}
            Next::Start => match restart(stack, &name).await {
                Ok(()) => has_started = true,
                Err(error) => progress.say(&format!("{name} cannot be started: {error:#}")),
            },
        }
    }
    has_started
}

/// Waits for a second signal. One Ctrl-C may come twice, to us and to our process group.
async fn impatience(signals: &mut Signals) {
    let since = Instant::now();
    while since.elapsed() < SAME_SIGNAL {
        signals.next().await;
    }
}

/// Exit status of a member, its age at the time, and its log; `None` while it runs.
fn death(process: &mut Process) -> Option<(ExitStatus, Duration, PathBuf)> {
    let status = process.exited()?;
    Some((status, process.since().elapsed(), process.launch().log.clone()))
}

async fn restart(stack: &mut Stack, name: &str) -> anyhow::Result<()> {
    stack.clear(name).await?;
    stack.start(name)
}

/// Stops everything in order; a second signal ends what takes too long.
pub(crate) async fn stop(stack: &mut Stack, signals: &mut Signals, progress: &Progress) {
    progress.say("stopping (once more to hurry)");
    let killed = tokio::select! {
        killed = stack.stop(progress) => killed,
        () = impatience(signals) => vec!["what was left".to_owned()],
    };
    match killed.as_slice() {
        [] => progress.say("stopped; the data is kept"),
        names => progress.say(&format!("stopped; had to kill {}", names.join(", "))),
    }
}
