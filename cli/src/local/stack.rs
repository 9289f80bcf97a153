//! A running stack: every process of a plan by its name, started in order and stopped in the
//! reverse. `headwater up` supervises one; the tests kill, pause and restart the members of theirs.

mod checkpoint;
mod databases;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::{join_all, try_join_all};

use crate::health;
use crate::local::plan::{Kind, Plan, Program};
use crate::local::postgres::{accepting, leftovers};
use crate::local::progress::Progress;
use crate::local::system::{Farewell, Launch, PortBlock, Process, Watchman};

use databases::Databases;

/// The word before a program's announcement of its addresses.
pub(super) const READY_WORD: &str = "headwater-ready ";

/// A program that has everything it needs is ready in well under a second; this allows for a busy
/// machine.
const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
/// Programs drain for ten seconds at most by default.
const DRAIN: Duration = Duration::from_secs(12);
const POSTGRES_STOP: Duration = Duration::from_secs(20);

/// Processes and what they were made from.
pub struct Stack {
    /// Plan of the stack.
    pub plan: Plan,
    /// Folder of the programs' binaries.
    pub binaries: PathBuf,
    // In this order they are dropped: what is killed is told to the watchman, and ports come last.
    running: BTreeMap<String, Process>,
    watchman: Arc<Watchman>,
    _ports: PortBlock,
}

impl Stack {
    /// A stack of which nothing runs yet.
    pub fn new(plan: Plan, binaries: PathBuf, watchman: Watchman, ports: PortBlock) -> Stack {
        let (watchman, running) = (Arc::new(watchman), BTreeMap::new());
        Stack { plan, binaries, running, watchman, _ports: ports }
    }

    /// Told of every process of this stack.
    pub fn watchman(&self) -> &Watchman {
        &self.watchman
    }

    /// Makes, recovers, starts and migrates the Postgres nodes.
    pub async fn start_databases(&mut self, progress: &Progress) -> anyhow::Result<()> {
        self.start_nodes(true, progress).await
    }

    /// The same without schemas: nodes that every stack of this shape can begin with.
    pub async fn start_bare_databases(&mut self, progress: &Progress) -> anyhow::Result<()> {
        self.start_nodes(false, progress).await
    }

    async fn start_nodes(&mut self, with_schemas: bool, progress: &Progress) -> anyhow::Result<()> {
        let (plan, watchman) = (&self.plan, &self.watchman);
        let processes = Databases { plan, watchman, progress, with_schemas }.start().await?;
        self.running.extend(processes.into_iter().map(|p| (p.launch().name.clone(), p)));
        Ok(())
    }

    /// Starts every program, and waits until each is ready if asked to: the services together, the
    /// router when they are, so that it is not seen to fail.
    pub async fn start_programs(&mut self, wait: bool, progress: &Progress) -> anyhow::Result<()> {
        let (routers, services): (Vec<String>, Vec<String>) = {
            let programs = self.plan.programs.iter();
            let (routers, services): (Vec<&Program>, Vec<&Program>) =
                programs.partition(|program| program.kind == Kind::Router);
            let names = |programs: Vec<&Program>| programs.iter().map(|p| p.name.clone()).collect();
            (names(routers), names(services))
        };
        for group in [services, routers] {
            let step = progress.step(format!("starting {}", group.join(", ")));
            for name in &group {
                self.start(name)?;
            }
            if wait {
                self.all_ready(&group).await?;
            }
            step.done();
        }
        Ok(())
    }

    /// Starts one member that is not running, without waiting for it.
    pub fn start(&mut self, name: &str) -> anyhow::Result<()> {
        let launch = self.launch(name)?;
        if self.running.get_mut(name).is_some_and(|process| process.exited().is_none()) {
            bail!("{name} runs already");
        }
        self.running.insert(name.to_owned(), Process::spawn(&launch, &self.watchman)?);
        Ok(())
    }

    /// Clears what a killed Postgres node left behind, so that it can be started again.
    pub async fn clear(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(node) = self.plan.node(name) else {
            return Ok(());
        };
        node.configure(&self.plan.host)?;
        leftovers::clear(&self.plan.host, &node.folder).await.map(drop)
    }

    fn launch(&self, name: &str) -> anyhow::Result<Launch> {
        let logs = self.plan.logs();
        let node = self.plan.node(name).map(|node| node.launch(&self.plan.host, &logs));
        let program = || self.plan.program(name).map(|p| p.launch(&self.binaries, &logs));
        node.or_else(program).with_context(|| format!("the stack has no '{name}'"))
    }

