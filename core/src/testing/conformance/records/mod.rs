//! The conformance suite of the records port: one async function for each promise, each on fresh records.
//!
//! An adapter's test turns [`each_records_case`](crate::each_records_case) into one test for each case. A case panics
//! when the promise is broken. The suite checks neither speed nor what happens after a crash.

pub mod announcing;
pub mod blocks;
pub mod bounds;
pub mod changing;
pub mod contacts;
pub mod counting;
pub mod creating;
pub mod deleting;
pub mod document_bytes;
pub mod documents;
pub mod erasing;
pub mod finding;
pub mod listing;
pub mod members;
pub mod moderating;
pub mod paging;
pub mod pairs;
pub mod receipts;
pub mod recovering;
pub mod sending;

use std::ops::Deref;

use crate::ids::{ConversationId, MessageId, Seq, UserId};
use crate::port::{
    Changed, Confirmation, Counter, Draft, Edit, HistoryQuery, MemberChange, Message, NewConversation, Pending,
    PendingQuery, ReadMark, Records, UnreadRequest,
};
use crate::testing::BoxFuture;
use crate::time::Timestamp;

/// The time of every call, unless a case says otherwise.
pub const AT: Timestamp = Timestamp(1_790_000_000_000);
/// Later than everything, also than the timestamps that the records give to read marks.
pub const LATER: Timestamp = Timestamp(253_402_300_799_999);

/// The first of three users.
pub const ANN: UserId = UserId::from_u128(0xA);
#[allow(missing_docs, reason = "the second of three")]
pub const BOB: UserId = UserId::from_u128(0xB);
#[allow(missing_docs, reason = "the third of three")]
pub const CAT: UserId = UserId::from_u128(0xC);
#[allow(missing_docs, reason = "a user who is in no conversation")]
pub const DAN: UserId = UserId::from_u128(0xD);
/// A conversation that does not exist.
pub const NOWHERE: ConversationId = ConversationId::from_u128(0xFFFF);

type Flush<R> = Box<dyn for<'a> Fn(&'a R) -> BoxFuture<'a, ()> + Send + Sync>;

/// The records under test, which are empty when a case starts.
pub struct Subject<R> {
    records: R,
    flush: Flush<R>,
}

impl<R> Subject<R> {
    /// `flush` returns when every confirmation that was accepted so far has taken effect.
    pub fn new(records: R, flush: impl for<'a> Fn(&'a R) -> BoxFuture<'a, ()> + Send + Sync + 'static) -> Self {
        Self { records, flush: Box::new(flush) }
    }

    /// Waits until confirmations have taken effect.
    pub async fn flush(&self) {
        (self.flush)(&self.records).await;
    }
}

impl<R> Deref for Subject<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.records
    }
}

impl<R: Records> Subject<R> {
    /// Creates a conversation of these members; the first is its creator.
    pub(super) async fn create(&self, members: &[UserId]) -> ConversationId {
        let new = NewConversation { id: None, creator: members[0], members: members.to_vec(), at: AT };
        let id = self.create_conversation(new).await.unwrap().conversation.id;
        self.announced(vec![Confirmation::Creation(id, 1)]).await.unwrap();
        self.flush().await;
        id
    }

    /// Stores a message and answers its change.
    pub(super) async fn append(&self, conversation: ConversationId, sender: UserId, content: &str) -> Changed {
        self.append_message(draft(conversation, sender, content)).await.unwrap()
    }

    /// Stores a message and answers it.
    pub(super) async fn send(&self, conversation: ConversationId, sender: UserId, content: &str) -> Message {
        self.append(conversation, sender, content).await.change.message
    }

    pub(super) async fn delete(&self, message: &Message) -> Changed {
        self.delete_message(message.conversation, message.id, Some(message.sender), AT).await.unwrap()
    }

    pub(super) async fn read_to(&self, user: UserId, conversation: ConversationId, up_to: u64) -> ReadMark {
        self.mark_read(user, conversation, Some(Seq(up_to))).await.unwrap()
    }

    pub(super) async fn counter(&self, user: UserId, conversation: ConversationId) -> Counter {
        let request = UnreadRequest::named(user, vec![conversation]);
        self.unread(vec![request]).await.unwrap()[0].counters[0]
    }

    pub(super) async fn counters(&self, user: UserId) -> Vec<Counter> {
        let request = UnreadRequest::all(user);
        let mut snapshots = self.unread(vec![request]).await.unwrap();
        assert_eq!(snapshots.len(), 1);
        snapshots.remove(0).counters
    }

