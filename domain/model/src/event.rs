//! Every event of every aggregate, for readers of the whole log.

use headwater_kernel::event_sets;

use crate::{ItemEvent, StoreEvent, UserEvent};

event_sets! {
    /// An event of any aggregate of the domain.
    pub enum DomainEvent {
        /// Of a store.
        Store(StoreEvent);
        /// Of a stock item.
        Item(ItemEvent);
        /// Of a user.
        User(UserEvent);
    }
}
