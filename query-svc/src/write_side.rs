//! The read side's knowledge of the write database: where its log ends, and what time it is there.

mod clock;
mod log_end;

pub use clock::{Reading, Source, WriteClock};
pub use log_end::{EndError, LogEnds, is_beyond};
