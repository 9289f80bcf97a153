//! The views that are served: with `grpc/` and the binaries the only place that names the domain.

use headwater_domain::DomainEvent;
use headwater_domain::views::{ItemView, StoreOverviewView, StoreView, UserView};

use crate::projection::Projection;

/// Every projection, with its views in the order in which they are folded: a view may look only at
/// those before it.
pub fn projections() -> Vec<Projection> {
    let retail = Projection::of::<DomainEvent>("retail")
        .view::<UserView>()
        .view::<StoreView>()
        .view::<ItemView>()
        .view::<StoreOverviewView>()
        .build();
    vec![retail]
}
