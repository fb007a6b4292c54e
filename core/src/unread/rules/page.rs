//! Pages of a user's counters: which part of them one answer contains.

use std::collections::BTreeMap;

use crate::ids::ConversationId;
use crate::insertion::CollectByInsertion as _;
use crate::limits::UNREAD_PAGE;
use crate::unread::Totals;

/// A page of counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadPage {
    /// The sum over all conversations, including those on other pages.
    pub total: u64,
    /// Conversations with something unread, at most [`UNREAD_PAGE`].
    pub conversations: BTreeMap<ConversationId, u64>,
    /// The next page has the conversations above this one; `None` if there are no more.
    pub next: Option<ConversationId>,
}

/// The conversations above `after` with something unread.
pub fn page(totals: Totals, after: Option<ConversationId>) -> UnreadPage {
    let Totals { total, conversations } = totals;
    let named = conversations.into_iter().filter(|(id, unread)| *unread > 0 && after.is_none_or(|after| *id > after));
    let mut named = named.peekable();
    let conversations: BTreeMap<_, _> = named.by_ref().take(UNREAD_PAGE).collect_by_insertion();
    let next = named.peek().and_then(|_| conversations.last_key_value()).map(|(last, _)| *last);
    UnreadPage { total, conversations, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CONVERSATIONS_MAX, SYNC_PART_BYTES_MAX};

    fn id(number: usize) -> ConversationId {
        ConversationId::from_u128(number as u128)
    }

    #[test]
    fn only_conversations_with_something_unread_are_named() {
        let totals = Totals { total: 3, conversations: BTreeMap::from([(id(1), 0), (id(2), 3)]) };
        let named = BTreeMap::from([(id(2), 3)]);
        assert_eq!(page(totals.clone(), None), UnreadPage { total: 3, conversations: named, next: None });
        assert_eq!(page(totals, Some(id(2))), UnreadPage { total: 3, ..UnreadPage::default() });
    }

    #[test]
    fn pages_name_every_conversation_once() {
        for count in [0, 1, UNREAD_PAGE, UNREAD_PAGE + 1, CONVERSATIONS_MAX] {
            let all: BTreeMap<_, _> = (1..=count).map(|number| (id(number), number as u64)).collect();
            let totals = Totals { total: 7, conversations: all.clone() };
            let (mut found, mut next) = (BTreeMap::new(), None);
            loop {
                let part = page(totals.clone(), next);
                assert!(part.total == 7 && part.conversations.len() <= UNREAD_PAGE);
                found.extend(part.conversations);
                next = part.next;
                if next.is_none() {
                    break;
                }
            }
            assert_eq!(found.len(), all.len(), "{count}");
            assert_eq!(found, all);
        }
    }

    #[test]
    fn a_full_page_with_the_largest_numbers_is_no_larger_than_its_part_of_an_answer() {
        let entry = serde_json::to_string(&BTreeMap::from([(id(1), u64::MAX)])).unwrap();
        // `hello` and `sync` have the read position and the counted position of each as well.
        assert!(3 * entry.len() * UNREAD_PAGE <= SYNC_PART_BYTES_MAX, "{} bytes each", entry.len());
    }
}
