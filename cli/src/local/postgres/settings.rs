//! The settings of one node, written before every start to `headwater.conf` in its data folder,
//! which its postgresql.conf includes last.

use std::fmt::Write;
use std::net::SocketAddr;

/// Name of our settings file in a node's data folder.
pub(super) const FILE: &str = "headwater.conf";

/// Share of the machine that a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Page cache of its own, in MiB.
    pub shared_buffers_mib: u32,
    /// Connections at once; the programs of one stack hold about thirty.
    pub connections_max: u32,
    /// True if a commit waits for the disk. Off only for tests that ask for it.
    pub fsync: bool,
    /// True if shared memory that grows is kept in the data folder, so that a node which is killed
    /// and thrown away leaves none of it behind. For tests.
    pub is_disposable: bool,
}

impl Size {
    /// Fits a laptop beside everything else that runs there.
    pub const LAPTOP: Size =
        Size { shared_buffers_mib: 128, connections_max: 100, fsync: true, is_disposable: false };
}

/// Source of a replica's WAL.
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The primary.
    pub address: SocketAddr,
    /// Password of [`super::users::REPLICATION`].
    pub password: String,
    /// The slot that keeps the WAL which the replica has not got yet.
    pub slot: String,
}

/// Settings of one node.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The only address it listens on.
    pub address: SocketAddr,
    /// Limits.
    pub size: Size,
    /// `None` for a primary.
    pub upstream: Option<Upstream>,
}

impl Settings {
    /// The contents of the file.
    pub fn render(&self) -> String {
        let mut text =
            String::from("# Written by headwater before each start; changes are lost.\n");
        for (name, value) in self.pairs() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        }
        text
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let on = |flag: bool| if flag { "on" } else { "off" }.to_owned();
        let mut pairs = vec![
            ("listen_addresses", self.address.ip().to_string()),
            ("port", self.address.port().to_string()),
            // No socket files: their paths may have 107 bytes at most, and TCP with a password
            // does.
            ("unix_socket_directories", String::new()),
            ("password_encryption", "scram-sha-256".to_owned()),
            ("shared_buffers", format!("{}MB", self.size.shared_buffers_mib)),
            ("max_connections", self.size.connections_max.to_string()),
            ("fsync", on(self.size.fsync)),
            // Beyond what replicas need: change data capture reads the write primary's WAL
            // logically.
            ("wal_level", "logical".to_owned()),
            ("max_wal_senders", "16".to_owned()),
            ("max_replication_slots", "16".to_owned()),
            // A replica that is unreachable for longer than this is made anew, instead of filling
            // the disk.
            ("max_slot_wal_keep_size", "2GB".to_owned()),
            ("max_wal_size", "1GB".to_owned()),
            ("hot_standby", "on".to_owned()),
            // Without it a vacuum on the primary cancels long queries on replicas.
            ("hot_standby_feedback", "on".to_owned()),
            // A replica that lost its primary finds it again at once, not after the default of 5 s,
            // and a dead connection is noticed in seconds, not in a minute.
            ("wal_retrieve_retry_interval", "200ms".to_owned()),
            ("wal_receiver_timeout", "5s".to_owned()),
            ("wal_sender_timeout", "5s".to_owned()),
            ("wal_receiver_status_interval", "1s".to_owned()),
            // Every statement here is short; compiling it costs more than it saves.
            ("jit", "off".to_owned()),
            // Longer than any transaction of ours: only something that hangs is cut off.
            ("idle_in_transaction_session_timeout", "60s".to_owned()),
            ("timezone", "UTC".to_owned()),
            ("log_timezone", "UTC".to_owned()),
            ("log_destination", "stderr".to_owned()),
            ("logging_collector", "off".to_owned()),
            ("log_line_prefix", "%m [%p] %q%u@%d ".to_owned()),
            ("log_checkpoints", "off".to_owned()),
            // Ordinary refusals (a unique violation, say) belong to whoever caused them.
            ("log_min_error_statement", "fatal".to_owned()),
        ];
        if self.size.is_disposable {
            pairs.push(("dynamic_shared_memory_type", "mmap".to_owned()));
        }
        if let Some(upstream) = &self.upstream {
            pairs.push(("primary_conninfo", upstream.conninfo()));
            pairs.push(("primary_slot_name", upstream.slot.clone()));
        }
        pairs
    }
}

impl Upstream {
    /// As `primary_conninfo` has it.
    pub fn conninfo(&self) -> String {
        let (host, port) = (self.address.ip(), self.address.port());
        let (user, password) = (super::users::REPLICATION, &self.password);
        let name = &self.slot;
        format!("host={host} port={port} user={user} password={password} application_name={name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_primary_has_no_upstream_and_fsync_is_on() {
        let settings = Settings { address: address(16_001), size: Size::LAPTOP, upstream: None };
        let text = settings.render();
        for line in ["port = '16001'", "fsync = 'on'", "unix_socket_directories = ''"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(!text.contains("primary_conninfo"));
    }

    #[test]
    fn a_replica_knows_its_primary_and_its_slot() {
        let upstream = Upstream {
            address: address(16_002),
            password: "abc".to_owned(),
            slot: "replica_1".to_owned(),
        };
        let size = Size { fsync: false, ..Size::LAPTOP };
        let text = Settings { address: address(16_003), size, upstream: Some(upstream) }.render();
        assert!(text.contains("port=16002 user=headwater_replication password=abc"), "{text}");
        assert!(text.contains("primary_slot_name = 'replica_1'") && text.contains("fsync = 'off'"));
    }
}
