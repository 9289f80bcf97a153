//! Queries on the wire.

use std::time::Duration;

use headwater_domain_proto::stores::v1 as stores;
use headwater_domain_proto::stores::v1::stock_query_service_client::StockQueryServiceClient;
use headwater_domain_proto::stores::v1::store_query_service_client::StoreQueryServiceClient;
use headwater_proto::headwater::v1::consistency::Requirement as Wanted;
use headwater_proto::headwater::v1::{Consistency, Freshness};
use headwater_tests::history::record::{Ask, Moment, Requirement, Row};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::session::within;

const TOKEN: &str = "headwater-token";
/// A query that is not answered by then is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the cluster is told what its answers have to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// As it should be.
    On,
    /// Tokens get lost on the way, and it answers as it likes; clients want it all the same.
    Off,
}

/// Where a list goes on.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Rows on a page at most.
    pub size: i32,
    /// Of the page before; empty for the first.
    pub token: String,
}

/// An answer, as it came.
pub struct Reply {
    pub rows: Vec<Row>,
    pub token: String,
    pub as_of: Moment,
    /// Of the next page; empty if there is none.
    pub next: String,
}

/// What is required, on the wire. A token goes as it was given.
pub fn consistency(
    requirement: &Requirement,
    token: String,
    enforcement: Enforcement,
) -> Option<Consistency> {
    let wanted = match requirement {
        Requirement::Any => Wanted::Any(true),
        Requirement::AtLeast(_) if enforcement == Enforcement::Off => Wanted::Any(true),
        Requirement::AtLeast(_) => Wanted::AtLeast(token),
        Requirement::MaxStaleness(limit) => {
            let limit = prost_types::Duration::try_from(*limit).expect("a short time");
            Wanted::MaxStaleness(limit)
        }
        Requirement::Strong => Wanted::Strong(true),
    };
    Some(Consistency { requirement: Some(wanted), ..Consistency::default() })
}

/// Sends a query once. What is not there is an answer without rows.
pub async fn send(
    channel: &Channel,
    ask: &Ask,
    cursor: &Cursor,
    consistency: Option<Consistency>,
) -> Result<Reply, Status> {
    let answered = match ask {
        Ask::Item(_) | Ask::ItemBySku { .. } | Ask::Items(_) | Ask::ListItems { .. } => {
            stock(channel, ask, cursor, consistency).await
        }
        Ask::Store(_)
        | Ask::Overview(_)
        | Ask::ListStores { .. }
        | Ask::Search(_)
        | Ask::ListOverviews => store(channel, ask, cursor, consistency).await,
    };
    match answered {
        Ok((rows, next, freshness)) => {
            let freshness = freshness.expect("freshness");
            let as_of = freshness.as_of.expect("a time");
            let as_of = as_of.seconds as u64 * 1_000_000 + as_of.nanos as u64 / 1_000;
            Ok(Reply { rows, token: freshness.token, as_of: Moment(as_of), next })
        }
        Err(status) if status.code() == Code::NotFound => Ok(nothing(&status)),
        Err(status) => Err(status),
    }
}

/// A miss is dated like any other answer.
fn nothing(status: &Status) -> Reply {
    let token = status.metadata().get(TOKEN).and_then(|token| token.to_str().ok());
    let info = status.get_details_error_info().expect("details");
    let as_of = OffsetDateTime::parse(&info.metadata["as_of"], &Rfc3339).expect("a time");
    let as_of = Moment((as_of.unix_timestamp_nanos() / 1_000) as u64);
    let token = token.expect("a token").to_owned();
    Reply { rows: Vec::new(), token, as_of, next: String::new() }
}

type Parts = (Vec<Row>, String, Option<Freshness>);

