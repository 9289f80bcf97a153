//! Limits of a server, with the reasons for the numbers.

use std::time::Duration;

/// Largest message in either direction; services set it by `max_decoding_message_size`.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls under way in the whole process; more are refused with RESOURCE_EXHAUSTED. Health and
    /// reflection are exempt, so that a loaded process is not taken for a dead one. Default 4096:
    /// beyond that, waiting only grows.
    pub calls_max: u32,
    /// Streams of replies that wait for something to send, such as watchers; more are ended with
    /// RESOURCE_EXHAUSTED. They do not count as calls. Default 16384: a few KiB of memory each.
    pub streams_max: u32,
    /// Open connections; more wait in the kernel's backlog. Default 8192, below the usual limit of
    /// open files.
    pub connections_max: usize,
    /// Calls under way on one connection, as announced to the peer. Default 2048: a router sends
    /// all of its calls over a few connections.
    pub streams_per_connection_max: u32,
    /// HTTP/2 window of a stream. Default 1 MiB: the protocol's 64 KiB stalls on anything above one
    /// round trip.
    pub stream_window_bytes: u32,
    /// HTTP/2 window of a connection. Default 8 MiB, so that one slow stream does not stall its
    /// neighbours.
    pub connection_window_bytes: u32,
    /// Size of a message of a request; a larger one is refused with INVALID_ARGUMENT before it is
    /// read. Default 4 MiB, the protocol's usual one.
    pub message_bytes_max: usize,
    /// The same of methods with many commands or queries in one message: those whose request is a
    /// repeated field `requests`. Default 4 MiB, too.
    pub batch_bytes_max: usize,
    /// Size of a request's headers. Default 16 KiB: tokens and trace state fit, abuse does not.
    pub header_bytes_max: u32,
    /// Interval between pings of a silent connection. Default 30 s.
    pub keepalive_interval: Duration,
    /// Time that an answer to a ping may take. Default 20 s.
    pub keepalive_timeout: Duration,
    /// Time that a new connection may stay silent. Default 10 s.
    pub greeting_max: Duration,
    /// Deadline of calls that state none, until their reply begins: a server stream may go on.
    /// Default 60 s.
    pub deadline_default: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_max: 4096,
            streams_max: 16_384,
            connections_max: 8192,
            streams_per_connection_max: 2048,
            stream_window_bytes: 1024 * 1024,
            connection_window_bytes: 8 * 1024 * 1024,
            message_bytes_max: PAYLOAD_BYTES_MAX,
            batch_bytes_max: PAYLOAD_BYTES_MAX,
            header_bytes_max: 16 * 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            greeting_max: Duration::from_secs(10),
            deadline_default: Duration::from_secs(60),
        }
    }
}
