//! `store_overview`: each store with its manager's name, its stock and its sales.
//!
//! Facts of three aggregates meet here. A store's items live in its partition, so their changes
//! come in order and are added up. Its manager may live in another one, so the name comes by two
//! ways: looked up when the manager is assigned, and followed when the user is registered or
//! renamed. Whichever comes last leaves the right name.

use headwater_kernel::row::Value;
use headwater_kernel::{About, FoldResult, List, Touch, View, ViewError, event_sets, row};
use uuid::Uuid;

use super::{UserRow, existing, fresh, id, store, sum};
use crate::{ItemEvent, StoreEvent, UserEvent};

row! {
    /// A store with the facts of its manager and of all its items.
    pub struct StoreOverviewRow {
        /// The id.
        pub store_id: Uuid,
        /// The name.
        pub name: String,
        /// The city.
        pub city: String,
        /// ISO 4217.
        pub currency: String,
        /// [`store::OPEN`] or [`store::CLOSED`].
        pub status: String,
        /// The user who manages it, if any.
        pub manager_id: Option<Uuid>,
        /// What that user is called, if it is known.
        pub manager_name: Option<String>,
        /// Number of listed items.
        pub items: i64,
        /// Units in stock, over all items.
        pub units_in_stock: i64,
        /// Their value at the items' prices, in minor units.
        pub stock_value: i64,
        /// Units sold, ever, over all items.
        pub units_sold: i64,
        /// Amount paid for them, in minor units.
        pub revenue: i64,
    }
}

event_sets! {
    /// What an overview is made of.
    pub enum OverviewEvent {
        /// Of the store.
        Store(StoreEvent);
        /// Of one of its items.
        Item(ItemEvent);
        /// Of a user, who may be its manager.
        User(UserEvent);
    }
}

impl View for StoreOverviewRow {
    const NAME: &'static str = "store_overview";
    const VERSION: u32 = 1;
    const LISTS: &'static [List] = &[List::by_descending("revenue")];
    const INDEXES: &'static [&'static str] = &["(manager_id)"];
    const WATCHED: bool = true;
    const REFERENCED: Option<&'static str> = Some(UserRow::NAME);
    type Event = OverviewEvent;

    fn touches(event: &OverviewEvent, about: &About) -> Vec<Touch> {
        match event {
            OverviewEvent::Store(_) => vec![Touch::Key(about.stream.0.into())],
            OverviewEvent::Item(event) => vec![Touch::Key(id(store_of(event)).into())],
            OverviewEvent::User(UserEvent::Registered(_) | UserEvent::Renamed(_)) => {
                vec![Touch::Where { column: "manager_id", value: about.stream.0.into() }]
            }
            // A manager that has left keeps the name: the overview says who managed the store.
            OverviewEvent::User(UserEvent::EmailChanged(_) | UserEvent::Deactivated(_)) => {
                Vec::new()
            }
        }
    }

    fn references(event: &OverviewEvent, _about: &About) -> Vec<Value> {
        match event {
            OverviewEvent::Store(StoreEvent::ManagerAssigned(event)) => {
                vec![id(&event.user_id).into()]
            }
            _ => Vec::new(),
        }
    }

    fn fold(row: Option<Self>, event: &OverviewEvent, about: &About) -> FoldResult<Self> {
        match event {
            OverviewEvent::Store(event) => of_store(row, event, about).map(Some),
            OverviewEvent::Item(event) => of_item(existing(row, about)?, event).map(Some),
            OverviewEvent::User(event) => Ok(row.map(|row| of_manager(row, event, about.stream.0))),
        }
    }
}

