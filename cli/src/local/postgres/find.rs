//! Finds PostgreSQL server binaries on this machine.

use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::local::system::Account;

/// 15 is the oldest that the migrations are tested with.
pub(super) const MAJOR_MIN: u32 = 15;

/// Programs without which a folder is no server installation.
const NEEDED: [&str; 4] = ["postgres", "initdb", "pg_ctl", "pg_basebackup"];

/// Folders that distributions install to; `*` stands for any folder. Homebrew and the .rpm packages
/// keep several.
const USUAL: [&str; 8] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// A folder with PostgreSQL's server programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The folder.
    pub bin: PathBuf,
    /// Version as printed, such as `15.18`.
    pub version: String,
    /// Major version, which data folders depend on.
    pub major: u32,
}

impl Installation {
    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Looks into a folder. `None` if there is no Postgres; an error if there is one that cannot be
    /// used.
    fn examine(bin: &Path, account: Option<&Account>) -> anyhow::Result<Option<Installation>> {
        if !bin.join("postgres").exists() {
            return Ok(None);
        }
        // PATH often holds links to single programs; the others are where the link leads.
        let bin = bin.join("postgres").canonicalize()?;
        let bin = bin.parent().context("a program has a folder")?.to_path_buf();
        if let Some(lacking) = NEEDED.iter().find(|name| !bin.join(name).exists()) {
            bail!("{} lacks {lacking}", bin.display());
        }
        let mut ask = Command::new(bin.join("postgres"));
        if let Some(account) = account {
            ask.uid(account.uid).gid(account.gid);
        }
        let output = ask.arg("--version").current_dir("/").output();
        let output = output.with_context(|| match account {
            Some(account) => {
                format!("user '{}' cannot run {}/postgres", account.name, bin.display())
            }
            None => format!("cannot run {}/postgres", bin.display()),
        })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some((version, major)) = parse_version(&text) else {
            bail!("{}/postgres --version says '{}'", bin.display(), text.trim());
        };
        if major < MAJOR_MIN {
            bail!("{} is PostgreSQL {version}, older than {MAJOR_MIN}", bin.display());
        }
        Ok(Some(Installation { bin, version, major }))
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} in {}", self.version, self.bin.display())
    }
}

