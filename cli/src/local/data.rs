//! The data folder: where everything of one local stack lives, and who may use it.
//!
//! ```text
//! lock          held (flock) by the `headwater up` that runs on this folder
//! layout.json   what was chosen when it was made, and by which versions
//! secrets.json  passwords of the database users (0600)
//! run.json      addresses of what runs now (0600); gone after a clean stop
//! logs/         one per process
//! write/ read/ (or primary/) replica-1/ …   the Postgres nodes
//! postgres/     server binaries, where scripts/install-postgres.sh had to fetch them
//! ```

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::local::system::is_root;

/// Raised when a change to the folder's contents makes older ones unusable.
const FORMAT: u32 = 1;
const LAYOUT: &str = "layout.json";
/// Owned by the folder but not data: `--wipe` leaves them, and a folder with only these counts as
/// new.
const NOT_DATA: [&str; 5] = ["lock", "logs", "postgres", "postgres.new", "postgres.venv"];

/// Choices that were fixed when the folder was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Version of the folder's own layout.
    pub format: u32,
    /// PostgreSQL's major version: its data files are of no use to another.
    pub postgres_major: u32,
    /// Partitions of the log.
    pub partitions: u16,
    /// One database for both sides instead of two.
    pub single_database: bool,
}

impl Layout {
    /// The layout of a folder that is being made now.
    pub(crate) fn new(postgres_major: u32, partitions: u16, single_database: bool) -> Layout {
        Layout { format: FORMAT, postgres_major, partitions, single_database }
    }
}

/// A data folder that nobody else uses as long as this value lives.
pub(crate) struct DataFolder {
    root: PathBuf,
    lock: File,
}

/// Default folder of the data, when no option names another.
pub fn default_root() -> anyhow::Result<PathBuf> {
    set("HEADWATER_DATA").map_or_else(usual_root, |root| Ok(PathBuf::from(root)))
}

/// Default folder when nothing is said: never in the checkout, which is cleaned and cloned freely.
pub(crate) fn usual_root() -> anyhow::Result<PathBuf> {
    if is_root() {
        return Ok(PathBuf::from("/var/lib/headwater"));
    }
    let base = match (set("XDG_DATA_HOME"), set("HOME")) {
        (Some(base), _) => PathBuf::from(base),
        (None, Some(home)) => Path::new(&home).join(".local/share"),
        (None, None) => bail!("neither HOME nor XDG_DATA_HOME is set: name a folder with --data"),
    };
    Ok(base.join("headwater"))
}

fn set(variable: &str) -> Option<OsString> {
    std::env::var_os(variable).filter(|value| !value.is_empty())
}

impl DataFolder {
    /// Makes the folder if need be and takes its lock; if another process has it, the error says
    /// who. A folder that holds anything else than a data folder does is left alone.
    pub(crate) fn open(root: &Path) -> anyhow::Result<DataFolder> {
        let unusable = || format!("cannot make the data folder {}", root.display());
        std::fs::create_dir_all(root).with_context(unusable)?;
        must_be_ours(root)?;
        std::fs::create_dir_all(root.join("logs")).with_context(unusable)?;
        let root = root.canonicalize()?;
        let path = root.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}", held(&root, &mut lock)),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(DataFolder { root, lock })
    }

    /// Leaves word for others of who holds the folder. The lock itself needs none: it ends with the
    /// process.
    pub(crate) fn sign(&mut self, what: &str) -> anyhow::Result<()> {
        self.lock.set_len(0)?;
        writeln!(self.lock, "process {} ({what})", std::process::id())?;
        Ok(())
    }

    /// The folder's absolute path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of the logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Layout that the folder was made with; `None` if it is new. An error if that was another
    /// version.
    pub(crate) fn layout(&self) -> anyhow::Result<Option<Layout>> {
        let path = self.root.join(LAYOUT);
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(None);
        };
        let broken = || format!("{} is damaged; --wipe starts anew", path.display());
        let value: serde_json::Value = serde_json::from_str(&text).with_context(broken)?;
        if value["format"] != FORMAT {
            bail!(
                "{} was made by another version of headwater (format {}, this one has {FORMAT}): \
                 use that version, another folder (--data), or start anew (--wipe)",
                self.root.display(),
                value["format"]
            );
        }
        Ok(Some(serde_json::from_value(value).with_context(broken)?))
    }

    /// Remembers what the folder is made with, before anything is put in it.
    pub(crate) fn keep_layout(&self, layout: &Layout) -> anyhow::Result<()> {
        write_private(&self.root.join(LAYOUT), &serde_json::to_string_pretty(layout)?)
    }

    /// True if there is anything to wipe.
    pub(crate) fn has_data(&self) -> bool {
        self.root.join(LAYOUT).exists()
    }

    /// Removes all data, never more: only a folder that a layout file marks as ours is touched.
    pub(crate) fn wipe(&self) -> anyhow::Result<()> {
        // The layout goes last: if this is interrupted the folder is still known as ours.
        let data = data_in(&self.root)?;
        for name in data.iter().filter(|name| *name != LAYOUT) {
            remove(&self.root.join(name))?;
        }
        if data.iter().any(|name| name == LAYOUT) {
            remove(&self.root.join(LAYOUT))?;
        }
        Ok(())
    }
}

