//! The settings that every program has.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::settings::Settings;

/// The part of the configuration that every program has.
#[derive(Clone, Debug)]
pub struct Common {
    /// Address that gRPC is served at; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Address of `/metrics`, `/livez` and `/readyz`.
    pub admin_listen: SocketAddr,
    /// Filter of log lines, in the syntax of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// OTLP/gRPC collector; traces are off without one.
    pub otlp_endpoint: Option<String>,
    /// Share of traces that is recorded when the caller has not decided, from 0 to 1.
    pub trace_ratio: f64,
    /// Deadline of a graceful shutdown.
    pub shutdown: Duration,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json"),
        }
    }
}

impl Common {
    /// Reads them.
    pub fn read(
        settings: &mut Settings,
        default_listen: &str,
        default_admin: &str,
    ) -> Option<Self> {
        settings.group("Every program");
        let listen = settings.get("HEADWATER_LISTEN", Some(default_listen), "address of gRPC");
        let admin_listen = settings.get(
            "HEADWATER_ADMIN_LISTEN",
            Some(default_admin),
            "address of /metrics, /livez and /readyz",
        );
        let log: Option<LogFilter> = settings.get(
            "HEADWATER_LOG",
            Some("info"),
            "which log lines are written, such as info or warn,headwater_router=debug",
        );
        let log_format =
            settings.get("HEADWATER_LOG_FORMAT", Some("text"), "form of log lines: text or json");
        let otlp_endpoint: Option<Option<Endpoint>> = settings.optional(
            "HEADWATER_OTLP_ENDPOINT",
            "OTLP/gRPC collector, such as http://127.0.0.1:4317; without one there are no traces",
        );
        let trace_ratio = settings.in_range(
            "HEADWATER_TRACE_RATIO",
            "0.01",
            0.0..=1.0,
            "share of traces recorded when the caller has not decided",
        );
        let shutdown = settings.millis(
            "HEADWATER_SHUTDOWN_MS",
            "10000",
            100..=600_000,
            "deadline of a graceful shutdown; after it the process exits anyway",
        );
        Some(Self {
            listen: listen?,
            admin_listen: admin_listen?,
            log: log?.0,
            log_format: log_format?,
            otlp_endpoint: otlp_endpoint?.map(|endpoint| endpoint.0),
            trace_ratio: trace_ratio?,
            shutdown: shutdown?,
        })
    }
}

/// Text that is known to parse as a filter.
struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

/// Text that is known to be the URL of a plaintext gRPC endpoint.
struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: http::Uri = text.parse().map_err(|_| "not a URL")?;
        let plain = uri.scheme_str() == Some("http") && uri.authority().is_some();
        plain.then(|| Self(text.to_owned())).ok_or("must be http://host:port")
    }
}
