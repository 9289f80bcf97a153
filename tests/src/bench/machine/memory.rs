//! Memory of processes.

/// Resident memory of a process itself, in MiB; `None` if it is gone. Linux only.
pub fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_some_and_none_when_it_is_gone() {
        assert!(resident(std::process::id()).is_some_and(|mib| mib > 1.0));
        assert_eq!(resident(u32::MAX), None);
    }
}
