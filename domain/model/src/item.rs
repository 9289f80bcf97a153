//! Stock items: a product in a store, with its price and its units. An item lives in its store's
//! partition, so that the rules between the two hold without a race.

use headwater_domain_proto::stores::v1::{
    ItemDelisted, ItemListed, ItemRepriced, SaleRecorded, StockAdjusted, StockReceived,
    StockTransferredIn, StockTransferredOut,
};
use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::{
    Aggregate, Context, Decided, Decision, Holdings, Rejection, StreamId, event_set,
};
use prost::Message as _;
use prost_types::Timestamp;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::reasons;
use crate::store::{open_mark, stock_mark};
use crate::values::{Money, Quantity, Sku, TOTAL_MAX};

event_set! {
    /// Events of an item.
    pub enum ItemEvent {
        Listed(ItemListed) = "stores.v1.ItemListed" @ 1;
        Repriced(ItemRepriced) = "stores.v1.ItemRepriced" @ 1;
        Received(StockReceived) = "stores.v1.StockReceived" @ 1;
        Sold(SaleRecorded) = "stores.v1.SaleRecorded" @ 1;
        Adjusted(StockAdjusted) = "stores.v1.StockAdjusted" @ 1;
        TransferredOut(StockTransferredOut) = "stores.v1.StockTransferredOut" @ 1;
        TransferredIn(StockTransferredIn) = "stores.v1.StockTransferredIn" @ 1;
        Delisted(ItemDelisted) = "stores.v1.ItemDelisted" @ 1;
    }
}

/// Commands on an item of a store.
#[derive(Clone, Debug)]
pub struct ItemCommand {
    /// The store it belongs to, and whose id is its partition key.
    pub store_id: Uuid,
    /// The action.
    pub action: ItemAction,
}

/// Action on an item.
#[derive(Clone, Debug)]
pub enum ItemAction {
    /// Begin to be sold in the store.
    List {
        /// No other listed item's of the store.
        sku: Sku,
        /// 1 to 200 characters.
        name: String,
        /// Of one unit, in the store's currency.
        price: Money,
    },
    /// Cost something else per unit.
    Reprice(Money),
    /// Have units arrive.
    Receive(Quantity),
    /// Have units sold.
    RecordSale {
        /// Number of units.
        quantity: Quantity,
        /// Amount paid for all of them.
        amount: Money,
        /// Time of the sale, if not just now.
        sold_at: Option<OffsetDateTime>,
    },
    /// Have the count put right.
    Adjust {
        /// Units to add or, negative, to take away.
        delta: i64,
        /// 1 to 200 characters.
        reason: String,
    },
    /// Be no longer sold in the store.
    Delist,
}

/// An item. Its fields are also its snapshot, because its stream grows with every sale: change or
/// remove one, and [`SNAPSHOT_FORMAT`] must be raised.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    /// Empty until it is listed.
    #[prost(string, tag = "1")]
    store_id: String,
    #[prost(string, tag = "2")]
    sku: String,
    #[prost(string, tag = "3")]
    currency: String,
    #[prost(int64, tag = "4")]
    price: i64,
    #[prost(int64, tag = "5")]
    on_hand: i64,
    #[prost(int64, tag = "6")]
    units_sold: i64,
    #[prost(int64, tag = "7")]
    revenue: i64,
    #[prost(bool, tag = "8")]
    delisted: bool,
}

/// Version of the format of an item's snapshot.
pub const SNAPSHOT_FORMAT: u16 = 1;

impl Aggregate for Item {
    const NAME: &'static str = "item";
    type Command = ItemCommand;
    type Event = ItemEvent;

    fn decide(&self, command: &ItemCommand, context: &Context) -> Decided<ItemEvent> {
        let (id, store_id) = (context.stream, command.store_id);
        match &command.action {
            ItemAction::List { .. } if !self.store_id.is_empty() => Err(reasons::ITEM_EXISTS
                .because(format!("item {id} was listed before; ids are never used again"))),
            ItemAction::List { sku, name, price } => Ok(list(store_id, sku, name, *price)),
            ItemAction::Delist if self.delisted && self.is_of(store_id) => Ok(Decision::nothing()),
            _ if let Err(rejection) = self.must_be_sold_in(store_id, id) => Err(rejection),
            ItemAction::Reprice(price) => self.reprice(*price),
            ItemAction::Receive(quantity) => self.receive(store_id, *quantity),
            ItemAction::RecordSale { quantity, amount, sold_at } => {
                self.record_sale(store_id, *quantity, *amount, *sold_at)
            }
            ItemAction::Adjust { delta, reason } => self.adjust(store_id, *delta, reason),
            ItemAction::Delist => self.delist(store_id),
        }
    }

