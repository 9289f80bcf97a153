//! `item`: stock items by id, and the listed ones of a store by price and by SKU.

use headwater_kernel::{About, FoldResult, List, View, row};
use uuid::Uuid;

use super::{existing, fresh, id, sum, version};
use crate::ItemEvent;

row! {
    /// A product in a store.
    pub struct ItemRow {
        /// The id.
        pub item_id: Uuid,
        /// The store it belongs to.
        pub store_id: Uuid,
        /// The store's own product number.
        pub sku: String,
        /// The name.
        pub name: String,
        /// ISO 4217.
        pub currency: String,
        /// Price of one unit, in minor units.
        pub price: i64,
        /// Units in stock.
        pub on_hand: i64,
        /// Units sold, ever.
        pub units_sold: i64,
        /// Amount paid for them, in minor units.
        pub revenue: i64,
        /// False once it is no longer sold in the store.
        pub listed: bool,
        /// Version of the aggregate.
        pub version: i64,
    }
}

impl View for ItemRow {
    const NAME: &'static str = "item";
    const VERSION: u32 = 1;
    const LISTS: &'static [List] = &[
        List::by("sku").filtered(&[&["store_id"]]).only("listed"),
        List::by("price").filtered(&[&["store_id"]]).only("listed"),
    ];
    const INDEXES: &'static [&'static str] = &["(store_id, units_sold DESC, item_id)"];
    const WATCHED: bool = true;
    type Event = ItemEvent;

    fn fold(row: Option<Self>, event: &ItemEvent, about: &About) -> FoldResult<Self> {
        let mut row = match event {
            ItemEvent::Listed(event) => {
                let new = ItemRow {
                    item_id: about.stream.0,
                    store_id: id(&event.store_id),
                    sku: event.sku.clone(),
                    name: event.name.clone(),
                    currency: event.currency.clone(),
                    price: event.price_minor_units,
                    on_hand: 0,
                    units_sold: 0,
                    revenue: 0,
                    listed: true,
                    version: 0,
                };
                fresh(row, about, new)?
            }
            _ => existing(row, about)?,
        };
        match event {
            ItemEvent::Listed(_) => {}
            ItemEvent::Repriced(event) => row.price = event.new_price_minor_units,
            ItemEvent::Received(event) => row.on_hand = event.on_hand,
            ItemEvent::Sold(event) => {
                row.on_hand = event.on_hand;
                row.units_sold = sum(row.units_sold, Some(event.quantity))?;
                row.revenue = sum(row.revenue, Some(event.amount_minor_units))?;
            }
            ItemEvent::Adjusted(event) => row.on_hand = event.on_hand,
            ItemEvent::TransferredOut(event) => row.on_hand = event.on_hand,
            ItemEvent::TransferredIn(event) => row.on_hand = event.on_hand,
            ItemEvent::Delisted(_) => row.listed = false,
        }
        row.version = version(about);
        Ok(Some(row))
    }
}
