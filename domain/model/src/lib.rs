//! The part that a team replaces: stores, the stock they hold, and users. Pure; time, ids and the
//! caller are data.
//!
//! Write side: [`store`], [`item`] and [`user`], one aggregate each, and [`transfer`], across two
//! of them. Read side: [`views`].

pub mod event;
pub mod item;
pub mod reasons;
pub mod store;
pub mod transfer;
pub mod user;
pub mod values;
pub mod views;

pub use event::DomainEvent;
pub use item::{Item, ItemAction, ItemCommand, ItemEvent};
pub use store::{Store, StoreCommand, StoreEvent};
pub use transfer::{Transfer, TransferStock};
pub use user::{User, UserCommand, UserEvent};
