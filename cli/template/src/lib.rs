//! The domain: counters. What the platform takes of it stands here; the programs in `bin/` hand it
//! over.

pub mod aggregate;
pub mod api;
pub mod view;

headwater_cli::domain! {
    contract v1 = "counter.v1";
    projection "counters" of aggregate::CounterEvent: view::CounterRow;
    commands api::CounterCommands;
    queries api::CounterQueries;
}
