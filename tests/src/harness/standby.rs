//! Standbys that nothing reaches any more, and that take their primary's place: an asynchronous
//! failover that loses what came after.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use headwater_cli::local::{SUPERUSER, Tool, mark_standby};

use super::cluster::Cluster;

const COPY_MAX: Duration = Duration::from_secs(60);

/// A standby of a node, in a folder of its own. It has what the node had when it was made.
pub struct Standby {
    node: String,
    folder: PathBuf,
}

impl Cluster {
    /// Makes a standby of a running node which gets nothing more from it from now on: as one that
    /// is asynchronous, and behind by all that follows.
    ///
    /// # Errors
    /// The node cannot be copied.
    pub async fn standby_of(&self, node: &str) -> anyhow::Result<Standby> {
        let upstream = self.plan().node(node).context("no such node")?;
        let folder =
            upstream.folder.with_file_name(format!("{node}-standby-{}", rand::random::<u32>()));
        let host = &self.plan().host;
        host.make_folder(&folder)?;
        let args = vec![
            format!("--pgdata={}", folder.display()),
            format!("--host={}", upstream.address().ip()),
            format!("--port={}", upstream.address().port()),
            format!("--username={SUPERUSER}"),
            "--wal-method=stream".to_owned(),
            "--checkpoint=fast".to_owned(),
            "--no-password".to_owned(),
        ];
        let env = vec![("PGPASSWORD", self.plan().secrets.superuser.clone())];
        host.run(Tool { program: "pg_basebackup", args, env, deadline: COPY_MAX }).await?;
        mark_standby(host, &folder)?;
        Ok(Standby { node: node.to_owned(), folder })
    }

    /// The node is lost, and its standby runs in its place, under its address. Not promoted yet.
    ///
    /// # Errors
    /// It does not start.
    pub async fn put_in_place(&self, standby: Standby) -> anyhow::Result<()> {
        let node = self.plan().node(&standby.node).context("no such node")?;
        self.kill(&standby.node).await;
        std::fs::remove_dir_all(&node.folder)?;
        std::fs::rename(&standby.folder, &node.folder)?;
        self.start_again(&standby.node).await
    }
}
