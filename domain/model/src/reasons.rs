//! Reason why the domain says no: the stable codes that clients branch on. docs/errors.md explains
//! each.

use headwater_kernel::RejectionKind::{
    AlreadyExists, FailedPrecondition, InvalidArgument, NotFound,
};
use headwater_kernel::{Rejection, RejectionKind};

/// A stable reason of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// `ErrorInfo.domain` it is sent with.
    pub domain: &'static str,
    /// `ErrorInfo.reason` it is sent as; never changes.
    pub code: &'static str,
    /// The class, and so its gRPC status.
    pub kind: RejectionKind,
}

impl Reason {
    /// The refusal, with a sentence for people that is safe to show to the client.
    pub fn because(self, message: impl Into<String>) -> Rejection {
        Rejection::new(self.kind, self.code, message)
    }
}

macro_rules! reasons {
    ($($domain:literal $kind:ident $code:ident: $meaning:literal,)*) => {
        $(#[doc = $meaning]
        pub const $code: Reason =
            Reason { domain: $domain, code: stringify!($code), kind: $kind };)*

        /// Every reason of the domain.
        pub const ALL: &[Reason] = &[$($code),*];
    };
}

reasons! {
    "stores" AlreadyExists STORE_EXISTS: "A store was opened under this id before.",
    "stores" NotFound STORE_NOT_FOUND: "No store was opened under this id.",
    "stores" FailedPrecondition STORE_CLOSED: "The store has closed for good.",
    "stores" FailedPrecondition STORE_HAS_STOCK: "Some item of the store has units in stock.",
    "stores" FailedPrecondition STORE_NOT_OPEN:
        "The store does not exist, has closed, or trades in another currency.",
    "stores" AlreadyExists ITEM_EXISTS: "An item was listed under this id before.",
    "stores" NotFound ITEM_NOT_FOUND: "The store has no item under this id.",
    "stores" FailedPrecondition ITEM_DELISTED: "The item is no longer sold in the store.",
    "stores" FailedPrecondition ITEM_HAS_STOCK: "The item has units in stock.",
    "stores" AlreadyExists SKU_TAKEN: "Another listed item of the store has this SKU.",
    "stores" FailedPrecondition INSUFFICIENT_STOCK: "There are fewer units in stock.",
    "stores" InvalidArgument CURRENCY_MISMATCH: "The item is traded in another currency.",
    "stores" FailedPrecondition AMOUNT_OVERFLOW: "A total of the item would pass its limit.",
    "users" AlreadyExists USER_EXISTS: "A user was registered under this id before.",
    "users" NotFound USER_NOT_FOUND: "No user was registered under this id.",
    "users" FailedPrecondition USER_DEACTIVATED: "The user has been deactivated for good.",
    "users" AlreadyExists EMAIL_TAKEN: "Another user has this e-mail address.",
}
