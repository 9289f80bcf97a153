//! A peer's server process.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::harness::eventually;

const START: Duration = Duration::from_secs(20);
/// Runs the program until the pipe to it is closed, which happens however the bench ends.
const UNTIL_CLOSED: &str = r#""$@" <&- & server=$!; cat >/dev/null; kill $server; wait $server"#;

/// A running server. Dropped, it is stopped and its folder removed.
pub struct Server {
    /// Address that it listens on.
    pub address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Starts it, and waits until it listens. The folder is its own.
    ///
    /// # Errors
    /// It cannot be started, or ends at once.
    pub async fn start(
        program: &Path,
        args: &[String],
        address: SocketAddr,
        folder: TempDir,
    ) -> anyhow::Result<Server> {
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut command = Command::new("sh");
        command.args(["-c", UNTIL_CLOSED, "sh"]).arg(program).args(args);
        command.current_dir(folder.path()).stdin(Stdio::piped());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let server = Server { address, child, _folder: folder };
        let listens = tokio::time::timeout(
            START,
            eventually(START * 2, || async { TcpStream::connect(address).map(drop) }),
        );
        if listens.await.is_err() {
            let log = std::fs::read_to_string(server._folder.path().join("log"));
            bail!("{} does not listen:\n{}", program.display(), log.unwrap_or_default());
        }
        Ok(server)
    }

    /// Process number of what it runs in.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It has been told to end; if that failed, there is nothing left to do.
        let _ = self.child.wait();
    }
}

/// An address on this machine that nobody uses yet.
///
/// # Errors
/// There is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
