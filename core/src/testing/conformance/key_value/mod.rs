//! The contract of a store (`KeyValue`, `PubSub`, `Bus` and `Feeds`) as cases that any adapter must pass.
//!
//! Every case works on owners of its own, so that they can share one store and run side by side. An adapter's test
//! implements [`Harness`] and makes a test of each case with [`each_store_case`](crate::each_store_case).

pub mod bounds;
pub mod bus;
pub mod checks;
pub mod expiry;
pub mod feeds;
mod kit;
pub mod races;
pub mod reads;
pub mod writes;

use std::future::Future;

use crate::port::{Bus, Feeds, KeyValue, PubSub};

/// What a case needs of an adapter's test.
pub trait Harness: Send + Sync {
    /// The adapter.
    type Store: KeyValue + PubSub + Bus + Feeds;

    /// The store under test.
    fn store(&self) -> &Self::Store;

    /// A number that this returns once only, in the life of the store.
    fn fresh(&self) -> u128;

    /// Lets at least this much of the store's time pass.
    fn advance(&self, span_ms: u64) -> impl Future<Output = ()> + Send;

    /// The longest span that [`Harness::advance`] is ready to let pass: cases that need more do nothing.
    fn advance_max_ms(&self) -> u64;

    /// Returns when everything published before has reached its subscribers.
    fn settle(&self) -> impl Future<Output = ()> + Send;
}

/// Calls the macro `$with` with the path of every case below this module, and whatever else is given.
#[macro_export]
macro_rules! each_store_case {
    ($with:ident $(, $more:tt)*) => {
        $with! {
            [$($more)*]
            reads::a_missing_key_is_not_zero_and_not_empty
            reads::every_query_answers_what_was_written
            reads::answers_come_in_the_order_asked
            reads::fields_come_by_name_and_named_fields_in_the_order_asked
            reads::an_ordered_range_is_inclusive_sorted_and_limited
            reads::a_counter_is_also_its_decimal_text
            reads::indexed_counters_are_those_that_the_hash_names
            reads::a_query_of_the_wrong_type_fails_the_call
            reads::a_number_has_one_spelling
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
            writes::transactions_of_one_call_stand_alone
            checks::absent_and_present_look_at_every_type
            checks::equals_compares_bytes
            checks::field_equals_tells_missing_from_empty
            checks::field_below_compares_numbers
            checks::score_equals_tells_missing_from_zero
            checks::a_refusal_names_the_first_check_and_changes_nothing
            checks::checks_see_the_state_before_the_mutations
            checks::a_check_of_the_wrong_type_fails_its_transaction
            expiry::what_has_expired_is_never_seen
            expiry::what_has_expired_leaves_nothing_behind
            expiry::the_time_to_live_counts_down
            expiry::writing_keeps_the_expiry_except_set
            expiry::expire_moves_the_end_of_every_type
            expiry::persist_takes_the_expiry_away
            expiry::an_expired_counter_is_not_indexed
            feeds::a_durable_publication_takes_the_next_place
            feeds::an_ephemeral_publication_takes_no_place
            feeds::users_have_feeds_of_their_own
            feeds::what_did_not_happen_is_not_published
            feeds::a_position_outlives_its_text
            feeds::a_feed_keeps_the_newest_256
            feeds::a_position_that_the_feed_does_not_know_is_a_gap
            feeds::nowhere_replays_a_whole_feed_or_nothing
            feeds::nowhere_is_a_gap_when_it_is_too_long_ago
            feeds::a_feed_ends_after_its_last_durable_event
            bus::a_joined_subscriber_hears_everything_in_order
            bus::events_arrive_unchanged
            bus::others_hear_nothing
            bus::who_left_hears_nothing
            bus::joining_again_replaces_the_subscriber
            bus::concurrent_publications_arrive_in_the_order_of_their_places
            races::concurrent_sums_are_exact
            races::compare_and_set_loops_end_exactly
            races::one_of_many_wins_an_absent_key
            races::what_is_asked_of_one_owner_is_of_one_moment
            bounds::an_impossible_query_is_refused
            bounds::an_impossible_transaction_is_refused
            bounds::an_impossible_publication_is_refused
            bounds::another_owners_key_is_refused
            bounds::what_is_too_large_is_refused
            bounds::a_refused_call_changes_nothing
            bounds::the_bounds_themselves_are_allowed
        }
    };
}

macro_rules! run_all {
    ([$harness:ident] $($group:ident::$case:ident)*) => {
        $($group::$case($harness).await;)*
    };
}

/// Every case, one after the other; for adapters that need no test of its own for each.
pub async fn all<H: Harness>(harness: &H) {
    each_store_case!(run_all, harness);
}
