//! Rows of the views `store` and `store_overview`, as messages.

use headwater_domain_model::views::store::{CLOSED, OPEN};
use headwater_domain_model::views::{StoreOverviewRow, StoreRow};
use headwater_domain_proto::stores::v1::{Money, Store, StoreOverview, StoreStatus};
use headwater_edge::timestamp;
use headwater_query_svc::ServedView;
use uuid::Uuid;

use crate::PROJECTION;

/// Stores, as the view `store` holds them.
pub struct Stores;

impl ServedView for Stores {
    const NAME: &'static str = "store";
    const PROJECTION: &'static str = PROJECTION;
    type View = StoreRow;
    type Message = Store;

    fn message(row: StoreRow) -> Store {
        Store {
            store_id: row.store_id.to_string(),
            name: row.name,
            city: row.city,
            currency: row.currency,
            status: status(&row.status).into(),
            manager_id: optional_id(row.manager_id),
            opened_time: Some(timestamp(row.opened_at)),
            version: row.version.unsigned_abs(),
        }
    }
}

/// Overviews, as the view `store_overview` holds them.
pub struct Overviews;

impl ServedView for Overviews {
    const NAME: &'static str = "store";
    const PROJECTION: &'static str = PROJECTION;
    type View = StoreOverviewRow;
    type Message = StoreOverview;

    fn message(row: StoreOverviewRow) -> StoreOverview {
        let money = |minor_units| Some(Money { currency: row.currency.clone(), minor_units });
        StoreOverview {
            store_id: row.store_id.to_string(),
            stock_value: money(row.stock_value),
            revenue: money(row.revenue),
            name: row.name,
            city: row.city,
            status: status(&row.status).into(),
            manager_id: optional_id(row.manager_id),
            manager_name: row.manager_name.unwrap_or_default(),
            items: row.items,
            units_in_stock: row.units_in_stock,
            units_sold: row.units_sold,
        }
    }
}

/// A status as it is stored; `None` for no status in particular.
pub fn status_text(status: StoreStatus) -> Option<&'static str> {
    match status {
        StoreStatus::Unspecified => None,
        StoreStatus::Open => Some(OPEN),
        StoreStatus::Closed => Some(CLOSED),
    }
}

/// The fold stores no other text than these two.
fn status(stored: &str) -> StoreStatus {
    if stored == OPEN { StoreStatus::Open } else { StoreStatus::Closed }
}

/// Empty if there is none.
fn optional_id(id: Option<Uuid>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}
