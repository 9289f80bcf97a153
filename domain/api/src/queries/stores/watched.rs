//! How stores and their overviews are watched.

use headwater_domain_model::views::{StoreOverviewView, StoreView};
use headwater_domain_proto::stores::v1::{Store, StoreOverview};
use headwater_kernel::View;
use headwater_query_svc::{Source, Statement, change};

use super::rows::{BY_ID, OVERVIEW_BY_ID, overview, store};
use crate::PROJECTION;

/// How stores are watched, by city and status.
pub static STORES: Source<Store> = Source {
    view: StoreView::NAME,
    changed: &Statement {
        name: "stores_changed",
        projection: PROJECTION,
        sql: include_str!("../../../sql/stores_changed.sql"),
        decode: |columns| change(columns, store),
    },
    by_id: &BY_ID,
};

/// How overviews are watched, one by one.
pub static OVERVIEWS: Source<StoreOverview> = Source {
    view: StoreOverviewView::NAME,
    changed: &Statement {
        name: "store_overviews_changed",
        projection: PROJECTION,
        sql: include_str!("../../../sql/store_overviews_changed.sql"),
        decode: |columns| change(columns, overview),
    },
    by_id: &OVERVIEW_BY_ID,
};
