//! The choice of a node, and the judgement of its answer. Pure, apart from the rate limiter of
//! fallbacks to the primary.
//!
//! | what the nodes show | replicas in rotation | what is chosen |
//! |---|---|---|
//! | fresh enough | one or more | the cheaper of two drawn at random |
//! | fresh enough | none, the primary is | the primary, if the fallback rate limiter permits it |
//! | too old, may catch up | one or more | wait, at most half of the time that is left |
//! | too old | any | the primary likewise, or wait for the rest of the time |
//! | a later or an earlier epoch than the token's | any | the token is settled first |
//! | another log than the token's | any | refused |

mod cost;
mod fallback;
mod judge;
mod pick;

pub use cost::{Cost, RECOVERY, recovered};
pub use fallback::{FallbackLimiter, FallbackPermit, NO_LIMIT};
pub use judge::{Verdict, has_age, judge};
pub use pick::{
    Choice, PickRequest, PrimaryFallback, best_on_offer, fallbacks, freshest, pick, shown,
};
