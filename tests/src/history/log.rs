//! The log as it stands in the end: the truth that everything else is held against.

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::users::v1 as users;
use prost::DecodeError;
use uuid::Uuid;

use super::terms::{LogName, Moment, Positions};

/// A whole log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Name of the log.
    pub name: LogName,
    /// By partition, and in each by position.
    pub events: Vec<Event>,
}

/// An event, as it is stored.
#[derive(Clone, Debug)]
pub struct Event {
    /// Partition of the event.
    pub partition: u16,
    /// Position in the partition.
    pub position: u64,
    /// Stream of the event.
    pub stream: Uuid,
    /// Version of the stream with the event.
    pub version: u64,
    /// Time of recording.
    pub recorded: Moment,
    /// Change that the event records.
    pub change: Change,
    /// Units in stock after it, as whoever decided on it saw them.
    pub on_hand: Option<i64>,
}

/// Change that an event records: all that a command decided on. What it merely notes of the state
/// that it met is left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A store was opened.
    StoreOpened {
        /// Name of the store.
        name: String,
        /// City of the store.
        city: String,
        /// ISO 4217.
        currency: String,
    },
    /// A store got this name.
    StoreRenamed(String),
    /// A store got this manager.
    ManagerAssigned(Uuid),
    /// A product was listed.
    ItemListed {
        /// In this store.
        store: Uuid,
        /// The store's number for it.
        sku: String,
        /// Name of the item.
        name: String,
        /// Of one unit, in minor units.
        price: i64,
    },
    /// An item got this price.
    ItemRepriced(i64),
    /// So many units arrived.
    StockReceived(i64),
    /// Units were sold.
    SaleRecorded {
        /// So many.
        quantity: i64,
        /// For so much.
        amount: i64,
    },
    /// Units went to another item of the store.
    TransferredOut {
        /// So many.
        quantity: i64,
        /// The item that got them.
        to: Uuid,
    },
    /// Units came from another item of the store.
    TransferredIn {
        /// So many.
        quantity: i64,
        /// The item that had them.
        from: Uuid,
    },
    /// An item left the range.
    ItemDelisted,
    /// A user was registered.
    UserRegistered {
        /// With this address.
        email: String,
        /// And this name.
        name: String,
    },
    /// A user got this name.
    UserRenamed(String),
    /// Anything else, by its type. Nobody caused it.
    Other(String),
}

impl Log {
    /// The last position of each partition.
    pub fn heads(&self) -> Positions {
        let mut heads = Positions::default();
        for event in &self.events {
            heads.raise(event.partition, event.position);
        }
        heads
    }
}

impl Change {
    /// The change of another stream that comes with this one of this stream, and stands just before
    /// it: one command causes both or none.
    pub fn other_half(&self, stream: Uuid) -> Option<(Uuid, Self)> {
        match self {
            Self::TransferredOut { quantity, to } => {
                Some((*to, Self::TransferredIn { quantity: *quantity, from: stream }))
            }
            _ => None,
        }
    }

    /// From what is stored; with the units in stock that it notes.
    ///
    /// # Errors
    /// The bytes are not of that type.
    pub fn decode(type_name: &str, payload: &[u8]) -> Result<(Self, Option<i64>), DecodeError> {
        let change = match type_name {
            "stores.v1.StoreOpened" => {
                let stores::StoreOpened { name, city, currency } = decoded(payload)?;
                Self::StoreOpened { name, city, currency }
            }
            "stores.v1.StoreRenamed" => {
                Self::StoreRenamed(decoded::<stores::StoreRenamed>(payload)?.name)
            }
            "stores.v1.ManagerAssigned" => {
                Self::ManagerAssigned(id(&decoded::<stores::ManagerAssigned>(payload)?.user_id))
            }
            "stores.v1.ItemListed" => {
                let event: stores::ItemListed = decoded(payload)?;
                let (store, price) = (id(&event.store_id), event.price_minor_units);
                Self::ItemListed { store, sku: event.sku, name: event.name, price }
            }
            "stores.v1.ItemRepriced" => {
                let event: stores::ItemRepriced = decoded(payload)?;
                return Ok((Self::ItemRepriced(event.new_price_minor_units), Some(event.on_hand)));
            }
            "stores.v1.StockReceived" => {
                let event: stores::StockReceived = decoded(payload)?;
                return Ok((Self::StockReceived(event.quantity), Some(event.on_hand)));
            }
            "stores.v1.SaleRecorded" => {
                let event: stores::SaleRecorded = decoded(payload)?;
                let (quantity, amount) = (event.quantity, event.amount_minor_units);
                return Ok((Self::SaleRecorded { quantity, amount }, Some(event.on_hand)));
            }
            "stores.v1.StockTransferredOut" => {
                let event: stores::StockTransferredOut = decoded(payload)?;
                let (quantity, to) = (event.quantity, id(&event.to_item_id));
                return Ok((Self::TransferredOut { quantity, to }, Some(event.on_hand)));
            }
            "stores.v1.StockTransferredIn" => {
                let event: stores::StockTransferredIn = decoded(payload)?;
                let (quantity, from) = (event.quantity, id(&event.from_item_id));
                return Ok((Self::TransferredIn { quantity, from }, Some(event.on_hand)));
            }
            "stores.v1.ItemDelisted" => Self::ItemDelisted,
            "users.v1.UserRegistered" => {
                let users::UserRegistered { email, name } = decoded(payload)?;
                Self::UserRegistered { email, name }
            }
            "users.v1.UserRenamed" => {
                Self::UserRenamed(decoded::<users::UserRenamed>(payload)?.name)
            }
            other => Self::Other(other.to_owned()),
        };
        Ok((change, None))
    }
}

fn decoded<M: prost::Message + Default>(payload: &[u8]) -> Result<M, DecodeError> {
    M::decode(payload)
}

/// An id that is none names nothing.
fn id(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or_default()
}
