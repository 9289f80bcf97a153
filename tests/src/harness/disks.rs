//! Small file systems in memory for the data folders of primaries, so that a disk can be full.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;
use headwater_cli::local::Host;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// File that takes all the room that is left.
const BALLAST: &str = "ballast";
/// Its node writes meanwhile.
const ATTEMPTS: usize = 100;

/// A file system of a node's own, unmounted when it is dropped.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// File systems for some folders of a cluster, by name; none where nobody may mount one.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn mount(
        root: &Path,
        names: &[&str],
        mib: u32,
        host: &Host,
    ) -> anyhow::Result<BTreeMap<String, Disk>> {
        let owner = host
            .account
            .as_ref()
            .map_or(String::new(), |account| format!(",uid={},gid={}", account.uid, account.gid));
        let options = format!("size={mib}m,mode=0700{owner}");
        let mut disks = BTreeMap::new();
        for name in names {
            let folder = root.join(name);
            fs::create_dir_all(&folder)?;
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "headwater-test"]).arg(&folder);
            if !mount.output().is_ok_and(|output| output.status.success()) {
                fs::remove_dir(&folder)?;
                return Ok(BTreeMap::new());
            }
            disks.insert((*name).to_owned(), Disk { folder });
        }
        Ok(disks)
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// It cannot be filled.
    pub fn fill(&self) -> anyhow::Result<()> {
        let ballast = File::create(self.folder.join(BALLAST))?;
        let mut taken = 0;
        for _ in 0..ATTEMPTS {
            let stat = statvfs(&self.folder)?;
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            if free == 0 {
                return Ok(());
            }
            match fallocate(&ballast, FallocateFlags::empty(), taken, free) {
                Ok(()) => taken += free,
                // Somebody else took some of it meanwhile.
                Err(Errno::NOSPC) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("{} is never full", self.folder.display());
    }

    /// Gives it back.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.folder.join(BALLAST))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: its node may run still, and is killed next.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.folder.display());
        }
    }
}