/// All places to look at: the given folder alone if there is one, else `PATH`, the usual ones, and
/// those that the installation script fills.
pub(super) fn places(given: Option<&Path>, data_roots: &[PathBuf]) -> Vec<PathBuf> {
    if let Some(given) = given {
        return vec![given.to_path_buf()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(USUAL.iter().flat_map(|pattern| expand(Path::new(pattern))));
    places.extend(data_roots.iter().map(|root| root.join("postgres/bin")));
    places
}

/// The newest usable installation, or the newest of the major version that existing data needs.
pub(super) fn find(
    places: &[PathBuf],
    major: Option<u32>,
    account: Option<&Account>,
) -> anyhow::Result<Installation> {
    let mut usable: Vec<Installation> = Vec::new();
    let mut rejected = Vec::new();
    for place in places {
        match Installation::examine(place, account) {
            Ok(Some(found)) if !usable.contains(&found) => usable.push(found),
            Ok(_) => {}
            Err(error) => rejected.push(format!("  {error:#}")),
        }
    }
    rejected.dedup();
    let fits = |found: &&Installation| major.is_none_or(|major| found.major == major);
    match usable.iter().filter(fits).max_by_key(|found| version_key(&found.version)) {
        Some(found) => Ok(found.clone()),
        None => bail!("{}", nothing_found(major, &usable, &rejected)),
    }
}

fn nothing_found(major: Option<u32>, usable: &[Installation], rejected: &[String]) -> String {
    let mut text = match major {
        Some(major) => format!(
            "the data folder was made by PostgreSQL {major}, whose server programs are not here: \
             install them, name their folder in HEADWATER_PG_BIN, choose another data folder \
             (--data), or start anew (--wipe)"
        ),
        None => format!(
            "no PostgreSQL server programs (version {MAJOR_MIN} or newer) found: run \
             scripts/install-postgres.sh, or name their folder in HEADWATER_PG_BIN"
        ),
    };
    let found: Vec<String> = usable.iter().map(|found| format!("  found {found}")).collect();
    for line in found.iter().chain(rejected) {
        text.push('\n');
        text.push_str(line);
    }
    text
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` to `15.18` and 15.
fn parse_version(text: &str) -> Option<(String, u32)> {
    let version = text.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((version.to_owned(), digits.parse().ok()?))
}

/// 15.9 is older than 15.18.
fn version_key(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The folders that a pattern stands for; one `*` per path component.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        found = match name.split_once('*') {
            None => found.into_iter().map(|path| path.join(component)).collect(),
            Some((start, end)) => {
                found.iter().flat_map(|path| matching(path, start, end)).collect()
            }
        };
    }
    found
}

fn matching(folder: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    entries.flatten().map(|entry| entry.path()).filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder whose `postgres` says that it has this version.
    fn install(root: &Path, version: &str, programs: &[&str]) -> PathBuf {
        let bin = root.join(version).join("bin");
        std::fs::create_dir_all(&bin).expect("a folder");
        for program in programs {
            let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Debian)'\n");
            std::fs::write(bin.join(program), script).expect("a script");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(bin.join(program), mode).expect("executable");
        }
        bin.canonicalize().expect("a path")
    }

    #[test]
    fn versions_are_read() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(("15.18", 15))),
            ("postgres (PostgreSQL) 18.6\n", Some(("18.6", 18))),
            ("postgres (PostgreSQL) 19beta1\n", Some(("19beta1", 19))),
            ("pg_ctl (PostgreSQL) 15.1\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(version, major)| (version.to_owned(), major));
            assert_eq!(parse_version(text), expected, "{text}");
        }
        assert!(version_key("15.9") < version_key("15.18"));
    }

    #[test]
    fn the_newest_wins_unless_the_data_needs_another() {
        let root = tempfile::tempdir().expect("a folder");
        let places = [
            install(root.path(), "15.9", &NEEDED),
            install(root.path(), "15.18", &NEEDED),
            install(root.path(), "17.2", &NEEDED),
            install(root.path(), "14.3", &NEEDED),
            install(root.path(), "18.1", &["postgres", "initdb"]),
            root.path().join("nothing"),
        ];
        let found = |major| find(&places, major, None).map(|found| found.version);
        assert_eq!(found(None).expect("found"), "17.2");
        assert_eq!(found(Some(15)).expect("found"), "15.18");
        let error = found(Some(16)).expect_err("there is no 16").to_string();
        assert!(error.contains("made by PostgreSQL 16") && error.contains("found PostgreSQL 17.2"));
        let error = find(&places[3..], None, None).expect_err("none is usable").to_string();
        for word in ["14.3, older than 15", "lacks pg_ctl", "install-postgres.sh"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_link_leads_to_the_whole_installation() {
        let root = tempfile::tempdir().expect("a folder");
        let bin = install(root.path(), "15.18", &NEEDED);
        let links = root.path().join("links");
        std::fs::create_dir(&links).expect("a folder");
        std::os::unix::fs::symlink(bin.join("postgres"), links.join("postgres")).expect("a link");
        assert_eq!(find(&[links], None, None).expect("found").bin, bin);
    }

    #[test]
    fn patterns_are_expanded() {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["pg-15/bin", "pg-16/bin", "other/bin"] {
            std::fs::create_dir_all(root.path().join(name)).expect("a folder");
        }
        let mut found = expand(&root.path().join("pg-*/bin"));
        found.sort();
        assert_eq!(found, [root.path().join("pg-15/bin"), root.path().join("pg-16/bin")]);
    }
}
