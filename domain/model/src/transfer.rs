//! Transfers of units between two items of a store: a decision across two aggregates, so that no
//! unit is made or lost on the way.

use std::collections::BTreeMap;

use headwater_kernel::{Aggregate as _, Context, DecidedAcross, DecisionModel, Query, StreamId};
use uuid::Uuid;

use crate::item::{Item, ItemEvent};
use crate::values::Quantity;

/// Units that are to move from one item of a store to another.
#[derive(Clone, Debug)]
pub struct TransferStock {
    /// The store, whose id is the partition key of both.
    pub store_id: Uuid,
    /// The item that has the units.
    pub from: StreamId,
    /// The other one.
    pub to: StreamId,
    /// Number of units.
    pub quantity: Quantity,
}

/// The two items.
#[derive(Clone, Debug, Default)]
pub struct Transfer {
    items: BTreeMap<StreamId, Item>,
}

impl DecisionModel for Transfer {
    const NAME: &'static str = "transfer";
    type Command = TransferStock;
    type Event = ItemEvent;

    fn boundary(command: &TransferStock, _context: &Context) -> Query {
        Query::streams([command.from, command.to])
    }

    fn decide(&self, command: &TransferStock, _context: &Context) -> DecidedAcross<ItemEvent> {
        let TransferStock { store_id, from, to, quantity } = command;
        let unlisted = Item::default();
        let item = |id| self.items.get(id).unwrap_or(&unlisted);
        item(from).must_be_sold_in(*store_id, *from)?;
        item(to).must_be_sold_in(*store_id, *to)?;
        if from == to {
            return Ok(Vec::new());
        }
        let sent = item(from).send(*store_id, *quantity, *to)?;
        let taken_in = item(to).take_in(*store_id, *quantity, *from)?;
        // The receipt tells of the last one.
        Ok(vec![(*to, taken_in), (*from, sent)])
    }

    fn evolve(&mut self, stream: StreamId, event: &ItemEvent) {
        self.items.entry(stream).or_default().evolve(event);
    }
}
