//! Connections to one node, and what Postgres itself is told on each of them.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    BuildError, ClientWrapper, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use headwater_chassis::Secret;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Row};

use crate::seen::{NodeError, is_stale_plan};

/// Longest run of a statement: longer ones are lists that no index serves, and Postgres ends them.
const STATEMENT_MAX: Duration = Duration::from_secs(2);
/// Longest wait for an answer; beyond the statement's own limit, so that a slow statement is told
/// from a dead node.
pub const ANSWER_MAX: Duration = Duration::from_millis(2_500);
/// Longest wait for an answer on a shared connection. Only reads by key go there: a node that needs
/// this long for them serves nobody.
const SHARED_ANSWER_MAX: Duration = Duration::from_secs(1);
/// Longest time to connect.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Longest time to replace a connection that works: after it, that one is used on.
const REPLACE_MAX: Duration = Duration::from_millis(500);
/// How long a connection is used. A node's name may lead to another server by then, while the old
/// one answers on as if nothing had happened.
pub const CONNECTED_MAX: Duration = Duration::from_secs(60);
/// Longest time to cancel a statement.
const CANCEL_MAX: Duration = Duration::from_secs(1);
/// Longest wait for a connection while all are in use.
const CHECKOUT_MAX: Duration = Duration::from_millis(500);

/// Parameters of a statement.
pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Place where a node is and how to log in.
#[derive(Clone)]
pub struct Address {
    /// Host and port: the node's name in metrics and logs.
    pub name: String,
    config: Config,
}

impl Address {
    /// Reads a Postgres URL or `key=value` list that names one host.
    ///
    /// # Errors
    /// What is wrong, in words that show nothing of the URL: it holds a password.
    pub fn parse(url: &Secret) -> Result<Self, &'static str> {
        let mut config = Config::from_str(url.expose()).map_err(|_| "is not a Postgres URL")?;
        let [host] = config.get_hosts() else {
            return Err("must name exactly one host in each URL: every node is listed by itself");
        };
        let host = match host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let own = config.get_options().unwrap_or_default().to_owned();
        config
            .options(format!("{own} {}", session_options()))
            .application_name("headwater-query-svc")
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(ANSWER_MAX)
            .keepalives_idle(Duration::from_secs(10));
        Ok(Self { name: format!("{host}:{port}"), config })
    }

    /// A pool of connections.
    ///
    /// # Errors
    /// Never in practice: the pool's settings are constants.
    pub fn pool(&self, connections: usize) -> Result<Pool, BuildError> {
        // Not tested when it is lent, which would cost a round trip: a connection that broke
        // unnoticed fails its statement, and the read goes to another node.
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        Pool::builder(Manager::from_config(self.config.clone(), NoTls, fast))
            .max_size(connections)
            .wait_timeout(Some(CHECKOUT_MAX))
            .create_timeout(Some(CONNECT_MAX))
            .recycle_timeout(Some(CONNECT_MAX))
            .runtime(Runtime::Tokio1)
            .build()
    }
}

/// What Postgres enforces on every connection, whatever this program does: nothing is written
/// unless a transaction says READ WRITE, nothing runs without end. Plans are made once: each
/// statement is written so that one plan, by one index, serves all parameters, and planning a point
/// read again takes longer than running it.
fn session_options() -> String {
    format!(
        "-c default_transaction_read_only=on -c plan_cache_mode=force_generic_plan \
         -c statement_timeout={0} -c idle_in_transaction_session_timeout={0}",
        STATEMENT_MAX.as_millis()
    )
}

/// A connection that is shared: the requests of many are in flight on it at once. Opened when it is
/// first used, and opened again after it broke. Once it has been used for long enough, a new one is
/// opened beside it, and takes its place.
pub struct Lane(Arc<Shared>);

struct Shared {
    held: Mutex<Option<Held>>,
    connected_max: Duration,
    /// True from a renewal until somebody has asked.
    renewed: AtomicBool,
}

struct Held {
    client: Arc<ClientWrapper>,
    replace_at: Instant,
}

impl Lane {
    /// A connection that is used for so long.
    pub fn new(connected_max: Duration) -> Self {
        let renewed = AtomicBool::new(false);
        Self(Arc::new(Shared { held: Mutex::default(), connected_max, renewed }))
    }