async fn stock(
    channel: &Channel,
    ask: &Ask,
    cursor: &Cursor,
    consistency: Option<Consistency>,
) -> Result<Parts, Status> {
    let mut client = StockQueryServiceClient::new(channel.clone());
    let Cursor { size: page_size, token: page_token } = cursor.clone();
    match ask.clone() {
        Ask::Item(id) => {
            let request = stores::GetItemRequest { item_id: id.to_string(), consistency };
            let reply = client.get_item(within(PATIENCE, request)).await?.into_inner();
            Ok((items(reply.item), String::new(), reply.freshness))
        }
        Ask::ItemBySku { store, sku } => {
            let store_id = store.to_string();
            let request = stores::GetItemBySkuRequest { store_id, sku, consistency };
            let reply = client.get_item_by_sku(within(PATIENCE, request)).await?.into_inner();
            Ok((items(reply.item), String::new(), reply.freshness))
        }
        Ask::Items(ids) => {
            let item_ids = ids.iter().map(Uuid::to_string).collect();
            let request = stores::BatchGetItemsRequest { item_ids, consistency };
            let reply = client.batch_get_items(within(PATIENCE, request)).await?.into_inner();
            Ok((items(reply.items), String::new(), reply.freshness))
        }
        Ask::ListItems { store, by_price } => {
            let order = if by_price { stores::ItemOrder::Price } else { stores::ItemOrder::Sku };
            let request = stores::ListItemsRequest {
                store_id: store.to_string(),
                order: order.into(),
                page_size,
                page_token,
                consistency,
            };
            let reply = client.list_items(within(PATIENCE, request)).await?.into_inner();
            Ok((items(reply.items), reply.next_page_token, reply.freshness))
        }
        other => panic!("no query on items is {other:?}"),
    }
}

async fn store(
    channel: &Channel,
    ask: &Ask,
    cursor: &Cursor,
    consistency: Option<Consistency>,
) -> Result<Parts, Status> {
    let mut client = StoreQueryServiceClient::new(channel.clone());
    let Cursor { size: page_size, token: page_token } = cursor.clone();
    match ask.clone() {
        Ask::Store(id) => {
            let request = stores::GetStoreRequest { store_id: id.to_string(), consistency };
            let reply = client.get_store(within(PATIENCE, request)).await?.into_inner();
            Ok((all_stores(reply.store), String::new(), reply.freshness))
        }
        Ask::Overview(id) => {
            let request = stores::GetStoreOverviewRequest { store_id: id.to_string(), consistency };
            let reply = client.get_store_overview(within(PATIENCE, request)).await?.into_inner();
            Ok((overviews(reply.overview), String::new(), reply.freshness))
        }
        Ask::ListStores { city } => {
            let status = stores::StoreStatus::Unspecified.into();
            let request =
                stores::ListStoresRequest { city, status, page_size, page_token, consistency };
            let reply = client.list_stores(within(PATIENCE, request)).await?.into_inner();
            Ok((all_stores(reply.stores), reply.next_page_token, reply.freshness))
        }
        Ask::Search(query) => {
            let request = stores::SearchStoresRequest { query, page_size, page_token, consistency };
            let reply = client.search_stores(within(PATIENCE, request)).await?.into_inner();
            Ok((all_stores(reply.stores), reply.next_page_token, reply.freshness))
        }
        Ask::ListOverviews => {
            let request = stores::ListStoreOverviewsRequest { page_size, page_token, consistency };
            let reply = client.list_store_overviews(within(PATIENCE, request)).await?.into_inner();
            Ok((overviews(reply.overviews), reply.next_page_token, reply.freshness))
        }
        other => panic!("no query on stores is {other:?}"),
    }
}

fn items(rows: impl IntoIterator<Item = stores::StockItem>) -> Vec<Row> {
    rows.into_iter().map(Row::Item).collect()
}

fn all_stores(rows: impl IntoIterator<Item = stores::Store>) -> Vec<Row> {
    rows.into_iter().map(Row::Store).collect()
}

fn overviews(rows: impl IntoIterator<Item = stores::StoreOverview>) -> Vec<Row> {
    rows.into_iter().map(Row::Overview).collect()
}
