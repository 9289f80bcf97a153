//! How stores and their overviews are watched.

use headwater_domain::views::{StoreOverviewView, StoreView};
use headwater_kernel::View;
use headwater_proto::stores::v1::{
    Store, StoreChange, StoreOverview, StoreOverviewChange, store_change, store_overview_change,
};

use super::super::watching::change_message;
use super::rows::{BY_ID, OVERVIEW_BY_ID, overview, store};
use crate::statement::Statement;
use crate::watch::change::change;
use crate::watch::hub::Source;

type Stored = store_change::Change;
type StoredOverview = store_overview_change::Change;
change_message!(StoreChange of Store as Stored::{Store, RemovedStoreId});
change_message!(StoreOverviewChange of StoreOverview as StoredOverview::{Overview, RemovedStoreId});

/// How stores are watched, by city and status.
pub static STORES: Source<Store> = Source {
    view: StoreView::NAME,
    changed: &Statement {
        name: "stores_changed",
        sql: include_str!("../../../sql/queries/stores_changed.sql"),
        decode: |columns| change(columns, store),
    },
    by_id: &BY_ID,
};

/// How overviews are watched, one by one.
pub static OVERVIEWS: Source<StoreOverview> = Source {
    view: StoreOverviewView::NAME,
    changed: &Statement {
        name: "store_overviews_changed",
        sql: include_str!("../../../sql/queries/store_overviews_changed.sql"),
        decode: |columns| change(columns, overview),
    },
    by_id: &OVERVIEW_BY_ID,
};
