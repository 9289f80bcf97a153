//! User that Postgres runs as.
//!
//! Postgres refuses to run as root, so root hands it to a user without rights; anybody else runs it
//! as themselves.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Tried in this order: the distribution's own user, then the one that owns nothing on any system.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];

/// An unprivileged user that root runs Postgres as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Login name, for messages.
    pub name: String,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric id of the user's main group.
    pub gid: u32,
}

impl Account {
    /// The user to drop to; `None` when we are not root and Postgres simply runs as us.
    pub fn for_postgres() -> anyhow::Result<Option<Account>> {
        if !is_root() {
            return Ok(None);
        }
        for name in CANDIDATES {
            if let (Some(uid), Some(gid)) = (ask_id("-u", name), ask_id("-g", name)) {
                return Ok(Some(Account { name: name.to_owned(), uid, gid }));
            }
        }
        bail!(
            "Postgres cannot run as root, and neither of the users {CANDIDATES:?} exists to run \
             it as; create one, or run headwater as a normal user"
        )
    }

    /// Fails, saying so, if this user cannot get into the folder (a parent may be closed to it).
    pub(crate) fn can_enter(&self, folder: &Path) -> anyhow::Result<()> {
        // The child changes its user first and its folder afterwards, so this asks the kernel
        // itself.
        let mut probe = Command::new("true");
        probe.uid(self.uid).gid(self.gid).current_dir(folder);
        probe.status().map(drop).with_context(|| {
            format!(
                "Postgres runs as user '{}', who cannot enter {}; choose another folder with \
                 --data, or open its parent folders",
                self.name,
                folder.display()
            )
        })
    }

    /// Makes this user the owner of everything under the path.
    pub fn own(&self, path: &Path) -> std::io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// True if this process has root's rights.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Asks `id`, which knows users that no file lists (directory services, containers).
fn ask_id(flag: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([flag, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_chosen_exactly_when_we_are_root() {
        let account = Account::for_postgres().expect("an account to run as");
        assert_eq!(account.is_some(), is_root());
        assert!(account.is_none_or(|account| account.uid != 0));
    }

    #[test]
    fn a_closed_folder_is_found_out() {
        let Some(account) = Account::for_postgres().expect("an account to run as") else {
            return; // Only root has somebody else to ask for.
        };
        let folder = tempfile::tempdir().expect("a folder");
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(folder.path(), closed).expect("chmod");
        let error = account.can_enter(folder.path()).expect_err("it is root's alone");
        assert!(error.to_string().contains("cannot enter"), "{error}");
        account.own(folder.path()).expect("chown");
        account.can_enter(folder.path()).expect("it owns the folder now");
    }
}
