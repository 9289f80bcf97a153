//! What the operating system knows of other processes: who they are, their children, where they
//! work.
//!
//! Linux answers from `/proc`; elsewhere `ps` does, which knows no working folders.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal};

/// Tells a process from a later one with the same number: a pid alone is reused, soon so in a
/// container. `None` once it is gone (or is a zombie that nobody has collected).
pub fn identity(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let stat = Stat::read(pid)?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        return (stat.state != 'Z').then(|| format!("{} {}", boot.trim(), stat.started));
    }
    let output =
        Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let started = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!started.is_empty()).then_some(started)
}

/// All processes below this one, parents before children.
pub fn descendants(pid: u32) -> Vec<u32> {
    let pairs = parents();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(pairs.iter().filter(|(_, p)| *p == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.remove(0);
    found
}

/// Processes whose working folder is this one; Postgres, its backends included, works in its data
/// folder. Always empty where the system does not say.
pub fn working_in(folder: &Path) -> Vec<u32> {
    let Ok(folder) = folder.canonicalize() else {
        return Vec::new();
    };
    let works_there =
        |pid: &u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder);
    all_pids().into_iter().filter(works_there).collect()
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // Gone already (ESRCH) is the only failure for a process of ours.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Sends a signal to a process and all below it. The parent first, so that a stopped one forks no
/// more.
pub fn signal_tree(pid: u32, what: Signal) {
    signal(pid, what);
    for child in descendants(pid) {
        signal(child, what);
    }
}

/// (pid, parent) of every process.
fn parents() -> Vec<(u32, u32)> {
    if cfg!(target_os = "linux") {
        let pair = |pid: u32| Stat::read(pid).map(|stat| (pid, stat.parent));
        return all_pids().into_iter().filter_map(pair).collect();
    }
    let Ok(output) = Command::new("ps").args(["-axo", "pid=,ppid="]).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(pid_and_parent).collect()
}

fn pid_and_parent(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn all_pids() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pid =
        |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    entries.filter_map(pid).collect()
}

/// The fields of `/proc/<pid>/stat` that matter here.
struct Stat {
    state: char,
    parent: u32,
    /// Clock ticks since boot at which it started.
    started: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command's name stands in brackets and may hold spaces and brackets: count from the last
    /// one.
    fn parse(line: &str) -> Option<Stat> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_hostile_name_is_read() {
        let line = "42 (a ) R (b) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        let stat = Stat::parse(line).expect("a stat line");
        assert_eq!((stat.state, stat.parent, stat.started), ('S', 7, 98_765));
    }

    #[test]
    fn a_child_is_seen_identified_and_missed_after_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child =
            Command::new("sleep").arg("60").current_dir(&folder).spawn().expect("a child");
        let pid = child.id();
        let first = identity(pid);
        assert!(first.is_some());
        assert_eq!(identity(pid), first);
        assert!(descendants(std::process::id()).contains(&pid));
        if cfg!(target_os = "linux") {
            assert_eq!(working_in(folder.path()), vec![pid]);
        }
        signal_tree(pid, Signal::KILL);
        child.wait().expect("its end");
        assert_eq!(identity(pid), None);
        assert!(!descendants(std::process::id()).contains(&pid));
    }
}