fn of_store(
    row: Option<StoreOverviewRow>,
    event: &StoreEvent,
    about: &About,
) -> Result<StoreOverviewRow, ViewError> {
    if let StoreEvent::Opened(event) = event {
        let new = StoreOverviewRow {
            store_id: about.stream.0,
            name: event.name.clone(),
            city: event.city.clone(),
            currency: event.currency.clone(),
            status: store::OPEN.to_owned(),
            manager_id: None,
            manager_name: None,
            items: 0,
            units_in_stock: 0,
            stock_value: 0,
            units_sold: 0,
            revenue: 0,
        };
        return fresh(row, about, new);
    }
    let mut row = existing(row, about)?;
    match event {
        StoreEvent::Opened(_) => {}
        StoreEvent::Renamed(event) => row.name.clone_from(&event.name),
        StoreEvent::Relocated(event) => row.city.clone_from(&event.city),
        StoreEvent::ManagerAssigned(event) => {
            let manager_id = id(&event.user_id);
            row.manager_id = Some(manager_id);
            row.manager_name = name_of(manager_id, about);
        }
        StoreEvent::ManagerRemoved(_) => (row.manager_id, row.manager_name) = (None, None),
        StoreEvent::Closed(_) => store::CLOSED.clone_into(&mut row.status),
    }
    Ok(row)
}

fn of_item(mut row: StoreOverviewRow, event: &ItemEvent) -> Result<StoreOverviewRow, ViewError> {
    match event {
        ItemEvent::Listed(_) => row.items = sum(row.items, Some(1))?,
        ItemEvent::Delisted(_) => row.items = sum(row.items, Some(-1))?,
        ItemEvent::Repriced(event) => {
            let by = event.new_price_minor_units.checked_sub(event.old_price_minor_units);
            row.stock_value =
                sum(row.stock_value, by.and_then(|by| by.checked_mul(event.on_hand)))?;
        }
        ItemEvent::Received(event) => stock(&mut row, event.quantity, event.price_minor_units)?,
        ItemEvent::Adjusted(event) => stock(&mut row, event.delta, event.price_minor_units)?,
        ItemEvent::TransferredOut(event) => {
            stock(&mut row, event.quantity.saturating_neg(), event.price_minor_units)?;
        }
        ItemEvent::TransferredIn(event) => {
            stock(&mut row, event.quantity, event.price_minor_units)?;
        }
        ItemEvent::Sold(event) => {
            stock(&mut row, event.quantity.saturating_neg(), event.price_minor_units)?;
            row.units_sold = sum(row.units_sold, Some(event.quantity))?;
            row.revenue = sum(row.revenue, Some(event.amount_minor_units))?;
        }
    }
    Ok(row)
}

fn stock(row: &mut StoreOverviewRow, units: i64, price: i64) -> Result<(), ViewError> {
    row.units_in_stock = sum(row.units_in_stock, Some(units))?;
    row.stock_value = sum(row.stock_value, units.checked_mul(price))?;
    Ok(())
}

fn of_manager(mut row: StoreOverviewRow, event: &UserEvent, user_id: Uuid) -> StoreOverviewRow {
    let name = match event {
        UserEvent::Registered(event) => &event.name,
        UserEvent::Renamed(event) => &event.name,
        UserEvent::EmailChanged(_) | UserEvent::Deactivated(_) => return row,
    };
    if row.manager_id == Some(user_id) {
        row.manager_name = Some(name.clone());
    }
    row
}

fn name_of(user_id: Uuid, about: &About) -> Option<String> {
    match about.lookup(&user_id.into(), "name")? {
        Value::Text(name) => Some(name),
        _ => None,
    }
}

fn store_of(event: &ItemEvent) -> &str {
    match event {
        ItemEvent::Listed(event) => &event.store_id,
        ItemEvent::Repriced(event) => &event.store_id,
        ItemEvent::Received(event) => &event.store_id,
        ItemEvent::Sold(event) => &event.store_id,
        ItemEvent::Adjusted(event) => &event.store_id,
        ItemEvent::TransferredOut(event) => &event.store_id,
        ItemEvent::TransferredIn(event) => &event.store_id,
        ItemEvent::Delisted(event) => &event.store_id,
    }
}
