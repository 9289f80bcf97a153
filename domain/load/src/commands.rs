//! The commands that a file becomes. Pure.

use headwater_domain_proto::stores::v1::{
    ListItemRequest, Money, OpenStoreRequest, ReceiveStockRequest, RecordSaleRequest,
};
use headwater_proto::headwater::v1::CommandOptions;
use prost_types::Timestamp;
use uuid::Uuid;

use super::ids::{self, Keys};
use super::sale::Sale;
use super::survey::{Item, Survey};

/// A command, and the line of the file that asks for it.
#[derive(Clone, Debug)]
pub struct Command {
    /// The line, from 1.
    pub line: u64,
    /// The request to send.
    pub request: Request,
}

/// The request of a command.
#[derive(Clone, Debug)]
pub enum Request {
    /// OpenStore.
    Open(OpenStoreRequest),
    /// ListItem.
    List(ListItemRequest),
    /// ReceiveStock.
    Receive(ReceiveStockRequest),
    /// RecordSale.
    Sell(RecordSaleRequest),
}

/// Makes the commands of one file.
pub struct Maker {
    keys: Keys,
    currency: String,
    city: String,
}

impl Maker {
    /// For the file with this digest. It tells neither the currency of its amounts nor the city of
    /// its stores.
    pub fn new(digest: [u8; 32], currency: &str, city: &str) -> Maker {
        let keys = Keys::new(digest);
        Maker { keys, currency: currency.to_owned(), city: city.to_owned() }
    }

    /// One per store.
    pub fn stores(&self, survey: &Survey) -> impl Iterator<Item = anyhow::Result<Command>> {
        survey.stores.iter().map(|store| {
            let request = Request::Open(OpenStoreRequest {
                store_id: ids::store(&store.name).to_string(),
                name: store.name.clone(),
                city: self.city.clone(),
                currency: self.currency.clone(),
                options: self.options("open", store.line),
            });
            Ok(Command { line: store.line, request })
        })
    }

    /// One per item, to list it.
    pub fn items(&self, survey: &Survey) -> impl Iterator<Item = anyhow::Result<Command>> {
        survey.items.iter().map(|item| {
            let (store_id, item_id, sku) = named(survey, item);
            let request = Request::List(ListItemRequest {
                store_id: store_id.to_string(),
                item_id: item_id.to_string(),
                sku: sku.to_owned(),
                name: sku.to_owned(),
                price: self.money(item.price()),
                options: self.options("list", item.line),
            });
            Ok(Command { line: item.line, request })
        })
    }

    /// One per item, to receive all that will be sold of it.
    pub fn stock(&self, survey: &Survey) -> impl Iterator<Item = anyhow::Result<Command>> {
        survey.items.iter().map(|item| {
            let (store_id, item_id, _) = named(survey, item);
            let request = Request::Receive(ReceiveStockRequest {
                store_id: store_id.to_string(),
                item_id: item_id.to_string(),
                quantity: item.units,
                options: self.options("receive", item.line),
            });
            Ok(Command { line: item.line, request })
        })
    }

    /// One per sale.
    pub fn sales(
        &self,
        sales: impl Iterator<Item = anyhow::Result<Sale>>,
    ) -> impl Iterator<Item = anyhow::Result<Command>> {
        sales.map(|sale| sale.map(|sale| self.sale(&sale)))
    }

    fn sale(&self, sale: &Sale) -> Command {
        let store_id = ids::store(&sale.store);
        let request = Request::Sell(RecordSaleRequest {
            store_id: store_id.to_string(),
            item_id: ids::item(store_id, &sale.product).to_string(),
            quantity: sale.quantity,
            amount: self.money(sale.amount),
            sold_time: Some(Timestamp {
                seconds: sale.time.unix_timestamp(),
                nanos: sale.time.nanosecond() as i32,
            }),
            options: self.options("sell", sale.line),
        });
        Command { line: sale.line, request }
    }

    fn money(&self, minor_units: i64) -> Option<Money> {
        Some(Money { currency: self.currency.clone(), minor_units })
    }

    fn options(&self, what: &str, line: u64) -> Option<CommandOptions> {
        let idempotency_key = self.keys.key(what, line);
        Some(CommandOptions { idempotency_key, ..CommandOptions::default() })
    }
}

fn named<'a>(survey: &'a Survey, item: &Item) -> (Uuid, Uuid, &'a str) {
    let store_id = ids::store(&survey.stores[item.store as usize].name);
    let sku = &survey.products[item.product as usize];
    (store_id, ids::item(store_id, sku), sku)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;

    use super::*;

    /// The key that a request carries.
    fn key(command: &Command) -> &str {
        let options = match &command.request {
            Request::Open(request) => &request.options,
            Request::List(request) => &request.options,
            Request::Receive(request) => &request.options,
            Request::Sell(request) => &request.options,
        };
        &options.as_ref().expect("options").idempotency_key
    }

    #[test]
    fn a_file_becomes_commands_with_a_key_each() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let lines = "store,product,quantity,amount,timestamp\n\
            A,1,2,300,2017-01-01T00:00:01Z\n\
            A,1,1,150,2017-01-01T00:00:02.5Z\n";
        file.write_all(lines.as_bytes()).expect("written");
        let survey = Survey::of_file(file.path(), |_| {}).expect("a good file");
        let maker = Maker::new(survey.digest, "USD", "Rome");
        let sales = survey.open_again(file.path()).expect("unchanged");
        let all: Vec<Command> = maker
            .stores(&survey)
            .chain(maker.items(&survey))
            .chain(maker.stock(&survey))
            .chain(maker.sales(sales))
            .collect::<Result<_, _>>()
            .expect("commands");
        let keys: BTreeSet<&str> = all.iter().map(key).collect();
        assert_eq!((all.len(), keys.len()), (5, 5), "{keys:?}");
        assert_eq!(all.iter().map(|command| command.line).collect::<Vec<_>>(), [2, 2, 2, 2, 3]);
        let [
            Request::Open(open),
            Request::List(list),
            Request::Receive(receive),
            _,
            Request::Sell(sell),
        ] = std::array::from_fn(|at| all[at].request.clone())
        else {
            panic!("{all:?}");
        };
        assert_eq!((open.city.as_str(), open.currency.as_str()), ("Rome", "USD"));
        assert_eq!(list.store_id, open.store_id);
        assert_eq!(list.price.map(|price| price.minor_units), Some(150));
        assert_eq!((receive.item_id.as_str(), receive.quantity), (list.item_id.as_str(), 3));
        assert_eq!((sell.item_id.as_str(), sell.quantity), (list.item_id.as_str(), 1));
        let sold = sell.sold_time.expect("a time");
        assert_eq!((sold.seconds, sold.nanos), (1_483_228_802, 500_000_000));
    }
}
