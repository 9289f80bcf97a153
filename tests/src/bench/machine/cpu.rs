//! CPU time of process trees, as the kernel accounts for it. Linux only; elsewhere the columns stay
//! empty.
//!
//! Read from `/proc` and not by the crate `sysinfo`, which gives a process's own time alone.
//! Backends and autovacuum workers of Postgres end within a measurement; from then on their time
//! stands only in what the postmaster has collected of its children.

use std::collections::BTreeMap;
use std::time::Duration;

/// Processes to watch, by the name they are reported under.
#[derive(Clone, Debug, Default)]
pub struct Watched(pub Vec<(String, u32)>);

/// CPU time of each since its start, with all its children, ended ones included.
pub type Times = BTreeMap<String, Duration>;

impl Watched {
    /// Reads all of them; a process that is gone counts as zero.
    pub fn read(&self) -> Times {
        let tick = Duration::from_secs(1) / ticks_per_second();
        let stats = all_stats();
        let roots: Vec<u32> = self.0.iter().map(|(_, pid)| *pid).collect();
        self.0
            .iter()
            .map(|(name, pid)| (name.clone(), tick * ticks_of_tree(*pid, &roots, &stats) as u32))
            .collect()
    }
}

/// CPU time that each spent between two readings.
pub fn spent(before: &Times, after: &Times) -> Times {
    after
        .iter()
        .map(|(name, time)| {
            (name.clone(), time.saturating_sub(before.get(name).copied().unwrap_or_default()))
        })
        .collect()
}

struct Stat {
    pid: u32,
    parent: u32,
    /// User and system time, of its own.
    own: u64,
    /// The same of the children it has collected.
    collected: u64,
}

fn all_stats() -> Vec<Stat> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read_stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read_stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; the fields after it do not. See proc_pid_stat(5).
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: field(1)? as u32,
        own: field(11)? + field(12)?,
        collected: field(13)? + field(14)?,
    })
}

/// Of a process and what it started, less the other roots: the measuring process has started all
/// the others.
fn ticks_of_tree(root: u32, roots: &[u32], stats: &[Stat]) -> u64 {
    let mut members = vec![root];
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        let children = stats.iter().filter(|stat| stat.parent == parent).map(|stat| stat.pid);
        members.extend(children.filter(|pid| !roots.contains(pid)));
        next += 1;
    }
    let inside = stats.iter().filter(|stat| members.contains(&stat.pid));
    inside.map(|stat| stat.own + stat.collected).sum()
}

/// 100 on every Linux that matters (USER_HZ).
fn ticks_per_second() -> u32 {
    100
}
