//! Write side: what a counter can be told to do, and what can have happened to it.

use headwater_kernel::{Aggregate, Context, Decided, Decision, Rejection, event_set};

use super::v1::Incremented;

/// Where a counter ends.
pub const TOTAL_MAX: i64 = 1_000_000;

event_set! {
    /// What can have happened to a counter.
    pub enum CounterEvent {
        Incremented(Incremented) = "counter.v1.Incremented" @ 1;
    }
}

/// What a counter can be told to do.
pub enum CounterCommand {
    /// Add this to the total; at least 1.
    Increment(i64),
}

/// A counter: as much of its past as its decisions depend on.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    total: i64,
}

impl Aggregate for Counter {
    const NAME: &'static str = "counter";
    type Command = CounterCommand;
    type Event = CounterEvent;

    fn decide(&self, command: &CounterCommand, _context: &Context) -> Decided<CounterEvent> {
        let CounterCommand::Increment(by) = *command;
        if by > TOTAL_MAX - self.total {
            let text = format!("the counter stands at {} and ends at {TOTAL_MAX}", self.total);
            return Err(Rejection::failed_precondition("COUNTER_FULL", text));
        }
        Ok(Decision::event(Incremented { by }))
    }

    fn evolve(&mut self, event: &CounterEvent) {
        let CounterEvent::Incremented(event) = event;
        self.total += event.by;
    }
}
