//! Every event of every aggregate, for readers of the whole log.

use headwater_kernel::{DecodeError, EventSet, NewEvent};

use crate::{ItemEvent, StoreEvent, UserEvent};

/// An event of any aggregate of the domain.
#[derive(Clone, Debug, PartialEq)]
pub enum DomainEvent {
    /// Of a store.
    Store(StoreEvent),
    /// Of a stock item.
    Item(ItemEvent),
    /// Of a user.
    User(UserEvent),
}

impl EventSet for DomainEvent {
    fn encode(&self) -> NewEvent {
        match self {
            Self::Store(event) => event.encode(),
            Self::Item(event) => event.encode(),
            Self::User(event) => event.encode(),
        }
    }

    /// A type name belongs to one set at most, so only "unknown type" lets the next set try: any
    /// other error is final.
    fn decode(type_name: &str, schema_version: u16, payload: &[u8]) -> Result<Self, DecodeError> {
        match StoreEvent::decode(type_name, schema_version, payload).map(Self::Store) {
            Err(DecodeError::UnknownType { .. }) => {}
            decided => return decided,
        }
        match ItemEvent::decode(type_name, schema_version, payload).map(Self::Item) {
            Err(DecodeError::UnknownType { .. }) => {}
            decided => return decided,
        }
        UserEvent::decode(type_name, schema_version, payload).map(Self::User)
    }
}

macro_rules! from_set {
    ($($set:ident => $variant:ident),*) => {$(
        impl From<$set> for DomainEvent {
            fn from(event: $set) -> Self {
                Self::$variant(event)
            }
        }
    )*};
}
from_set!(StoreEvent => Store, ItemEvent => Item, UserEvent => User);
