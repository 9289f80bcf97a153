//! Operations of the clients, and what they were told.

use std::time::Duration;

use headwater_domain_proto::stores::v1::{StockItem, Store, StoreOverview};
use uuid::Uuid;

use super::log::Change;
pub use super::terms::{LogName, Moment, Positions};

/// Contents of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The log it is of.
    pub log: LogName,
    /// Positions of that log that it proves.
    pub positions: Positions,
}

/// One thing that a client did. A client does one thing after the other.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Number of the client.
    pub client: usize,
    /// Before it was sent for the first time.
    pub began: Moment,
    /// After it was answered for the last time.
    pub ended: Moment,
    /// Operation, and how it ended.
    pub what: What,
}

/// A command or a query.
#[derive(Clone, Debug)]
pub enum What {
    /// Sent, maybe several times, always with the same idempotency key.
    Command(Command),
    /// Sent once.
    Query(Query),
}

/// A command, and how it ended.
#[derive(Clone, Debug)]
pub struct Command {
    /// The stream that it is for.
    pub stream: Uuid,
    /// The event that it causes; of two, the one on this stream. No other command of the history
    /// causes the same on this stream: that tells it in the log.
    pub change: Change,
    /// The version that it wants the stream to have.
    pub expected_version: Option<u64>,
    /// Outcome of the command.
    pub outcome: Outcome,
}

/// Outcome of a command.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Applied; each attempt that was answered has its receipt.
    Acknowledged(Vec<Receipt>),
    /// Not applied, and why.
    Refused(String),
    /// Applied or not, and what the last answer was.
    Unknown(String),
    /// Ended in a way that no fault explains.
    Broken(String),
}

/// Receipt that a client was given for its command.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The stream's version after it.
    pub version: u64,
    /// The state that shows it.
    pub proof: Proof,
    /// True if an earlier attempt had been applied.
    pub replayed: bool,
}

/// A query, and its answer.
#[derive(Clone, Debug)]
pub struct Query {
    /// Question of the query.
    pub ask: Ask,
    /// Freshness that was required.
    pub requirement: Requirement,
    /// Answer of the query.
    pub answer: Answer,
}

/// Freshness that an answer has to have.
#[derive(Clone, Debug)]
pub enum Requirement {
    /// As it comes.
    Any,
    /// At least the state that the proof is of. Clients send all that they were told so far, and
    /// maybe more: what they see never goes back.
    AtLeast(Proof),
    /// Nothing that was recorded longer ago than this may be missing.
    MaxStaleness(Duration),
    /// Everything that was acknowledged to anybody before the query was sent.
    Strong,
}

/// Questions that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// An item by its id.
    Item(Uuid),
    /// A listed item by its store and SKU.
    ItemBySku {
        /// The store.
        store: Uuid,
        /// The SKU.
        sku: String,
    },
    /// Items by their ids, in this order.
    Items(Vec<Uuid>),
    /// A store by its id.
    Store(Uuid),
    /// An overview by its store's id.
    Overview(Uuid),
    /// The listed items of a store, by price instead of SKU if so wished.
    ListItems {
        /// The store.
        store: Uuid,
        /// True if they are ordered by price.
        by_price: bool,
    },
    /// The stores of a city.
    ListStores {
        /// The city; empty for every one.
        city: String,
    },
    /// Stores whose names have, for each of these words, one that begins with it.
    Search(String),
    /// The overviews of all stores, by revenue.
    ListOverviews,
}

/// Answer that came back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Rows, and the state that they show.
    Shown(Box<Shown>),
    /// No answer, for a reason that a fault explains.
    Failed(String),
    /// Ended in a way that no fault explains.
    Broken(String),
}

/// Rows, and the state that they show.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Claimed state.
    pub proof: Proof,
    /// Claimed time; whatever was recorded before it is contained.
    pub as_of: Moment,
    /// The page that was asked for, if it was a list.
    pub page: Option<Page>,
    /// In the order of the reply. One or none if one was asked for.
    pub rows: Vec<Row>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// Rows on a page at most.
    pub size: usize,
    /// The last row of the page before, as it was shown there.
    pub after: Option<Row>,
    /// True if the reply said that there are more.
    pub more: bool,
}

/// A row of a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// Of items.
    Item(StockItem),
    /// Of stores.
    Store(Store),
    /// Of overviews.
    Overview(StoreOverview),
}
