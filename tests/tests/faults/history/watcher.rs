//! Clients that watch: what one of them knows after a message is an answer like any other, of the
//! whole list, at the state that the message proves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::{
    ItemChange, StockItem, WatchItemsRequest, WatchItemsResponse, item_change,
};
use headwater_proto::headwater::v1 as wire;
use headwater_tests::history::record::{
    Answer, Ask, Moment, Operation, Page, Query, Requirement, Row, Shown, What,
};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::client::Shared;
use super::clock::Clock;
use super::queries::{self, Cursor, Enforcement};
use super::session::{Session, passes, reason};

/// A message comes every 5 s; a stream on which none has come for this long is given up.
const SILENT_MAX: Duration = Duration::from_secs(12);
/// A stream opens within this time, or is given up.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// Pause before it resumes.
const PAUSE: Duration = Duration::from_millis(100);
/// Not every message is recorded: each is the whole list.
const RECORD_EVERY: Duration = Duration::from_millis(150);
/// In the end it has to come as far as anybody was told, by then.
const LAST_MAX: Duration = Duration::from_secs(60);
/// Rows of a list that is read in one piece.
const ALL: i32 = 500;

/// Watches the items of one store, from a list on.
pub struct Watcher {
    pub number: usize,
    pub channel: Channel,
    pub clock: Clock,
    pub shared: Arc<Shared>,
    pub store: Uuid,
    pub session: Session,
    /// The list as it is known, by SKU and id.
    pub known: BTreeMap<(String, String), StockItem>,
    /// The last version of each item that it was told, also of those that have left the list.
    pub versions: BTreeMap<String, u64>,
    pub resume_token: String,
    pub record: Vec<Operation>,
}

impl Watcher {
    /// Watches until it is told to stop, and then until it knows all that anybody was told.
    pub async fn work(mut self) -> Vec<Operation> {
        while self.resume_token.is_empty() {
            self.list().await;
        }
        let mut last_by = None;
        loop {
            let status = match self.open().await {
                Ok(stream) => self.follow(stream, &mut last_by).await,
                Err(status) => Some(status),
            };
            let Some(status) = status else { return self.record };
            let answer = match passes(&status) {
                true => Answer::Failed(format!("watch: {}", reason(&status))),
                false => Answer::Broken(format!("watch: {status:?}")),
            };
            self.note(self.clock.now(), answer);
            if last_by.is_some_and(|by| Instant::now() > by) {
                self.note(self.clock.now(), Answer::Broken("watch: never at its end".to_owned()));
                return self.record;
            }
            // tidy: allow sleep: a client's pause before it resumes
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The state to begin with.
    async fn list(&mut self) {
        let began = self.clock.now();
        let cursor = Cursor { size: ALL, token: String::new() };
        let (ask, requirement) = (self.ask(), self.onward());
        let wanted = queries::consistency(&requirement, self.session.text(), Enforcement::On);
        match queries::send(&self.channel, &ask, &cursor, wanted).await {
            Ok(reply) => {
                for row in reply.rows {
                    let Row::Item(item) = row else { panic!("a list of items") };
                    self.versions.insert(item.item_id.clone(), item.version);
                    self.known.insert((item.sku.clone(), item.item_id.clone()), item);
                }
                self.resume_token.clone_from(&reply.token);
                self.shown(began, &reply.token, reply.as_of);
            }
            Err(status) => {
                assert!(passes(&status), "{status:?}");
                // tidy: allow sleep: a client's pause before it tries again
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn open(&self) -> Result<Streaming<WatchItemsResponse>, Status> {
        let request = WatchItemsRequest {
            store_id: self.store.to_string(),
            options: Some(wire::WatchOptions { resume_after: self.resume_token.clone() }),
            consistency: None,
        };
        let mut client = StockQueryServiceClient::new(self.channel.clone());
        let opening = timeout(OPEN_MAX, client.watch_items(request)).await;
        Ok(opening.unwrap_or_else(|_| Err(Status::unavailable("it does not open")))?.into_inner())
    }

    /// Until the stream ends; without a status if all is done.
    async fn follow(
        &mut self,
        mut stream: Streaming<WatchItemsResponse>,
        last_by: &mut Option<Instant>,
    ) -> Option<Status> {
        let mut recorded = Instant::now();
        loop {
            let began = self.clock.now();
            let message = match timeout(SILENT_MAX, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return Some(Status::internal("ended without a word")),
                Ok(Err(status)) => return Some(status),
                Err(_) => return Some(Status::unavailable("it has fallen silent")),
            };
            for change in message.changes {
                if let Err(what) = self.learn(change) {
                    self.note(began, Answer::Broken(what));
                }
            }
            self.resume_token = message.resume_token;
            let freshness = message.freshness.expect("every message is dated");
            if freshness.token.is_empty() {
                continue;
            }
            let over = self.shared.over.load(Ordering::Relaxed);
            let done = over && self.is_done(&freshness.token, last_by);
            if done || recorded.elapsed() > RECORD_EVERY {
                recorded = Instant::now();
                let as_of = freshness.as_of.expect("a time");
                let as_of = as_of.seconds as u64 * 1_000_000 + as_of.nanos as u64 / 1_000;
                self.shown(began, &freshness.token, Moment(as_of));
            }
            if done {
                return None;
            }
        }
    }

    fn learn(&mut self, change: ItemChange) -> Result<(), String> {
        let item = match change.change.expect("a change") {
            item_change::Change::Item(item) => item,
            item_change::Change::RemovedItemId(id) => {
                self.known.retain(|(_, known), _| *known != id);
                return Ok(());
            }
        };
        let told = self.versions.insert(item.item_id.clone(), item.version).unwrap_or(0);
        let again = item.version <= told;
        let text = format!("watch: told of version {} after {told}: {item:?}", item.version);
        self.known.insert((item.sku.clone(), item.item_id.clone()), item);
        if again { Err(text) } else { Ok(()) }
    }

    /// Whether it knows what anybody was told before the end.
    fn is_done(&self, token: &str, last_by: &mut Option<Instant>) -> bool {
        last_by.get_or_insert_with(|| Instant::now() + LAST_MAX);
        let wanted = self.shared.board.lock().expect("no panic").proof();
        let wanted = wanted.expect("something was acknowledged").positions;
        Session::default().learn(token).positions.behind(&wanted).is_none()
    }

    fn shown(&mut self, began: Moment, token: &str, as_of: Moment) {
        let proof = self.session.learn(token);
        let rows = self.known.values().cloned().map(Row::Item).collect();
        let page = Some(Page { size: ALL as usize, after: None, more: false });
        self.note(began, Answer::Shown(Box::new(Shown { proof, as_of, page, rows })));
    }

    fn ask(&self) -> Ask {
        Ask::ListItems { store: self.store, by_price: false }
    }

    /// What it has been told before must be in whatever it is told.
    fn onward(&self) -> Requirement {
        let known = self.record.iter().rev().find_map(|operation| match &operation.what {
            What::Query(Query { answer: Answer::Shown(shown), .. }) => Some(shown.proof.clone()),
            What::Query(_) | What::Command(_) => None,
        });
        known.map_or(Requirement::Any, Requirement::AtLeast)
    }

    fn note(&mut self, began: Moment, answer: Answer) {
        let (ask, requirement) = (self.ask(), self.onward());
        let what = What::Query(Query { ask, requirement, answer });
        let ended = self.clock.now();
        self.record.push(Operation { client: self.number, began, ended, what });
    }
}
