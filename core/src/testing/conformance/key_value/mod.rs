//! The contract of a store (`KeyValue`, `PubSub`, `Bus` and `Feeds`) as cases that every adapter must pass.
//!
//! Every case uses owners that no other case uses, so that all cases can share one store and run concurrently. The test
//! of an adapter implements [`Harness`] and generates one test for each case with
//! [`each_store_case`](crate::each_store_case).

pub mod addressed;
pub mod app;
pub mod bounds;
pub mod bus;
pub mod checks;
pub mod expiry;
pub mod feed_bytes;
pub mod feeds;
mod fixture;
pub mod followed;
pub mod published_results;
pub mod quota;
pub mod races;
pub mod reads;
pub mod writes;

use std::future::Future;

use crate::port::{Bus, Feeds, KeyValue, PubSub};

/// What the test of an adapter provides for the cases.
pub trait Harness: Send + Sync {
    /// The type of the adapter.
    type Store: KeyValue + PubSub + Bus + Feeds;

    /// The store under test.
    fn store(&self) -> &Self::Store;

    /// A number that was never returned before for this store.
    fn fresh(&self) -> u128;

    /// Waits until at least this much of the store's time has passed.
    fn advance(&self, span_ms: u64) -> impl Future<Output = ()> + Send;

    /// The longest span that [`Harness::advance`] supports. Cases that need a longer one do nothing.
    fn advance_max_ms(&self) -> u64;

    /// How many items of a function, for different owners, may be accepted beyond its bound before it holds for all
    /// owners.
    fn app_items_beyond_max(&self) -> u32 {
        0
    }

    /// Waits until everything that was published before has been delivered to its subscribers.
    fn wait_for_deliveries(&self) -> impl Future<Output = ()> + Send;
}

