//! The token of the last reply, kept between calls, so that a query typed next reads its own write.

use std::path::PathBuf;

use crate::local::write_private;

/// The session with one router; without a place to keep it, every call starts anew.
pub(super) struct Session {
    path: Option<PathBuf>,
    token: Option<String>,
}

impl Session {
    /// Reads what the last call left.
    pub(super) fn open(router: &str, is_wanted: bool) -> Session {
        let path = is_wanted.then(|| path(router)).flatten();
        let token = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Session { path, token }
    }

    /// The token of the last reply.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Starts anew.
    pub(super) fn forget(&mut self) {
        self.token = None;
        if let Some(path) = &self.path {
            // It is written again after the next reply.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Keeps the token of a reply; replies carry all that the session had seen before.
    pub(super) fn keep(&mut self, token: Option<String>) {
        let (Some(path), Some(token)) = (&self.path, token) else { return };
        let kept = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let kept = kept.map_err(anyhow::Error::from).and_then(|()| write_private(path, &token));
        if let Err(error) = kept {
            eprintln!("the session cannot be kept, the next call starts a new one: {error:#}");
        }
    }
}

/// One file a router, where the system keeps the state of programs.
fn path(router: &str) -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let name: String =
        router.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Some(state.or_else(home)?.join("headwater").join(format!("session-{name}")))
}