    /// The contents that the user can read, oldest first.
    pub(super) async fn contents(&self, user: UserId, conversation: ConversationId) -> Vec<String> {
        let query = HistoryQuery { user, conversation, before: None, limit: 100 };
        let page = self.history(query).await.unwrap();
        page.messages.into_iter().rev().map(|message| message.content).collect()
    }

    pub(super) async fn unconfirmed(&self) -> Vec<Pending> {
        let page = self.pending(PendingQuery::untried(LATER)).await.unwrap();
        page.items.into_iter().map(|item| item.pending).collect()
    }
}

pub(super) fn draft(conversation: ConversationId, sender: UserId, content: &str) -> Draft {
    Draft { conversation, sender, id: None, kind: "text".into(), content: content.into(), at: AT }
}

pub(super) fn draft_as(id: u128, conversation: ConversationId, sender: UserId, content: &str) -> Draft {
    Draft { id: Some(MessageId::from_u128(id)), ..draft(conversation, sender, content) }
}

/// An edit by the sender of the message.
pub(super) fn edit(message: &Message, content: &str) -> Edit {
    Edit {
        conversation: message.conversation,
        message: message.id,
        editor: message.sender,
        content: content.into(),
        at: AT.plus(1),
    }
}

pub(super) fn by(actor: UserId, conversation: ConversationId, user: UserId) -> MemberChange {
    MemberChange { conversation, actor: Some(actor), user, at: AT }
}

pub(super) fn by_service(conversation: ConversationId, user: UserId) -> MemberChange {
    MemberChange { conversation, actor: None, user, at: AT }
}

