//! Logs on standard error, and traces to an OTLP collector if one is configured.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{Common, LogFormat};

/// Time that the last spans may take to reach the collector; shutdown must not hang on it.
const FLUSH_MAX: Duration = Duration::from_secs(2);

type BoxedLayer<S> = Box<dyn Layer<S> + Send + Sync>;

/// Keeps telemetry going; flushes spans when it is shut down or dropped.
#[must_use = "spans are lost when this is dropped early"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs the process's subscriber and panic hook. Call it once, on the runtime.
    ///
    /// # Errors
    /// If the filter is malformed, the exporter cannot be built, or a subscriber is installed
    /// already.
    pub fn init(program: &'static str, common: &Common) -> anyhow::Result<Self> {
        let traces = match &common.otlp_endpoint {
            None => None,
            Some(endpoint) => Some(exporting(program, endpoint, common.trace_ratio)?),
        };
        let exported = traces.as_ref().map(|traces| {
            // Our own spans only: the exporter's client must not trace itself.
            let ours = Targets::new().with_target("headwater", LevelFilter::DEBUG);
            let tracer = traces.tracer(program);
            tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
        });
        let filter = EnvFilter::try_new(&common.log).context("the log filter is malformed")?;
        let logged = log_layer(common.log_format, std::io::stderr).with_filter(filter);
        Registry::default().with(logged).with(exported).try_init()?;
        log_panics();
        Ok(Self { traces })
    }

    /// Sends the last spans, within two seconds.
    pub async fn shutdown(mut self) {
        if let Some(traces) = self.traces.take() {
            // It blocks, and the exporter it waits for may live on this very thread.
            let _ = tokio::task::spawn_blocking(move || flush(&traces)).await;
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            flush(&traces);
        }
    }
}

fn flush(traces: &SdkTracerProvider) {
    if let Err(error) = traces.shutdown_with_timeout(FLUSH_MAX) {
        tracing::warn!(%error, "the last spans were not sent");
    }
}

fn exporting(
    program: &'static str,
    endpoint: &str,
    ratio: f64,
) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(FLUSH_MAX)
        .build()
        .context("the OTLP exporter cannot be built")?;
    // A caller that has decided to record (or not to) is followed, so that traces are whole.
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let resource = Resource::builder().with_service_name(program).build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource)
        .build())
}

fn log_layer<W>(format: LogFormat, writer: W) -> BoxedLayer<Registry>
where
    W: for<'w> tracing_subscriber::fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
    }
}

/// A panic is a log line like any other, not loose text between JSON lines.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(location, "panicked: {}", text.unwrap_or("without a text"));
    }));
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use headwater_edge::{ErrorReason, Failure};

    use crate::Secret;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = log_layer(format, move || writer.clone());
        tracing::subscriber::with_default(Registry::default().with(layer), act);
        let bytes = lines.0.lock().expect("a lock").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_secret_is_in_no_log_line() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "seen through Debug only")]
        struct Config {
            url: Secret,
        }
        let secret = Secret::new("postgres://app:hunter2@db/app");
        let config = Config { url: secret.clone() };
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, || {
                tracing::info!(%secret, ?config, other = ?Some(&secret), "starting with {secret}");
            });
            assert_eq!(text.matches("***").count(), 4, "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_defect_is_logged_once_with_its_cause_when_it_becomes_a_reply() {
        let failure = |reason| Failure::new(reason, "sorry").because(anyhow::anyhow!("the cause"));
        let check = |reason, count: usize| {
            let text = logged(LogFormat::Json, || drop(tonic::Status::from(failure(reason))));
            assert_eq!(text.matches("the cause").count(), count, "{reason:?}: {text}");
            for line in text.lines() {
                let line: serde_json::Value = line.parse().expect("JSON");
                assert_eq!(line["level"], "ERROR");
            }
        };
        check(ErrorReason::Internal, 1);
        check(ErrorReason::DataCorrupt, 1);
        check(ErrorReason::DatabaseUnavailable, 0);
    }
}
