//! The servers of a database, of which one takes writes: which one it is, found out and watched,
//! not configured, so that a failover is followed.
//!
//! Every server is asked twice a second. Of several that take writes the one on the newest timeline
//! is used: a promotion starts a new timeline, so the others are primaries that were replaced while
//! they were dead or cut off. What this process has seen once it remembers: a server on an earlier
//! timeline is not used again, be it the only one in reach or the one that a name now leads to.

mod choice;
mod lookout;
mod record;
mod url;

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::{Instant, timeout};

use crate::error::LogError;
use choice::Known;
pub use choice::Place;
use lookout::ANSWER_MAX;
pub use record::NoPrimary;
use record::{Record, Server};

/// Name that programs connect with: it tells the newest edition of the schema that they use, so
/// that nobody takes away what they need.
pub const APPLICATION_NAME: &str = "headwater-3";
/// Name that programs of the edition before connect with.
pub(crate) const PREVIOUS_NAME: &str = "headwater";

/// The servers of one database. Clones share what is known of them.
#[derive(Clone)]
pub struct Servers {
    record: Arc<Record>,
}

impl Servers {
    /// The servers that a URL names, one or several: `postgres://user:password@one,two:5433/base`.
    ///
    /// # Errors
    /// What is wrong with it, without showing it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let mut servers: Vec<Server> = Vec::new();
        for url in url::split(url)? {
            let place = servers.len() + 1;
            let options = PgConnectOptions::from_str(&url)
                .map_err(|_| format!("server {place} in it, or what follows, cannot be read"))?
                .application_name(APPLICATION_NAME)
                // sqlx asks `tracing::enabled!` after every statement and no event follows; that
                // leaves the state of per-layer filters behind on the thread, and the exporter lost
                // the next span there.
                .disable_statement_logging();
            let host = options.get_socket().map(|path| path.display().to_string());
            let host = host.unwrap_or_else(|| options.get_host().to_owned());
            let name = format!("{host}:{}", options.get_port());
            if servers.iter().any(|server| server.name == name) {
                return Err(format!("names {name} twice"));
            }
            servers.push(Server { name, url, options });
        }
        Ok(Self { record: Arc::new(Record::of(servers)) })
    }

    /// The server that takes writes. From the first call on, which must be in a runtime, all of
    /// them are watched; that call waits until each has answered, at most 3 seconds.
    ///
    /// # Errors
    /// There is none now.
    pub async fn find(&self) -> Result<Place, NoPrimary> {
        self.record.watched.call_once(|| {
            for server in 0..self.record.servers.len() {
                tokio::spawn(lookout::watch(Arc::downgrade(&self.record), server));
            }
        });
        let mut known = self.record.known.subscribe();
        // The sender lives in `self`.
        let _ = known.wait_for(Known::is_complete).await;
        self.place()
    }

    /// The server that takes writes, by what is known now.
    ///
    /// # Errors
    /// There is none.
    pub fn place(&self) -> Result<Place, NoPrimary> {
        let known = self.record.known.borrow();
        known.place.ok_or_else(|| self.record.no_primary(&known))
    }

    /// True if the server at this place is still the one that takes writes.
    pub fn is_at(&self, place: Place) -> bool {
        self.record.known.borrow().place == Some(place)
    }

    /// True if every other server than the one that takes writes has said since this moment that it
    /// does not: none of them was promoted unnoticed.
    pub fn others_heard_since(&self, moment: Instant) -> bool {
        self.record.others_heard_since(moment)
    }

    /// Resolves when this one is not to be used any more.
    pub async fn moved(&self, from: Place) {
        let mut known = self.record.known.subscribe();
        // The sender lives in `self`.
        let _ = known.wait_for(|known| known.place != Some(from)).await;
    }

    /// Resolves when another one than now takes writes.
    pub async fn another(&self) {
        let mut known = self.record.known.subscribe();
        let now = known.borrow_and_update().place;
        // The sender lives in `self`.
        let _ = known.wait_for(|known| known.place.is_some() && known.place != now).await;
    }

    /// The URL of a server alone.
    pub fn url(&self, place: Place) -> &str {
        &self.record.servers[place.server].url
    }

    /// Connection options of a server.
    pub(crate) fn options(&self, place: Place) -> PgConnectOptions {
        self.record.servers[place.server].options.clone()
    }

    /// Connects to the one that takes writes, with more options.
    ///
    /// # Errors
    /// There is none, or it cannot be reached.
    pub(crate) async fn connect(
        &self,
        more: impl FnOnce(PgConnectOptions) -> PgConnectOptions,
    ) -> Result<(PgConnection, Place), LogError> {
        let place = self.find().await?;
        let options = more(self.options(place));
        let connecting = async {
            let mut connection = options.connect().await?;
            self.check(&mut connection).await?;
            Ok(connection)
        };
        let silent = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        let connected = timeout(ANSWER_MAX, connecting).await.map_err(silent).flatten();
        Ok((connected.map_err(LogError::from_sqlx)?, place))
    }

    /// Checks a new connection: the server may have become another one since it was asked.
    ///
    /// # Errors
    /// It takes no writes, or was replaced.
    pub(crate) async fn check(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let timeline = lookout::timeline(connection).await?;
        if timeline.is_none_or(|timeline| self.record.known.borrow().is_past(timeline)) {
            let words = "the server takes no writes any more";
            return Err(sqlx::Error::Io(std::io::Error::other(words)));
        }
        Ok(())
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.record.servers.iter().map(|server| &server.name)).finish()
    }
}

impl From<NoPrimary> for LogError {
    fn from(missing: NoPrimary) -> Self {
        let passes = missing.passes();
        let error = sqlx::Error::Io(std::io::Error::other(missing));
        if passes { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::choice::Answer;
    use super::*;

    #[test]
    fn servers_are_named_by_host_and_port() {
        let servers = Servers::parse("postgres://u:hunter2@a,b:6000,[::1]:1/d").expect("servers");
        assert_eq!(format!("{servers:?}"), r#"["a:5432", "b:6000", "[::1]:1"]"#);
        let problem = Servers::parse("postgres://u:hunter2@a,b,a:5432/d").expect_err("twice");
        assert_eq!(problem, "names a:5432 twice");
        let problem = Servers::parse("postgres://u:hunter2@a,b:port/d").expect_err("no port");
        assert!(problem.contains("server 2") && !problem.contains("hunter2"), "{problem}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_server_says_counts_from_when_it_was_asked() {
        let servers = Servers::parse("postgres://user@one,two/base").expect("two servers");
        let early = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        let moment = Instant::now();
        let silent = Answer::Silent { why: String::new(), passes: true };
        let note = |server, asked, answer| servers.record.note(server, asked, answer);
        note(0, early, Answer::Primary(1));
        assert!(!servers.others_heard_since(moment), "the other one was not asked");
        note(1, early, Answer::Standby);
        assert!(!servers.others_heard_since(moment), "it may have been promoted since");
        note(1, moment, Answer::Standby);
        assert!(servers.others_heard_since(moment));
        note(1, moment, silent.clone());
        assert!(!servers.others_heard_since(moment), "it may have been promoted since");
        note(1, moment, Answer::Primary(2));
        note(0, moment, silent);
        assert!(!servers.others_heard_since(moment), "now the first one is another");
    }
}
