//! What clients see, end to end: every scenario runs through the router of real processes, on three
//! shapes of a stack. Scenarios share the stacks, so each makes stores and users of its own.

mod client;
mod refusal;

mod acks;
mod batches;
mod consistency;
mod contention;
mod fields;
mod freshness;
mod once;
mod outages;
mod overview;
mod pages;
mod queries;
mod reasons;
mod stock;
mod stores;
mod transfers;
mod upcast;
mod users;
mod versions;
mod watch;
mod whole;

use headwater_tests::harness::{Cluster, Shared};

use client::Client;

/// Each scenario as a test on each shape.
macro_rules! scenarios {
    ($($file:ident: $($scenario:ident),* $(,)?;)*) => {
        scenarios!(@on one_partition, Default, $($file $($scenario)*;)*);
        scenarios!(@on four_partitions, FourPartitions, $($file $($scenario)*;)*);
        scenarios!(@on single_database, SingleDatabase, $($file $($scenario)*;)*);
    };
    (@on $shape:ident, $shared:ident, $($file:ident $($scenario:ident)*;)*) => {
        mod $shape {
            $(mod $file {
                use headwater_tests::harness::Shared;

                $(#[tokio::test]
                async fn $scenario() {
                    crate::scenarios::on(Shared::$shared, crate::scenarios::$file::$scenario).await;
                })*
            })*
        }
    };
}

scenarios! {
    acks: the_level_asked_for_is_reached, waiting_in_vain_is_no_error,
        what_cannot_be_waited_for_is_refused_first, a_token_can_be_waited_for;
    batches: each_command_of_many_is_answered_by_itself, a_batch_is_of_one_to_five_hundred,
        a_batch_may_be_larger_than_a_command, a_stream_is_answered_in_order,
        a_stream_whose_client_goes_away_is_sent_again;
    stores: a_store_opens_changes_and_closes, a_store_with_stock_stays_open,
        closing_and_receiving_at_once_leave_no_stock_behind;
    stock: an_item_lives_in_its_store, a_sku_is_unique_and_free_again, stock_is_never_negative;
    users: a_user_registers_changes_and_leaves, an_address_is_one_users,
        twenty_register_one_address, two_exchange_their_addresses;
    overview: an_overview_is_the_sum_of_its_items, a_managers_name_is_followed,
        the_largest_revenue_comes_first;
    pages: stores_by_city_and_status, stores_by_words, items_by_price_and_sku,
        a_page_token_belongs_to_its_list, a_batch_keeps_the_order_of_its_ids;
    freshness: a_write_is_read_by_every_query, every_reply_is_dated, tokens_cover_all_partitions,
        reads_never_go_back, bad_tokens_are_refused, what_is_missing_is_dated, staleness_is_limited;
    consistency: a_strong_read_shows_every_write, freshness_is_asked_for_in_words,
        an_older_answer_is_given_to_those_who_take_it, several_tokens_count_together,
        what_is_known_is_not_sent_again, a_command_with_an_etag_is_for_that_version;
    once: a_key_is_applied_once, ten_at_once_have_one_effect, a_key_stands_for_its_payload,
        what_was_refused_may_be_tried_again;
    versions: an_expected_version_is_checked, what_changes_nothing_records_nothing;
    fields: wrong_fields_are_named;
    reasons: every_refusal_of_the_domain, what_the_router_does_not_know;
    upcast: rows_of_the_first_version_are_read;
    watch: one_entity_is_followed, a_list_is_followed, a_watch_goes_on_where_it_was_cut,
        every_kind_is_watched, time_passes_for_a_watcher_too, what_cannot_be_watched_is_refused;
    whole: the_log_is_dense_and_verifies;
}

/// How fast the machine is, is no behaviour.
const SLOW: [&str; 1] = ["slow statement"];

/// Runs a scenario on a shared stack, which must not have complained by its end.
async fn on<F: Future<Output = ()>>(shape: Shared, scenario: impl FnOnce(Client) -> F) {
    let cluster = Cluster::shared(shape).await;
    scenario(Client::of(cluster)).await;
    cluster.assert_quiet();
}
