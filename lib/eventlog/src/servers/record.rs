//! Record of the servers and of what is known of them: one for all who use them.

use std::sync::{Mutex, Once, PoisonError};

use sqlx::postgres::PgConnectOptions;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use super::choice::{Answer, Known, Place};

pub(super) struct Record {
    pub servers: Vec<Server>,
    pub known: watch::Sender<Known>,
    /// By server, when it was asked what it then answered; `None` while it does not answer.
    heard: Mutex<Vec<Option<Instant>>>,
    /// Set once a task watches the servers.
    pub watched: Once,
}

pub(super) struct Server {
    /// Host and port.
    pub name: String,
    /// With its password.
    pub url: String,
    pub options: PgConnectOptions,
}

/// Error: no server of a database can be written to.
#[derive(Clone, Debug, Error)]
#[error("no server takes writes ({what})")]
pub struct NoPrimary {
    what: String,
    passes: bool,
}

impl NoPrimary {
    /// True if it may pass by itself: no server can be reached, or none has been promoted yet.
    pub fn passes(&self) -> bool {
        self.passes
    }
}

impl Record {
    /// Of servers that have not been asked.
    pub fn of(servers: Vec<Server>) -> Self {
        let (known, _) = watch::channel(Known::nothing(servers.len()));
        let heard = Mutex::new(vec![None; servers.len()]);
        Self { servers, known, heard, watched: Once::new() }
    }

    /// True if all servers, apart from the one that takes writes, were asked after this moment and
    /// have answered.
    pub fn others_heard_since(&self, moment: Instant) -> bool {
        let place = self.known.borrow().place.map(|place| place.server);
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_heard = |heard: &Option<Instant>| heard.is_some_and(|asked| asked >= moment);
        heard.iter().enumerate().all(|(server, heard)| place == Some(server) || is_heard(heard))
    }

    /// Takes note of a server's answer to a question that was asked then. Whoever waits is woken by
    /// what changes for him.
    pub fn note(&self, server: usize, asked: Instant, answer: Answer) {
        let is_silent = matches!(answer, Answer::Silent { .. });
        self.known.send_if_modified(|known| {
            let (place, was_complete) = (known.place, known.is_complete());
            let before = known.answers[server].clone();
            known.note(server, answer);
            self.tell(server, &before, place, known);
            known.place != place || known.is_complete() != was_complete
        });
        // After the choice, so that whoever finds all heard finds what follows from it.
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard[server] = (!is_silent).then_some(asked);
    }

    /// Logs what has changed.
    fn tell(&self, server: usize, before: &Answer, place: Option<Place>, known: &Known) {
        let now = &known.answers[server];
        if let (Answer::Primary(timeline), true) = (now, now != before)
            && known.is_past(*timeline)
        {
            let server = &self.servers[server].name;
            tracing::warn!(server, timeline, "takes writes, but was replaced; it is not used");
        }
        match known.place {
            Some(Place { server, timeline }) if known.place != place => {
                let server = &self.servers[server].name;
                tracing::info!(server, timeline, "this server takes writes");
            }
            None if place.is_some() => tracing::info!("no server takes writes now"),
            _ => {}
        }
    }

    /// Error that says of every server why it takes no writes.
    pub fn no_primary(&self, known: &Known) -> NoPrimary {
        let (mut words, mut passes) = (Vec::new(), false);
        for (server, answer) in self.servers.iter().zip(&known.answers) {
            let (word, may_pass) = match answer {
                Answer::Unasked => ("has not answered yet", true),
                Answer::Primary(_) => ("takes writes, but was replaced", true),
                Answer::Standby => ("is a standby", true),
                Answer::Silent { why, passes } => (why.as_str(), *passes),
            };
            words.push(format!("{}: {word}", server.name));
            passes |= may_pass;
        }
        NoPrimary { what: words.join("; "), passes }
    }
}