/// Calls `$callback!` with every case, as `module::case`, separated by commas.
#[macro_export]
macro_rules! each_records_case {
    ($callback:ident) => {
        $callback! {
            announcing::a_change_is_pending_until_it_is_confirmed,
            announcing::a_moved_read_position_is_pending_until_it_is_confirmed,
            announcing::a_repetition_is_not_pending_again,
            announcing::a_member_that_moved_often_is_one_item,
            announcing::announced_moves_only_over_confirmed_changes_without_a_gap,
            announcing::confirming_what_is_not_pending_is_harmless,
            announcing::each_move_needs_its_own_confirmation,
            announcing::memberships_are_pending_until_they_are_confirmed,
            announcing::creations_are_pending_until_they_are_confirmed,
            announcing::contacts_and_blocks_are_pending_until_they_are_confirmed,
            announcing::moves_of_different_kinds_are_items_of_their_own,
            announcing::pending_changes_name_the_present_members,
            announcing::pending_is_answered_oldest_first_and_only_before_the_timestamp,
            blocks::a_block_in_either_direction_stops_two_users,
            blocks::a_block_stops_a_group_of_which_two_members_are_left,
            blocks::a_repetition_succeeds_in_spite_of_a_block,
            blocks::blocked_users_create_no_conversation,
            blocks::a_block_does_not_stop_a_group,
            blocks::membership_shows_a_block_between_two_users,
            blocks::nobody_is_added_to_a_group_with_whoever_blocked_them,
            blocks::nobody_is_put_into_a_group_with_whoever_blocked_them,
            blocks::read_positions_are_not_shown_across_a_block,
            blocks::messages_from_before_a_block_can_be_deleted_but_not_edited,
            bounds::a_conversation_has_at_most_1000_members,
            bounds::content_is_bounded_in_bytes,
            bounds::kinds_have_1_to_32_bytes,
            bounds::lists_have_at_most_500_entries,
            bounds::timestamps_end_with_the_year_9999,
            bounds::pages_have_1_to_100_entries,
            bounds::users_have_at_most_1000_contacts_and_blocks,
            changing::a_deleted_message_cannot_be_edited,
            changing::a_deletion_empties_the_message_and_takes_a_sequence_number,
            changing::a_deletion_lowers_counts_only_of_those_who_had_not_read_it,
            changing::an_edit_takes_a_sequence_number_and_keeps_that_of_the_message,
            changing::changes_are_answered_by_range,
            changing::too_many_changes_are_cut_to_the_newest,
            changing::too_many_bytes_of_changes_are_cut_to_the_newest,
            changing::changes_show_messages_as_they_are_now,
            changing::concurrent_changes_of_all_kinds_leave_no_gap,
            changing::deleting_again_is_a_repetition,
            changing::editing_changes_no_count,
            changing::only_the_sender_changes_a_message,
            changing::the_same_content_again_is_a_repetition,
            counting::last_messages_are_the_newest_that_are_not_deleted,
            counting::marking_moves_forward_only,
            counting::marking_never_passes_the_newest,
            counting::marking_without_a_position_reads_everything,
            counting::only_messages_of_others_count,
            counting::counters_are_answered_in_the_order_asked,
            counting::non_members_cannot_mark_as_read,
            counting::counters_of_all_conversations_go_on_after_the_last_one,
            counting::an_answer_has_at_most_4000_counters_of_all_conversations,
            creating::a_conversation_has_its_creator_and_every_member_once,
            creating::concurrent_creations_of_one_id_make_one,
            creating::creating_again_is_a_repetition,
            creating::generated_conversation_ids_differ,
            creating::the_same_id_with_other_members_is_a_conflict,
            deleting::a_deleted_message_of_ones_own_changes_no_count,
            deleting::deletions_before_and_behind_a_position_count_once,
            deleting::edits_and_deletions_answer_positions_and_the_newest_message,
            deleting::many_deletions_are_counted_exactly,
            deleting::members_who_join_count_only_later_messages,
            deleting::members_who_rejoin_count_only_later_messages,
            deleting::the_last_deletion_answers_no_newest_message,
            document_bytes::a_function_has_at_most_so_many_bytes_over_all_owners,
            document_bytes::a_replacement_counts_the_difference,
            document_bytes::a_refused_or_repeated_change_counts_nothing,
            document_bytes::bytes_are_counted_as_utf8,
            document_bytes::concurrent_puts_of_several_owners_never_exceed_the_bound,
            document_bytes::deleted_documents_give_their_bytes_back,
            document_bytes::documents_of_an_erased_user_give_their_bytes_back,
            document_bytes::each_function_has_its_own_bytes,
            document_bytes::whoever_has_more_than_a_lowered_bound_can_shrink,
            documents::a_document_has_a_name_of_1_to_128_bytes_without_control_characters,
            documents::a_document_is_at_most_16_kib_of_json,
            documents::a_function_has_at_most_100_documents_for_an_owner,
            documents::a_repeated_put_is_refused_and_changes_nothing,
            documents::a_wrong_version_is_refused_with_the_present_one,
            documents::at_most_100_documents_are_read_in_one_call,
            documents::concurrent_creations_never_exceed_the_bound,
            documents::deleting_a_document_again_changes_nothing,
            documents::documents_are_answered_in_the_order_asked,
            documents::functions_do_not_see_each_others_documents,
            documents::json_is_kept_byte_for_byte,
            documents::names_are_any_text_and_compared_byte_by_byte,
            documents::of_several_puts_with_one_version_one_succeeds,
            documents::owners_of_each_kind_have_their_own_documents,
            documents::versions_count_from_one,
            erasing::an_erased_user_leaves_nothing_but_deleted_messages,
            erasing::messages_in_conversations_left_before_are_deleted,
            erasing::contacts_and_blocks_are_erased_in_both_directions,
            erasing::documents_about_the_user_are_erased,
            erasing::what_is_erased_is_pending,
            erasing::conversations_of_an_erased_creator_have_none,
            erasing::a_pair_ends_with_an_erased_user,
            erasing::erasing_again_changes_nothing,
            erasing::erasing_goes_on_step_by_step,
            moderating::the_creator_of_a_group_deletes_messages_of_others,
            moderating::messages_of_former_members_are_deleted,
            moderating::a_creator_deletes_only_as_a_member,
            moderating::services_delete_every_message,
            moderating::nobody_moderates_a_pair,
            moderating::only_the_sender_edits_a_message,
            pairs::two_users_have_one_pair_whoever_asks,
            pairs::a_group_of_two_is_no_pair,
            pairs::concurrent_requests_of_both_sides_make_one_pair,
            pairs::a_block_stops_a_new_pair_and_not_an_existing_one,
            pairs::a_request_that_may_not_create_answers_only_a_pair_that_exists,
            pairs::a_pair_is_of_two_users,
            pairs::the_members_of_a_pair_do_not_change,
            pairs::a_pair_counts_as_a_conversation_of_both,
            finding::at_most_100_messages_are_read_by_their_ids,
            finding::messages_are_answered_by_their_ids_in_the_order_asked,
            finding::messages_that_history_does_not_show_are_not_found,
            listing::members_and_conversations_are_listed_in_ascending_pages,
            listing::users_who_left_every_conversation_are_not_listed,
            members::adding_a_member_again_changes_nothing,
            members::members_and_services_add,
            members::members_leave_and_only_the_creator_removes_others,
            members::members_see_what_comes_after_they_joined,
            members::removing_a_non_member_changes_nothing,
            members::a_non_member_cannot_tell_whether_a_conversation_exists,
            members::former_members_see_nothing,
            members::members_who_rejoin_see_only_what_comes_after,
            members::members_are_listed_in_pages_with_their_positions,
            members::only_members_and_services_list_members,
            paging::a_cursor_remains_valid_while_conversations_get_new_activity,
            paging::activity_never_steps_back,
            paging::conversations_come_newest_message_first,
            paging::history_goes_back_in_pages,
            paging::history_leaves_out_deleted_messages,
            paging::named_conversations_are_those_of_the_user,
            paging::pages_list_every_conversation_once,
            paging::text_that_is_no_cursor_is_refused,
            receipts::at_most_100_authors_of_the_newest_messages_are_notified,
            receipts::authors_of_what_was_newly_read_are_notified_in_a_larger_conversation,
            receipts::authors_who_have_left_are_not_notified,
            receipts::everybody_else_in_a_small_conversation_is_notified,
            receipts::nobody_is_notified_across_a_block,
            recovering::a_confirmation_removes_a_tried_item,
            recovering::a_further_move_of_a_tried_member_keeps_its_attempts,
            recovering::a_tried_item_is_not_announced,
            recovering::a_walk_through_the_outbox_answers_every_item_once,
            recovering::an_item_that_is_put_back_is_as_it_was,
            recovering::at_most_500_items_are_postponed_in_one_call,
            recovering::postponing_what_is_not_pending_is_harmless,
            recovering::text_that_is_no_cursor_of_the_outbox_is_refused,
            recovering::tried_items_are_answered_by_their_next_time,
            paging::conversations_carry_at_most_20_members_and_the_positions_of_8,
            contacts::a_block_hides_both_from_each_other,
            contacts::blocks_are_directed_and_in_order,
            contacts::contacts_are_directed_and_in_order,
            contacts::only_mutual_contacts_see_each_other,
            contacts::repeated_additions_and_removals_of_contacts_and_blocks_are_harmless,
            contacts::a_relation_shows_both_sides,
            sending::a_message_takes_the_next_sequence_number,
            sending::sending_a_deleted_message_again_is_a_repetition,
            sending::an_id_that_is_taken_is_a_conflict,
            sending::concurrent_messages_leave_no_gap,
            sending::concurrent_repetitions_store_one_message,
            sending::content_is_stored_unchanged,
            sending::generated_message_ids_differ,
            sending::non_members_cannot_send,
            sending::the_same_id_again_is_a_repetition,
            sending::the_senders_read_position_does_not_move,
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeRecords, block_on};

    macro_rules! on_the_fake {
        ($($module:ident::$case:ident),* $(,)?) => {
            mod fake {
                use super::*;
                $(#[test]
                fn $case() {
                    let subject = Subject::new(FakeRecords::new(1), |_| Box::pin(async {}));
                    block_on($module::$case(&subject));
                })*
            }

            const CASES: usize = [$(stringify!($case)),*].len();
        };
    }

    crate::each_records_case!(on_the_fake);

    #[test]
    fn every_case_is_in_the_list() {
        let files = [
            include_str!("announcing.rs"),
            include_str!("blocks.rs"),
            include_str!("bounds.rs"),
            include_str!("changing.rs"),
            include_str!("counting.rs"),
            include_str!("creating.rs"),
            include_str!("deleting.rs"),
            include_str!("document_bytes.rs"),
            include_str!("documents.rs"),
            include_str!("erasing.rs"),
            include_str!("moderating.rs"),
            include_str!("pairs.rs"),
            include_str!("finding.rs"),
            include_str!("listing.rs"),
            include_str!("members.rs"),
            include_str!("paging.rs"),
            include_str!("recovering.rs"),
            include_str!("receipts.rs"),
            include_str!("contacts.rs"),
            include_str!("sending.rs"),
        ];
        let written: usize = files.iter().map(|file| file.matches("pub async fn ").count()).sum();
        assert_eq!(written, CASES);
    }
}
