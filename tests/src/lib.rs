//! What the tests stand on: a stack of real processes to test, a second domain, and the checker of
//! histories.

pub mod bench;
/// The counter domain: the template of `headwater new`.
#[path = "../../cli/template/src/lib.rs"]
pub mod counter;
pub mod harness;
pub mod history;
pub mod talk;
