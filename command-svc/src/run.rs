//! The process: connect, serve, drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use headwater_chassis::{
    Backoff, Delays, Metrics, Readiness, Server, Shutdown, Telemetry, admin, announce, bind, serve,
};
use headwater_eventlog::{EventLog, LogError};
use tokio::time::timeout;
use tonic::service::Routes;

use crate::acks::Acks;
use crate::config::Config;
use crate::execute::Executor;
use crate::housekeeping;

const CONNECT_DELAYS: Delays =
    Delays { first: Duration::from_millis(100), max: Duration::from_secs(5), factor: 2.0 };
/// The check that `/readyz` and health follow.
const LOG_CHECK: &str = "log";
/// The check that fails once a task has died without which no command can be carried out.
const TASKS_CHECK: &str = "tasks";
const LOG_CHECK_EVERY: Duration = Duration::from_secs(1);
/// A log that takes longer to say where it ends can take no commands either.
const LOG_CHECK_MAX: Duration = Duration::from_secs(3);

/// The program: reads its configuration, runs until it is told to stop, and drains. `routes` and
/// `descriptors` are those of [`run`].
///
/// # Errors
/// Every mistake in the configuration, or as [`run`].
#[tokio::main]
pub async fn run_program(
    descriptors: &'static [u8],
    routes: impl FnOnce(&Arc<Executor>) -> Routes,
) -> anyhow::Result<()> {
    let config = Config::from_process()?;
    let telemetry = Telemetry::init("command-svc", &config.common)?;
    let shutdown = Shutdown::on_signals()?;
    shutdown.exit_after(config.common.shutdown);
    let ended = run(config, descriptors, shutdown, routes).await;
    telemetry.shutdown().await;
    ended
}

/// Runs a command service until shutdown. `routes` makes the domain's gRPC services on the
/// executor, and `descriptors` is its encoded descriptor set.
///
/// # Errors
/// A socket cannot be bound, the log's schema is not this program's, a task has died, or requests
/// were cut at the deadline.
pub async fn run(
    config: Config,
    descriptors: &'static [u8],
    shutdown: Shutdown,
    routes: impl FnOnce(&Arc<Executor>) -> Routes,
) -> anyhow::Result<()> {
    let metrics = Metrics::new();
    let readiness = Readiness::new(&[LOG_CHECK]);
    let listener = bind(config.common.listen).await?;
    let admin_listener = bind(config.common.admin_listen).await?;
    let (grpc, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let admin = tokio::spawn(admin::serve(admin_listener, metrics.clone(), readiness.clone()));
    announce("command-svc", Some(grpc), admin_address);

    let Some(log) = connect(&config, &readiness, &shutdown).await? else { return Ok(()) };
    let acks = Acks::new(config.sync.clone().map(|url| url.0));
    let executor = Arc::new(Executor::start(&log, &config.limits, acks, &metrics));
    let watch = tokio::spawn(watch(log.clone(), readiness.clone(), shutdown.clone()));
    let died = tokio::spawn(end_with(executor.failure(), readiness.clone(), shutdown.clone()));
    let forget = tokio::spawn(housekeeping::forget_receipts(
        log.clone(),
        config.key_retention_hours,
        shutdown.clone(),
    ));
    let routes = routes(&executor).prepare();
    let server = Server {
        descriptors: vec![descriptors],
        limits: headwater_chassis::Limits {
            message_bytes_max: config.limits.message_bytes_max,
            batch_bytes_max: config.limits.batch_bytes_max,
            ..headwater_chassis::Limits::default()
        },
        ..Server::new(config.common, metrics, readiness, shutdown, listener)
    };
    let served = serve(server, routes).await;
    // Held by nobody else, unless calls were cut at the deadline: their appends are not waited for.
    if let Some(executor) = Arc::into_inner(executor) {
        executor.drain().await;
    }
    for task in [watch, forget] {
        task.abort();
    }
    died.abort();
    log.close().await;
    admin.abort();
    if let Ok(name) = died.await {
        bail!("{name} died: the process cannot carry out commands any more");
    }
    served.context("the gRPC server")
}

/// Ends the process once a task of it has died: another copy takes over at once, and a new process
/// has every task. Clients are told to try again in the meantime.
async fn end_with(
    failure: impl Future<Output = &'static str>,
    readiness: Readiness,
    shutdown: Shutdown,
) -> &'static str {
    let name = failure.await;
    tracing::error!(task = name, "a task died; the process ends, to be started again");
    readiness.set(TASKS_CHECK, Err(format!("{name} died")));
    shutdown.trigger();
    name
}

/// Connects, however long the database takes to come; `None` if shutdown comes first. A schema that
/// is not this program's is an error at once: waiting would not mend it, and the supervisor's
/// restart is the retry.
async fn connect(
    config: &Config,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<EventLog>> {
    let mut backoff = Backoff::new(CONNECT_DELAYS);
    loop {
        match EventLog::open(&config.write, config.write_connections).await {
            Ok(log) => {
                readiness.set(LOG_CHECK, Ok(()));
                return Ok(Some(log));
            }
            Err(LogError::Unavailable(error)) => {
                tracing::warn!(%error, "the write database cannot be reached yet");
                readiness.set(LOG_CHECK, Err("the write database cannot be reached".to_owned()));
            }
            Err(error) => return Err(error).context("the write database"),
        }
        tokio::select! {
            () = shutdown.requested() => return Ok(None),
            () = tokio::time::sleep(backoff.next(rand::random())) => {}
        }
    }
}

/// Keeps readiness true to whether the log takes appends: it has to be a primary, and after a
/// promotion its new epoch has to begin, whether anybody appends or not.
async fn watch(log: EventLog, readiness: Readiness, shutdown: Shutdown) {
    while !shutdown.is_requested() {
        let result = match timeout(LOG_CHECK_MAX, log.follow_epoch()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the log cannot be read");
                Err("the write database cannot be reached".to_owned())
            }
            Err(_) => Err("the write database does not answer".to_owned()),
        };
        readiness.set(LOG_CHECK, result);
        tokio::time::sleep(LOG_CHECK_EVERY).await;
    }
}