    /// Runs a statement on it; the connection comes from `pool`.
    ///
    /// # Errors
    /// Why there is no answer. After [`NodeError::Silent`] the connection is given up.
    pub async fn run(
        &self,
        pool: &Pool,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, NodeError> {
        let client = timeout(CONNECT_MAX, self.client(pool)).await;
        let client = client.map_err(|_| NodeError::Silent)??;
        let outcome = run(&client, sql, params, SHARED_ANSWER_MAX).await;
        if matches!(outcome, Err(NodeError::Silent)) {
            self.0.held.lock().await.take_if(|held| Arc::ptr_eq(&held.client, &client));
        }
        outcome
    }

    async fn client(&self, pool: &Pool) -> Result<Arc<ClientWrapper>, NodeError> {
        // Held while connecting, so that one connects and the others get the same connection.
        let mut held = self.0.held.lock().await;
        held.take_if(|held| held.client.is_closed());
        if let Some(held) = held.as_mut() {
            if Instant::now() >= held.replace_at {
                held.replace_at = Instant::now() + self.0.connected_max;
                tokio::spawn(renew(Arc::clone(&self.0), pool.clone(), Arc::clone(&held.client)));
            }
            return Ok(Arc::clone(&held.client));
        }
        let client = open(pool).await?;
        let replace_at = Instant::now() + self.0.connected_max;
        *held = Some(Held { client: Arc::clone(&client), replace_at });
        Ok(client)
    }

    /// True if a new connection has taken the place of the old one since the last call.
    pub fn take_renewed(&self) -> bool {
        self.0.renewed.swap(false, Ordering::Relaxed)
    }
}

/// Opens a shared connection. It is taken out of the pool for good: it must not be given back while
/// others use it, and one that hangs must not be given back at all.
async fn open(pool: &Pool) -> Result<Arc<ClientWrapper>, NodeError> {
    Ok(Arc::new(Object::take(pool.get().await?)))
}

/// Puts a new connection in the place of the old one, on which whoever is at a statement finishes
/// it. If there is no new one (the name leads nowhere, the server takes no more), the old one is
/// used on.
async fn renew(lane: Arc<Shared>, pool: Pool, old: Arc<ClientWrapper>) {
    let Ok(Ok(client)) = timeout(REPLACE_MAX, open(&pool)).await else { return };
    let mut held = lane.held.lock().await;
    // Given up meanwhile, and opened anew: that one is as new.
    if let Some(held) = held.as_mut().filter(|held| Arc::ptr_eq(&held.client, &old)) {
        held.client = client;
        lane.renewed.store(true, Ordering::Relaxed);
    }
}

/// Runs a statement on a connection borrowed from the pool. If this is dropped before the answer,
/// the statement is cancelled on the server.
///
/// # Errors
/// Why there is no answer. After [`NodeError::Silent`] the connection is not given back.
pub async fn run_pooled(pool: &Pool, sql: &str, params: Params<'_>) -> Result<Vec<Row>, NodeError> {
    let mut lent = Lent(Some(pool.get().await?));
    let Some(client) = lent.0.as_ref() else { return Err(NodeError::Busy) };
    let outcome = run(client, sql, params, ANSWER_MAX).await;
    let client = lent.0.take();
    if matches!(outcome, Err(NodeError::Silent)) {
        drop(client.map(Object::take));
    }
    outcome
}

/// A connection with a statement under way, until it is taken.
struct Lent(Option<Object>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            abandon(connection);
        }
    }
}

/// Gives a connection up on which a statement may be under way that nobody waits for any more: the
/// statement is cancelled, and the connection closed. Given back, its next user would wait for that
/// statement, and take the node for one that does not answer. Its place in the pool is free once
/// the server is done with it, so that who cancels often does not load the server with more
/// statements than the pool has connections.
pub fn abandon(connection: Object) {
    // None while the process ends: the connections end with it.
    let Ok(runtime) = Handle::try_current() else { return drop(Object::take(connection)) };
    runtime.spawn(async move {
        let cancelled = async {
            connection.cancel_token().cancel_query(NoTls).await?;
            // Answered when the statement before it has ended.
            connection.batch_execute("").await
        };
        // Whatever came of it.
        let _ = timeout(CANCEL_MAX, cancelled).await;
        drop(Object::take(connection));
    });
}

/// An answer on a connection of its own.
///
/// # Errors
/// Why there is none; [`NodeError::Silent`] after the longest wait.
pub async fn answered<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, NodeError> {
    match timeout(ANSWER_MAX, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(NodeError::Silent),
    }
}

async fn run(
    client: &ClientWrapper,
    sql: &str,
    params: Params<'_>,
    answer_max: Duration,
) -> Result<Vec<Row>, NodeError> {
    let answer = async {
        match prepare_and_query(client, sql, params).await {
            Err(error) if is_stale_plan(&error) => {
                // No types: `prepare_cached` keeps it under the text alone.
                client.statement_cache.remove(sql, &[]);
                prepare_and_query(client, sql, params).await
            }
            answer => answer,
        }
    };
    match timeout(answer_max, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(NodeError::Silent),
    }
}

async fn prepare_and_query(
    client: &ClientWrapper,
    sql: &str,
    params: Params<'_>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, params).await
}
