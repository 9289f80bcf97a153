//! `user`: users by id and by e-mail address.

use headwater_kernel::{About, FoldResult, View, row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{existing, fresh, version};
use crate::UserEvent;

row! {
    /// A user.
    pub struct UserRow {
        /// The id.
        pub user_id: Uuid,
        /// In lower case.
        pub email: String,
        /// The name.
        pub name: String,
        /// [`ACTIVE`] or [`DEACTIVATED`].
        pub status: String,
        /// Time at which it was registered.
        pub registered_at: OffsetDateTime,
        /// Version of the aggregate.
        pub version: i64,
    }
}

/// Status of a user that has not left.
pub const ACTIVE: &str = "active";

/// Status of a user that has left for good.
pub const DEACTIVATED: &str = "deactivated";

impl View for UserRow {
    const NAME: &'static str = "user";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["(email)"];
    const WATCHED: bool = true;
    type Event = UserEvent;

    fn fold(row: Option<Self>, event: &UserEvent, about: &About) -> FoldResult<Self> {
        let mut row = match event {
            UserEvent::Registered(event) => {
                let new = UserRow {
                    user_id: about.stream.0,
                    email: event.email.clone(),
                    name: event.name.clone(),
                    status: ACTIVE.to_owned(),
                    registered_at: about.recorded_at,
                    version: 0,
                };
                fresh(row, about, new)?
            }
            _ => existing(row, about)?,
        };
        match event {
            UserEvent::Registered(_) => {}
            UserEvent::Renamed(event) => row.name.clone_from(&event.name),
            UserEvent::EmailChanged(event) => row.email.clone_from(&event.new_email),
            UserEvent::Deactivated(_) => DEACTIVATED.clone_into(&mut row.status),
        }
        row.version = version(about);
        Ok(Some(row))
    }
}