    fn evolve(&mut self, event: &ItemEvent) {
        match event {
            ItemEvent::Listed(event) => {
                self.store_id.clone_from(&event.store_id);
                self.sku.clone_from(&event.sku);
                self.currency.clone_from(&event.currency);
                self.price = event.price_minor_units;
            }
            ItemEvent::Repriced(event) => self.price = event.new_price_minor_units,
            ItemEvent::Received(event) => self.on_hand = event.on_hand,
            ItemEvent::Sold(event) => {
                self.on_hand = event.on_hand;
                self.units_sold = self.units_sold.saturating_add(event.quantity);
                self.revenue = self.revenue.saturating_add(event.amount_minor_units);
            }
            ItemEvent::Adjusted(event) => self.on_hand = event.on_hand,
            ItemEvent::TransferredOut(event) => self.on_hand = event.on_hand,
            ItemEvent::TransferredIn(event) => self.on_hand = event.on_hand,
            ItemEvent::Delisted(_) => self.delisted = true,
        }
    }

    fn holdings(&self, _stream: StreamId) -> Option<Holdings> {
        let mut holdings = Holdings::default();
        let Ok(store_id) = self.store_id.parse() else { return Some(holdings) };
        if !self.delisted {
            holdings.claims.push(sku_claim(store_id, &self.sku));
        }
        if self.on_hand > 0 {
            holdings.marks.push(stock_mark(store_id));
        }
        Some(holdings)
    }

    const SNAPSHOT_FORMAT: Option<u16> = Some(SNAPSHOT_FORMAT);

    fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot { format: SNAPSHOT_FORMAT, state: self.encode_to_vec() })
    }

    fn restore(snapshot: &Snapshot) -> Option<Self> {
        (snapshot.format == SNAPSHOT_FORMAT).then(|| Self::decode(&*snapshot.state).ok())?
    }
}

fn list(store_id: Uuid, sku: &Sku, name: &str, price: Money) -> Decision<ItemEvent> {
    let currency = price.currency().to_string();
    let guard = open_mark(store_id, &currency);
    let not_open = store_not_open(store_id, &currency);
    let taken = reasons::SKU_TAKEN
        .because(format!("store {store_id} has a listed item with the SKU {}", sku.as_str()));
    Decision::event(ItemListed {
        store_id: store_id.to_string(),
        sku: sku.as_str().to_owned(),
        name: name.to_owned(),
        currency,
        price_minor_units: price.minor_units(),
    })
    .taking(sku_claim(store_id, sku.as_str()), taken)
    .guarded(guard, true, not_open)
}

impl Item {
    fn is_of(&self, store_id: Uuid) -> bool {
        self.store_id == store_id.to_string()
    }

    /// It is an item of the store, and has not been delisted.
    pub(crate) fn must_be_sold_in(&self, store_id: Uuid, id: StreamId) -> Result<(), Rejection> {
        if !self.is_of(store_id) {
            let message = format!("there is no item {id} in store {store_id}");
            return Err(reasons::ITEM_NOT_FOUND.because(message));
        }
        if self.delisted {
            let message = format!("item {id} is no longer sold in store {store_id}");
            return Err(reasons::ITEM_DELISTED.because(message));
        }
        Ok(())
    }

    // No guard on the store being open: while there are units, it cannot close.
    pub(crate) fn send(
        &self,
        store_id: Uuid,
        quantity: Quantity,
        to: StreamId,
    ) -> Decided<ItemEvent> {
        let on_hand = self.fewer(quantity.units())?;
        let decision = Decision::event(StockTransferredOut {
            store_id: self.store_id.clone(),
            quantity: quantity.units(),
            to_item_id: to.to_string(),
            on_hand,
            price_minor_units: self.price,
        });
        Ok(self.marked(store_id, on_hand, decision))
    }

    pub(crate) fn take_in(
        &self,
        store_id: Uuid,
        quantity: Quantity,
        from: StreamId,
    ) -> Decided<ItemEvent> {
        let on_hand = self.more(quantity.units())?;
        let decision = Decision::event(StockTransferredIn {
            store_id: self.store_id.clone(),
            quantity: quantity.units(),
            from_item_id: from.to_string(),
            on_hand,
            price_minor_units: self.price,
        });
        Ok(self.marked(store_id, on_hand, decision))
    }

    fn reprice(&self, price: Money) -> Decided<ItemEvent> {
        self.must_trade_in("price.currency", price)?;
        let new_price = price.minor_units();
        if new_price == self.price {
            return Ok(Decision::nothing());
        }
        self.value_within_limit(self.on_hand, new_price)?;
        Ok(Decision::event(ItemRepriced {
            store_id: self.store_id.clone(),
            old_price_minor_units: self.price,
            new_price_minor_units: new_price,
            on_hand: self.on_hand,
        }))
    }

    fn receive(&self, store_id: Uuid, quantity: Quantity) -> Decided<ItemEvent> {
        let on_hand = self.more(quantity.units())?;
        let decision = Decision::event(StockReceived {
            store_id: self.store_id.clone(),
            quantity: quantity.units(),
            on_hand,
            price_minor_units: self.price,
        });
        Ok(self.while_open(store_id, self.marked(store_id, on_hand, decision)))
    }