    /// Waits until a member answers: a node a statement, a program its readiness check.
    pub async fn ready(&mut self, name: &str) -> anyhow::Result<()> {
        let process = self.running.get_mut(name).with_context(|| format!("{name} does not run"))?;
        if let Some(node) = self.plan.node(name) {
            return accepting(process, &self.plan.superuser_url(node, "postgres")).await.map(drop);
        }
        let program = self.plan.program(name).context("a member is a node or a program")?;
        program_ready(program, process).await
    }

    async fn all_ready(&mut self, names: &[String]) -> anyhow::Result<()> {
        let plan = &self.plan;
        let members = self.running.iter_mut().filter(|(name, _)| names.contains(name));
        let waits = members.map(|(name, process)| async move {
            let program = plan.program(name).context("these are programs")?;
            program_ready(program, process).await
        });
        try_join_all(waits).await.map(drop)
    }

    /// A member's process, whether it still runs or not; `None` if it was never started.
    pub fn process(&mut self, name: &str) -> Option<&mut Process> {
        self.running.get_mut(name)
    }

    /// A member's process number; 0 if it was never started.
    pub fn pid(&self, name: &str) -> u32 {
        self.running.get(name).map_or(0, Process::pid)
    }

    /// Names of all members, in the order in which they are started.
    pub fn names(&self) -> Vec<String> {
        let nodes = self.plan.nodes.iter().map(|node| node.name.clone());
        nodes.chain(self.plan.programs.iter().map(|program| program.name.clone())).collect()
    }

    /// Stops everything in order: what takes requests first, what holds data last, so that nothing
    /// is cut off from what it needs. Gives the names of those that had to be killed.
    pub async fn stop(&mut self, progress: &Progress) -> Vec<String> {
        let mut killed = Vec::new();
        for (what, mut names) in self.stages() {
            names.retain(|name| self.running.contains_key(name));
            if names.is_empty() {
                continue;
            }
            let step = progress.step(format!("stopping {what}"));
            let standbys = self.standbys(&names);
            checkpoint::before_stop(&self.plan, &standbys).await;
            let members = self.running.iter_mut().filter(|(name, _)| names.contains(name));
            let stops = members.map(|(name, process)| async move {
                let farewell = process.launch().farewell;
                let deadline = if farewell == Farewell::Drain { DRAIN } else { POSTGRES_STOP };
                (!process.stop(farewell, deadline).await).then(|| name.clone())
            });
            killed.extend(join_all(stops).await.into_iter().flatten());
            step.done();
        }
        killed
    }

    /// Those of these members that are standbys and run.
    fn standbys(&mut self, names: &[String]) -> Vec<String> {
        let is_standby = |name: &str| self.plan.node(name).is_some_and(|n| n.role.is_standby());
        let standbys = self.running.iter_mut().filter(|(name, _)| names.contains(name));
        let standbys = standbys.filter(|(name, _)| is_standby(name));
        let running =
            standbys.filter_map(|(name, process)| process.exited().is_none().then(|| name.clone()));
        running.collect()
    }

    fn stages(&self) -> [(&'static str, Vec<String>); 4] {
        let programs = |is_router: bool| {
            let all = self.plan.programs.iter();
            all.filter(|p| (p.kind == Kind::Router) == is_router).map(|p| p.name.clone()).collect()
        };
        let nodes = |is_standby: bool| {
            let all = self.plan.nodes.iter();
            all.filter(|n| n.role.is_standby() == is_standby).map(|n| n.name.clone()).collect()
        };
        [
            ("the router", programs(true)),
            ("the services", programs(false)),
            ("the replicas", nodes(true)),
            ("the primaries", nodes(false)),
        ]
    }
}

/// Waits for a program's announcement and its readiness; fails early, with the end of its log, if
/// it stops.
async fn program_ready(program: &Program, process: &mut Process) -> anyhow::Result<()> {
    let until = Instant::now() + READY;
    loop {
        if let Some(status) = process.exited() {
            bail!("{} stopped at its start ({status}):\n{}", program.name, process.log_tail());
        }
        let missing = match process.said(READY_WORD) {
            None => "it has not announced its addresses".to_owned(),
            Some(_) => match health::ready(program.admin).await {
                Ok(()) => return Ok(()),
                Err(error) => format!("{error:#}"),
            },
        };
        if Instant::now() > until {
            let name = &program.name;
            bail!("{name} is not ready within {READY:?}: {missing}\n{}", process.log_tail());
        }
        tokio::time::sleep(POLL).await;
    }
}
