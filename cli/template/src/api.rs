//! The gRPC adapters: fields in, receipts and rows out.

use super::{aggregate, v1::*, view};

headwater_command_svc::command_service! {
    counter_command_service for CounterCommands on aggregate::Counter;

    increment(IncrementRequest) -> IncrementResponse, by counter_id = |r, v| {
        v.number("by", r.by, 1..=aggregate::TOTAL_MAX).map(aggregate::CounterCommand::Increment)
    };
}

headwater_query_svc::query_service! {
    counter_query_service for CounterQueries;

    view Counters: view::CounterRow as Counter, in "counters",
    |row| Counter { counter_id: row.counter_id.to_string(), total: row.total };
    get get_counter(GetCounterRequest) -> GetCounterResponse, by counter_id;
    list list_counters(ListCountersRequest) -> ListCountersResponse, by total;
}
