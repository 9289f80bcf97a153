//! The disks of the machine, as the kernel accounts for them. Linux only; elsewhere all is zero.

use std::path::Path;
use std::time::Duration;

/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own are.
const SECTOR: u64 = 512;

/// Counters of all disks together, since the start of the machine or between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Bytes written.
    pub written: u64,
    /// Time during which a request was under way.
    pub busy: Duration,
    /// Flushes of the disk's own cache.
    pub flushes: u64,
    /// Time that these took.
    pub flushing: Duration,
}

impl Disk {
    /// The counters now.
    pub fn read() -> Disk {
        let text = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
        // A whole disk has a folder of its own there; a partition's lies within it.
        Disk::parse(&text, |name| Path::new("/sys/block").join(name).exists())
    }

    /// See the kernel's Documentation/admin-guide/iostats.rst.
    fn parse(text: &str, is_disk: impl Fn(&str) -> bool) -> Disk {
        let mut sum = Disk::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = fields.get(2).copied().unwrap_or_default();
            if name.starts_with("loop") || name.starts_with("ram") || !is_disk(name) {
                continue;
            }
            let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
            let number = |at: usize| number(at).unwrap_or(0_u64);
            sum.written += number(9) * SECTOR;
            sum.busy += Duration::from_millis(number(12));
            sum.flushes += number(18);
            sum.flushing += Duration::from_millis(number(19));
        }
        sum
    }

    /// From an earlier reading to this one.
    pub fn since(&self, before: &Disk) -> Disk {
        Disk {
            written: self.written.saturating_sub(before.written),
            busy: self.busy.saturating_sub(before.busy),
            flushes: self.flushes.saturating_sub(before.flushes),
            flushing: self.flushing.saturating_sub(before.flushing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_are_summed() {
        let text = " 254 0 vda 1 0 8 1 5 2 400 9 0 70 10 0 0 0 0 6 30\n \
                    254 1 vda1 1 0 8 1 5 2 400 9 0 70 10 0 0 0 0 6 30\n \
                    7 0 loop0 1 0 8 1 5 2 400 9 0 70 10 0 0 0 0 6 30\n";
        let disk = Disk::parse(text, |name| name == "vda" || name == "loop0");
        let (busy, flushing) = (Duration::from_millis(70), Duration::from_millis(30));
        assert_eq!(disk, Disk { written: 204_800, busy, flushes: 6, flushing });
        assert_eq!(disk.since(&disk), Disk::default());
    }
}
