//! The statements on the views `store` and `store_overview`, and their rows.

use headwater_domain_model::views::store::{CLOSED, OPEN};
use headwater_domain_proto::stores::v1::{Money, Store, StoreOverview, StoreStatus};
use headwater_edge::timestamp;
use headwater_query_svc::{ColumnError, Columns, Statement};
use uuid::Uuid;

use crate::PROJECTION;

macro_rules! statements {
    ($($(#[$meta:meta])* $constant:ident: $row:ty = $name:literal by $decode:ident;)*) => {$(
        $(#[$meta])*
        pub static $constant: Statement<(Uuid, $row)> = Statement {
            name: $name,
            projection: PROJECTION,
            sql: include_str!(concat!("../../../sql/", $name, ".sql")),
            decode: $decode,
        };
    )*};
}
statements! {
    BY_ID: Store = "stores_by_id" by store;
    LIST: Store = "stores_list" by store;
    LIST_BY_STATUS: Store = "stores_list_by_status" by store;
    LIST_BY_CITY: Store = "stores_list_by_city" by store;
    LIST_BY_CITY_AND_STATUS: Store = "stores_list_by_city_and_status" by store;
    SEARCH: Store = "stores_search" by store;
    OVERVIEW_BY_ID: StoreOverview = "store_overviews_by_id" by overview;
    OVERVIEW_LIST: StoreOverview = "store_overviews_list" by overview;
}

/// What the list of overviews is ordered by.
pub fn revenue(overview: &StoreOverview) -> i64 {
    overview.revenue.as_ref().map_or(0, |revenue| revenue.minor_units)
}

/// A status as it is stored; `None` for no status in particular.
pub fn status_text(status: StoreStatus) -> Option<&'static str> {
    match status {
        StoreStatus::Unspecified => None,
        StoreStatus::Open => Some(OPEN),
        StoreStatus::Closed => Some(CLOSED),
    }
}

fn status(stored: &str) -> Result<StoreStatus, ColumnError> {
    match stored {
        OPEN => Ok(StoreStatus::Open),
        CLOSED => Ok(StoreStatus::Closed),
        other => Err(ColumnError::Value(other.to_owned())),
    }
}

/// The columns of the view `store`.
pub fn store(columns: &mut Columns<'_>) -> Result<(Uuid, Store), ColumnError> {
    let id: Uuid = columns.take()?;
    let store = Store {
        store_id: id.to_string(),
        name: columns.take()?,
        city: columns.take()?,
        currency: columns.take()?,
        status: status(columns.take()?)?.into(),
        manager_id: optional_id(columns)?,
        opened_time: Some(timestamp(columns.take()?)),
        version: columns.take_u64()?,
    };
    Ok((id, store))
}

/// The columns of the view `store_overview`.
pub fn overview(columns: &mut Columns<'_>) -> Result<(Uuid, StoreOverview), ColumnError> {
    let id: Uuid = columns.take()?;
    let (name, city) = (columns.take()?, columns.take()?);
    let currency: String = columns.take()?;
    let overview = StoreOverview {
        store_id: id.to_string(),
        name,
        city,
        status: status(columns.take()?)?.into(),
        manager_id: optional_id(columns)?,
        manager_name: columns.take::<Option<String>>()?.unwrap_or_default(),
        items: columns.take()?,
        units_in_stock: columns.take()?,
        stock_value: Some(Money { currency: currency.clone(), minor_units: columns.take()? }),
        units_sold: columns.take()?,
        revenue: Some(Money { currency, minor_units: columns.take()? }),
    };
    Ok((id, overview))
}

/// Empty if there is none.
fn optional_id(columns: &mut Columns<'_>) -> Result<String, ColumnError> {
    let id: Option<Uuid> = columns.take()?;
    Ok(id.map(|id| id.to_string()).unwrap_or_default())
}