impl Drop for DataFolder {
    /// Unlocks explicitly. Closing alone would not do: a child that some thread
    /// is just starting has copies of all descriptors until it becomes another program, and a lock
    /// ends only with its last copy.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

fn must_be_ours(root: &Path) -> anyhow::Result<()> {
    let data = data_in(root)?;
    match data.first() {
        Some(found) if !data.iter().any(|name| name == LAYOUT) => bail!(
            "{} is not a data folder of headwater but holds '{found}'; choose another with --data",
            root.display()
        ),
        _ => Ok(()),
    }
}

fn data_in(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !NOT_DATA.contains(&name.as_str()) {
            names.push(name);
        }
    }
    Ok(names)
}

fn held(root: &Path, lock: &mut File) -> String {
    let mut by = String::new();
    let _ = lock.rewind().and_then(|()| lock.read_to_string(&mut by));
    let by = if by.trim().is_empty() { "another process" } else { by.trim() };
    format!(
        "{} is in use by {by}: stop it first, or choose another folder with --data",
        root.display()
    )
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let removed =
        if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT_15: Layout =
        Layout { format: FORMAT, postgres_major: 15, partitions: 4, single_database: false };

    #[test]
    fn a_second_user_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = DataFolder::open(folder.path()).expect("the first");
        first.sign("headwater up").expect("signed");
        let error = DataFolder::open(folder.path()).err().expect("the lock is held").to_string();
        assert!(
            error.contains(&format!("process {} (headwater up)", std::process::id())),
            "{error}"
        );
        let copy = first.lock.try_clone().expect("what a child has before it becomes a program");
        drop(first);
        DataFolder::open(folder.path()).expect("a lock ends with its holder");
        drop(copy);
    }

    #[test]
    fn a_layout_is_remembered_until_wiped() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataFolder::open(folder.path()).expect("a data folder");
        assert_eq!(data.layout().expect("new"), None);
        data.keep_layout(&LAYOUT_15).expect("kept");
        std::fs::create_dir(data.root().join("postgres")).expect("binaries");
        std::fs::create_dir_all(data.root().join("write/base")).expect("a node");
        assert_eq!(data.layout().expect("kept"), Some(LAYOUT_15));
        data.wipe().expect("wiped");
        assert_eq!(data.layout().expect("new again"), None);
        assert!(data.root().join("postgres").exists() && !data.root().join("write").exists());
    }

    #[test]
    fn a_folder_of_others_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("thesis.tex"), "…").expect("a file");
        let error = DataFolder::open(folder.path()).err().expect("not ours").to_string();
        assert!(error.contains("thesis.tex"), "{error}");
        assert_eq!(data_in(folder.path()).expect("its contents"), ["thesis.tex"]);
        assert!(!folder.path().join("logs").exists());
    }

    #[test]
    fn a_folder_of_another_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = DataFolder::open(folder.path()).expect("a data folder");
        data.keep_layout(&Layout { format: 99, ..LAYOUT_15 }).expect("kept");
        let error = data.layout().expect_err("another format").to_string();
        assert!(error.contains("format 99"), "{error}");
    }
}
