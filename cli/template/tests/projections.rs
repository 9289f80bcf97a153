//! A domain with two projections, by `domain!`: each has a checkpoint of its own, and is served.

use counter::aggregate::CounterEvent;
use counter::api::CounterCommands;
use counter::v1::counter_command_service_client::CounterCommandServiceClient;
use counter::v1::counter_query_service_client::CounterQueryServiceClient;
use counter::v1::{
    Counter, GetCounterRequest, GetCounterResponse, IncrementRequest, ListCountersRequest,
    ListCountersResponse, counter_query_service,
};
use counter::view::CounterRow;
use headwater_kernel::{About, FoldResult, List, Uuid, View, row};
use headwater_proto::headwater::v1::Consistency;
use headwater_proto::headwater::v1::consistency::Requirement;
use headwater_testkit::{Domain, Running};

row! {
    /// How often a counter was added to.
    pub struct TimesRow {
        /// The counter's id, the key.
        pub counter_id: Uuid,
        /// The number of times.
        pub times: i64,
    }
}

impl View for TimesRow {
    const NAME: &'static str = "times";
    const LISTS: &'static [List] = &[List::by_descending("times")];
    type Event = CounterEvent;

    fn fold(row: Option<Self>, _: &CounterEvent, about: &About) -> FoldResult<Self> {
        let times = row.map_or(0, |row| row.times) + 1;
        Ok(Some(TimesRow { counter_id: about.stream.0, times }))
    }
}

headwater_query_svc::query_service! {
    counter_query_service for BothQueries;

    view Totals: CounterRow as Counter, in "counters",
    |row| Counter { counter_id: row.counter_id.to_string(), total: row.total };
    get get_counter(GetCounterRequest) -> GetCounterResponse, by counter_id;

    view Times: TimesRow as Counter, in "times",
    |row| Counter { counter_id: row.counter_id.to_string(), total: row.times };
    list list_counters(ListCountersRequest) -> ListCountersResponse, by times;
}

headwater_cli::domain! {
    contract contract = "counter.v1";
    projection "counters" of CounterEvent: CounterRow;
    projection "times" of CounterEvent: TimesRow;
    commands CounterCommands;
    queries BothQueries;
}

#[tokio::test]
async fn each_projection_is_filled_and_served() {
    assert_eq!(PROJECTIONS, ["counters", "times"]);
    let names: Vec<_> = projections().iter().map(|p| p.name().to_owned()).collect();
    assert_eq!(names, PROJECTIONS);
    let running = Running::start(Domain { projections, commands, queries }).await;
    let mut commands =
        CounterCommandServiceClient::connect(running.commands.clone()).await.expect("commands");
    let mut queries =
        CounterQueryServiceClient::connect(running.queries.clone()).await.expect("queries");
    let counter_id = Uuid::now_v7().to_string();
    let mut token = String::new();
    for by in [30, 4] {
        let request = IncrementRequest { counter_id: counter_id.clone(), by, options: None };
        let reply = commands.increment(request).await.expect("counted").into_inner();
        token = reply.receipt.expect("a receipt").token;
    }
    let consistency = || {
        Some(Consistency {
            requirement: Some(Requirement::AtLeast(token.clone())),
            ..Default::default()
        })
    };

    let get = GetCounterRequest { counter_id: counter_id.clone(), consistency: consistency() };
    let got = queries.get_counter(get).await.expect("read").into_inner();
    assert_eq!(got.counter.expect("a counter").total, 34);
    let list = ListCountersRequest { consistency: consistency(), ..Default::default() };
    let listed = queries.list_counters(list).await.expect("read").into_inner();
    assert_eq!(listed.counters, [Counter { counter_id, total: 2 }]);
}