/// Calls the macro `$with` with the path of every case in this module, and with the further arguments.
#[macro_export]
macro_rules! each_store_case {
    ($with:ident $(, $more:tt)*) => {
        $with! {
            [$($more)*]
            reads::a_missing_key_is_not_zero_and_not_empty
            reads::every_query_returns_what_was_written
            reads::answers_are_in_the_order_of_the_queries
            reads::fields_are_sorted_and_named_fields_are_in_the_order_asked
            reads::an_ordered_range_is_inclusive_sorted_and_limited
            reads::a_counter_is_also_its_decimal_text
            reads::indexed_counters_are_those_named_by_the_hash
            reads::a_query_of_the_wrong_type_fails_the_call
            reads::a_number_has_one_text_form
            writes::set_replaces_every_type
            writes::delete_removes_every_type
            writes::add_counts_from_zero_and_never_below_the_floor
            writes::a_sum_beyond_64_bits_changes_nothing
            writes::fields_are_set_and_deleted_one_by_one
            writes::add_field_counts_from_zero
            writes::a_member_has_one_score
            writes::an_empty_hash_or_ordered_set_is_gone
            writes::a_later_mutation_sees_an_earlier_one
            writes::a_mutation_of_the_wrong_type_changes_nothing
            writes::a_transaction_that_fails_half_way_leaves_no_trace
            writes::transactions_of_one_call_are_independent
            checks::absent_and_present_hold_for_every_type
            checks::present_either_holds_if_one_of_two_keys_exists
            checks::many_transactions_are_refused_one_by_one
            checks::equals_compares_bytes
            checks::field_equals_tells_missing_from_empty
            checks::field_below_compares_numbers
            checks::score_equals_tells_missing_from_zero
            checks::a_refusal_names_the_first_check_and_changes_nothing
            checks::checks_see_the_state_before_the_mutations
            checks::a_check_of_the_wrong_type_fails_its_transaction
            app::functions_do_not_see_each_others_items
            app::an_item_is_any_text
            app::owners_of_each_kind_have_their_own_items
            app::a_message_is_in_the_partition_of_its_conversation
            app::an_item_changes_together_with_its_event
            quota::a_transaction_beyond_the_bound_changes_nothing
            quota::every_type_counts_its_content
            quota::what_is_removed_is_given_back
            quota::a_function_above_a_lowered_bound_can_only_shrink
            quota::what_expires_is_given_back
            quota::a_renewed_item_counts_once
            quota::the_bound_holds_over_all_owners
            quota::concurrent_callers_do_not_exceed_the_bound
            expiry::an_expired_key_is_never_visible
            expiry::an_expired_key_leaves_nothing_behind
            expiry::the_time_to_live_counts_down
            expiry::writing_keeps_the_expiry_except_set
            expiry::expire_changes_the_deadline_of_every_type
            expiry::persist_removes_the_expiry
            expiry::an_expired_counter_is_not_indexed
            feeds::a_durable_publication_takes_the_next_offset
            feeds::an_ephemeral_publication_takes_no_offset
            feeds::each_user_has_a_separate_feed
            feeds::a_transaction_that_is_not_committed_publishes_nothing
            feeds::a_position_survives_its_text
            feeds::a_feed_keeps_the_newest_256
            feeds::a_position_unknown_to_the_feed_is_a_gap
            feeds::a_position_without_a_feed_replays_a_whole_feed_or_nothing
            feeds::an_old_position_without_a_feed_is_a_gap
            feeds::a_feed_expires_after_its_last_durable_event
            followed::events_are_kept_while_the_user_is_followed
            followed::an_event_that_is_not_kept_deletes_the_feed
            followed::an_event_that_is_not_kept_is_published_without_a_position
            followed::the_state_after_the_mutations_decides
            followed::an_ephemeral_event_leaves_the_feed_alone
            followed::following_again_renews_the_time
            followed::a_feed_ends_no_later_than_its_user_is_followed
            followed::positions_are_in_the_order_of_the_users
            feed_bytes::a_feed_keeps_at_most_256_kib
            feed_bytes::small_events_after_large_ones_push_them_out_one_by_one
            feed_bytes::more_bytes_than_a_feed_keeps_leave_the_newest
            bus::a_joined_subscriber_receives_everything_in_order
            bus::events_arrive_unchanged
            bus::other_users_receive_nothing
            bus::a_user_that_was_left_receives_nothing
            bus::joining_again_replaces_the_subscriber
            bus::concurrent_publications_arrive_in_the_order_of_their_offsets
            published_results::an_event_carries_the_results_that_are_listed
            published_results::a_repeated_transaction_carries_its_own_results
            published_results::a_replay_has_the_results
            published_results::transactions_of_one_call_carry_their_own_results
            published_results::a_transaction_without_results_publishes_nothing
            addressed::a_change_of_any_partition_and_its_events_happen_together
            addressed::an_owner_that_is_a_message_has_addressed_events
            addressed::a_refused_transaction_tells_nobody_and_names_its_check
            addressed::each_user_receives_the_events_in_order_and_once
            addressed::an_owner_who_is_a_user_has_events_of_their_own
            addressed::transactions_with_and_without_addressed_events_are_independent
            addressed::addressed_events_beyond_a_limit_are_refused
            races::concurrent_sums_are_exact
            races::compare_and_set_loops_lose_no_update
            races::one_of_many_callers_creates_an_absent_key
            races::a_read_of_one_owner_is_consistent
            bounds::an_invalid_query_is_refused
            bounds::an_invalid_transaction_is_refused
            bounds::an_invalid_publication_is_refused
            bounds::an_invalid_published_result_is_refused
            bounds::another_owners_key_is_refused
            bounds::a_transaction_beyond_a_limit_fails_alone
            bounds::a_call_beyond_a_limit_is_refused
            bounds::a_refused_call_changes_nothing
            bounds::the_limits_themselves_are_allowed
        }
    };
}

macro_rules! run_all {
    ([$harness:ident] $($group:ident::$case:ident)*) => {
        $($group::$case($harness).await;)*
    };
}

/// Runs all cases one after the other, for adapters without a separate test for each case.
pub async fn all<H: Harness>(harness: &H) {
    each_store_case!(run_all, harness);
}
