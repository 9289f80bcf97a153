//! Facts that the operating system knows of other processes: their identity, their children, their
//! working folders.
//!
//! Asking raises this process's limit of open files to the highest that it may have, which its
//! children inherit: sysinfo does so for its own sake.

use std::path::Path;

use rustix::process::Signal;
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

/// Tells a process from a later one with the same number: a pid alone is reused, soon so in a
/// container. `None` once it is gone (or is a zombie that nobody has collected).
pub fn identity(pid: u32) -> Option<String> {
    let pid = Pid::from_u32(pid);
    let system = processes(ProcessesToUpdate::Some(&[pid]), ProcessRefreshKind::nothing());
    let process =
        system.process(pid).filter(|process| process.status() != ProcessStatus::Zombie)?;
    if cfg!(target_os = "linux") {
        // Counted from the boot: the time of day of the start changes when somebody sets the clock.
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let seconds = process.start_time().saturating_sub(System::boot_time());
        return Some(format!("{} {seconds}", boot.trim()));
    }
    Some(process.start_time().to_string())
}

/// All processes below this one, parents before children.
pub fn descendants(pid: u32) -> Vec<u32> {
    let system = processes(ProcessesToUpdate::All, ProcessRefreshKind::nothing());
    let mut found = vec![Pid::from_u32(pid)];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = system.processes().values().filter(|child| child.parent() == Some(parent));
        found.extend(children.map(|child| child.pid()));
        next += 1;
    }
    found.into_iter().skip(1).map(Pid::as_u32).collect()
}

/// Processes whose working folder is this one; Postgres, its backends included, works in its data
/// folder. Those of other users are seen by root only.
pub fn working_in(folder: &Path) -> Vec<u32> {
    let Ok(folder) = folder.canonicalize() else {
        return Vec::new();
    };
    let with_folders = ProcessRefreshKind::nothing().with_cwd(UpdateKind::Always);
    let system = processes(ProcessesToUpdate::All, with_folders);
    let there = system.processes().values().filter(|process| process.cwd() == Some(&folder));
    there.map(|process| process.pid().as_u32()).collect()
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
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

/// Facts asked for of these processes, as they are now; threads are none.
fn processes(which: ProcessesToUpdate<'_>, what: ProcessRefreshKind) -> System {
    let mut system = System::new();
    system.refresh_processes_specifics(which, true, what.without_tasks());
    system
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_child_is_seen_identified_and_missed_after_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child =
            Command::new("sleep").arg("60").current_dir(&folder).spawn().expect("a child");
        let pid = child.id();
        let first = identity(pid);
        assert!(first.is_some());
        assert_eq!(identity(pid), first);
        assert_ne!(identity(std::process::id()), None);
        assert!(descendants(std::process::id()).contains(&pid));
        if cfg!(target_os = "linux") {
            assert_eq!(working_in(folder.path()), vec![pid]);
        }
        signal_tree(pid, Signal::KILL);
        let until = Instant::now() + Duration::from_secs(10);
        while identity(pid).is_some() {
            assert!(Instant::now() < until, "a zombie still counts as alive");
            std::thread::yield_now();
        }
        child.wait().expect("its end");
        assert_eq!(identity(pid), None);
        assert!(!descendants(std::process::id()).contains(&pid));
    }

    #[test]
    fn a_grandchild_comes_after_its_parent_and_threads_do_not_count() {
        let script = "sleep 60 & wait";
        let mut shell = Command::new("sh").args(["-c", script]).spawn().expect("a child");
        let own = std::process::id();
        let until = Instant::now() + Duration::from_secs(10);
        let below = loop {
            let below = descendants(shell.id());
            if !below.is_empty() {
                break below;
            }
            assert!(Instant::now() < until, "the shell starts nothing");
            std::thread::yield_now();
        };
        let all = descendants(own);
        let place = |pid: u32| all.iter().position(|found| *found == pid);
        assert!(place(shell.id()) < place(below[0]), "{all:?}");
        let threads: Vec<_> = std::fs::read_dir("/proc/self/task").into_iter().flatten().collect();
        let ids = threads.iter().flatten().filter_map(|task| task.file_name().into_string().ok());
        let is_thread = |id: String| id.parse().is_ok_and(|id: u32| id != own && all.contains(&id));
        assert!(!ids.into_iter().any(is_thread), "{all:?}");
        signal_tree(shell.id(), Signal::KILL);
        shell.wait().expect("its end");
    }
}
