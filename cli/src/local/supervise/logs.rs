//! Keeps the logs bounded: each run starts with new ones, and one that grows too big is cut.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Former runs whose logs are kept.
const GENERATIONS: u32 = 3;
/// A day of a busy stack's logs; the disk is for data.
const BYTES_MAX: u64 = 64 << 20;

/// Puts the logs of former runs one generation back.
pub(crate) fn rotate(folder: &Path) -> anyhow::Result<()> {
    for log in current(folder)? {
        shift(&log)?;
        fs::rename(&log, generation(&log, 1))?;
    }
    Ok(())
}

/// Cuts those that have grown too big. Their processes go on writing to the same file (they
/// append), so it is copied and emptied, not renamed; what is written in between is lost.
pub(super) fn cut(folder: &Path) -> anyhow::Result<()> {
    for log in current(folder)? {
        if log.metadata()?.len() > BYTES_MAX {
            shift(&log)?;
            fs::copy(&log, generation(&log, 1))?;
            fs::OpenOptions::new().write(true).open(&log)?.set_len(0)?;
        }
    }
    Ok(())
}

fn shift(log: &Path) -> anyhow::Result<()> {
    for number in (1..GENERATIONS).rev() {
        let older = generation(log, number);
        if older.exists() {
            fs::rename(&older, generation(log, number + 1))?;
        }
    }
    Ok(())
}

fn generation(log: &Path, number: u32) -> PathBuf {
    log.with_extension(format!("log.{number}"))
}

fn current(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(folder: &Path) -> Vec<(String, u64)> {
        let entries = fs::read_dir(folder).expect("a folder").flatten();
        let mut found: Vec<_> = entries
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, entry.metadata().expect("a file").len())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn three_former_runs_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        for run in 1..=6 {
            fs::write(folder.path().join("router.log"), "x".repeat(run)).expect("a log");
            rotate(folder.path()).expect("rotated");
        }
        let expected = [("router.log.1", 6), ("router.log.2", 5), ("router.log.3", 4)];
        assert_eq!(contents(folder.path()), expected.map(|(name, len)| (name.to_owned(), len)));
    }

    #[test]
    fn a_log_that_grows_too_big_is_emptied_in_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = fs::File::create(folder.path().join("read.log")).expect("a log");
        file.set_len(BYTES_MAX).expect("grown");
        cut(folder.path()).expect("nothing to cut");
        assert_eq!(contents(folder.path()).len(), 1);
        file.set_len(BYTES_MAX + 1).expect("grown");
        cut(folder.path()).expect("cut");
        let expected = [("read.log".to_owned(), 0), ("read.log.1".to_owned(), BYTES_MAX + 1)];
        assert_eq!(contents(folder.path()), expected);
    }
}
