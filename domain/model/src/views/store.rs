//! `store`: stores by id, by city and status, by words of their name.

use headwater_kernel::{About, FoldResult, List, View, row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{existing, fresh, id, version};
use crate::StoreEvent;

row! {
    /// A store.
    pub struct StoreRow {
        /// The id.
        pub store_id: Uuid,
        /// The name.
        pub name: String,
        /// The city.
        pub city: String,
        /// ISO 4217.
        pub currency: String,
        /// [`OPEN`] or [`CLOSED`].
        pub status: String,
        /// The user who manages it, if any.
        pub manager_id: Option<Uuid>,
        /// Time at which it was opened.
        pub opened_at: OffsetDateTime,
        /// Version of the aggregate.
        pub version: i64,
    }
}

/// Status of a store that trades.
pub const OPEN: &str = "open";

/// Status of a store that has closed for good.
pub const CLOSED: &str = "closed";

impl View for StoreRow {
    const NAME: &'static str = "store";
    const VERSION: u32 = 1;
    const LISTS: &'static [List] =
        &[List::by("name").filtered(&[&[], &["city"], &["status"], &["city", "status"]])];
    const INDEXES: &'static [&'static str] = &["USING gin (to_tsvector('simple', name))"];
    const WATCHED: bool = true;
    type Event = StoreEvent;

    fn fold(row: Option<Self>, event: &StoreEvent, about: &About) -> FoldResult<Self> {
        let mut row = match event {
            StoreEvent::Opened(event) => {
                let new = StoreRow {
                    store_id: about.stream.0,
                    name: event.name.clone(),
                    city: event.city.clone(),
                    currency: event.currency.clone(),
                    status: OPEN.to_owned(),
                    manager_id: None,
                    opened_at: about.recorded_at,
                    version: 0,
                };
                fresh(row, about, new)?
            }
            _ => existing(row, about)?,
        };
        match event {
            StoreEvent::Opened(_) => {}
            StoreEvent::Renamed(event) => row.name.clone_from(&event.name),
            StoreEvent::Relocated(event) => row.city.clone_from(&event.city),
            StoreEvent::ManagerAssigned(event) => row.manager_id = Some(id(&event.user_id)),
            StoreEvent::ManagerRemoved(_) => row.manager_id = None,
            StoreEvent::Closed(_) => CLOSED.clone_into(&mut row.status),
        }
        row.version = version(about);
        Ok(Some(row))
    }
}
