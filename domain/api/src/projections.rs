//! The views that are served.

use headwater_domain_model::DomainEvent;
use headwater_domain_model::views::{ItemRow, StoreOverviewRow, StoreRow, UserRow};

use headwater_projector::projection::Projection;

/// The projection whose views are queried.
pub const PROJECTION: &str = "retail";

/// Every projection, with its views in the order in which they are folded: a view may look only at
/// those before it.
pub fn projections() -> Vec<Projection> {
    let retail = Projection::of::<DomainEvent>(PROJECTION)
        .view::<UserRow>()
        .view::<StoreRow>()
        .view::<ItemRow>()
        .view::<StoreOverviewRow>()
        .build();
    vec![retail]
}