    // No guard on the store being open: while there are units to sell, it cannot close.
    fn record_sale(
        &self,
        store_id: Uuid,
        quantity: Quantity,
        amount: Money,
        sold_at: Option<OffsetDateTime>,
    ) -> Decided<ItemEvent> {
        self.must_trade_in("amount.currency", amount)?;
        let on_hand = self.fewer(quantity.units())?;
        within_limit("units sold", self.units_sold.checked_add(quantity.units()))?;
        within_limit("revenue", self.revenue.checked_add(amount.minor_units()))?;
        let decision = Decision::event(SaleRecorded {
            store_id: self.store_id.clone(),
            quantity: quantity.units(),
            amount_minor_units: amount.minor_units(),
            on_hand,
            price_minor_units: self.price,
            sold_time: sold_at.map(timestamp),
        });
        Ok(self.marked(store_id, on_hand, decision))
    }

    fn adjust(&self, store_id: Uuid, delta: i64, reason: &str) -> Decided<ItemEvent> {
        let on_hand = match delta {
            0 => return Ok(Decision::nothing()),
            1.. => self.more(delta)?,
            _ => self.fewer(delta.saturating_neg())?,
        };
        let decision = Decision::event(StockAdjusted {
            store_id: self.store_id.clone(),
            delta,
            reason: reason.to_owned(),
            on_hand,
            price_minor_units: self.price,
        });
        let decision = self.marked(store_id, on_hand, decision);
        Ok(if delta > 0 { self.while_open(store_id, decision) } else { decision })
    }

    fn delist(&self, store_id: Uuid) -> Decided<ItemEvent> {
        if self.on_hand > 0 {
            return Err(reasons::ITEM_HAS_STOCK
                .because(format!("{} units are still in stock", self.on_hand)));
        }
        let claim = sku_claim(store_id, &self.sku);
        let delisted = ItemDelisted { store_id: self.store_id.clone(), sku: self.sku.clone() };
        Ok(Decision::event(delisted).freeing(claim))
    }

    /// Units in stock after `units` came.
    fn more(&self, units: i64) -> Result<i64, Rejection> {
        let on_hand = within_limit("units in stock", self.on_hand.checked_add(units))?;
        self.value_within_limit(on_hand, self.price)?;
        Ok(on_hand)
    }

    /// Units in stock after `units` went.
    fn fewer(&self, units: i64) -> Result<i64, Rejection> {
        self.on_hand.checked_sub(units).filter(|left| *left >= 0).ok_or_else(|| {
            reasons::INSUFFICIENT_STOCK
                .because(format!("{units} units are to go, {} are in stock", self.on_hand))
        })
    }

    /// Sets or clears the mark that keeps the store from closing, when the stock begins or ends
    /// with this decision.
    fn marked(
        &self,
        store_id: Uuid,
        on_hand: i64,
        decision: Decision<ItemEvent>,
    ) -> Decision<ItemEvent> {
        if (self.on_hand > 0) == (on_hand > 0) {
            return decision;
        }
        decision.marking(stock_mark(store_id), on_hand > 0)
    }

    fn while_open(&self, store_id: Uuid, decision: Decision<ItemEvent>) -> Decision<ItemEvent> {
        let not_open = store_not_open(store_id, &self.currency);
        decision.guarded(open_mark(store_id, &self.currency), true, not_open)
    }

    fn must_trade_in(&self, field: &'static str, money: Money) -> Result<(), Rejection> {
        let given = money.currency().to_string();
        if given == self.currency {
            return Ok(());
        }
        let message = format!("the item is traded in {}, not in {given}", self.currency);
        Err(reasons::CURRENCY_MISMATCH.because(message).of_field(field))
    }

    fn value_within_limit(&self, on_hand: i64, price: i64) -> Result<(), Rejection> {
        within_limit("value in stock", on_hand.checked_mul(price)).map(|_| ())
    }
}

fn within_limit(what: &str, total: Option<i64>) -> Result<i64, Rejection> {
    total.filter(|total| *total <= TOTAL_MAX).ok_or_else(|| {
        reasons::AMOUNT_OVERFLOW.because(format!("the item's {what} would pass {TOTAL_MAX}"))
    })
}

fn store_not_open(store_id: Uuid, currency: &str) -> Rejection {
    reasons::STORE_NOT_OPEN.because(format!(
        "store {store_id} does not exist, has closed, or does not trade in {currency}"
    ))
}

fn sku_claim(store_id: Uuid, sku: &str) -> String {
    format!("sku/{store_id}/{sku}")
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    // Nanoseconds of a second are below 10^9 and fit.
    Timestamp { seconds: time.unix_timestamp(), nanos: time.nanosecond() as i32 }
}
