//! The gRPC adapters: fields in, receipts and rows out.

use headwater_command_svc::command_service;
use headwater_query_svc::{query_service, served_view};

use super::aggregate::{self, CounterCommand};
use super::v1::counter_command_service_server::CounterCommandService;
use super::v1::counter_query_service_server::CounterQueryService;
use super::v1::*;
use super::view::CounterView;

command_service! {
    CounterCommandService for CounterCommands on aggregate::Counter {
        increment(IncrementRequest) -> IncrementResponse = |r, v| {
            let id = v.uuid("counter_id", &r.counter_id);
            let by = v.number("by", r.by, 1..=aggregate::TOTAL_MAX);
            Some((id?, CounterCommand::Increment(by?)))
        };
    }
}

served_view! {
    pub Counters: CounterView as Counter, in "counters",
    |row| Counter { counter_id: row.counter_id.to_string(), total: row.total }
}

query_service! {
    CounterQueryService for CounterQueries on Counters {
        get get_counter(GetCounterRequest) -> GetCounterResponse, by counter_id;
        list list_counters(ListCountersRequest) -> ListCountersResponse, by total;
    }
}
