//! Stores: opened, renamed, moved, managed, closed for good.

use headwater_domain_proto::stores::v1::{
    ManagerAssigned, ManagerRemoved, StoreClosed, StoreOpened, StoreRelocated, StoreRenamed,
};
use headwater_kernel::{Aggregate, Context, Decided, Decision, Holdings, StreamId, event_set};
use prost::Message as _;
use uuid::Uuid;

use crate::reasons;
use crate::values::Currency;

event_set! {
    /// Events of a store.
    pub enum StoreEvent {
        Opened(StoreOpened) = "stores.v1.StoreOpened" @ 2, upcast opened_before_currencies;
        Renamed(StoreRenamed) = "stores.v1.StoreRenamed" @ 1;
        Relocated(StoreRelocated) = "stores.v1.StoreRelocated" @ 1;
        ManagerAssigned(ManagerAssigned) = "stores.v1.ManagerAssigned" @ 1;
        ManagerRemoved(ManagerRemoved) = "stores.v1.ManagerRemoved" @ 1;
        Closed(StoreClosed) = "stores.v1.StoreClosed" @ 1;
    }
}

/// Commands on a store.
#[derive(Clone, Debug)]
pub enum StoreCommand {
    /// Begin to trade.
    Open {
        /// 1 to 200 characters.
        name: String,
        /// 1 to 100 characters.
        city: String,
        /// The currency of all its items.
        currency: Currency,
    },
    /// Take another name, of 1 to 200 characters.
    Rename(String),
    /// Move to another city, of 1 to 100 characters.
    Relocate(String),
    /// Take this user as its manager, whether or not it has one.
    AssignManager(Uuid),
    /// Be without a manager.
    RemoveManager,
    /// Close for good.
    Close,
}

/// A store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// Not opened yet.
    #[default]
    Absent,
    /// The store trades.
    Open(OpenStore),
    /// The store has closed for good.
    Closed,
}

/// What decisions on an open store depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenStore {
    name: String,
    city: String,
    currency: String,
    /// Empty without a manager.
    manager_id: String,
}

/// The mark of a store that is open and trades in the currency. Its items may come in stock only
/// while it is set.
pub(crate) fn open_mark(store_id: Uuid, currency: &str) -> String {
    format!("store/{store_id}/open/{currency}")
}

/// The mark that each item with units in stock sets. The store may close only while none does.
pub(crate) fn stock_mark(store_id: Uuid) -> String {
    format!("store/{store_id}/stock")
}

impl Aggregate for Store {
    const NAME: &'static str = "store";
    type Command = StoreCommand;
    type Event = StoreEvent;

    fn decide(&self, command: &StoreCommand, context: &Context) -> Decided<StoreEvent> {
        let id = context.stream;
        match (self, command) {
            (Self::Absent, StoreCommand::Open { name, city, currency }) => {
                Ok(open(id.0, name, city, *currency))
            }
            (Self::Absent, _) => {
                Err(reasons::STORE_NOT_FOUND.because(format!("there is no store {id}")))
            }
            (_, StoreCommand::Open { .. }) => Err(reasons::STORE_EXISTS
                .because(format!("store {id} was opened before; ids are never used again"))),
            (Self::Open(store), command) => Ok(store.decide(id.0, command)),
            (Self::Closed, StoreCommand::Close) => Ok(Decision::nothing()),
            (Self::Closed, _) => {
                Err(reasons::STORE_CLOSED.because(format!("store {id} has closed for good")))
            }
        }
    }

    fn holdings(&self, stream: StreamId) -> Option<Holdings> {
        let mut holdings = Holdings::default();
        if let Self::Open(store) = self {
            holdings.marks.push(open_mark(stream.0, &store.currency));
        }
        Some(holdings)
    }

    fn evolve(&mut self, event: &StoreEvent) {
        match (&mut *self, event) {
            (_, StoreEvent::Opened(event)) => {
                *self = Self::Open(OpenStore {
                    name: event.name.clone(),
                    city: event.city.clone(),
                    currency: event.currency.clone(),
                    manager_id: String::new(),
                });
            }
            (_, StoreEvent::Closed(_)) => *self = Self::Closed,
            (Self::Open(store), event) => store.evolve(event),
            (Self::Absent | Self::Closed, _) => {}
        }
    }
}

fn open(id: Uuid, name: &str, city: &str, currency: Currency) -> Decision<StoreEvent> {
    let currency = currency.to_string();
    let mark = open_mark(id, &currency);
    Decision::event(StoreOpened { name: name.to_owned(), city: city.to_owned(), currency })
        .marking(mark, true)
}

impl OpenStore {
    fn decide(&self, id: Uuid, command: &StoreCommand) -> Decision<StoreEvent> {
        match command {
            StoreCommand::Rename(name) if *name != self.name => {
                Decision::event(StoreRenamed { name: name.clone() })
            }
            StoreCommand::Relocate(city) if *city != self.city => {
                Decision::event(StoreRelocated { city: city.clone() })
            }
            StoreCommand::AssignManager(user) if user.to_string() != self.manager_id => {
                Decision::event(ManagerAssigned { user_id: user.to_string() })
            }
            StoreCommand::RemoveManager if !self.manager_id.is_empty() => {
                Decision::event(ManagerRemoved { user_id: self.manager_id.clone() })
            }
            StoreCommand::Close => self.close(id),
            // Opening is decided on stores that are not open; the others would change nothing.
            StoreCommand::Open { .. }
            | StoreCommand::Rename(_)
            | StoreCommand::Relocate(_)
            | StoreCommand::AssignManager(_)
            | StoreCommand::RemoveManager => Decision::nothing(),
        }
    }

    fn close(&self, id: Uuid) -> Decision<StoreEvent> {
        let stock_left = reasons::STORE_HAS_STOCK.because(format!(
            "store {id} still has units in stock; sell them or adjust its items to 0 first"
        ));
        Decision::event(StoreClosed {}).marking(open_mark(id, &self.currency), false).guarded(
            stock_mark(id),
            false,
            stock_left,
        )
    }

    fn evolve(&mut self, event: &StoreEvent) {
        match event {
            StoreEvent::Renamed(event) => self.name.clone_from(&event.name),
            StoreEvent::Relocated(event) => self.city.clone_from(&event.city),
            StoreEvent::ManagerAssigned(event) => self.manager_id.clone_from(&event.user_id),
            StoreEvent::ManagerRemoved(_) => self.manager_id.clear(),
            StoreEvent::Opened(_) | StoreEvent::Closed(_) => {}
        }
    }
}

/// Schema version 1 had no currency: all stores traded in EUR.
fn opened_before_currencies(
    _version: u16,
    payload: &[u8],
) -> Result<StoreOpened, prost::DecodeError> {
    let opened = StoreOpened::decode(payload)?;
    Ok(StoreOpened { currency: "EUR".to_owned(), ..opened })
}
